"""The nine grades: their scales, LIDC words and bearing on malignancy, in one table that everything reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Where the scale of diameters is marked when it is drawn.
DIAMETER_MARKS_MM = (3.0, 6.0, 10.0, 20.0, 40.0)


@dataclass(frozen=True)
class Grade:
    """One LIDC characteristic of a nodule.

    Attributes
    ----------
    name : str
        As in LIDC-IDRI, lower case.
    low, high : float
        Ends of the scale, in grade units: 1 to 5, calcification's codes 1 to 6, diameter in mm.
    words : tuple of str
        LIDC's word for every whole step from ``low`` on; empty for diameter.
    high_means : str
        What a high value says about malignancy in LIDC readers' eyes.
    unit : str
        "mm" for diameter, empty otherwise.
    logarithmic : bool
        Whether models predict log2 of the value: sizes differ by factors, not by steps.

    References
    ----------
    Scales and words: McNitt-Gray et al. 2007, "The Lung Image Database Consortium (LIDC) data
    collection process for nodule detection and annotation", doi 10.1016/j.acra.2007.07.021.
    """

    name: str
    low: float
    high: float
    words: tuple[str, ...]
    high_means: str
    unit: str = ""
    logarithmic: bool = False

    @property
    def marks(self) -> tuple[float, ...]:
        """Values (grade units) at which the scale is marked when it is drawn: every step that has a word."""
        return tuple(self.low + step for step in range(len(self.words))) or DIAMETER_MARKS_MM

    def word(self, value: float) -> str:
        """LIDC's word for the step nearest to ``value`` (grade units); for diameter the size in mm."""
        if not self.words:
            return f"{value:.1f} {self.unit}"
        step = math.floor(self.clip(value) - self.low + 0.5)
        return self.words[step]

    def clip(self, value: float) -> float:
        """``value`` (grade units) moved to the nearer end of the scale if it lies outside."""
        return min(max(value, self.low), self.high)

    def fraction(self, value: float) -> float:
        """Where ``value`` (grade units) stands between ``low`` (0) and ``high`` (1)."""
        return (self.clip(value) - self.low) / (self.high - self.low)


GRADES = (
    Grade(
        "subtlety",
        1,
        5,
        ("extremely subtle", "moderately subtle", "fairly subtle", "moderately obvious", "obvious"),
        "no clear bearing: easier to see",
    ),
    Grade(
        "lobulation",
        1,
        5,
        ("no lobulation", "nearly no lobulation", "medium lobulation", "near marked lobulation", "marked lobulation"),
        "more suspicious",
    ),
    Grade(
        "spiculation",
        1,
        5,
        (
            "no spiculation",
            "nearly no spiculation",
            "medium spiculation",
            "near marked spiculation",
            "marked spiculation",
        ),
        "more suspicious",
    ),
    Grade("sphericity", 1, 5, ("linear", "ovoid to linear", "ovoid", "ovoid to round", "round"), "less suspicious"),
    Grade(
        "margin",
        1,
        5,
        ("poorly defined", "near poorly defined", "medium margin", "near sharp", "sharp"),
        "less suspicious",
    ),
    Grade(
        "texture",
        1,
        5,
        ("non-solid (ground glass)", "non-solid to part-solid", "part-solid", "part-solid to solid", "solid"),
        "no clear bearing: part-solid is the most suspicious",
    ),
    Grade(
        "calcification", 1, 6, ("popcorn", "laminated", "solid", "non-central", "central", "absent"), "more suspicious"
    ),
    Grade("diameter", 2, 60, (), "more suspicious", unit="mm", logarithmic=True),
    Grade(
        "malignancy",
        1,
        5,
        ("highly unlikely", "moderately unlikely", "indeterminate", "moderately suspicious", "highly suspicious"),
        "more suspicious (readers' suspicion, not pathology)",
    ),
)
GRADE_NAMES = tuple(grade.name for grade in GRADES)
#: The eight that malignancy is told from in two stages: never malignancy itself.
OTHER_GRADES = tuple(grade for grade in GRADES if grade.name != "malignancy")

#: Calcification's code 6, "absent": every lower code names a pattern.
CALCIFICATION_ABSENT = 6
CALCIFICATION_PATTERNS = GRADES[GRADE_NAMES.index("calcification")].words[: CALCIFICATION_ABSENT - 1]

#: Mean malignancy below / above which the LUNA16 studies call a nodule benign / malignant; between: left out.
BENIGN_BELOW, MALIGNANT_ABOVE = 2.75, 3.25

DISCLAIMER = "Research use only, not a medical device. Malignancy is LIDC readers' suspicion, not pathology."


def grade(name: str) -> Grade:
    """The grade of that name; raises ``KeyError`` for any other."""
    if name not in GRADE_NAMES:
        raise KeyError(f"no grade is called {name!r}; the grades are {', '.join(GRADE_NAMES)}")
    return GRADES[GRADE_NAMES.index(name)]
