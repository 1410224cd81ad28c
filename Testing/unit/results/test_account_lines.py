"""What a reader would be told wrongly of why a nodule is suspicious: order, sign, sum, and whether both ways agree."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_nodule_page import words_and_colours
from test_results import ADDS, changed, doubtful, found, shown
from test_terminal_texts import grey

from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.results.account_lines import (
    APART,
    LOWERS,
    RAISES,
    account_lines,
    account_sentence,
    account_text,
    signed,
)
from NoduleRiskLib.results.assessment import Assessment
from NoduleRiskLib.results.nodule_page import GREY, INK, page

TEXT = "calcification −2.0, diameter +1.2, spiculation +0.6"
NOT_A_CAUSE = "an account of this model's own arithmetic, not a cause."


def adding(assessment: Assessment, *adds: float) -> Assessment:
    """The assessment whose grades add something else."""
    one = found(assessment).account
    assert one is not None
    terms = tuple(replace(term, adds=new) for term, new in zip(one.terms, adds, strict=True))
    return changed(assessment, account=replace(one, terms=terms))


def test_the_largest_come_first_and_what_adds_nothing_is_left_out(assessment: Assessment) -> None:
    # The small ones add up to -0.01.
    assert account_text(found(assessment)) == TEXT
    small = adding(assessment, 0.19, 0.15, *ADDS[2:])
    assert account_text(found(small)) == f"{TEXT}, others +0.3"
    assert account_text(found(adding(assessment, *[0.0] * 8))) == "nothing"
    assert account_lines(found(adding(assessment, *[0.0] * 8))) == []


def test_bars_lie_on_the_side_of_their_sign_and_are_as_long_as_their_terms(assessment: Assessment) -> None:
    calcium, diameter, _ = account_lines(found(assessment))
    assert calcium.ends[1] == diameter.ends[0] == 0.5
    lengths = [line.ends[1] - line.ends[0] for line in (calcium, diameter)]
    assert lengths[0] / lengths[1] == pytest.approx(2.0 / 1.2)
    assert (calcium.colour, diameter.colour) == (LOWERS, RAISES)
    far = account_lines(found(adding(assessment, -40.0, 20.0, *[0.0] * 6)))
    assert [line.ends for line in far] == [(0.0, 0.5), (0.5, 0.75)]


@pytest.mark.parametrize(("adds", "text"), [(0.04, "+0.0"), (-0.06, "−0.1"), (-12.34, "−12.3"), (2.0, "+2.0")])
def test_every_term_has_its_sign(adds: float, text: str) -> None:
    assert signed(adds) == text


def test_the_sentence_says_what_it_is_and_what_the_direct_head_says(assessment: Assessment) -> None:
    sentence = account_sentence(found(assessment))
    assert "average nodule of 60 %" in sentence and sentence.endswith(NOT_A_CAUSE)
    assert "together 55 %, beside a suspicion probability of 68 %" in sentence and "badly" not in sentence


def test_two_answers_that_lie_far_apart_are_told_as_such(assessment: Assessment) -> None:
    one = found(assessment).account
    assert one is not None
    for gap, apart in ((APART - 0.01, False), (APART + 0.01, True), (-APART - 0.01, True)):
        sentence = account_sentence(found(changed(assessment, suspicion_probability=one.probability + gap)))
        assert ("at least 20 points from the suspicion probability" in sentence) == (
            "explain this nodule badly" in sentence
        )
        assert ("badly" in sentence) == apart and sentence.endswith(NOT_A_CAUSE)


def test_terminal_page_and_notebook_tell_it_and_grey_it_of_a_doubtful_nodule(
    volume: Volume, assessment: Assessment
) -> None:
    sentence = account_sentence(found(assessment))
    unsure = doubtful(assessment, "vessel?")
    assert TEXT in " ".join(shown([assessment]).split()) and sentence in " ".join(shown([assessment]).split())
    assert TEXT in " ".join(grey([unsure]).split()) and "−2.0" not in grey([assessment])
    sure, greyed = words_and_colours(page(volume, assessment)), words_and_colours(page(volume, unsure))
    assert (sure["−2.0"], greyed["−2.0"]) == (INK, GREY)
    assert sentence in " ".join(" ".join(sure).split())
    for part in ("−2.0", "+1.2", NOT_A_CAUSE.replace("'", "&#x27;")):
        assert part in assessment._repr_html_()


def test_without_an_account_nothing_is_said_of_it(volume: Volume, assessment: Assessment) -> None:
    silent = changed(assessment, account=None)
    assert account_lines(found(silent)) == [] and account_text(found(silent)) == account_sentence(found(silent)) == ""
    for text in (shown([silent]), " ".join(words_and_colours(page(volume, silent))), silent._repr_html_()):
        assert "Why this" not in text and "arithmetic" not in text
