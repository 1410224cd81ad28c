"""How anything that a file holds may stand in a sentence."""

from __future__ import annotations

from typing import Any


def shown(value: Any, longest: int = 80) -> str:
    """A value as text on one line, printable, and cut after ``longest`` characters."""
    try:
        text = str(value)
    # Lists within lists without end, numbers of thousands of digits.
    except (RecursionError, ValueError):
        text = f"a {type(value).__name__}"
    printable = "".join(sign if sign.isprintable() else "?" for sign in text[: longest + 1])
    return printable if len(printable) <= longest else f"{printable[:longest]}..."
