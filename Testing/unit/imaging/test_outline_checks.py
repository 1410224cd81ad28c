"""What a radiologist would rely on too easily if an unsure outline were not told from a sure one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from NoduleRiskLib.imaging.input_checks import UNSURE_OUTLINE
from NoduleRiskLib.imaging.outline import Outline
from NoduleRiskLib.imaging.outline_checks import check_sureness
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.volume import Volume

POINT = Point("F-1", (0.0, 0.0, 0.0))
OUTLINE = Outline(
    np.zeros(3), np.zeros((2, 3)), Volume(np.zeros((2, 2, 2), np.float32), np.eye(4)), 10.0, 11.0, 9.0, 500.0, 9
)


@pytest.mark.parametrize(
    ("guessed_mm", "words"),
    [(10.0, None), (12.4, None), (8.1, None), (12.6, "looks larger than its outline"), (7.9, "looks smaller than")],
)
def test_an_outline_that_the_graders_take_for_another_size_is_unsure(guessed_mm: float, words: str | None) -> None:
    warnings = check_sureness(POINT, OUTLINE, guessed_mm)
    assert len(warnings) == (words is not None)
    for one in warnings:
        assert (one.about, one.doubt) == ("nodule", UNSURE_OUTLINE)
        assert words is not None and words in one.text and "F-1" in one.text
        # One quantity, one number: the other diameter is told nowhere.
        assert not any(letter.isdigit() for letter in one.text.replace("F-1", ""))


@pytest.mark.parametrize("guessed_mm", [10.0, 30.0])
def test_an_outline_that_the_network_had_to_force_is_unsure_once(guessed_mm: float) -> None:
    (one,) = check_sureness(POINT, replace(OUTLINE, unsure=True), guessed_mm)
    assert one.text == "The outline under F-1 is unsure: edit it before you rely on sizes and grades."
    assert one.doubt == UNSURE_OUTLINE


def test_what_the_user_drew_is_never_doubted() -> None:
    assert check_sureness(POINT, replace(OUTLINE, drawn_by="user"), 30.0) == ()
