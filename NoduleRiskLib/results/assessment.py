"""What is said about one point: a nodule or nothing, and warnings. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InputWarning
from ..imaging.dicom_facts import ImageReference
from ..imaging.points import Point
from ..imaging.volume import Volume
from .nodule import Calcification, Estimate, Nodule
from .notebook import html
from .phrases import one_line
from .serialization import (
    FORMAT,
    damage_told,
    image_from_dict,
    in_todays_form,
    nodule_from_dict,
    nodule_maps,
    nodule_to_dict,
)

__all__ = ["Assessment", "Calcification", "Estimate", "Nodule"]


@dataclass(frozen=True, eq=False, repr=False)
class Assessment:
    """All that is said about one point.

    Attributes
    ----------
    point : Point
        Its name, and where the user put it (RAS mm).
    warnings : tuple of InputWarning
        First those about the whole CT, then those about this nodule.
    model_id : str
        Name and hash of the model package that graded it.
    nodule : Nodule or None
        ``None`` is read of version 0.1.0 alone: nothing was outlined at the point, and no grade is given.
    image : ImageReference or None
        The CT's image through the nodule's middle, as DICOM names it; ``None`` of a CT that is not from DICOM.
    tracking_uid : str
        The DICOM UID under which this nodule is known already: of a report that was read, or of the earlier CT. Empty:
        nobody gave it one.
    """

    point: Point
    warnings: tuple[InputWarning, ...] = ()
    model_id: str = ""
    nodule: Nodule | None = None
    image: ImageReference | None = None
    tracking_uid: str = ""

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is doubtful about this nodule, in a few words each: of its warnings, in their order, each once."""
        found = (warning.doubt for warning in self.warnings if warning.about == "nodule" and warning.doubt)
        return tuple(dict.fromkeys(found))

    def __repr__(self) -> str:
        return f"<Assessment of {one_line(self.point, self.nodule, self.doubts)}>"

    def _repr_html_(self) -> str:
        return html(self.point, self.nodule, self.warnings, self.model_id, self.doubts, self.image)

    def to_dict(self) -> dict[str, Any]:
        """Everything but arrays over pixels, as JSON takes it.

        Returns
        -------
        dict
            ``format``; ``label``; ``point_ras_mm`` [R, A, S]; ``warnings``, each with ``text``, ``about`` ("ct" or
            "nodule") and ``doubt``; ``doubts``; ``model_id``; ``image``: series and image of a CT from DICOM, or null;
            ``tracking_uid``; ``nodule``: what ``serialization.nodule_to_dict`` gives, or null.
        """
        return {
            "format": FORMAT,
            "label": self.point.label,
            "point_ras_mm": list(self.point.ras),
            "warnings": [asdict(warning) for warning in self.warnings],
            "doubts": list(self.doubts),
            "model_id": self.model_id,
            "image": self.image and asdict(self.image),
            "tracking_uid": self.tracking_uid,
            "nodule": None if self.nodule is None else nodule_to_dict(self.nodule),
        }

    def maps(self) -> dict[str, Volume]:
        """The arrays over pixels as small volumes: ``serialization.nodule_maps``; empty without a nodule."""
        return {} if self.nodule is None else nodule_maps(self.nodule)

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], maps: Mapping[str, Volume] | None = None, volume: Volume | None = None
    ) -> Assessment:
        """The assessment that ``to_dict`` and ``maps`` describe.

        Parameters
        ----------
        values : mapping
            As ``to_dict`` gives it, or as a scene saved by version 0.1.0 holds it.
        maps : mapping of str to Volume, optional
            As ``maps`` gives them; a missing one stands for a map of zeros.
        volume : Volume, optional
            The CT: with it the slices have their pixels (HU) again, without it they are 0.

        Returns
        -------
        Assessment
            Equal to the one written, except that the outline is known on the graded slices alone.

        Raises
        ------
        NoduleRiskError
            If a newer NoduleRisk wrote it, or something is missing or of another kind.
        """
        with damage_told():
            values = in_todays_form(values)
            r, a, s = map(float, values["point_ras_mm"])
            return cls(
                Point(str(values["label"]), (r, a, s)),
                tuple(
                    InputWarning(str(one["text"]), one["about"], str(one.get("doubt", "")))
                    for one in values["warnings"]
                ),
                str(values["model_id"]),
                None if values["nodule"] is None else nodule_from_dict(values["nodule"], maps or {}, volume),
                # Neither was known to what was stored before.
                image_from_dict(values["image"]) if values.get("image") else None,
                str(values.get("tracking_uid", "")),
            )
