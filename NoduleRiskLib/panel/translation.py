"""Slicer's translation of what the panel says; none for the page in a browser, which has MRML without Slicer."""

from __future__ import annotations

__all__ = ["tr"]

try:
    from slicer.i18n import tr
except ModuleNotFoundError:
    tr = str
