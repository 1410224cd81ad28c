"""What a reader of tables, files and pictures would lose if they did not say what the assessment says."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from rich.console import Console

from NoduleRiskLib.cli.terminal import on_terminal
from NoduleRiskLib.errors import InputWarning
from NoduleRiskLib.explain.heatmap import Heatmap
from NoduleRiskLib.grades import DISCLAIMER, GRADE_NAMES, GRADES, OTHER_GRADES
from NoduleRiskLib.imaging.outline import measure
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import LAYOUTS, Layout
from NoduleRiskLib.imaging.solid_part import SolidPart
from NoduleRiskLib.imaging.volume import Volume, write_nrrd
from NoduleRiskLib.networks.manifest import Calibration, Manifest, NetworkCounts
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.model_package import ModelPackage
from NoduleRiskLib.results import to_frame
from NoduleRiskLib.results.assessment import Assessment, Calcification, Estimate, Nodule
from NoduleRiskLib.results.nodule import Account, Term
from NoduleRiskLib.results.phrases import along, percent
from NoduleRiskLib.results.tables import COLUMNS, as_json, csv_text, json_text

CENTRE = np.array([-40.0, 25.0, -110.0])
RADIUS_MM = 6.0
#: A mean of codes that rounds to "laminated", which no reader of this nodule gave.
MEAN_CODE = 2.34
WARNINGS = (
    InputWarning("The slices are thick, so small nodules look blurred.", "ct"),
    InputWarning("The nodule reaches the edge of the scan.", "nodule"),
)
#: What the grades of the ball add to its suspicion, in their order.
ADDS = (0.05, 0.0, 0.61, -0.1, 0.04, 0.0, -2.0, 1.2)
MANIFEST = Manifest(
    name="toy",
    version="1.2",
    trained_on="nothing",
    networks=NetworkCounts(1, 1, 1),
    grader=ModelConfig(),
    calibration=Calibration({}, {}, (0.0, 1.0)),
    heatmap_faithfulness=None,
    weights_sha256="0" * 64,
    card_sha256="0" * 64,
)
PACKAGE = ModelPackage(Path("somewhere"), "0123456789abcdef" * 4, MANIFEST, "A card.")


def scan() -> Volume:
    """A ball in lung, with a bright mark in front of it, to its left and below it: int16 HU, stored as LPS."""
    shape, spacing = (30, 90, 90), np.array([0.8, 0.8, 2.0])
    matrix = np.diag([*(spacing * (-1, -1, 1)), 1.0])
    matrix[:3, 3] = CENTRE - (matrix[:3, :3] @ (np.array(shape[::-1]) - 1)) / 2
    volume = Volume(np.full(shape, -850, np.int16), matrix, name="toy scan", identity={"path": "toy.nrrd"})
    places = volume.to_ras(np.stack(np.indices(shape)[::-1], -1)) - CENTRE
    volume.array[np.linalg.norm(places, axis=-1) < RADIUS_MM] = 40
    for mark in ((0, 20, 0), (-20, 0, 0), (0, 0, -20)):
        volume.array[np.linalg.norm(places - mark, axis=-1) < 3] = 1000
    return volume


def nodule(
    volume: Volume, layout: Layout = LAYOUTS["native"], heatmaps: bool = True, label: str = "nodule 1"
) -> Assessment:
    """An assessment of the ball whose heatmaps are strongest in its middle."""
    stack = cut(volume, CENTRE, Layout("outline", slices=25))
    near = np.linalg.norm(stack.pixels_ras() - CENTRE, axis=-1) < RADIUS_MM + 2
    outline = measure(stack, (near & (stack.pixels > -400)).astype(np.float32))
    assert outline is not None
    stack = cut(volume, outline.centre_ras, layout, outline.bounds_ras, outline.probability)
    middle = np.exp(-((stack.offset_mm / 4) ** 2)) * stack.valid
    values = dict.fromkeys(GRADE_NAMES, 3.21) | {"calcification": MEAN_CODE, "diameter": outline.diameter_mm}
    found = Nodule(
        outline=outline,
        estimates=tuple(
            Estimate(grade, values[grade.name], values[grade.name] * 0.8, values[grade.name] * 1.2, 10.0 * g)
            for g, grade in enumerate(GRADES)
        ),
        calcification=Calcification(0.75, "central", 0.6),
        suspicion_probability=0.678,
        stack=stack,
        heatmaps={
            name: Heatmap(np.float32(0.1 * (g + 1)) * middle, stack.valid, stack.outline[stack.valid])
            for g, name in enumerate(GRADE_NAMES)
        }
        if heatmaps
        else {},
        account=Account(
            0.4,
            tuple(
                Term(one, 0.75 if one.name == "calcification" else values[one.name], adds)
                for one, adds in zip(OTHER_GRADES, ADDS, strict=True)
            ),
        ),
    )
    return Assessment(Point(label, (-40.1, 25.3, -110.7)), WARNINGS, PACKAGE.model_id, found)


def nothing(label: str = "nodule 2") -> Assessment:
    missed = InputWarning("No nodule was found.", "nodule")
    return Assessment(Point(label, (-30.0, 20.0, -100.0)), (missed,), "toy@0123")


def doubtful(assessment: Assessment, *doubts: str) -> Assessment:
    """The assessment with one more warning of each doubt."""
    more = tuple(InputWarning("This makes one think.", "nodule", doubt) for doubt in doubts)
    return replace(assessment, warnings=assessment.warnings + more)


def found(assessment: Assessment) -> Nodule:
    """The nodule of an assessment that has one."""
    assert assessment.nodule is not None
    return assessment.nodule


def changed(assessment: Assessment, **fields: Any) -> Assessment:
    """The assessment with other fields of its nodule."""
    return replace(assessment, nodule=replace(found(assessment), **fields))


def named(assessment: Assessment, label: str) -> Assessment:
    return replace(assessment, point=replace(assessment.point, label=label))


def shown(assessments: list[Assessment], width: int = 80) -> str:
    """What stands on the terminal."""
    console = Console(file=io.StringIO(), width=width)
    console.print(on_terminal(assessments))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def strict(text: str) -> Any:
    """JSON by the standard: NaN and Infinity are errors."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def table_of(*assessments: Assessment) -> list[dict[str, str]]:
    """The CSV of some assessments, read back."""
    return list(csv.DictReader(io.StringIO(csv_text(assessments), newline="")))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# --- CSV ---


