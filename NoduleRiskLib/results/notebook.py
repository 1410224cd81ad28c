"""An assessment as HTML: what a notebook shows of it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ..grades import DISCLAIMER
from .account_lines import TITLE, AccountLine, account_lines, account_sentence
from .grade_lines import GradeLine, grade_lines
from .phrases import (
    NOTHING_OUTLINED,
    SUSPICION_MEANS,
    image,
    image_uids,
    measured_on,
    percent,
    place,
    repeatability,
    size,
    solid_part,
)
from .similar_lines import PICTURES_FROM, SimilarLine, similar_lines, similar_sentence
from .similar_lines import TITLE as SIMILAR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..errors import InputWarning
    from ..imaging.dicom_facts import ImageReference
    from ..imaging.points import Point
    from .nodule import Nodule

BAR_PIXELS = 140
ALERT = "#9a6200"


def html(
    point: Point,
    nodule: Nodule | None,
    warnings: Sequence[InputWarning],
    model_id: str,
    doubts: Sequence[str] = (),
    reference: ImageReference | None = None,
) -> str:
    """The grade card of an assessment: heading, nine grades with their scales, warnings, disclaimer.

    What holds for the whole CT stands above; the figures of a doubtful nodule are grey, and its heading says why.
    """
    about_ct = "".join(
        f"<p style='color:{ALERT}'>This CT: {escape(one.text)}</p>" for one in warnings if one.about == "ct"
    )
    doubtful = f" &nbsp; <b style='color:{ALERT}'>{escape(', '.join(doubts))}</b>" if doubts else ""
    shown = image(reference)
    named = f" &nbsp; <span title='{escape(image_uids(reference))}'>{shown}</span>" if shown else ""
    heading = f"<b>{escape(point.label)}</b>{doubtful} &nbsp; {place(point.ras)} mm{named}"
    if nodule is None:
        body = f"<p>{NOTHING_OUTLINED}</p>"
    else:
        rows = "".join(map(_row, grade_lines(nodule)))
        sizes = (f"{', '.join(size(nodule.outline))}, {measured_on(nodule.outline)}", solid_part(nodule))
        body = (
            f"<div{' style=opacity:0.5' if doubts else ''}>"
            f"<p>Suspicion probability <b>{escape(percent(nodule.suspicion_probability))}</b>: {SUSPICION_MEANS}.<br>"
            f"{'<br>'.join(text[0].upper() + text[1:] for text in (*sizes, repeatability(nodule)) if text)}</p>"
            "<table><tr><th style='text-align:left'>Grade</th><th>Value</th><th>80 % interval</th><th>Scale</th>"
            f"<th style='text-align:left'>LIDC's word</th><th>LIDC nodules below</th></tr>{rows}</table>"
            f"{_account(nodule)}{_similar(nodule)}</div>"
        )
    notes = "".join(f"<li>{escape(warning.text)}</li>" for warning in warnings if warning.about == "nodule")
    return f"<div>{about_ct}{heading}{body}<ul>{notes}</ul><small>{DISCLAIMER} Model {escape(model_id)}.</small></div>"


def _row(line: GradeLine) -> str:
    name = f"<b>{line.name}</b>" if line.name == "malignancy" else line.name
    unit = f" {line.unit}" if line.unit else ""
    return (
        f"<tr><td style='text-align:left'>{name}</td><td>{line.value}{unit}</td><td>{line.interval}</td>"
        f"<td>{_bar(line)}</td><td style='text-align:left'>{line.word}</td><td>{line.below}</td></tr>"
    )


def _account(nodule: Nodule) -> str:
    """Why this suspicion: bars to both sides of nothing, and the sentence."""
    if nodule.account is None:
        return ""
    rows = "".join(
        f"<tr><td style='text-align:left'>{line.name}</td><td>{line.adds}</td><td>{_signed_bar(line)}</td></tr>"
        for line in account_lines(nodule)
    )
    return f"<p><b>{TITLE}</b></p><table>{rows}</table><p>{escape(account_sentence(nodule))}</p>"


def _similar(nodule: Nodule) -> str:
    """The similar LIDC nodules: pictures, what their readers gave, the sentence, whose pictures they are."""
    if not nodule.similar:
        return ""
    cells = "".join(
        f"<td style='text-align:left;vertical-align:top'>{_picture(line)}<b>{escape(line.name)}</b><br>"
        f"{'<br>'.join(map(escape, (line.size, line.malignancy, *line.grades)))}</td>"
        for line in similar_lines(nodule)
    )
    return (
        f"<p><b>{SIMILAR}</b></p><table><tr>{cells}</tr></table><p>{escape(similar_sentence(nodule))}<br>"
        f"<small>{PICTURES_FROM}</small></p>"
    )


def _picture(line: SimilarLine) -> str:
    return f"<img src='{line.source}' width='96' height='96' alt=''><br>" if line.source else ""


def _signed_bar(line: AccountLine) -> str:
    left, right = (round(BAR_PIXELS * end, 1) for end in line.ends)
    return (
        f"<svg width='{BAR_PIXELS}' height='12' role='img' aria-label='{line.adds}'>"
        f"<rect x='{left}' y='2' width='{right - left:.1f}' height='8' fill='{line.colour}'/>"
        f"<rect x='{BAR_PIXELS / 2 - 0.5}' width='1' height='12' fill='#8a97a5'/></svg>"
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
