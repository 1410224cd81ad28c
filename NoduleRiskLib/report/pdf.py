"""The report as PDF, by reportlab: the same words and pictures as the HTML document, page after page."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Image, KeepTogether, PageBreak, Paragraph, SimpleDocTemplate, Spacer, Table

from ..guidelines.lines import AnswerLine
from ..results.sheet import INK, LINE, MUTED
from . import words
from .examination import Examination, Finding
from .pictures import pictures, width_mm

#: The fonts that matplotlib brings: most alphabets, unlike a PDF's own.
FONT, BOLD = "DejaVuSans", "DejaVuSans-Bold"
MARGIN = 18 * mm
#: What a page's frame leaves between its paddings of 6 points.
WIDTH = A4[0] - 2 * MARGIN - 12
ALERT, GREY = "#8a5400", "#808890"


def _style(size: float, bold: bool = False, color: str = INK, before: float = 0) -> ParagraphStyle:
    return ParagraphStyle(
        f"{size} {bold} {color} {before}",
        fontName=BOLD if bold else FONT,
        fontSize=size,
        leading=1.3 * size,
        textColor=HexColor(color),
        spaceBefore=before,
        spaceAfter=0.25 * size,
        # Identifiers have no spaces to break at.
        splitLongWords=True,
    )


TITLE, HEADING, SECTION = _style(16, True), _style(13, True, before=4), _style(10, True, before=6)
BODY, SMALL, STRONG = _style(9), _style(7.5, color=MUTED), _style(9, True)
DOUBTFUL, CAUTION = _style(9, color=GREY), _style(9, True, ALERT)
HEAD = _style(7.5, True, MUTED)


def pdf(report: Examination) -> bytes:
    """The whole report.

    Parameters
    ----------
    report : Examination

    Returns
    -------
    bytes
        A PDF file of A4 pages.
    """
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in (FONT, BOLD):
        pdfmetrics.registerFont(TTFont(name, folder / f"{name}.ttf"))
    file = io.BytesIO()
    document = SimpleDocTemplate(
        file,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=words.TITLE,
        author="NoduleRisk",
        subject=words.RESEARCH,
        lang=words.LANGUAGE,
    )

    def foot(canvas: Any, page: Any) -> None:
        canvas.saveState()
        canvas.setFillColor(HexColor(MUTED))
        canvas.setFont(FONT, 7)
        canvas.drawString(MARGIN, 0.6 * MARGIN, words.RESEARCH)
        canvas.drawRightString(A4[0] - MARGIN, 0.6 * MARGIN, words.PAGE.format(number=page.page))
        canvas.restoreState()

    story = list(_first(report))
    for finding in report.findings:
        story += [PageBreak(), *_card(report, finding)]
    document.build(story, onFirstPage=foot, onLaterPages=foot)
    return file.getvalue()


def _first(report: Examination) -> Iterator[Any]:
    """What was examined, and the list of nodules."""
    yield _text(words.TITLE, TITLE)
    yield _text(words.RESEARCH, STRONG)
    yield _table([(_text(name, SMALL), _text(value, BODY)) for name, value in report.facts], (24, 150), lined=False)
    if report.warnings:
        yield _text(words.ABOUT_CT, CAUTION)
        yield from (_text(f"• {one}", BODY) for one in report.warnings)
    yield _text(words.NODULES, SECTION)
    head = (
        words.NODULE,
        words.SIZE_HEADING,
        words.PLACE,
        words.IMAGE_HEADING,
        words.SUSPICION,
        words.LUNG_RADS,
        words.NOTES,
    )
    rows = [
        [
            _text(f"{one.number}. {one.label}", BODY),
            _text(one.size, _ink(one)),
            _text(one.place, BODY),
            _text(one.slice, BODY),
            _text(one.suspicion, _ink(one)),
            _text(one.lung_rads, _ink(one)),
            _text(", ".join(one.doubts), BODY),
        ]
        for one in report.findings
    ]
    yield _table([[_text(one, HEAD) for one in head], *rows], (28, 36, 32, 20, 18, 23, 17), repeat=1)
    yield Spacer(1, 4)
    yield _text(f"{words.SUSPICION_NOTE} {words.GUIDELINES_NOTE}", SMALL)


def _card(report: Examination, one: Finding) -> Iterator[Any]:
    """One nodule: doubts first, then sentence, pictures, answers, inputs, grades."""
    yield _text(f"{one.number}. {one.label}", HEADING)
    if one.management is None:
        yield _text(f"{words.NO_NODULE} ({one.place}; {one.slice})", BODY)
    else:
        yield from (_text(caution, CAUTION) for caution in one.management.cautions)
        yield _text(f"{one.kind}, {one.size}; {one.place}; {one.slice}.", _ink(one))
        yield _text(one.signs, BODY)
    if one.growth:
        yield _text(one.growth, BODY)
    sop = words.SOP.format(uid=one.image.sop_uid) if one.image.sop_uid else ""
    yield _text(" · ".join(filter(None, (one.coordinates, sop))), SMALL)
    if one.warnings:
        yield _text(words.WARNINGS, CAUTION)
        yield from (_text(f"• {text}", BODY) for text in one.warnings)
    yield Spacer(1, 4)
    side = (WIDTH - 9 * mm) / 4
    shown = pictures(report.volume, one)
    yield _table(
        [
            [Image(io.BytesIO(png), side, side) for png in shown.values()],
            [_text(words.PICTURES[name], SMALL) for name in shown],
        ],
        (43.5,) * 4,
        lined=False,
    )
    yield _text(words.WIDE.format(width_mm=width_mm(one)), SMALL)
    if one.management is None:
        return
    yield _text(words.MANAGEMENT, SECTION)
    answers = [[_text(line.name, STRONG), list(_answer(line, one))] for line in one.answers]
    yield _table([[_text(words.GUIDELINE, HEAD), _text(words.ANSWER, HEAD)], *answers], (32, 142), repeat=1)
    yield _text(words.RESEARCH, SMALL)
    inputs = [
        [_text(line.label, BODY), _text(line.value or "?", BODY), _text(line.origin, BODY)] for line in one.inputs
    ]
    head = [_text(name, HEAD) for name in (words.INPUT, words.VALUE, words.ORIGIN)]
    yield _text(words.INPUTS, SECTION)
    yield _table([head, *inputs], (72, 60, 42), repeat=1)
    yield KeepTogether(list(_grades(one)))
    if one.similar:
        yield KeepTogether(list(_similar(one)))


def _answer(line: AnswerLine, finding: Finding) -> Iterator[Paragraph]:
    yield _text(line.short, DOUBTFUL if finding.doubts else STRONG)
    for outcome in line.outcomes:
        category = f"{outcome.category}: " if len(line.outcomes) > 1 and outcome.sentence else ""
        if outcome.sentence:
            yield _text(f"{category}{outcome.sentence}", _ink(finding))
        yield _text(words.BY.format(rule=outcome.by), SMALL)
    yield from (_text(f"{words.MISSING}: {one.full}", SMALL) for one in line.missing)
    for heading, opened in ((words.UNCONFIRMED, line.unconfirmed), (words.ASSUMED, line.assumed)):
        if opened:
            yield _text(f"{heading}: {'; '.join(one.taken for one in opened)}", SMALL)
    if line.idle:
        yield _text(words.IDLE.format(labels=line.idle), SMALL)


def _grades(one: Finding) -> Iterator[Any]:
    ink = _ink(one)
    yield _text(words.GRADES, SECTION)
    yield _text(f"{words.SUSPICION}: {one.suspicion}. {words.SUSPICION_NOTE}", ink)
    head = [_text(name, HEAD) for name in (words.GRADE, words.VALUE, words.INTERVAL, words.WORD, words.BELOW)]
    rows = [
        [
            _text(text, ink)
            for text in (
                line.name.capitalize(),
                f"{line.value} {line.unit}".strip(),
                line.interval,
                line.word,
                line.below,
            )
        ]
        for line in one.grades
    ]
    yield _table([head, *rows], (36, 26, 34, 58, 20), repeat=1)
    yield _text(words.BELOW_MEANS, SMALL)


def _similar(one: Finding) -> Iterator[Any]:
    ink, side = _ink(one), (WIDTH - 12 * mm) / 5
    yield _text(words.SIMILAR, SECTION)
    facts = [
        [
            _text(line.name, STRONG),
            *(_text(text, ink) for text in (line.size, line.malignancy)),
            _text(", ".join(line.grades), SMALL),
        ]
        for line in one.similar
    ]
    images = [Image(io.BytesIO(line.picture), side, side) if line.picture else "" for line in one.similar]
    yield _table([images, facts], (1,) * len(facts), lined=False)
    yield _text(one.similar_sentence, ink)
    yield _text(words.SIMILAR_FROM, SMALL)


def _ink(one: Finding) -> ParagraphStyle:
    return DOUBTFUL if one.doubts else BODY


def _text(text: str, style: ParagraphStyle) -> Paragraph:
    """A paragraph that shows a text as it is: reportlab takes tags in it for its own."""
    return Paragraph(escape("".join(sign if sign.isprintable() else " " for sign in text)), style)


def _table(rows: Sequence[Sequence[Any]], widths: Sequence[float], repeat: int = 0, lined: bool = True) -> Table:
    """A table as wide as the page, its columns in these proportions."""
    table = Table(
        rows, [width * WIDTH / sum(widths) for width in widths], repeatRows=repeat, hAlign="LEFT", splitInRow=1
    )
    style: list[tuple[Any, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 6),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ]
    if lined:
        style.append(("LINEBELOW", (0, 0), (-1, -1), 0.5, HexColor(LINE)))
    table.setStyle(style)
    return table
