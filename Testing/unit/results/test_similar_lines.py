"""What a reader would be told wrongly of similar nodules: whose suspicion it is, and whose pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from html import unescape

import pytest
from test_nodule_page import words_and_colours
from test_results import changed, doubtful, found, shown, table_of
from test_terminal_texts import grey

from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.report.document import content
from NoduleRiskLib.report.examination import examination
from NoduleRiskLib.results.assessment import Assessment
from NoduleRiskLib.results.nodule_page import page
from NoduleRiskLib.results.similar_lines import (
    PICTURES_FROM,
    TITLE,
    similar_lines,
    similar_sentence,
    similar_text,
)
from NoduleRiskLib.similar.reference_set import ReferenceSet

NOT_PATHOLOGY = "readers' suspicion, not pathology"


@pytest.fixture
def compared(assessment: Assessment, reference: ReferenceSet) -> Assessment:
    """The assessment with the first five of the made-up reference nodules."""
    return changed(assessment, similar=reference.nodules[:5])


def test_lines_tell_what_the_readers_gave(compared: Assessment) -> None:
    lines = similar_lines(found(compared))
    assert [line.name for line in lines] == ["P1", "P2", "P3", "P4", "P4"]
    assert (lines[4].size, lines[4].malignancy) == ("15.2 mm", "malignancy 3.5 (2 3 4 5)")
    assert lines[4].grades[0] == "spiculation 3.6" and lines[4].grades[-1] == "calcification seen by 16 % of readers"
    assert not any("calcification" in grade for grade in lines[0].grades)
    assert all(line.source.startswith("data:image/jpeg;base64,/9j/") for line in lines)
    assert similar_text(found(compared)).startswith("P1, 5.0 mm, malignancy 1.7 (1 2 2); P2, 6.6 mm,")


def test_the_sentence_says_whose_suspicion_it_is(compared: Assessment) -> None:
    sentence = similar_sentence(found(compared))
    assert f"malignancy 1.0 to 5.0, on average 2.9: {NOT_PATHOLOGY}." in sentence and "very nodule" not in sentence


def test_a_nodule_that_finds_itself_is_told_first(compared: Assessment) -> None:
    first, *rest = found(compared).similar
    own = changed(compared, similar=(replace(first, same=True), *rest))
    assert similar_sentence(found(own)).startswith("P1 looks like this very nodule, so it tells nothing new.")


def test_every_display_shows_them_with_their_source_and_greys_them_of_a_doubtful_nodule(
    volume: Volume, compared: Assessment
) -> None:
    unsure = doubtful(compared, "vessel?")
    words = {name: " ".join(text.split()) for name, text in (("sure", shown([compared])), ("grey", grey([unsure])))}
    assert all("P2, 6.6 mm, malignancy 5.0 (5 5 5)" in text and NOT_PATHOLOGY in text for text in words.values())
    sure, greyed = (words_and_colours(page(volume, one)) for one in (compared, unsure))
    assert sure["P2"] != greyed["P2"] and TITLE in sure and PICTURES_FROM in sure
    assert NOT_PATHOLOGY in " ".join(sure)
    html = unescape(compared._repr_html_())
    assert html.count("data:image/jpeg") == 5 and NOT_PATHOLOGY in html and PICTURES_FROM in html


def test_the_report_shows_them_in_every_kind(volume: Volume, compared: Assessment) -> None:
    told = examination(volume, [compared])
    text = content(".txt", told).decode()
    html = unescape(content(".html", told).decode())
    assert "Similar LIDC nodules: P1, 5.0 mm" in text and NOT_PATHOLOGY in text
    assert html.count("data:image/jpeg") == 5 and NOT_PATHOLOGY in html and PICTURES_FROM in html
    silent = examination(volume, [changed(compared, similar=())])
    pdf, shorter = (content(".pdf", one) for one in (told, silent))
    assert len(pdf) > len(shorter) + 1000
    assert all(TITLE not in content(kind, silent).decode() for kind in (".txt", ".html"))


def test_tables_and_files_keep_them(compared: Assessment) -> None:
    (row,) = table_of(compared)
    assert row["similar_nodules"] == "P1_0; P2_0; P3_0; P4_0; P4_1"
    assert float(row["similar_malignancy"]) == pytest.approx(2.9)
    kept = json.loads(json.dumps(compared.to_dict()))
    assert found(Assessment.from_dict(kept, compared.maps())).similar == found(compared).similar


def test_without_any_nothing_is_said(volume: Volume, assessment: Assessment) -> None:
    (row,) = table_of(assessment)
    assert row["similar_nodules"] == row["similar_malignancy"] == ""
    assert similar_lines(None) == similar_lines(found(assessment)) == []
    assert similar_text(found(assessment)) == similar_sentence(found(assessment)) == ""
    for text in (shown([assessment]), " ".join(words_and_colours(page(volume, assessment))), assessment._repr_html_()):
        assert "Similar" not in text and "Pictures" not in text
    kept = assessment.to_dict()
    del kept["nodule"]["similar"]
    assert found(Assessment.from_dict(kept, assessment.maps())).similar == ()


def test_results_outlive_their_pictures(volume: Volume, assessment: Assessment, reference: ReferenceSet) -> None:
    """A result may come from another version, which had other nodules."""
    gone = replace(reference.nodules[0], name="P99_0")
    other = changed(assessment, similar=(gone,))
    (line,) = similar_lines(found(other))
    assert line.picture is None and line.source == ""
    assert "P99" in words_and_colours(page(volume, other)) and "<img src=''" not in other._repr_html_()
