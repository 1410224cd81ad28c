"""What a radiologist would rely on too easily if an unsure outline were not told from a sure one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from NoduleRiskLib.imaging.input_checks import SEVERAL_PARTS, UNSURE_OUTLINE
from NoduleRiskLib.imaging.outline import Outline
from NoduleRiskLib.imaging.outline_checks import check_parts, check_sureness
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


def drawn(*boxes: tuple[slice, slice, slice]) -> Volume:
    labels = np.zeros((20, 60, 60), np.uint8)
    for box in boxes:
        labels[box] = 1
    return Volume(labels, np.diag((0.7, 0.7, 2.5, 1)))


NODULE = np.s_[5:9, 10:24, 10:24]


@pytest.mark.parametrize(
    "others",
    [
        [np.s_[5:9, 10:24, 40:54]],
        [np.s_[6:7, 50:51, 50:51]],
        [np.s_[11:12, 10:24, 10:24], np.s_[13:14, 10:24, 10:24]],
    ],
    ids=["a second nodule", "a speck far away", "slices with gaps"],
)
def test_an_outline_in_parts_is_not_measured_as_one_nodule_without_a_word(others: list[tuple[slice, ...]]) -> None:
    (one,) = check_parts(POINT, drawn(NODULE, *others))  # type: ignore[arg-type]
    assert (one.about, one.doubt) == ("nodule", SEVERAL_PARTS)
    assert f"F-1 lies in {1 + len(others)} parts" in one.text


@pytest.mark.parametrize(
    "others",
    [[], [np.s_[9:10, 24:28, 24:28]], [np.s_[6:7, 26:27, 12:14]]],
    ids=["one part", "parts that meet at a corner", "a speck beside it"],
)
def test_an_outline_that_hangs_together_is_one_nodule(others: list[tuple[slice, ...]]) -> None:
    assert check_parts(POINT, drawn(NODULE, *others)) == ()  # type: ignore[arg-type]
