"""What a user would lose if a file's points landed on the other lung, or vanished without a word."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.points import Point, read

DATA = Path(os.environ.get("NODULERISK_DATA", Path(__file__).parents[3] / "../shared/data"))
FCSV_COLUMNS = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"


def markups(points: list[Any], **told: Any) -> str:
    return json.dumps({"@schema": "x", "markups": [{"type": "Fiducial", "controlPoints": points, **told}]})


def fcsv(*rows: str, system: str = "LPS", version: str = "5.2") -> str:
    head = (f"# Markups fiducial file version = {version}", f"# CoordinateSystem = {system}", FCSV_COLUMNS)
    return "\n".join((*head, *rows)) + "\n"


def opened(folder: Path, name: str, text: str) -> list[Point]:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return read(file)


def refusal(folder: Path, name: str, text: str) -> str:
    with pytest.raises(NoduleRiskError) as refused:
        opened(folder, name, text)
    sentence = str(refused.value)
    assert name in sentence
    assert sentence.endswith(".")
    return sentence


LEFT_LUNG = {"label": "upper lobe", "position": [60.5, 20, -110]}


@pytest.mark.parametrize(
    ("told", "ras"),
    [
        ({"coordinateSystem": "LPS"}, (-60.5, -20, -110)),
        ({"coordinateSystem": "RAS"}, (60.5, 20, -110)),
        ({"coordinateSystem": "0"}, (60.5, 20, -110)),
        ({"coordinateSystem": 1}, (-60.5, -20, -110)),
        ({}, (-60.5, -20, -110)),
        ({"coordinateUnits": "mm"}, (-60.5, -20, -110)),
        ({"coordinateUnits": ["mm", "UCUM", "millimeter"]}, (-60.5, -20, -110)),
        ({"coordinateUnits": "um"}, (-0.0605, -0.02, -0.11)),
    ],
)
def test_a_markups_point_lands_in_the_lung_where_it_was_put(
    tmp_path: Path, told: dict[str, Any], ras: tuple[float, ...]
) -> None:
    (point,) = opened(tmp_path, "F.mrk.json", markups([LEFT_LUNG], **told))
    assert point.label == "upper lobe"
    assert point.ras == pytest.approx(ras)


def test_points_that_were_never_placed_are_left_out(tmp_path: Path) -> None:
    points = [
        {"label": "a", "position": [1, 2, 3], "positionStatus": "defined"},
        {"label": "b", "position": [0, 0, 0], "positionStatus": "undefined"},
        {"label": "c", "position": [4, 5, 6], "positionStatus": "preview"},
    ]
    assert [one.label for one in opened(tmp_path, "F.mrk.json", markups(points))] == ["a"]
    rows = ("1,1,2,3,0,0,0,1,1,1,0,a,,,2,0", "2,0,0,0,0,0,0,1,1,1,0,b,,,0,0", "3,4,5,6,0,0,0,1,1,1,0,c,,,1,0")
    assert [one.label for one in opened(tmp_path, "F.fcsv", fcsv(*rows))] == ["a"]
    table = "label,l,p,s,defined,selected,visible,locked,description\na,1,2,3,1,1,1,0,\nb,0,0,0,0,1,1,0,\n"
    assert [one.label for one in opened(tmp_path, "F.csv", table)] == ["a"]


def test_all_point_lists_of_a_file_are_read(tmp_path: Path) -> None:
    both = {"markups": [json.loads(markups([LEFT_LUNG]))["markups"][0] for _ in range(2)]}
    assert [one.label for one in opened(tmp_path, "F.json", json.dumps(both))] == ["upper lobe"] * 2


@pytest.mark.parametrize(
    ("system", "ras"),
    [("LPS", (-1, -2, 3)), ("1", (-1, -2, 3)), ("RAS", (1, 2, 3)), ("0", (1, 2, 3))],
)
def test_an_old_fiducial_list_lands_in_the_lung_where_it_was_put(
    tmp_path: Path, system: str, ras: tuple[float, ...]
) -> None:
    (point,) = opened(tmp_path, "F.fcsv", fcsv("a,1,2,3,0,0,0,1,1,1,0,F-1,,", system=system, version="4.4"))
    assert point == Point("F-1", (float(ras[0]), float(ras[1]), float(ras[2])))


def test_labels_with_commas_and_quotes_stay_whole(tmp_path: Path) -> None:
    row = 'id,1,2,3,0,0,0,1,1,1,0,"lower lobe, ""the big one""",note,vtkMRMLScalarVolumeNode1,2,0'
    assert opened(tmp_path, "F.fcsv", fcsv(row))[0].label == 'lower lobe, "the big one"'
    assert opened(tmp_path, "F.csv", 'label,r,a,s\n"lobe, ""big""",1,2,3\n')[0].label == 'lobe, "big"'