def test_a_spreadsheet_holds_the_very_numbers_of_the_assessment(assessment: Assessment) -> None:
    first, second = table_of(assessment, assessment)
    assert first == second
    assert [float(first[axis]) for axis in "ras"] == list(assessment.point.ras)
    for estimate in found(assessment).estimates:
        name = estimate.grade.name
        if name != "calcification":
            told = [float(first[f"{name}{end}"]) for end in ("", "_low", "_high", "_percentile")]
            assert told == [estimate.value, estimate.low, estimate.high, estimate.percentile]
            assert first[f"{name}_word"] == estimate.word
    assert float(first["suspicion_probability"]) == found(assessment).suspicion_probability
    assert float(first["outline_volume_mm3"]) == found(assessment).outline.volume_mm3
    assert first["model_id"] == PACKAGE.model_id
    assert (first["ct_warnings"], first["warnings"]) == tuple(map(str, WARNINGS))


def test_a_table_holds_one_diameter() -> None:
    names = {column.name for column in COLUMNS if "diameter" in column.name}
    ends = ("", "_low", "_high", "_word", "_percentile")
    assert names == {f"diameter{end}" for end in (*ends, "_adds")} | {"solid_part_diameter_mm"}


def test_a_row_says_what_is_doubtful_and_whose_outline_was_measured(assessment: Assessment) -> None:
    mine = changed(assessment, outline=replace(found(assessment).outline, drawn_by="user"))
    unsure = changed(assessment, outline=replace(found(assessment).outline, unsure=True))
    rows = table_of(mine, doubtful(unsure, "vessel?", "outline unsure", "vessel?"), nothing())
    told = [tuple(row[name] for name in ("doubts", "outline_by", "outline_unsure")) for row in rows]
    assert told == [("", "user", "no"), ("vessel?; outline unsure", "network", "yes"), ("", "", "")]


