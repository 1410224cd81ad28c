"""How results are told: a table with what it says, on how many nodules it rests and which command made it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from .metrics import markdown


@dataclass(frozen=True, eq=False)
class Chapter:
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


def write(chapters: Iterable[Chapter], folder: Path, command: str) -> str:
    """Write each table (CSV) and plot (PNG) into ``folder``; all of it as Markdown for a file beside that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    told = []
    for chapter in chapters:
        chapter.table.to_csv(folder / f"{chapter.name}.csv")
        told.append(chapter.markdown(command))
        if chapter.figure is not None:
            chapter.figure.savefig(folder / f"{chapter.name}.png", dpi=150, bbox_inches="tight")
            told.append(f"![{chapter.title}]({folder.name}/{chapter.name}.png)\n")
    return "\n".join(told)
