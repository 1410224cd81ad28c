"""A page that opens a run's folder: each nodule with its picture and main figures, and what every file is. HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..grades import DISCLAIMER
from .phrases import NOTHING_OUTLINED, SUSPICION_MEANS, percent, size

if TYPE_CHECKING:
    from ..imaging.volume import Volume
    from .assessment import Assessment

#: What files are, by the end of their names; the first that fits.
MEANINGS = (
    ("index.html", "this page"),
    ("report.html", "the report: list, pictures, guidelines, warnings"),
    ("followup.png", "both CTs beside each other"),
    ("outlines.seg.nrrd", "all outlines on the CT's own grid, a segment each"),
    ("-outline.nrrd", "outline: how likely each pixel is the nodule's"),
    ("ct.nrrd", "the CT"),
    ("assessments.csv", "one row a nodule, for a spreadsheet"),
    ("assessments.json", "everything, for programs"),
    (".nrrd", "a heatmap: opens in 3D Slicer over the CT"),
    (".png", "a nodule's page"),
    (".csv", "a table"),
    (".json", "the same for programs"),
)
STYLE = (
    "body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }"
    " .note { background: #fff3d6; color: #5c4300; padding: .4rem .8rem; border-radius: 4px; }"
    " .nodules { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }"
    " .nodules a { color: inherit; text-decoration: none; border: 1px solid #8886; padding: .6rem; }"
    " img { width: 100%; } td { padding: .1rem 1rem .1rem 0; } .doubt { color: #9a6200; }"
)


def index_page(volume: Volume, assessments: Sequence[Assessment], files: Sequence[str]) -> str:
    """The page as HTML that needs no other file but those beside it.

    Parameters
    ----------
    volume : Volume
        The CT.
    assessments : sequence of Assessment
    files : sequence of str
        Names of the files in the folder.
    """
    # A nodule's files begin with its number and a hyphen.
    numbered = [(name.partition("-")[0], name) for name in files if name.endswith(".png")]
    pages = {int(number): name for number, name in numbered if number.isdecimal()}
    nodules = "".join(_nodule(one, pages.get(number, "")) for number, one in enumerate(assessments, 1))
    rows = "".join(f"<tr><td>{_link(name)}</td><td>{_meaning(name)}</td></tr>" for name in files)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>NoduleRisk: {html.escape(volume.name)}</title>"
        f"<style>{STYLE}</style></head>\n<body><h1>{html.escape(volume.name)}</h1>\n<p class='note'>{DISCLAIMER}</p>\n"
        f"<div class='nodules'>{nodules}</div>\n<p>Suspicion: {SUSPICION_MEANS}.</p>\n"
        f"<h2>Files</h2>\n<table>{rows}</table></body></html>\n"
    )


def _nodule(one: Assessment, page: str) -> str:
    """A nodule's picture, name, figures and doubts, as a link to its page."""
    lines = [f"<b>{html.escape(one.point.label)}</b>"]
    lines += [f"<span class='doubt'>{html.escape(doubt)}</span>" for doubt in one.doubts]
    if one.nodule is None:
        lines.append(NOTHING_OUTLINED)
    else:
        malignancy, suspicion = one.nodule.estimate("malignancy").value, percent(one.nodule.suspicion_probability)
        lines.append(f"malignancy {malignancy:.1f}, suspicion {html.escape(suspicion)}")
        lines.append(html.escape(", ".join(size(one.nodule.outline))))
    picture = f"<img src='{quote(page)}' alt='' loading='lazy'><br>" if page else ""
    target = f" href='{quote(page)}'" if page else ""
    return f"<a{target}>{picture}{'<br>'.join(lines)}</a>"


def _link(name: str) -> str:
    return f"<a href='{quote(name)}'>{html.escape(name)}</a>"


def _meaning(name: str) -> str:
    return next((meaning for end, meaning in MEANINGS if name.endswith(end)), "")
