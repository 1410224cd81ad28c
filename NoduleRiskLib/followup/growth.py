"""What became of one nodule between two examinations: sizes, growth, doubling time, and one sentence that says it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np

from ..guidelines.doubling_time import change_percent, doubling_time_days
from ..guidelines.inputs import Earlier
from ..guidelines.proposals import SOLID_FROM
from ..guidelines.questions import Axes
from ..imaging.outline import INSIDE
from ..imaging.resampling import sample_grid
from ..imaging.volume import Volume
from ..results.nodule import Nodule

Kind = Literal["growing", "stable", "shrinking", "new", "resolved"]

#: Less change of volume than this (%) is none, however well it was measured: BTS 2015 and NELSON.
LEAST_PERCENT = 25.0


@dataclass(frozen=True)
class Size:
    """What was measured of one nodule on one CT.

    Attributes
    ----------
    long_axis_mm, short_axis_mm, diameter_mm : float
        ``diameter_mm`` is the mean of both.
    volume_mm3 : float
    mass_mg : float or None
        Volume times (HU + 1000) / 1000: of subsolid nodules, which become denser before they become larger.
    solid_part : Axes or None
        0 x 0 mm where nothing is solid; of subsolid nodules only.
    repeatability_percent : float or None
        By how much (±, %) a second measurement of the volume may differ without growth; ``None``: not known.
    unsure : bool
        Whether the network was not sure of the outline.
    """

    long_axis_mm: float
    short_axis_mm: float
    diameter_mm: float
    volume_mm3: float
    mass_mg: float | None = None
    solid_part: Axes | None = None
    repeatability_percent: float | None = None
    unsure: bool = False

    @classmethod
    def of(cls, volume: Volume, nodule: Nodule) -> Size:
        """The size of a nodule on its CT (HU)."""
        outline, solid = nodule.outline, nodule.solid_part
        subsolid = nodule.estimate("texture").value < SOLID_FROM
        part = None
        if subsolid:
            axes = (0.0, 0.0) if solid is None else (solid.long_axis_mm, solid.short_axis_mm)
            # Measured in its own slice, a part's axis may be longer than that of the whole in another one.
            part = Axes(*sorted((min(one, outline.long_axis_mm) for one in axes), reverse=True))
        return cls(
            outline.long_axis_mm,
            outline.short_axis_mm,
            outline.diameter_mm,
            outline.volume_mm3,
            _mass_mg(volume, nodule) if subsolid else None,
            part,
            None if nodule.repeatability is None else nodule.repeatability[1],
            outline.unsure,
        )

    @property
    def axes(self) -> Axes:
        """Both axes, the longer first: the width across the long axis may exceed it by a rounding error."""
        return Axes(max(self.long_axis_mm, self.short_axis_mm), min(self.long_axis_mm, self.short_axis_mm))

    def __str__(self) -> str:
        return f"{self.diameter_mm:.1f} mm, {self.volume_mm3:,.0f} mm³"


@dataclass(frozen=True)
class Growth:
    """What became of one nodule from an earlier examination to a later one.

    Attributes
    ----------
    kind : "growing", "stable", "shrinking", "new" or "resolved"
        "stable" means that no growth can be measured, not that there is none.
    prior_date, current_date : date or None
        ``None`` where nobody knows them.
    days : float or None
        Between both examinations.
    before, after : Size or None
        ``None`` before a new nodule, and after a resolved one.
    limit_percent : float or None
        So much (%) the volume has to differ to count: ``LEAST_PERCENT``, or what two measurements differ by if that is
        more. ``None`` without two volumes.
    """

    kind: Kind
    prior_date: date | None
    current_date: date | None
    days: float | None
    before: Size | None
    after: Size | None
    limit_percent: float | None = None

    @property
    def diameter_before_mm(self) -> float | None:
        """Mean diameter on the earlier CT."""
        return None if self.before is None else self.before.diameter_mm

    @property
    def diameter_after_mm(self) -> float | None:
        """Mean diameter on the later CT."""
        return None if self.after is None else self.after.diameter_mm

    @property
    def volume_before_mm3(self) -> float | None:
        """Volume on the earlier CT."""
        return None if self.before is None else self.before.volume_mm3

    @property
    def volume_after_mm3(self) -> float | None:
        """Volume on the later CT."""
        return None if self.after is None else self.after.volume_mm3

    @property
    def volume_change_percent(self) -> float | None:
        """By how much the volume changed, measurable or not; ``None`` without two volumes."""
        if self.before is None or self.after is None:
            return None
        return change_percent(self.before.volume_mm3, self.after.volume_mm3)

    @property
    def mass_change_percent(self) -> float | None:
        """By how much a subsolid nodule's mass changed; ``None`` where either mass is not known."""
        if self.before is None or self.after is None or not self.before.mass_mg or not self.after.mass_mg:
            return None
        return change_percent(self.before.mass_mg, self.after.mass_mg)

    @property
    def doubling_time_days(self) -> float | None:
        """Days in which the volume doubles; of growing nodules only, since it means nothing for others."""
        if self.kind != "growing" or not self.days or self.before is None or self.after is None:
            return None
        return doubling_time_days(self.before.volume_mm3, self.after.volume_mm3, self.days)

    @property
    def mass_doubling_time_days(self) -> float | None:
        """Days in which a growing subsolid nodule's mass doubles."""
        if self.kind != "growing" or not self.days or (self.mass_change_percent or 0) <= 0:
            return None
        assert self.before is not None and self.after is not None and self.before.mass_mg and self.after.mass_mg
        return doubling_time_days(self.before.mass_mg, self.after.mass_mg, self.days)

    @property
    def interval(self) -> str:
        """How long ago the earlier CT was, in words; empty where nobody knows."""
        return "" if not self.days else f"in {self.days:.0f} days"

    @property
    def sentence(self) -> str:
        """All of it in one or two sentences."""
        if self.kind == "new":
            return f"New: {self.after}, and nothing at its place on the earlier CT."
        if self.kind == "resolved":
            return f"Resolved: {self.before} on the earlier CT, and nothing at its place now."
        change, limit = self.volume_change_percent, self.limit_percent
        assert change is not None and limit is not None
        sizes = f"{self.before} before, {self.after} now ({change:+.0f} % of volume {self.interval}".rstrip() + ")"
        if self.kind == "stable":
            return f"No measurable growth: {sizes}; less than {limit:.0f} % either way counts as none."
        if self.kind == "shrinking":
            return f"Smaller: {sizes}."
        doubling = self.doubling_time_days
        told = f"the volume doubles in {doubling:.0f} days" if doubling else "no doubling time without both dates"
        mass = self.mass_change_percent
        return f"Growing: {sizes}; {told}." + ("" if mass is None else f" Mass {mass:+.0f} %.")

    @property
    def comparison(self) -> str:
        """What became of it, in the word that the guidelines' input ``comparison`` has for it."""
        return {"shrinking": "smaller", "resolved": "gone"}.get(self.kind, self.kind)

    def earlier(self) -> Earlier | None:
        """The earlier CT's nodule as guidelines take it; ``None`` without one, or if the days between are unknown."""
        if self.before is None or not self.days:
            return None
        return Earlier(self.days, self.before.axes, self.before.volume_mm3, self.before.solid_part)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON takes it; dates as 2026-11-26."""
        return {
            "kind": self.kind,
            "sentence": self.sentence,
            "prior_date": self.prior_date and self.prior_date.isoformat(),
            "current_date": self.current_date and self.current_date.isoformat(),
            "days": self.days,
            "before": _size_dict(self.before),
            "after": _size_dict(self.after),
            "limit_percent": self.limit_percent,
            "volume_change_percent": self.volume_change_percent,
            "mass_change_percent": self.mass_change_percent,
            "doubling_time_days": self.doubling_time_days,
            "mass_doubling_time_days": self.mass_doubling_time_days,
        }

    @classmethod
    def from_dict(cls, values: Any) -> Growth:
        """The growth that ``to_dict`` describes; raises KeyError, TypeError or ValueError if it describes none."""
        before, after = (values[name] and date.fromisoformat(values[name]) for name in ("prior_date", "current_date"))
        return cls(
            values["kind"],
            before,
            after,
            values["days"],
            _size_of(values["before"]),
            _size_of(values["after"]),
            values["limit_percent"],
        )


def growth(
    before: Size | None,
    after: Size | None,
    days: float | None = None,
    prior_date: date | None = None,
    current_date: date | None = None,
) -> Growth:
    """What became of a nodule; at least one of both sizes is given.

    It grew or shrank if its volume differs by more than 25 %, and by more than two measurements of a nodule of that
    size differ without growth (of both sizes the larger limit).
    """
    if before is None or after is None:
        kind: Kind = "new" if before is None else "resolved"
        return Growth(kind, prior_date, current_date, days, before, after)
    limit = max(LEAST_PERCENT, *(one.repeatability_percent or 0.0 for one in (before, after)))
    change = change_percent(before.volume_mm3, after.volume_mm3)
    # What shrinks by a fifth would have to grow by a quarter to be as before.
    shrunk = 100 * (1 / (1 + limit / 100) - 1)
    kind = "growing" if change > limit else "shrinking" if change < shrunk else "stable"
    return Growth(kind, prior_date, current_date, days, before, after, limit)


def _mass_mg(volume: Volume, nodule: Nodule) -> float:
    drawn = nodule.outline.probability
    inside = drawn.array > INSIDE
    hu = sample_grid(volume, drawn.ijk_to_ras, drawn.array.shape)[inside]
    return float(nodule.outline.volume_mm3 * np.maximum(hu + 1000, 0).mean() / 1000) if inside.any() else 0.0


def _size_dict(size: Size | None) -> dict[str, Any] | None:
    if size is None:
        return None
    part = size.solid_part
    return {**vars(size), "solid_part": None if part is None else [part.long_mm, part.short_mm]}


def _size_of(values: Any) -> Size | None:
    if values is None:
        return None
    part = values["solid_part"]
    return Size(**{**values, "solid_part": None if part is None else Axes(*part)})
