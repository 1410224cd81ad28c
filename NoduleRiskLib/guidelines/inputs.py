"""What is known of a nodule and its patient: one record in which every value says where it came from."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Literal, TypeVar

from ..errors import NoduleRiskError
from .questions import QUESTIONS, Axes

T = TypeVar("T")

Origin = Literal["measured", "graded", "DICOM header", "user", "unknown"]


@dataclass(frozen=True)
class Known(Generic[T]):
    """A value and where it came from; without a value its origin is "unknown".

    ``name`` is the field of ``Inputs`` that holds it, filled in there.
    """

    value: T | None = None
    origin: Origin = "unknown"
    name: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != (self.origin == "unknown"):
            raise ValueError("a value has an origin, and what is unknown has neither")


UNKNOWN: Known[Any] = Known()


def measured(value: T) -> Known[T]:
    """A value that was measured on the outline."""
    return Known(value, "measured")


def graded(value: T) -> Known[T]:
    """A value that the networks propose and nobody has confirmed."""
    return Known(value, "graded")


def from_header(value: T) -> Known[T]:
    """A value that stands in the DICOM header."""
    return Known(value, "DICOM header")


def told(value: T) -> Known[T]:
    """A value that the user gave or confirmed."""
    return Known(value, "user")


@dataclass(frozen=True)
class Earlier:
    """The same nodule as an earlier CT showed it.

    Attributes
    ----------
    days : float
        From that CT to this one.
    size : Axes
    volume_mm3 : float, optional
    solid_part : Axes, optional
        0 x 0 mm where nothing was solid; ``None`` if it is not known.
    """

    days: float
    size: Axes
    volume_mm3: float | None = None
    solid_part: Axes | None = None

    def __post_init__(self) -> None:
        if not self.days > 0 or not (self.volume_mm3 is None or self.volume_mm3 > 0):
            raise NoduleRiskError("An earlier CT lies some days before this one, and its nodule has a volume above 0.")

    def __str__(self) -> str:
        volume = "" if self.volume_mm3 is None else f", {self.volume_mm3:.0f} mm3"
        return f"{self.size}{volume}, {self.days:.0f} days before"


@dataclass(frozen=True)
class Inputs:
    """All that the guidelines may ask, each as ``QUESTIONS`` words it; what is not given is unknown.

    There is no field for suspicion: guidelines and suspicion are never blended.

    Raises
    ------
    NoduleRiskError
        If a value is no answer to its question.

    Examples
    --------
    >>> Inputs(size=measured(Axes(8.2, 6.9)), smoked=told(True)).smoked.origin
    'user'
    """

    # Measured on the outline.
    size: Known[Axes] = UNKNOWN
    volume_mm3: Known[float] = UNKNOWN
    solid_part: Known[Axes] = UNKNOWN
    # Proposed by grades, confirmed by the user.
    nodule_type: Known[str] = UNKNOWN
    calcification: Known[str] = UNKNOWN
    spiculation: Known[bool] = UNKNOWN
    # Seen by the reader alone.
    lesion: Known[str] = UNKNOWN
    fat: Known[bool] = UNKNOWN
    lobe: Known[str] = UNKNOWN
    count: Known[int] = UNKNOWN
    emphysema: Known[bool] = UNKNOWN
    suspicious_features: Known[bool] = UNKNOWN
    examination: Known[str] = UNKNOWN
    pet: Known[str] = UNKNOWN
    # The patient.
    age: Known[float] = UNKNOWN
    sex: Known[str] = UNKNOWN
    smoked: Known[bool] = UNKNOWN
    family_history: Known[bool] = UNKNOWN
    cancer: Known[str] = UNKNOWN
    immunosuppressed: Known[bool] = UNKNOWN
    risk: Known[str] = UNKNOWN
    setting: Known[str] = UNKNOWN
    # Earlier examinations.
    comparison: Known[str] = UNKNOWN
    solid_change: Known[str] = UNKNOWN
    cyst_change: Known[str] = UNKNOWN
    earlier: Known[Earlier] = UNKNOWN
    interval_months: Known[float] = UNKNOWN
    doubling_time_days: Known[float] = UNKNOWN
    earlier_category: Known[str] = UNKNOWN
    proved_benign: Known[bool] = UNKNOWN

    def __post_init__(self) -> None:
        for one in fields(self):
            known = getattr(self, one.name)
            if known.value is not None:
                QUESTIONS[one.name].check(known.value)
            if known.name != one.name:
                object.__setattr__(self, one.name, replace(known, name=one.name))
        whole, part = self.size.value, self.solid_part.value
        if whole is not None and part is not None and part.long_mm > whole.long_mm:
            raise NoduleRiskError(f"The solid part ({part}) cannot be larger than the nodule ({whole}).")
