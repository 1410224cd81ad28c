"""A follow-up on the terminal, by rich."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..followup.comparison import FollowedNodule, FollowUp
from .terminal import DOUBT, DOUBTFUL, printable

STYLES = {"growing": "bold red", "new": "bold yellow", "stable": "", "shrinking": "green", "resolved": "green"}


def on_terminal(followed: FollowUp) -> Group:
    """What holds for the whole comparison, a table with one row a nodule, and what is doubtful in full."""
    days = "unknown days" if followed.days is None else f"{followed.days:.0f} days"
    table = Table(
        box=None,
        padding=(0, 1, 0, 0),
        header_style="dim",
        title=f"Follow-up: what became of each nodule in {days}",
        title_justify="left",
        title_style="bold",
        caption="mm: mean diameter. Doubling: days in which the volume doubles, of growing nodules only.",
        caption_justify="left",
    )
    for heading in ("Nodule", "What", "mm", "mm³", "Volume", "Limit", "Doubling"):
        table.add_column(heading, justify="left" if heading in ("Nodule", "What") else "right", overflow="fold")
    for one in followed.nodules:
        table.add_row(*_row(one), style=DOUBTFUL if one.doubts else "")
    warnings = [*followed.warnings, *dict.fromkeys(two.text for one in followed.nodules for two in one.warnings)]
    lines: list[RenderableType] = [Text(f"! {printable(text)}", "yellow") for text in warnings]
    parts: list[RenderableType] = [table, *([Group(*lines)] if lines else [])]
    return Group(*(Padding(part, (0, 1, 1, 1)) for part in parts))


def _row(one: FollowedNodule) -> tuple[RenderableType, ...]:
    label = Text(printable(one.label), "not dim")
    for doubt in one.doubts:
        label.append(f"\n{printable(doubt)}", DOUBT)
    growth = one.growth
    if growth is None:
        return (label, "place not shown", "", "", "", "", "")
    change, doubling, limit = growth.volume_change_percent, growth.doubling_time_days, growth.limit_percent
    return (
        label,
        Text("no measurable growth" if growth.kind == "stable" else growth.kind, STYLES[growth.kind]),
        _both(growth.diameter_before_mm, growth.diameter_after_mm, 1),
        _both(growth.volume_before_mm3, growth.volume_after_mm3, 0),
        "" if change is None else f"{change:+.0f} %",
        "" if limit is None else f"± {limit:.0f} %",
        "" if doubling is None else f"{doubling:.0f} d",
    )


def _both(before: float | None, after: float | None, decimals: int) -> str:
    shown = ("–" if one is None else f"{one:,.{decimals}f}" for one in (before, after))
    return " → ".join(shown)
