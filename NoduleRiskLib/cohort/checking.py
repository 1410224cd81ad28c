"""A cohort before it runs: is every CT there, does its header tell of a CT, how much memory will it take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..errors import NoduleRiskError
from ..imaging.dicom_objects import is_dicom
from ..imaging.points import read as read_points
from .manifest import Series
from .memory import needed_mb
from .places import fetched, is_remote

#: Headers that are read at the same time: what takes time is the disk or the network.
THREADS = 8


@dataclass(frozen=True)
class Checked:
    """What a manifest's row and a header tell of a series: ``sentence`` says what is wrong, "" if nothing is."""

    series: Series
    sentence: str
    needed_mb: float


def checked(series: Sequence[Series]) -> Iterator[Checked]:
    """Each series, in the manifest's order; what is not on this computer is believed to be there."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(_check, series)


def _check(series: Series) -> Checked:
    needed = 0.0
    try:
        if not (series.points or series.segmentation or series.placed):
            raise NoduleRiskError("There is no point and no outline: mark at least one nodule.")
        for place in filter(None, (series.points, series.segmentation)):
            if not is_remote(place) and not Path(place).is_file():
                raise NoduleRiskError(f"{place} does not exist or is no file: check its name and place.")
        if series.points and not is_remote(series.points) and not is_dicom(series.points):
            read_points(series.points)
        if not series.ct:
            raise NoduleRiskError("The manifest does not say where this CT lies: write its path into the column ct.")
        if not is_remote(series.ct):
            with fetched(series.ct) as place_of_ct:
                if not place_of_ct.exists():
                    raise NoduleRiskError(f"{place_of_ct} does not exist: check its name and place.")
                needed = needed_mb(place_of_ct, series.series_uid)
                if not needed:
                    raise NoduleRiskError(f"{place_of_ct} has no header that tells of a CT.")
    except NoduleRiskError as error:
        return Checked(series, str(error), needed)
    except OSError as error:
        place, why = error.filename or series.ct, error.strerror or error
        return Checked(series, f"{place} cannot be read ({why}): check the disk and your rights.", needed)
    return Checked(series, "", needed)