@pytest.mark.parametrize("header", ["r,a,s", "R,A,S", " r , a,s", "\ufeffr,a,s"])
def test_a_table_in_ras_reads_whatever_wrote_it(tmp_path: Path, header: str) -> None:
    assert opened(tmp_path, "p.csv", f"{header}\r\n1.5,-2,3e1\r\n\r\n,,\r\n4,5,6\r\n") == [
        Point("1", (1.5, -2.0, 30.0)),
        Point("2", (4.0, 5.0, 6.0)),
    ]


def test_a_table_in_lps_changes_sides(tmp_path: Path) -> None:
    points = opened(tmp_path, "p.csv", "reader,L,P,S,Name\nme,1,2,3,one\nme,-1,0,3,\nme,1,2,3,one\n")
    assert points == [Point("one", (-1, -2, 3)), Point("2", (1, 0, 3)), Point("one", (-1, -2, 3))]
    assert str(points[1].ras[1]) == "0.0"


def test_the_sample_scans_points_read() -> None:
    file = DATA / "ct" / "points.csv"
    if not file.exists():
        pytest.skip(f"The sample CT's points are not at {file}: set NODULERISK_DATA to read them.")
    assert read(file) == [Point("1", (-56.19, -86.21, -115.0))]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoduleRiskError, match=r"nothing\.csv does not exist"):
        read(tmp_path / "nothing.csv")
    with pytest.raises(NoduleRiskError, match="is no file"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.txt", "1 2 3"),
        ("p.csv", ""),
        ("p.csv", "x,y,z\n1,2,3\n"),
        ("p.csv", "r;a;s\n1;2;3\n"),
        ("p.json", '{"points": []}'),
        ("p.json", "[1, 2]"),
        ("p.json", '{"markups": [1]}'),
    ],
)
def test_what_holds_no_points_is_answered_with_what_would(tmp_path: Path, name: str, text: str) -> None:
    sentence = refusal(tmp_path, name, text)
    assert "r, a, s" in sentence
    assert "l, p, s" in sentence
    assert ".mrk.json" in sentence


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_bytes("label,r,a,s\nhöher,1,2,3\n".encode("utf-16"))
    with pytest.raises(NoduleRiskError, match="UTF-8"):
        read(file)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", "r,a,s\n"),
        ("F.mrk.json", markups([])),
        ("F.mrk.json", '{"markups": []}'),
        ("F.mrk.json", markups([{"position": [0, 0, 0], "positionStatus": "undefined"}])),
        ("F.fcsv", fcsv()),
    ],
)
def test_a_list_without_points_is_told(tmp_path: Path, name: str, text: str) -> None:
    assert "holds no points: place at least one" in refusal(tmp_path, name, text)


@pytest.mark.parametrize("value", ["abc", "", "nan", "inf", "1,5", "-"])
def test_a_bad_number_is_told_with_its_line(tmp_path: Path, value: str) -> None:
    sentence = refusal(tmp_path, "p.csv", f'label,r,a,s\na,1,2,3\nb,4,"{value}",6\n')
    assert "line 3" in sentence
    assert f"'{value}'" in sentence
    sentence = refusal(tmp_path, "F.fcsv", fcsv("1,1,2,3", f'2,4,"{value}",6'))
    assert "line 5" in sentence
    assert "three numbers in mm" in sentence


def test_a_short_line_is_told(tmp_path: Path) -> None:
    assert "line 2" in refusal(tmp_path, "p.csv", "r,a,s\n1,2\n")


