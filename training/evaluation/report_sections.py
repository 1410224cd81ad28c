"""Sections of a report: a table, what it shows, how many nodules it is about and which command made it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..checkpoints import write_table


@dataclass(frozen=True, eq=False)
class Section:
    """One table.

    Attributes
    ----------
    name : str
        Of its files.
    title : str
    nodules : int
        How many the table is about.
    text : str
        Markdown, may be empty.
    table : DataFrame
    figure : Figure or None
        The same as a plot.
    """

    name: str
    title: str
    nodules: int
    text: str
    table: pd.DataFrame
    figure: Figure | None = None

    def markdown(self, command: str) -> str:
        """Title, text, table and where it comes from."""
        source = f"*n = {self.nodules:,} nodules; `{command}`; {self.name}.csv*"
        return "\n\n".join(filter(None, (f"### {self.title}", self.text, f"{markdown(self.table)}\n{source}\n")))


def write(sections: Iterable[Section], folder: Path, command: str) -> str:
    """Write each table (CSV) and plot (PNG) into ``folder``; all of it as Markdown for a file beside that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for section in sections:
        write_table(folder / f"{section.name}.csv", section.table, index=True)
        parts.append(section.markdown(command))
        if section.figure is not None:
            section.figure.savefig(folder / f"{section.name}.png", dpi=150, bbox_inches="tight")
            parts.append(f"![{section.title}]({folder.name}/{section.name}.png)\n")
    return "\n".join(parts)


def markdown(frame: pd.DataFrame, digits: int = 3) -> str:
    """A Markdown table of a frame, its index first; ``-`` where there is no value."""
    head = [frame.index.name or "", *map(str, frame.columns)]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    for name, *row in frame.itertuples():
        lines.append("| " + " | ".join([str(name), *(_cell(value, digits) for value in row)]) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: object, digits: int) -> str:
    if isinstance(value, float):
        if np.isnan(value):
            return "-"
        return f"{value:.0f}" if value.is_integer() and abs(value) >= 10 else f"{value:.{digits}f}"
    return str(value)