def test_tables_and_json_hold_what_every_grade_adds_and_where_that_leads(
    volume: Volume, assessment: Assessment
) -> None:
    silent = changed(assessment, account=None)
    row, empty = table_of(assessment, silent)
    assert [float(row[f"{grade.name}_adds"]) for grade in OTHER_GRADES] == list(ADDS)
    assert math.isclose(float(row["accounted_probability"]), 1 / (1 + math.exp(-(0.4 + sum(ADDS)))))
    assert not any(empty[f"{grade.name}_adds"] for grade in OTHER_GRADES) and empty["accounted_probability"] == ""
    told, nothing_told = (
        one["nodule"]["account"] for one in strict(json_text(volume, [assessment, silent]))["nodules"]
    )
    assert told["terms"]["calcification"] == {"value": 0.75, "adds": -2.0} and told["intercept"] == 0.4
    assert set(told["terms"]) == {grade.name for grade in OTHER_GRADES} and nothing_told is None


def test_the_solid_part_has_columns_of_its_own(assessment: Assessment) -> None:
    rows = table_of(changed(assessment, solid_part=SolidPart(6.25, 7.0, 5.5, 120.5)), assessment)
    told = [(row["solid_part_diameter_mm"], row["solid_part_volume_mm3"]) for row in rows]
    assert told == [("6.25", "120.5"), ("", "")]


def test_calcification_is_a_presence_and_a_pattern_and_never_a_mean_of_codes(assessment: Assessment) -> None:
    (row,) = table_of(assessment)
    assert (float(row["calcification_presence"]), row["calcification_pattern"]) == (0.75, "central")
    assert "calcification" not in row and str(MEAN_CODE) not in row.values()
    for text in (shown([assessment]), shown([assessment, assessment])):
        assert "75 %" in text
        assert "laminated" not in text and " 2.3 " not in text
    assert "central (60 %)" in shown([assessment])


def test_calcification_that_most_readers_would_not_see_is_called_absent(assessment: Assessment) -> None:
    text = shown([changed(assessment, calcification=Calcification(0.2, "central", 0.6))])
    assert "absent" in text and "central" not in text


def test_a_point_without_a_nodule_keeps_its_row_and_has_no_numbers(assessment: Assessment) -> None:
    row = table_of(nothing(), assessment)[0]
    assert (row["label"], row["nodule_found"], row["s"]) == ("nodule 2", "no", "-100.0")
    assert row["warnings"] == "No nodule was found."
    assert not any(row[column.name] for column in COLUMNS if column.path[0] == "nodule")


def test_labels_with_commas_quotes_and_line_breaks_do_not_shift_columns(assessment: Assessment) -> None:
    label = 'upper lobe, "left"\nsecond line; größer'
    (row,) = table_of(named(assessment, label))
    assert row["label"] == label and row["model_id"] == PACKAGE.model_id


def test_rows_of_two_cts_can_be_put_together_and_told_apart(volume: Volume, assessment: Assessment) -> None:
    series = {"SeriesInstanceUID": "1.2.3"}
    other = replace(volume, array=volume.array + np.int16(1), name="later.nrrd", identity=series)
    texts = [csv_text([assessment], one) for one in (volume, other)]
    assert texts[0].splitlines()[0] == texts[1].splitlines()[0]
    first, second = (next(csv.DictReader(io.StringIO(text, newline=""))) for text in texts)
    assert (first["ct"], first["ct_digest"]) == (volume.name, volume.digest)
    assert (second["ct"], second["ct_digest"], second["series_uid"]) == ("later.nrrd", other.digest, "1.2.3")
    frame = to_frame([assessment], other)
    assert frame.loc[0, "ct_digest"] == other.digest and frame.loc[0, "series_uid"] == "1.2.3"
    assert list(frame.columns) == texts[1].splitlines()[0].split(",")


def test_every_column_is_explained_and_named_once() -> None:
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    assert all(column.meaning for column in COLUMNS)


# --- JSON ---


