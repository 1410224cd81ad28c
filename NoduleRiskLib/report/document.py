"""The report as a file: HTML by Jinja2, PDF by reportlab, plain text."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from ..errors import NoduleRiskError
from ..results.result_folder import partial_folder
from . import KINDS, words
from .examination import Examination
from .text import text

TEMPLATE = Path(__file__).with_name("report.html")


def check_kind(path: Path) -> None:
    """Refuse a name whose ending is no kind of report, or that is one whose library is missing, before any work.

    Raises
    ------
    NoduleRiskError
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise NoduleRiskError(f"A report's name ends in {', '.join(KINDS[:-1])} or {KINDS[-1]}, not as {path.name}.")
    needed = {".html": "jinja2", ".pdf": "reportlab"}.get(kind)
    try:
        if needed:
            __import__(needed)
            __import__("matplotlib")
    except ImportError as error:
        raise NoduleRiskError(
            f"A report as {kind[1:].upper()} needs {error.name}: install it with pip install "
            '"NoduleRisk[report]", or write a .txt.'
        ) from error


def write(path: Path, report: Examination) -> None:
    """Write a report, whole or not at all; its ending says as what.

    Raises
    ------
    NoduleRiskError
        If the ending is no kind of report, its library is missing, or the file cannot be written.
    """
    check_kind(path)
    try:
        with partial_folder(path.parent) as folder:
            part = folder / path.name
            part.write_bytes(content(path.suffix.lower(), report))
            os.replace(part, path)
    except OSError as error:
        raise NoduleRiskError(f"{path} could not be written ({error.strerror}): choose another place.") from error


def content(kind: str, report: Examination) -> bytes:
    """What stands in a report's file of that kind, one of ``KINDS``."""
    if kind == ".pdf":
        from .pdf import pdf

        return pdf(report)
    return (text(report) if kind == ".txt" else html(report)).encode("utf-8", "replace")


def html(report: Examination) -> str:
    """One document that needs no other file; whatever names and headers hold is shown as text."""
    from .pictures import pictures, width_mm

    images = [
        {name: base64.b64encode(png).decode() for name, png in pictures(report.volume, one).items()}
        for one in report.findings
    ]
    return filled(
        TEMPLATE,
        report=report,
        words=words,
        cards=[(one, image, width_mm(one)) for one, image in zip(report.findings, images, strict=True)],
    )


def filled(template: Path, **values: Any) -> str:
    """A Jinja2 template with its values, which are shown as text; one that it asks for and is not given is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(values)
