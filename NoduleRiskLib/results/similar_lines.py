"""The similar LIDC nodules as lines and sentences: what panel, page, terminal, notebook and report show."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..similar.reference_set import ATTRIBUTION, PICTURE_MM, SimilarNodule, patient, shipped_pictures
from .phrases import percent

if TYPE_CHECKING:
    from .nodule import Nodule

TITLE = "Similar LIDC nodules"
#: Stands beside the pictures, wherever they are shown.
PICTURES_FROM = f"Pictures {PICTURE_MM:.0f} mm wide: {ATTRIBUTION}."
#: The grades that are told beside malignancy and diameter, in this order.
TOLD = ("spiculation", "lobulation", "margin", "texture")


@dataclass(frozen=True)
class SimilarLine:
    """One similar nodule as it is shown.

    Attributes
    ----------
    name : str
        LIDC's patient: "LIDC-IDRI-0015".
    size : str
        Diameter with its unit.
    malignancy : str
        The readers' mean, then what each of them gave: "malignancy 4.3 (4 4 5)".
    grades : tuple of str
        Some other grades with their names.
    picture : bytes or None
        A JPEG file.
    """

    name: str
    size: str
    malignancy: str
    grades: tuple[str, ...]
    picture: bytes | None

    @property
    def source(self) -> str:
        """The picture as HTML and Qt show it without a file; empty without one."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.picture).decode()}" if self.picture else ""


def similar_lines(nodule: Nodule | None) -> list[SimilarLine]:
    """One line per similar nodule, the most similar first; empty if none were looked for."""
    return [_line(one) for one in nodule.similar] if nodule else []


def similar_text(nodule: Nodule | None) -> str:
    """All of them in one line: "LIDC-IDRI-0015 (18 mm, malignancy 4.3 (4 4 5)), ..."; empty without any."""
    return "; ".join(f"{line.name}, {line.size}, {line.malignancy}" for line in similar_lines(nodule))


def similar_sentence(nodule: Nodule | None) -> str:
    """What they have in common, whose suspicion it is, how they were found; empty without any."""
    if nodule is None or not nodule.similar:
        return ""
    means = [one.grades["malignancy"] for one in nodule.similar]
    same = list(dict.fromkeys(patient(one.name) for one in nodule.similar if one.same))
    look, tell = ("looks", "it tells") if len(same) == 1 else ("look", "they tell")
    known = f"{', '.join(same)} {look} like this very nodule, so {tell} nothing new. " if same else ""
    return (
        f"{known}Their readers gave malignancy {min(means):.1f} to {max(means):.1f}, on average "
        f"{sum(means) / len(means):.1f}: readers' suspicion, not pathology. Found by the eight other grades, as "
        "estimated here and as given by readers there."
    )


def _line(one: SimilarNodule) -> SimilarLine:
    reference = shipped_pictures()
    calcified = (f"calcification seen by {percent(one.calcified)} of readers",) if one.calcified else ()
    return SimilarLine(
        name=patient(one.name),
        size=f"{one.grades['diameter']:.1f} mm",
        malignancy=f"malignancy {one.grades['malignancy']:.1f} ({' '.join(map(str, one.malignancy))})",
        grades=(*(f"{name} {one.grades[name]:.1f}" for name in TOLD), *calcified),
        picture=reference.picture(one.name) if reference else None,
    )
