"""What people would read wrongly on the terminal: cut figures, doubtful ones among the sure, sizes of nobody."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from test_results import WARNINGS, changed, doubtful, found, named, nothing, shown

from NoduleRiskLib.cli.terminal import on_terminal
from NoduleRiskLib.grades import DISCLAIMER, GRADE_NAMES
from NoduleRiskLib.imaging.solid_part import SolidPart
from NoduleRiskLib.results.assessment import Assessment


def test_the_terminal_shows_every_grade_every_warning_and_the_disclaimer_unshortened(assessment: Assessment) -> None:
    for assessments in ([assessment], [assessment, named(assessment, "other"), nothing()]):
        text = " ".join(shown(assessments).split())
        assert "…" not in text
        for sentence in (*(str(warning) for one in assessments for warning in one.warnings), DISCLAIMER):
            assert text.count(sentence) == 1
    assert all(name in shown([assessment]) for name in GRADE_NAMES)
    assert max(map(len, shown([assessment]).splitlines())) <= 80
    for part in ("3.2", "2.6 – 3.9", "indeterminate", "68 %", "R -40.1"):
        assert part in shown([assessment])
    outline = replace(found(assessment).outline, diameter_mm=11.1, long_axis_mm=13.3, short_axis_mm=8.8)
    text = shown([changed(assessment, outline=outline)])
    assert "13.3 × 8.8 mm" in text and "12.9" in text and "11.1" not in text, (
        "the diameter stands among the grades alone"
    )


def grey(assessments: list[Assessment]) -> str:
    """What of the terminal is printed dim."""
    console = Console(file=io.StringIO(), width=80)
    segments = [part for line in console.render_lines(on_terminal(assessments)) for part in line]
    return " ".join(part.text for part in segments if part.style and part.style.dim)


def test_the_terminal_greys_a_doubtful_nodules_figures_and_says_why_in_its_own_row(assessment: Assessment) -> None:
    doubted = named(doubtful(assessment, "vessel?", "outline unsure"), "doubted")
    for assessments in ([doubted], [assessment, doubted]):
        dim, text = grey(assessments), shown(assessments)
        assert all(figure in dim for figure in ("68 %", "12.9", "3.2"))
        assert not any(words in dim for words in ("vessel?", "outline unsure", "doubted", "makes one think"))
        assert text.count("vessel?") == text.count("outline unsure") == text.count("makes one think") - 1 == 1
        assert max(map(len, text.splitlines())) <= 80
    assert "68 %" not in grey([assessment]) + grey([assessment, named(assessment, "other")])
    lines = shown([assessment, doubted]).splitlines()
    (row,) = [number for number, line in enumerate(lines) if "doubted" in line]
    assert [line.strip() for line in lines[row + 1 : row + 3]] == ["vessel?", "outline unsure"]


@pytest.mark.parametrize("width", [60, 67, 68, 75, 76, 80, 200])
def test_figures_and_names_stand_whole_on_narrow_terminals(assessment: Assessment, width: int) -> None:
    named_well = named(doubtful(assessment, "outside the lungs", "outline unsure"), "left lower lobe")
    for assessments in ([named_well], [named_well, assessment, nothing()]):
        text = shown(assessments, width)
        assert "…" not in text and max(map(len, text.splitlines())) <= width
        for word in ("left", "lower", "lobe", "outside", "lungs", "outline", "unsure", "68 %", "12.9"):
            assert word in text
    interval = found(assessment).estimate("malignancy")
    assert f"({interval.low:.1f}–{interval.high:.1f})" in text
    for name in GRADE_NAMES:
        assert name in shown([assessment], width)


def test_a_row_has_one_mark_if_there_are_warnings_about_its_nodule(assessment: Assessment) -> None:
    for width in (60, 80):
        lines = [
            line.strip() for line in shown([named(assessment, "warned"), nothing_said(assessment)], width).splitlines()
        ]
        (warned,) = [line for line in lines if line.startswith("warned")]
        (silent,) = [line for line in lines if line.startswith("silent")]
        assert warned.count("!") == 1 and "!" not in silent


def nothing_said(assessment: Assessment) -> Assessment:
    """The assessment under another name without a word about its nodule."""
    about_ct = tuple(one for one in assessment.warnings if one.about == "ct")
    return replace(named(assessment, "silent"), warnings=about_ct)


def test_what_holds_for_the_ct_stands_once_above_the_list_and_nodules_warnings_below(assessment: Assessment) -> None:
    for assessments in ([assessment], [assessment, named(assessment, "other")]):
        text = " ".join(shown(assessments).split())
        assert text.count(str(WARNINGS[0])) == 1
        assert text.index(str(WARNINGS[0])) < text.index("68 %") < text.index(str(WARNINGS[1]))


@pytest.mark.parametrize(("texture", "said"), [(1.4, False), (1.5, True), (4.4, True), (4.5, False)])
def test_a_solid_part_is_shown_of_part_solid_nodules_alone(assessment: Assessment, texture: float, said: bool) -> None:
    one = changed(
        assessment,
        solid_part=SolidPart(6.23, 7.0, 5.5, 1204.0),
        estimates=tuple(
            replace(each, value=texture) if each.grade.name == "texture" else each
            for each in found(assessment).estimates
        ),
    )
    words = "solid part 6.2 mm (7.0 × 5.5), 1,204 mm³, by threshold"
    for text in (shown([one]), one._repr_html_()):
        assert (words in text.lower()) is said
    assert "solid part" not in shown([changed(one, solid_part=None)]).lower()


def test_how_repeatable_sizes_are_is_said_where_it_is_known(assessment: Assessment) -> None:
    words = (
        "A second measurement of this nodule may differ by ± 9 % in diameter and ± 24 % in volume without any growth."
    )
    known = changed(assessment, repeatability=(9.2, 23.7))
    for text in (shown([known]), known._repr_html_()):
        assert words in " ".join(text.split())
    assert "second measurement" not in shown([assessment]) + assessment._repr_html_()


def test_sizes_say_whose_outline_they_were_measured_on(assessment: Assessment) -> None:
    mine = changed(assessment, outline=replace(found(assessment).outline, drawn_by="user"))
    for one, words in ((assessment, "measured on the network's outline"), (mine, "measured on your outline")):
        assert words in " ".join(shown([one]).split()) and words in one._repr_html_()


def test_labels_are_printed_as_they_are_whatever_brackets_they_have(assessment: Assessment) -> None:
    label = "[bold]left[/bold] [/]"
    assert label in shown([named(assessment, label)])
    assert label in shown([named(assessment, label), nothing()], width=160)