@pytest.mark.parametrize("position", [None, "123", [1, 2], [1, 2, "x"], [1, 2, float("nan")], [1, 2, None], 5])
def test_a_bad_control_point_is_told_with_its_number(tmp_path: Path, position: Any) -> None:
    sentence = refusal(tmp_path, "F.mrk.json", markups([LEFT_LUNG, {"label": "b", "position": position}]))
    assert "control point 2" in sentence
    assert "three numbers in mm" in sentence
    assert "control point 1" in refusal(tmp_path, "F.mrk.json", markups([3]))


@pytest.mark.parametrize("kind", ["Line", "Curve", "ROI", "Plane"])
def test_a_line_is_not_taken_for_nodules(tmp_path: Path, kind: str) -> None:
    assert f"type {kind}" in refusal(tmp_path, "F.mrk.json", markups([LEFT_LUNG], type=kind))


@pytest.mark.parametrize(
    "told",
    [{"coordinateSystem": "IJK"}, {"coordinateSystem": "2"}, {"coordinateUnits": "inch"}, {"coordinateUnits": []}],
)
def test_an_unknown_frame_or_unit_is_never_guessed(tmp_path: Path, told: dict[str, Any]) -> None:
    assert "LPS or RAS in mm or um" in refusal(tmp_path, "F.mrk.json", markups([LEFT_LUNG], **told))


@pytest.mark.parametrize("text", [fcsv("1,1,2,3", system="2"), fcsv("1,1,2,3", system=""), "a,1,2,3,1,1\n"])
def test_a_fiducial_list_without_a_frame_is_never_guessed(tmp_path: Path, text: str) -> None:
    assert "whether it is LPS or RAS" in refusal(tmp_path, "F.fcsv", text)


def test_broken_json_is_told_with_its_line(tmp_path: Path) -> None:
    assert "line 2" in refusal(tmp_path, "F.mrk.json", '{"markups":\n [}')


# What is unclear, and what breaks programs


def test_a_table_of_european_excel_is_told_its_separator(tmp_path: Path) -> None:
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        sentence = refusal(tmp_path, "p.csv", f"label{sign}r{sign}a{sign}s\nRUL{sign}-56,19{sign}-86,21{sign}-115,0\n")
        assert name in sentence and "1.5 and not 1,5" in sentence


@pytest.mark.parametrize("row", ["RUL,-56,19,-86,21,-115,0", "RUL,1,2,3,4", "a, b,1,2,3"])
def test_a_row_with_more_cells_than_columns_is_told(tmp_path: Path, row: str) -> None:
    sentence = refusal(tmp_path, "p.csv", f"label,r,a,s\nok,1,2,3\n{row}\n")
    assert "line 3" in sentence and "for 4 columns" in sentence


def test_empty_cells_at_the_end_of_a_row_are_no_matter(tmp_path: Path) -> None:
    assert opened(tmp_path, "p.csv", "r,a,s\n1,2,3,,\n") == [Point("1", (1, 2, 3))]


def test_a_fiducial_with_more_cells_than_columns_is_told(tmp_path: Path) -> None:
    row = "1,1,5,2,5,3,5,0,0,0,1,1,1,0,F-1,,,2,0"
    assert "line 4" in refusal(tmp_path, "F.fcsv", fcsv(row))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("label,r,a,s,r", "the column r twice"),
        ("r,a,s,S", "the column s twice"),
        ("label,Label,r,a,s", "the column label twice"),
        ("r,a,s,l,p", "both of RAS and of LPS"),
        ("l,p,s,r,a", "both of RAS and of LPS"),
    ],
)
def test_columns_that_may_mean_two_places_are_told(tmp_path: Path, header: str, words: str) -> None:
    assert words in refusal(tmp_path, "p.csv", f"{header}\n1,2,3,4,5\n")


@pytest.mark.parametrize("value", ["1_000", "1٣", "１２", "½", "0x10", "True", "1e", "--1", "1 2", "1" * 400])
def test_what_only_python_takes_for_a_number_is_told(tmp_path: Path, value: str) -> None:
    assert "line 2" in refusal(tmp_path, "p.csv", f"r,a,s\n1,2,{value}\n")
    assert "line 4" in refusal(tmp_path, "F.fcsv", fcsv(f"1,1,2,{value}"))
    place = refusal(tmp_path, "F.mrk.json", markups([{"label": "b", "position": [1, 2, value]}]))
    assert "control point 1" in place and len(place) < 500


