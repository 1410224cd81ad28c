"""What a researcher would lose if a manifest were misread: nodules at other places, or in other patients."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pandas as pd
import pytest

from NoduleRiskLib.cohort.manifest import Series, read_manifest
from NoduleRiskLib.cohort.places import fetched
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.points import Point

UUID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_paths_start_at_the_manifest_and_addresses_stay(tmp_path: Path) -> None:
    table = write(tmp_path / "deep" / "m.csv", "id,ct,points\na,cts/a.nrrd,a.mrk.json\nb,s3://bucket/b,\n")
    first, second = read_manifest(table)
    assert (first.ct, first.points) == (str(tmp_path / "deep/cts/a.nrrd"), str(tmp_path / "deep/a.mrk.json"))
    assert (second.ct, second.points) == ("s3://bucket/b", "")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_ids_stay_text(tmp_path: Path, ending: str) -> None:
    """A UID of digits, or one with leading zeros, is no number."""
    frame = pd.DataFrame({"series_uid": ["007", "1.20"], "ct": ["/a", "/b"]})
    path = tmp_path / f"m.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    assert [(one.id, one.series_uid) for one in read_manifest(str(path))] == [("007", "007"), ("1.20", "1.20")]


@pytest.mark.parametrize(
    ("columns", "values", "ras"),
    [
        ("id,r,a,s", "1,2,3", (1, 2, 3)),
        ("series_uid,l,p,s", "1,2,3", (-1, -2, 3)),
        ("seriesuid,coordX,coordY,coordZ", "1,2,3", (-1, -2, 3)),
    ],
)
def test_a_second_table_s_points_are_in_ras(tmp_path: Path, columns: str, values: str, ras: tuple[float, ...]) -> None:
    table = write(tmp_path / "m.csv", "id,ct\na,/a\nb,/b\n")
    points = write(tmp_path / "p.csv", f"{columns},label\na,{values},one\na,{values},\nc,{values},other\n")
    first, second = read_manifest(table, points)
    assert first.placed == (Point("one", ras), Point("2", ras))
    assert second.placed == ()


def test_luna16_s_annotations_are_a_manifest(tmp_path: Path) -> None:
    """Their world coordinates are LPS; one series has several rows; the CTs lie in subsets."""
    table = write(
        tmp_path / "annotations.csv",
        "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.3.6,-128.7,-175.3,-298.4,5.6\n1.3.6,103.8,-211.9,-227.1,4.2\n"
        "1.3.7,69.6,-140.9,876.4,5.8\n",
    )
    write(tmp_path / "subset0/1.3.6.mhd", "")
    write(tmp_path / "subset0/1.3.6.raw", "")
    write(tmp_path / "subset1/1.3.7.mhd", "")
    first, second = read_manifest(table, cts=tmp_path)
    assert first.ct.endswith("subset0/1.3.6.mhd") and second.ct.endswith("subset1/1.3.7.mhd")
    assert [one.ras for one in first.placed] == [(128.7, 175.3, -298.4), (-103.8, 211.9, -227.1)]
    assert first.series_uid == ""


def test_idc_index_s_manifests_are_read(tmp_path: Path) -> None:
    listed = write(tmp_path / "m.s5cmd", f"# To download\ncp s3://idc-open-data/{UUID}/* .\n\n")
    (one,) = read_manifest(listed)
    assert (one.id, one.ct) == (UUID, f"s3://idc-open-data/{UUID}")
    table = write(
        tmp_path / "idc.csv",
        f"collection_id,SeriesInstanceUID,series_aws_url\nnlst,1.2.3,s3://idc-open-data/{UUID}/*\n",
    )
    (one,) = read_manifest(table)
    assert (one.id, one.series_uid, one.ct) == ("1.2.3", "1.2.3", f"s3://idc-open-data/{UUID}")
    table = write(tmp_path / "b.csv", f"SeriesInstanceUID,aws_bucket,crdc_series_uuid\n1.2.3,idc-open-data,{UUID}\n")
    assert read_manifest(table) == [one]


def test_idc_index_s_own_folders_are_found(tmp_path: Path) -> None:
    (tmp_path / "nlst/100012/1.2.840/CT_1.2.3").mkdir(parents=True)
    table = write(tmp_path / "idc.csv", "SeriesInstanceUID,series_aws_url\n1.2.3,s3://idc-open-data/x/*\n")
    assert read_manifest(table, cts=tmp_path)[0].ct == str(tmp_path / "nlst/100012/1.2.840/CT_1.2.3")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        # The first name that ended in the id was taken before.
        (["old_7.nrrd", "z/7.nrrd"], "z/7.nrrd"),
        (["CT_7.nrrd", "z/7.nrrd"], "z/7.nrrd"),
        (["a_7.nrrd", "z/CT_7/1.dcm"], "z/CT_7"),
        (["seg-lungs-LUNA16/7.mhd", "subset3/7.mhd"], "subset3/7.mhd"),
    ],
)
def test_a_ct_is_found_by_its_exact_name(tmp_path: Path, files: list[str], found: str) -> None:
    for name in files:
        write(tmp_path / "cts" / name, "")
    (one,) = read_manifest(write(tmp_path / "m.csv", "id,ct\n7,\n"), cts=tmp_path / "cts")
    assert one.ct == str(tmp_path / "cts" / found)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a/7.nrrd", "b/7.nrrd"], "a/7.nrrd and .*b/7.nrrd could both be the CT of 7"),
        (["a/CT_7/1.dcm", "b/CT_7/1.dcm"], "a/CT_7 and .*b/CT_7 could both be"),
        (["old_7.nrrd"], "No file or folder below .* is called 7"),
    ],
)
def test_a_ct_that_could_be_another_is_refused(tmp_path: Path, files: list[str], words: str) -> None:
    for name in files:
        write(tmp_path / "cts" / name, "")
    with pytest.raises(NoduleRiskError, match=words):
        read_manifest(write(tmp_path / "m.csv", "id,ct\n7,\n"), cts=tmp_path / "cts")


def test_a_path_in_the_manifest_is_not_looked_for(tmp_path: Path) -> None:
    for name in ("cts/a/7.nrrd", "cts/b/7.nrrd", "right.nrrd"):
        write(tmp_path / name, "")
    (one,) = read_manifest(write(tmp_path / "m.csv", "id,ct\n7,right.nrrd\n"), cts=tmp_path / "cts")
    assert one.ct == str(tmp_path / "right.nrrd")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,ct\na,/a\na,/b\n", "names the series a twice"),
        ("id,ct\n,/a\n", "row 2, has no id"),
        ("name,file\na,/a\n", "has the columns name, file"),
        ("id\na\n", "has the columns id"),
        ("id,ct\n", "names no series"),
        ("", "cannot be read as a manifest"),
    ],
)
def test_what_is_no_manifest_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(NoduleRiskError, match=words):
        read_manifest(write(tmp_path / "m.csv", text))


def test_points_of_other_series_are_noticed(tmp_path: Path) -> None:
    table = write(tmp_path / "m.csv", "id,series_uid,ct\na,1.2,/a\n")
    assert read_manifest(table, write(tmp_path / "p.csv", "SeriesInstanceUID,r,a,s\n1.2,1,2,3\n"))[0].placed
    with pytest.raises(NoduleRiskError, match="None of the series"):
        read_manifest(table, write(tmp_path / "q.csv", "id,r,a,s\nb,1,2,3\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # Without the refusal, the second row's points went to every series without points of its own.
        ("id,r,a,s\na,1,2,3\n,4,5,6\n", "row 3, has no id"),
        ('id,r,a,s\n" ",4,5,6\n', "row 2, has no id"),
        ("id,points\na,1.csv\n,2.csv\n", "row 3, has no id"),
        ("id,points\na,1.csv\nb,2.csv\na,2.csv\n", "row 4, names other files for a "),
        ("id,segmentation\na,1.nrrd\na,\n", "row 3, names other files for a "),
        ("id,points,r,a,s\na,1.csv,1,2,3\n", "has the columns points and r, a, s: keep either"),
    ],
)
def test_points_that_could_go_to_the_wrong_series_are_refused(tmp_path: Path, text: str, words: str) -> None:
    table = write(tmp_path / "m.csv", "id,ct\na,/a\nb,/b\n")
    with pytest.raises(NoduleRiskError, match=words):
        read_manifest(table, write(tmp_path / "p.csv", text))


def test_a_row_of_files_may_stand_there_twice(tmp_path: Path) -> None:
    table = write(tmp_path / "m.csv", "id,ct\na,/a\n")
    (one,) = read_manifest(table, write(tmp_path / "p.csv", "id,points\na,1.csv\na,1.csv\n"))
    assert one.points == str(tmp_path / "1.csv")


@pytest.mark.parametrize("value", ["", "nan", "left"])
def test_a_point_that_is_none_is_refused_with_its_row(tmp_path: Path, value: str) -> None:
    table = write(tmp_path / "m.csv", "id,ct\na,/a\n")
    with pytest.raises(NoduleRiskError, match="row 3"):
        read_manifest(table, write(tmp_path / "p.csv", f"id,r,a,s\na,1,2,3\na,1,{value},3\n"))


def test_a_series_travels_to_a_worker_as_it_is() -> None:
    one = Series("a", "s3://b/a", "1.2", "p.csv", "s.nrrd", (Point("é", (1.5, -2.0, 3.0), "1.2.3"),))
    there = Series.from_json(one.to_json())
    assert there == one and there.placed[0].tracking_uid == "1.2.3"


def test_a_remote_folder_and_a_file_with_its_voxels_are_fetched_and_forgotten() -> None:
    system = fsspec.filesystem("memory")
    for name in ("ct/1.dcm", "ct/2.dcm", "ct/below/3.dcm", "luna/1.3.6.mhd", "luna/1.3.6.raw", "luna/1.3.66.mhd"):
        system.pipe_file(f"/cohort/{name}", name.encode())
    with fetched("memory://cohort/ct/*") as folder:
        assert sorted(one.name for one in folder.iterdir()) == ["1.dcm", "2.dcm"]
    assert not folder.exists()
    with fetched("memory://cohort/luna/1.3.6.mhd") as file:
        assert file.read_bytes() == b"luna/1.3.6.mhd"
        assert sorted(one.name for one in file.parent.iterdir()) == ["1.3.6.mhd", "1.3.6.raw"]
    with pytest.raises(NoduleRiskError, match="holds no files"), fetched("memory://cohort/nothing"):
        pass
    with pytest.raises(NoduleRiskError, match="cannot be reached"), fetched("gopher-from-1991://x/y"):
        pass
