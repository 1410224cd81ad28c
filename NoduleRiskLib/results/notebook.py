"""An assessment as HTML: what a notebook shows of it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ..grades import DISCLAIMER
from .grade_lines import GradeLine, grade_lines
from .phrases import NOTHING_OUTLINED, SUSPICION_MEANS, percent, place, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..errors import InputWarning
    from ..imaging.points import Point
    from .nodule import Nodule

BAR_PIXELS = 140


def html(point: Point, nodule: Nodule | None, warnings: Sequence[InputWarning], model_id: str) -> str:
    """The grade card of an assessment: heading, nine grades with their scales, warnings, disclaimer."""
    heading = f"<b>{escape(point.label)}</b> &nbsp; {place(point.ras)} mm"
    if nodule is None:
        body = f"<p>{NOTHING_OUTLINED}</p>"
    else:
        rows = "".join(map(_row, grade_lines(nodule)))
        body = (
            f"<p>Suspicion probability <b>{percent(nodule.suspicion_probability)}</b>: {SUSPICION_MEANS}.<br>"
            f"Outline: {', '.join(size(nodule.outline))}</p>"
            "<table><tr><th style='text-align:left'>Grade</th><th>Value</th><th>80 % interval</th><th>Scale</th>"
            f"<th style='text-align:left'>LIDC's word</th><th>LIDC nodules below</th></tr>{rows}</table>"
        )
    notes = "".join(f"<li>{escape(warning.text)}</li>" for warning in warnings)
    return f"<div>{heading}{body}<ul>{notes}</ul><small>{DISCLAIMER} Model {escape(model_id)}.</small></div>"


def _row(line: GradeLine) -> str:
    name = f"<b>{line.name}</b>" if line.name == "malignancy" else line.name
    unit = f" {line.unit}" if line.unit else ""
    return (
        f"<tr><td style='text-align:left'>{name}</td><td>{line.value}{unit}</td><td>{line.interval}</td>"
        f"<td>{_bar(line)}</td><td style='text-align:left'>{line.word}</td><td>{line.below}</td></tr>"
    )


def _bar(line: GradeLine) -> str:
    """The interval on its scale, with a stroke at the value."""
    if line.low is None or line.at is None or line.high is None:
        return ""
    low, at, high = (round(BAR_PIXELS * share, 1) for share in (line.low, line.at, line.high))
    return (
        f"<svg width='{BAR_PIXELS}' height='12' role='img' aria-label='{line.interval}'>"
        f"<rect y='5' width='{BAR_PIXELS}' height='2' fill='#8a97a5' opacity='0.5'/>"
        f"<rect x='{low}' y='3' width='{high - low:.1f}' height='6' fill='#4895d6' opacity='0.6'/>"
        f"<rect x='{max(at - 1.5, 0):.1f}' width='3' height='12' fill='#0b63a5'/></svg>"
    )
