"""What the guidelines can ask: each question, and all that may be answered, in one table that panels and tests read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import NoduleRiskError
from ..grades import CALCIFICATION_PATTERNS
from ..imaging.shown import shown

#: LIDC's calcification patterns that every guideline counts as benign: complete ("solid"), central, popcorn and
#: concentric rings ("laminated").
BENIGN_CALCIFICATION = ("popcorn", "laminated", "solid", "central")
#: A smooth, solid, oval, lentiform or triangular nodule at a fissure or the pleura: most likely a lymph node.
LYMPH_NODE = "juxtapleural or perifissural, smooth, oval or triangular"
SMALL_AIRWAY, LARGE_AIRWAY = "in a subsegmental airway", "in a segmental or larger airway"
THICK_CYST, MULTILOCULAR_CYST = "thick-walled cyst", "multilocular cyst"
LESIONS = ("nodule", LYMPH_NODE, SMALL_AIRWAY, LARGE_AIRWAY, THICK_CYST, MULTILOCULAR_CYST)
EXAMINATIONS = ("complete", "earlier CT awaited", "lungs not wholly shown", "infection or inflammation likely")
CHANGES = ("baseline", "new", "stable", "smaller", "growing", "slowly growing", "gone")
CYST_CHANGES = (
    "none",
    "cystic part larger",
    "wall thicker or nodular, or denser",
    "became multilocular",
    "more locules",
)
NO_YES = (False, True)


@dataclass(frozen=True)
class Question:
    """How a value is asked for, and what it can be.

    Attributes
    ----------
    label : str
    choices : tuple
        All values, where they can be counted.
    cuts : tuple of float
        Otherwise: where a guideline's answer may change, from the lowest to the highest value worth trying. Sizes are
        tried as round ones.
    unit : str
    usual : object or None
        What holds as long as nobody says otherwise: findings that a report names only where they are present, and that
        a CT is the first one.
    make : callable
        A value of the field from a number of ``cuts``.
    patient : bool
        Whether one answer holds for all nodules of a CT.
    """

    label: str
    choices: tuple[Any, ...] = ()
    cuts: tuple[float, ...] = ()
    unit: str = ""
    usual: Any = None
    make: Callable[[float], Any] = float
    patient: bool = False

    def check(self, value: Any) -> None:
        """Raise ``NoduleRiskError`` for a value that is no answer."""
        label = self.label[0].upper() + self.label[1:]
        # To Python, 1 is True.
        if self.choices and (value not in self.choices or isinstance(value, bool) != isinstance(self.choices[0], bool)):
            choices = ", ".join(said(choice) for choice in self.choices)
            raise NoduleRiskError(f"{label} cannot be {said(value)}: choose one of {choices}.")
        if isinstance(value, float | int) and self.cuts and not (math.isfinite(value) and value > 0):
            raise NoduleRiskError(f"{label} cannot be {said(value)}: give a number above 0.")
        if self.make is int and value != int(value):
            raise NoduleRiskError(f"{label} cannot be {said(value)}: give a whole number.")


@dataclass(frozen=True)
class Axes:
    """Long and short axis of a nodule or of its solid part, in mm; both 0 where there is no solid part."""

    long_mm: float
    short_mm: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.long_mm) and 0 <= self.short_mm <= self.long_mm):
            raise NoduleRiskError(
                f"Axes of {self.long_mm} x {self.short_mm} mm are no size: give the long axis first, in millimetres."
            )

    @classmethod
    def of_round(cls, diameter_mm: float) -> Axes:
        """A round nodule's."""
        return cls(diameter_mm, diameter_mm)

    def mean_mm(self, decimals: int) -> float:
        """Mean of both axes, each rounded to ``decimals`` and the mean again."""
        return rounded((rounded(self.long_mm, decimals) + rounded(self.short_mm, decimals)) / 2, decimals)

    def __str__(self) -> str:
        return f"{self.long_mm:.1f} x {self.short_mm:.1f} mm"


