"""An assessment as the text and the small volumes that a scene keeps of it. Knows no MRML; works on any thread."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import InputWarning, NoduleRiskError
from ..imaging.volume import Volume

if TYPE_CHECKING:
    from ..results.assessment import Assessment

#: Sentences about what the scene keeps of a point.
DAMAGED = "What the scene keeps of this point's assessment is damaged, or a newer NoduleRisk wrote it: assess again."
MAPS_LOST = "The outline and the heatmaps of this nodule are not in the scene any more: assess again to have them."
#: More voxels than any model's slices have (a million): the record is damaged.
LARGEST_STACK = 2**24
#: Words before a point's name in warnings about its nodule (``imaging/input_checks.py``, ``outline_checks.py``).
NAMED_AFTER = ("Around", "at", "of", "under")

#: A point that moved less than this still marks the same place.
MOVED_MM = 0.01


@dataclass(frozen=True)
class Row:
    """An assessment without its maps and slices.

    Attributes
    ----------
    columns : dict
        ``results.tables.row``: the value of every column by the column's name, ``None`` where a nodule is lacking.
    warnings : tuple of InputWarning
    digest : str
        ``Volume.digest`` of the CT that was assessed.
    twins : tuple of (str, (r, a, s))
        Control points on the same nodule, by their IDs, and where they were then (RAS mm).
    drawn : str
        ``segment_voxels.fingerprint`` of the outline that the user drew and that was graded; empty: the network's.
    by_user : bool
        Whether the user drew the outline.
    """

    columns: Mapping[str, Any]
    warnings: tuple[InputWarning, ...]
    digest: str
    twins: tuple[tuple[str, tuple[float, float, float]], ...] = ()
    drawn: str = ""
    by_user: bool = False

    @property
    def found(self) -> bool:
        """Whether a nodule was outlined."""
        return self.columns["nodule_found"] == "yes"

    def fits(self, ras: tuple[float, float, float], digest: str | None) -> bool:
        """Whether it still holds for a point (RAS mm) and a CT (``None``: not known yet, so not known to differ)."""
        return not self.moved(ras) and digest in (None, self.digest)

    def moved(self, ras: tuple[float, float, float]) -> bool:
        """Whether the point lies elsewhere (RAS mm) than when it was assessed."""
        return math.dist([self.columns[axis] for axis in "ras"], ras) >= MOVED_MM


@dataclass(frozen=True, eq=False)
class Record:
    """What a scene keeps of an assessment.

    Attributes
    ----------
    text : str
        JSON: ``Assessment.to_dict``; ``ct_digest``, the ``Volume.digest`` of the CT that was assessed;
        ``same_nodule_as``, [R, A, S] (mm) by the control point ID of each point on the same nodule; and
        ``drawn_outline``, ``Row.drawn``.
    maps : dict of str to Volume
        ``Assessment.maps``.
    """

    text: str
    maps: Mapping[str, Volume]


def record_of(
    assessment: Assessment,
    digest: str,
    twins: Mapping[str, tuple[float, float, float]] | None = None,
    drawn: str = "",
) -> Record:
    """The record of an assessment of the CT with this ``Volume.digest``; ``twins``, ``drawn``: as ``Row`` has them."""
    kept = {"ct_digest": digest, "same_nodule_as": dict(twins or {}), "drawn_outline": drawn}
    text = json.dumps({**kept, **assessment.to_dict()})
    # Read once here, so that the main thread finds it in the cache.
    readable_row(text)
    return Record(text, assessment.maps())


def renamed(text: str, label: str) -> str:
    """A record's text with another name of the point, in the warnings about its nodule too."""
    values = json.loads(text)
    # The name stands first or after one of these words; elsewhere a point called "nodule" is not meant.
    places = "|".join(("^", *(f"(?<=\\b{word} )" for word in NAMED_AFTER)))
    name = re.compile(rf"(?:{places}){re.escape(values['label'])}(?!\w)")
    for warning in values["warnings"]:
        if isinstance(warning, dict) and warning["about"] == "nodule":
            warning["text"] = name.sub(lambda found: label, warning["text"])
    return json.dumps({**values, "label": label})


@lru_cache(maxsize=1024)
def readable_row(text: str) -> Row | None:
    """A record's row; ``None``, and a line in the log, if it is damaged or a newer NoduleRisk wrote it."""
    from ..results import tables

    try:
        values = json.loads(text)
        assessment = decoded(values)
        columns = tables.row(assessment)
        for column in tables.COLUMNS:
            value = columns[column.name]
            lacking = value is None and (column.optional or assessment.nodule is None)
            if not lacking and not (isinstance(value, str) if column.text else math.isfinite(value)):  # type: ignore[arg-type]
                raise NoduleRiskError(f"A stored assessment has no {column.name}: assess that point again.")
        twins = values.get("same_nodule_as", {}).items()
        places = tuple((point_id, (float(r), float(a), float(s))) for point_id, (r, a, s) in twins)
        drawn = str(values.get("drawn_outline", ""))
        by_user = assessment.nodule is not None and assessment.nodule.outline.drawn_by == "user"
        return Row(columns, assessment.warnings, str(values["ct_digest"]), places, drawn, by_user)
    # Scenes are files that people edit: nothing that stands in one may stop the panel.
    except Exception as error:
        logging.warning("NoduleRisk: %s", error)
        return None


def restored(values: Mapping[str, Any], maps: Mapping[str, Volume], volume: Volume | None = None) -> Assessment:
    """``Assessment.from_dict`` of a readable record; without its maps, if these are damaged."""
    from ..results.assessment import Assessment

    try:
        return Assessment.from_dict(values, maps, volume)
    except NoduleRiskError:
        return Assessment.from_dict(values, {}, volume)


def decoded(values: Mapping[str, Any]) -> Assessment:
    """``Assessment.from_dict`` of a record of unknown origin, without its maps.

    Raises
    ------
    NoduleRiskError
        If it is damaged, or a newer NoduleRisk wrote it. What is damaged in another way than is known raises otherwise.
    """
    from ..results.assessment import Assessment

    # In a record of 0.1.0 the stack stands at the top.
    layout = (values.get("nodule") or values).get("stack", {}).get("layout", {})
    slices, pixels = (abs(int(layout.get(key, 1))) for key in ("slices", "pixels"))
    if slices * len(layout.get("planes", ())) * max(pixels, 1) ** 2 > LARGEST_STACK:
        # Refused before it takes all memory.
        raise NoduleRiskError("A stored assessment is damaged: assess that point again.")
    return Assessment.from_dict(values)
