"""The reference nodules: how their file is written and read, and which are nearest to a nodule. Needs no torch."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ..errors import NoduleRiskError
from ..grades import GRADE_NAMES, OTHER_GRADES
from ..imaging.volume import Array

#: Where the file lies that is used; without it, nothing is said of similar nodules.
FILE = Path(__file__).with_name("lidc-nodules.zip")
FORMAT = 1
#: Names inside of it.
TABLE, PICTURE, LICENCE = "nodules.json", "pictures/{name}.jpg", "LICENCE.txt"
#: How many similar nodules are shown, and how wide their pictures are.
COUNT, PICTURE_MM = 5, 40.0
#: Whose pictures they are, as CC BY 3.0 asks: author, source, licence, and that they were changed.
ATTRIBUTION = (
    "LIDC-IDRI, Armato et al. 2011, The Cancer Imaging Archive, doi 10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0 "
    "(creativecommons.org/licenses/by/3.0); changed: cut out, lung window, 8 bit"
)


@dataclass(frozen=True)
class SimilarNodule:
    """A reference nodule as it is shown beside another.

    Attributes
    ----------
    name : str
        LIDC's patient, then the nodule's number in this project's table: "LIDC-IDRI-0015_0".
    grades : dict of str to float
        The readers' means by grade, grade units; diameter as measured on their outlines, mm.
    calcified : float
        Share of the readers (0 to 1) who saw calcification.
    malignancy : tuple of int
        What each reader gave, rising.
    distance : float
        Root mean square over the grades that are compared, in standard deviations of the readers' grades.
    same : bool
        Whether its picture says that it is the very nodule that was assessed.
    """

    name: str
    grades: Mapping[str, float]
    calcified: float
    malignancy: tuple[int, ...]
    distance: float = 0.0
    same: bool = False

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SimilarNodule:
        """What ``dataclasses.asdict`` made these values of; raises what reading damaged values raises."""
        return cls(
            str(values["name"]),
            {name: _finite(values["grades"][name]) for name in GRADE_NAMES},
            _finite(values["calcified"]),
            tuple(int(one) for one in values["malignancy"]),
            _finite(values.get("distance", 0.0)),
            bool(values.get("same", False)),
        )


class ReferenceSet:
    """Reference nodules in the space in which they are compared, and their pictures.

    Parameters
    ----------
    nodules : sequence of (SimilarNodule, str)
        Each with the SeriesInstanceUID of its CT.
    pictures : mapping of str to bytes
        By name: ``pictures.small_picture`` as a JPEG file.
    """

    def __init__(
        self, nodules: Sequence[tuple[SimilarNodule, str]], pictures: Mapping[str, bytes] = MappingProxyType({})
    ) -> None:
        self.nodules = tuple(one for one, _ in nodules)
        self._pictures = pictures
        self._patients = {series_uid: patient(one.name) for one, series_uid in nodules}
        self._values = np.array([compared(one.grades, one.calcified) for one in self.nodules])
        deviation = self._values.std(0)
        self._deviation = np.where(deviation > 0, deviation, 1.0)

    def patient_of(self, series_uid: str) -> str:
        """The reference patient whose CT has this SeriesInstanceUID; empty if none has."""
        return self._patients.get(series_uid, "")

    def nearest(self, values: Array, without: str = "", count: int = COUNT) -> tuple[SimilarNodule, ...]:
        """The nodules most like one with these values, nearest first.

        Parameters
        ----------
        values : array, shape (8,)
            As ``compared`` gives them of the nodule's estimates. The reference nodules are compared by what their
            readers gave, never by what a network says of them, which may have been trained on them.
        without : str
            A patient whose nodules are left out.
        count : int
        """
        distances = np.sqrt((((values - self._values) / self._deviation) ** 2).mean(1))
        order = (int(index) for index in np.argsort(distances, kind="stable"))
        others = [index for index in order if patient(self.nodules[index].name) != without]
        return tuple(replace(self.nodules[index], distance=float(distances[index])) for index in others[:count])

    def picture(self, name: str) -> bytes | None:
        """That nodule's picture, a JPEG file; ``None`` if there is none of that name."""
        # Results may come from another version, with other nodules.
        return self._pictures.get(name)


def compared(grades: Mapping[str, float], calcified: float) -> Array:
    """What nodules are compared by, float64 (8,): every grade but malignancy, of which the readers are to tell.

    Parameters
    ----------
    grades : mapping of str to float
        By name, grade units; diameter in mm, compared as log2.
    calcified : float
        Share of readers (0 to 1) who see calcification: its codes are names.
    """
    values = {**grades, "calcification": calcified}
    return np.array([math.log2(values[one.name]) if one.logarithmic else values[one.name] for one in OTHER_GRADES])


def patient(name: str) -> str:
    """The patient of a nodule: "LIDC-IDRI-0015" of "LIDC-IDRI-0015_0"."""
    return name.rpartition("_")[0]


@cache
def shipped_pictures() -> ReferenceSet | None:
    """``shipped`` for showing results, which outlive their pictures: ``None`` also if the file is damaged."""
    try:
        return shipped()
    except NoduleRiskError:
        return None


@cache
def shipped() -> ReferenceSet | None:
    """The reference set in ``FILE``; ``None`` if there is no such file."""
    return read_reference_set(FILE) if FILE.is_file() else None


def read_reference_set(path: Path) -> ReferenceSet:
    """What ``write_reference_set`` wrote; raises ``NoduleRiskError`` if it is damaged or of a newer version."""
    try:
        with zipfile.ZipFile(path) as file:
            held = json.loads(file.read(TABLE))
            if held["format"] <= FORMAT:
                nodules = [(SimilarNodule.from_dict(one), str(one["series_uid"])) for one in held["nodules"]]
                # All at once: to open the file again for each of them takes longer.
                return ReferenceSet(nodules, {one.name: file.read(PICTURE.format(name=one.name)) for one, _ in nodules})
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise NoduleRiskError(f"{path} is damaged: make it again, or remove it.") from error
    raise NoduleRiskError(f"{path} has format {held['format']}, and this NoduleRisk reads up to {FORMAT}: update it.")


def write_reference_set(
    path: Path, nodules: Sequence[tuple[SimilarNodule, str]], pictures: Mapping[str, bytes]
) -> None:
    """Write nodules with their CT's SeriesInstanceUID, the attribution, and each one's picture (JPEG) by its name.

    The same nodules give the same bytes.
    """
    rows = [{**asdict(one), "series_uid": series_uid} for one, series_uid in nodules]
    texts = {LICENCE: f"{ATTRIBUTION}\n", TABLE: json.dumps({"format": FORMAT, "nodules": rows})}
    part = path.with_name(f"{path.name}.part")
    with zipfile.ZipFile(part, "w") as file:
        for name, text in texts.items():
            file.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
        for one, _ in nodules:
            file.writestr(zipfile.ZipInfo(PICTURE.format(name=one.name)), pictures[one.name])
    part.replace(path)


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number