#: By the names of the fields of ``Inputs``, in the order in which a panel asks.
QUESTIONS = {
    "size": Question("size", cuts=(1, 4, 5, 6, 8, 9, 10, 15, 30, 31, 60), unit="mm", make=Axes.of_round),
    "volume_mm3": Question("volume", cuts=(1, 34, 80, 100, 113, 251, 268, 300, 524, 1767, 14137, 100000), unit="mm3"),
    "solid_part": Question("size of the solid part", cuts=(0, 4, 6, 8, 9, 60), unit="mm", make=Axes.of_round),
    "nodule_type": Question("nodule type", ("solid", "part-solid", "non-solid")),
    "calcification": Question("calcification", ("absent", *CALCIFICATION_PATTERNS), usual="absent"),
    "spiculation": Question("spiculation", NO_YES),
    "lesion": Question("place and shape", LESIONS, usual="nodule"),
    "fat": Question("fat in the nodule", NO_YES, usual=False),
    "lobe": Question("lobe", ("upper", "middle or lower")),
    "count": Question("nodules on the CT", cuts=(1, 2, 5, 20), make=int, patient=True),
    "emphysema": Question("emphysema on the CT", NO_YES, patient=True),
    "suspicious_features": Question("further features that suggest cancer", NO_YES, usual=False),
    "examination": Question("examination", EXAMINATIONS, usual="complete", patient=True),
    "pet": Question("uptake on PET", ("not done", "none", "faint", "moderate", "intense"), usual="not done"),
    "age": Question("age", cuts=(18, 35, 50, 65, 80, 100), unit="years", patient=True),
    "sex": Question("sex", ("female", "male"), patient=True),
    "smoked": Question("ever smoked", NO_YES, patient=True),
    "family_history": Question("lung cancer in the family", NO_YES, patient=True),
    "cancer": Question("earlier cancer", ("none", "outside the chest, over 5 years ago", "other"), patient=True),
    "immunosuppressed": Question("immunosuppressed", NO_YES, patient=True),
    "risk": Question("the patient's risk as the clinician estimates it", ("low", "high"), patient=True),
    "setting": Question("why the CT was made", ("screening", "incidental"), patient=True),
    "comparison": Question("against earlier CTs", CHANGES, usual="baseline"),
    "solid_change": Question("change of the solid part", ("stable", "new", "growing")),
    "cyst_change": Question("change of the cyst", CYST_CHANGES, usual="none"),
    "earlier": Question("measured on an earlier CT"),
    "interval_months": Question("months since the earlier CT", cuts=(1, 3, 6, 12, 24, 60), patient=True),
    "doubling_time_days": Question("volume doubling time", cuts=(1, 401, 601, 2000), unit="days"),
    "earlier_category": Question("Lung-RADS category of the earlier CT", ("1", "2", "3", "4A", "4B", "4X")),
    "proved_benign": Question("proved benign by work-up", NO_YES, usual=False),
}
#: No panel asks for these: what is measured on the outline is changed there, an earlier CT compared in its own place.
NOT_ASKED = ("size", "volume_mm3", "earlier")


def benign(calcification: str) -> bool:
    """Whether every guideline counts a pattern as benign."""
    return calcification in BENIGN_CALCIFICATION


def answered(name: str, given: Any) -> Any:
    """A question's value from what a person or a file gives: text, a number, yes or no, two axes.

    Raises
    ------
    NoduleRiskError
        If nobody asks that, or it is no answer.

    Examples
    --------
    >>> answered("smoked", "yes"), answered("age", "61"), answered("size", "8.2 x 6.9")
    (True, 61.0, Axes(long_mm=8.2, short_mm=6.9))
    """
    question = QUESTIONS.get(name)
    if question is None or name == "earlier":
        raise NoduleRiskError(f"Nobody asks for {shown(name)!r}: `nodulerisk questions` lists what can be answered.")
    value: Any = given.strip() if isinstance(given, str) else given
    if question.choices:
        value = next((one for one in question.choices if said(one).lower() == said(value).lower()), value)
    elif question.make == Axes.of_round:
        value = _axes(value)
    else:
        value = _number(value)
        value = int(value) if question.make is int and value == int(value) else value
    if value is None:
        raise NoduleRiskError(f"{shown(given)!r} is no answer to {question.label}: give {_wanted(question)}.")
    question.check(value)
    return value


def _wanted(question: Question) -> str:
    axes = "long and short axis in mm, such as 8.2 x 6.9"
    return (
        axes if question.make == Axes.of_round else f"a number {f'of {question.unit}' if question.unit else ''}".strip()
    )


def _number(value: Any) -> float | None:
    """A finite number, or ``None``."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _axes(value: Any) -> Axes | None:
    """Axes from themselves, from "8.2 x 6.9", from two numbers or from one diameter."""
    if isinstance(value, Axes):
        return value
    parts = re.split(r"\s*[x×]\s*", value) if isinstance(value, str) else value
    numbers = [_number(part) for part in (parts if isinstance(parts, list | tuple) else [parts])]
    if None in numbers or len(numbers) not in (1, 2):
        return None
    return Axes(*(float(number) for number in (numbers * 2)[:2] if number is not None))


def said(value: Any, unit: str = "") -> str:
    """A value as a person reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | int):
        number = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        return f"{number} {unit}".strip()
    return str(value)


def rounded(value: float, decimals: int) -> float:
    """``value`` rounded half up, as people round: 5.5 becomes 6 and 6.05 becomes 6.1."""
    # 6.05 is stored as 6.0499...: nine more decimals first.
    return math.floor(round(value * 10**decimals, 9) + 0.5) / 10**decimals
