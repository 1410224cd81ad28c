"""The similar LIDC nodules on a nodule's page: five pictures in a row, beside each what its readers gave."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from ..similar.pictures import decoded
from .sheet import INK, MARGIN, MUTED, PAGE, Sheet
from .similar_lines import PICTURES_FROM, TITLE, SimilarLine

#: Height of the row with its heading and its sources, of a picture and of a line, inches.
STRIP, SIDE, LINE_HEIGHT = 2.6, 1.4, 0.165
#: Characters that fit beside a picture.
WIDE = 26


def draw_similar(sheet: Sheet, top: float, lines: Sequence[SimilarLine], sentence: str, doubtful: bool) -> None:
    """Draw the row from ``top`` (inches) on; what is found for a doubtful nodule stands back."""
    ink = MUTED if doubtful else INK
    sheet.title(MARGIN, top + 0.2, TITLE, "")
    below = textwrap.wrap(sentence, 200)
    for n, line in enumerate(below):
        sheet.text(MARGIN, top + 0.4 + LINE_HEIGHT * n, line, 8.5, MUTED)
    top += 0.4 + LINE_HEIGHT * len(below)
    width = (PAGE - 2 * MARGIN) / len(lines)
    for column, one in enumerate(lines):
        x = MARGIN + column * width
        if one.picture:
            axes = sheet.image(x, top, SIDE, SIDE)
            axes.imshow(decoded(one.picture), cmap="gray", vmin=0, vmax=255, alpha=0.5 if doubtful else 1)
        facts = [one.size, one.malignancy, *one.grades]
        words = [line for fact in facts for line in textwrap.wrap(fact, WIDE, subsequent_indent="  ")]
        sheet.text(x + SIDE + 0.1, top + 0.12, one.name, 8.5, ink, weight="bold")
        for n, line in enumerate(words, 1):
            sheet.text(x + SIDE + 0.1, top + 0.12 + LINE_HEIGHT * n, line, 8.5, ink)
    sheet.text(MARGIN, top + SIDE + 0.22, PICTURES_FROM, 7.5, MUTED)