@pytest.mark.parametrize("value", [True, False, 10**400, -(10**400), [1], {}, "1_0"])
def test_what_json_holds_beside_numbers_is_told(tmp_path: Path, value: Any) -> None:
    assert "control point 1" in refusal(tmp_path, "F.mrk.json", markups([{"position": [1, 2, value]}]))


@pytest.mark.parametrize("points", [5, "abc", {"position": [1, 2, 3]}, True])
def test_control_points_that_are_no_list_are_told(tmp_path: Path, points: Any) -> None:
    text = json.dumps({"markups": [{"type": "Fiducial", "controlPoints": points}]})
    assert "no list" in refusal(tmp_path, "F.mrk.json", text)


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"a":' * 200_000, '{"markups": [' + "9" * 5000 + "]}", "9" * 5000],
    ids=["brackets", "objects", "digits inside", "digits"],
)
def test_json_that_no_reader_can_hold_is_told(tmp_path: Path, text: str) -> None:
    assert "JSON" in refusal(tmp_path, "F.mrk.json", text)


def test_a_name_that_an_object_has_twice_is_told(tmp_path: Path) -> None:
    point = '{"position": [1, 2, 3], "position": [4, 5, 6]}'
    text = f'{{"markups": [{{"type": "Fiducial", "controlPoints": [{point}]}}]}}'
    assert "'position' twice" in refusal(tmp_path, "F.mrk.json", text)


@pytest.mark.parametrize("rows", [10, 9000])
@pytest.mark.parametrize("at", [2, 5])
def test_a_quotation_that_is_never_closed_is_told_with_its_line(tmp_path: Path, rows: int, at: int) -> None:
    lines = ["label,r,a,s", *(f"n{k},1,2,3" for k in range(2, rows + 2))]
    lines[at - 1] = '"' + lines[at - 1]
    assert f"line {at}," in refusal(tmp_path, "p.csv", "\n".join(lines))
    quoted = [fcsv().rstrip("\n"), *(["1,1,2,3,0,0,0,1,1,1,0,F"] * rows)]
    quoted[at] = '1,1,2,3,0,0,0,1,1,1,0,"F' + "x" * 200_000
    assert f"line {at + 3}," in refusal(tmp_path, "F.fcsv", "\n".join(quoted))


@pytest.mark.parametrize("label", ["\ud800", "a\udfffb", "\udc80\ud800"])
def test_half_a_sign_in_a_label_can_be_saved(tmp_path: Path, label: str) -> None:
    (point,) = opened(tmp_path, "F.mrk.json", markups([{"label": label, "position": [1, 2, 3]}]))
    assert point.label.encode("utf-8")
    assert point.label != label


def test_a_sign_in_two_halves_stays_whole(tmp_path: Path) -> None:
    (point,) = opened(tmp_path, "F.mrk.json", markups([{"label": "\U0001fac1", "position": [1, 2, 3]}]))
    assert point.label == "\U0001fac1"


def test_a_head_that_says_two_frames_is_told(tmp_path: Path) -> None:
    text = fcsv("1,1,2,3").replace("# CoordinateSystem = LPS\n", "# CoordinateSystem = LPS\n# CoordinateSystem = RAS\n")
    assert "line 3" in refusal(tmp_path, "F.fcsv", text)


@pytest.mark.parametrize("columns", ["id,x,y", "id,x,x,y,z", ""])
def test_a_head_that_names_no_three_axes_is_told(tmp_path: Path, columns: str) -> None:
    text = fcsv("1,1,2,3").replace(FCSV_COLUMNS, f"# columns = {columns}")
    assert "names its columns" in refusal(tmp_path, "F.fcsv", text)


def test_strange_signs_in_a_label_end_no_line(tmp_path: Path) -> None:
    assert len(opened(tmp_path, "F.fcsv", fcsv("1,1,2,3,0,0,0,1,1,1,0,a\u2028b,,,2,0"))) == 1
    assert len(opened(tmp_path, "p.csv", "label,r,a,s\na\x0bb,1,2,3\n")) == 1


def test_a_file_of_gigabytes_is_not_taken_for_points(tmp_path: Path) -> None:
    with (tmp_path / "p.csv").open("wb") as file:
        file.truncate(3 * 10**9)
    with pytest.raises(NoduleRiskError, match="too large"):
        read(tmp_path / "p.csv")
