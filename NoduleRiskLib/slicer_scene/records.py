"""An assessment as the text and the small volumes that a scene keeps of it. Knows no MRML; works on any thread."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import InputWarning, NoduleRiskError
from ..imaging.volume import Volume

if TYPE_CHECKING:
    from ..results.assessment import Assessment

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
    """

    columns: Mapping[str, Any]
    warnings: tuple[InputWarning, ...]
    digest: str

    @property
    def found(self) -> bool:
        """Whether a nodule was outlined."""
        return self.columns["nodule_found"] == "yes"

    def fits(self, ras: tuple[float, float, float], digest: str | None) -> bool:
        """Whether it still holds for a point (RAS mm) and a CT (``None``: not known yet, so not known to differ)."""
        moved_mm = math.dist([self.columns[axis] for axis in "ras"], ras)
        return moved_mm < MOVED_MM and digest in (None, self.digest)


@dataclass(frozen=True, eq=False)
class Record:
    """What a scene keeps of an assessment.

    Attributes
    ----------
    text : str
        JSON: ``Assessment.to_dict``, and ``ct_digest``, the ``Volume.digest`` of the CT that was assessed.
    maps : dict of str to Volume
        ``Assessment.maps``.
    """

    text: str
    maps: Mapping[str, Volume]


def record_of(assessment: Assessment, digest: str) -> Record:
    """The record of an assessment of the CT with this ``Volume.digest``."""
    text = json.dumps({"ct_digest": digest, **assessment.to_dict()})
    # Read once here, so that the main thread finds it in the cache.
    readable_row(text)
    return Record(text, assessment.maps())


def renamed(text: str, label: str) -> str:
    """A record's text with another name of the point."""
    return json.dumps({**json.loads(text), "label": label})


@lru_cache(maxsize=1024)
def readable_row(text: str) -> Row | None:
    """A record's row; ``None``, and a line in the log, if it is damaged or a newer NoduleRisk wrote it."""
    from ..results import tables
    from ..results.assessment import Assessment

    try:
        values = json.loads(text)
        warnings = Assessment.from_dict(values).warnings
        return Row(tables.row(values), warnings, values["ct_digest"])
    except (NoduleRiskError, ValueError, KeyError) as error:
        logging.warning("NoduleRisk: %s", error)
        return None