def test_json_holds_all_that_is_needed_to_repeat_and_compare_a_result(volume: Volume, assessment: Assessment) -> None:
    model = {"digest": PACKAGE.digest, "layout": {"name": "native", "planes": ["axial"]}}
    told = strict(json_text(volume, [assessment, nothing()], model))
    assert told == as_json(volume, [assessment, nothing()], model)
    assert told["disclaimer"] == DISCLAIMER
    assert told["model"]["digest"] == PACKAGE.digest and told["model"]["layout"]["name"] == "native"
    assert told["volume"]["digest"] == volume.digest and told["volume"]["identity"] == {"path": "toy.nrrd"}
    assert told["volume"]["shape_kji"] == [30, 90, 90]
    assert np.allclose(told["volume"]["spacing_ijk_mm"], (0.8, 0.8, 2.0))
    assert {"NoduleRisk", "torch", "timm", "numpy", "SimpleITK", "python"} <= set(told["versions"])
    first, empty = told["nodules"]
    nodule = first["nodule"]
    assert set(nodule["estimates"]) == set(GRADE_NAMES) - {"calcification"}
    assert nodule["estimates"]["diameter"]["value"] == nodule["outline"]["diameter_mm"]
    assert nodule["suspicion_probability"] == 0.678
    assert [one["text"] for one in first["warnings"]] == [str(warning) for warning in WARNINGS]
    assert [one["about"] for one in first["warnings"]] == ["ct", "nodule"]
    assert first["doubts"] == []
    assert as_json(volume, [doubtful(assessment, "vessel?")])["nodules"][0]["doubts"] == ["vessel?"]
    assert "word" not in nodule["calcification"]["mean_code"]
    assert empty["nodule"] is None
    assert [one["model_id"] for one in told["nodules"]] == [PACKAGE.model_id, "toy@0123"]


def test_json_says_where_each_slice_lay_and_how_much_it_moved_each_grade(
    volume: Volume, assessment: Assessment
) -> None:
    slices = as_json(volume, [assessment])["nodules"][0]["nodule"]["stack"]["slices"]
    stack = found(assessment).stack
    valid = stack.valid
    assert [one["offset_mm"] for one in slices] == stack.offset_mm[valid].tolist()
    for name, heatmap in found(assessment).heatmaps.items():
        assert [one["weights"][name] for one in slices] == heatmap.slice_weights[valid].tolist()


def test_json_stays_readable_by_other_programs_when_a_number_is_missing(volume: Volume, assessment: Assessment) -> None:
    first, *others = found(assessment).estimates
    broken = replace(first, percentile=math.nan, high=math.inf)
    told = strict(json_text(volume, [changed(assessment, estimates=(broken, *others))]))
    subtlety = told["nodules"][0]["nodule"]["estimates"]["subtlety"]
    assert subtlety["percentile"] is None and subtlety["high"] is None and subtlety["value"] == 3.21


# --- terminal ---


def test_a_probability_never_reads_as_certain() -> None:
    assert [percent(share) for share in (0, 0.001, 0.5, 0.9996, 1)] == ["0 %", "< 1 %", "50 %", "> 99 %", "100 %"]


def test_drawn_scales_keep_their_ends_and_double_diameters_over_equal_distances() -> None:
    for grade in GRADES:
        assert [along(grade, value) for value in (grade.low, grade.high)] == [0, 1]
    diameter = GRADES[GRADE_NAMES.index("diameter")]
    assert math.isclose(along(diameter, 10) - along(diameter, 5), along(diameter, 40) - along(diameter, 20))


# --- maps ---


def test_slicer_opens_a_heatmap_where_the_nodule_lies(tmp_path: Path, assessment: Assessment) -> None:
    (map_,) = found(assessment).heatmap_volumes("malignancy").values()
    write_nrrd(tmp_path / "map.nrrd", map_)
    image = sitk.ReadImage(str(tmp_path / "map.nrrd"))
    array = sitk.GetArrayFromImage(image)
    assert np.array_equal(array, map_.array)
    for k, j, i in ((0, 0, 0), (1, 5, 40)):
        lps = np.array(image.TransformIndexToPhysicalPoint((i, j, k)))
        assert np.allclose(lps * (-1, -1, 1), map_.to_ras(np.array([i, j, k])))
    k, j, i = np.unravel_index(array.argmax(), array.shape)
    strongest = np.array(image.TransformIndexToPhysicalPoint((int(i), int(j), int(k)))) * (-1, -1, 1)
    assert np.linalg.norm(strongest - CENTRE) < RADIUS_MM + 1


def test_reports_can_be_made_where_torch_is_not_installed() -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['timm'] = None; import NoduleRiskLib.results.tables, "
        "NoduleRiskLib.results.nodule_page; sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
