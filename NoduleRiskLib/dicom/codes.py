"""The codes that name what is written: LIDC's grades as QIICR published them, standard ones, and a few of our own.

References
----------
Grades and their values: Fedorov et al. 2020, "DICOM re-encoding of volumetrically annotated Lung Imaging Database
Consortium (LIDC) nodules", doi 10.1002/mp.14445, and its ``concepts_dict.json`` and ``values_dict.json``
(github.com/QIICR/lidc2dicom). RadLex is called RADLEX, as PS3.16 table 8-1 has it. Everything else: PS3.16.
"""

from __future__ import annotations

from typing import NamedTuple

from ..grades import CALCIFICATION_PATTERNS, GRADES, Grade
from ..results.nodule import Nodule


class Code(NamedTuple):
    """A coded concept: value, scheme, and its meaning of up to 64 characters."""

    value: str
    scheme: str
    meaning: str


#: Schemes that are not the standard's own, with what to say of each in the objects.
LIDC, OURS = "99LIDCQIICR", "99NODULERISK"
SCHEMES = {LIDC: "Codes of QIICR for the grades of LIDC-IDRI", OURS: "Codes of NoduleRisk"}

#: By the grade's name; the diameter has none, since it is measured.
CONCEPTS = {
    "subtlety": Code("C45992", "NCIt", "Subtlety score"),
    "lobulation": Code("C62175", "NCIt", "Lobular Pattern"),
    "spiculation": Code("C28749", "NCIt", "Spiculation"),
    "sphericity": Code("400", LIDC, "Sphericity"),
    "margin": Code("C25563", "NCIt", "Margin"),
    "texture": Code("C41144", "NCIt", "Texture"),
    "calcification": Code("C3672", "NCIt", "Calcification"),
    "malignancy": Code("RID36042", "RADLEX", "Malignancy"),
}


def _steps(ends: dict[int, Code]) -> tuple[Code, ...]:
    """Values from 1 to 5, of which those without a code of their own have the general one."""
    return tuple(ends.get(step, Code(f"00{step}", LIDC, f"{step} out of 5")) for step in range(1, 6))


def _own(first: int, *meanings: str) -> dict[int, Code]:
    """Codes that QIICR numbered itself; where a meaning is empty, there is none."""
    return {
        step: Code(str(first + step), LIDC, f"{step} out of 5 ({meaning})")
        for step, meaning in enumerate(meanings, 1)
        if meaning
    }


#: For each grade its values from the lowest step on.
VALUES = {
    "subtlety": _steps(
        _own(100, "Extremely subtle", "Moderately subtle", "Fairly subtle", "Moderately obvious", "Obvious")
    ),
    "lobulation": _steps(_own(600, "No lobulation", "", "", "", "Marked lobulation")),
    "spiculation": _steps(_own(700, "No spiculation", "", "", "", "Marked spiculation")),
    "sphericity": _steps(
        {
            1: Code("RID5811", "RADLEX", "linear"),
            3: Code("RID5800", "RADLEX", "ovoid"),
            5: Code("RID5799", "RADLEX", "round"),
        }
    ),
    "margin": _steps(
        {1: Code("RID5709", "RADLEX", "Indistinct margin"), 5: Code("RID5707", "RADLEX", "Circumscribed margin")}
    ),
    "texture": _steps(
        {
            1: Code("RID50153", "RADLEX", "non-solid pulmonary nodule"),
            3: Code("RID50152", "RADLEX", "part-solid pulmonary nodule"),
            5: Code("RID50151", "RADLEX", "solid pulmonary nodule"),
        }
    ),
    "calcification": (
        Code("RID35453", "RADLEX", "Popcorn calcification sign"),
        Code("302", LIDC, "Laminated appearance"),
        Code("RID5741", "RADLEX", "Solid appearance"),
        Code("304", LIDC, "Non-central appearance"),
        Code("RID5827", "RADLEX", "Central calcification"),
        Code("RID28473", "RADLEX", "Absent"),
    ),
    "malignancy": _steps(
        _own(
            900,
            "Highly Unlikely for Cancer",
            "Moderately Unlikely for Cancer",
            "Indeterminate Likelihood",
            "Moderately Suspicious for Cancer",
            "Highly Suspicious for Cancer",
        )
    ),
}

ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
NODULE = Code("27925004", "SCT", "Nodule")
LUNG = Code("39607008", "SCT", "Lung")
SIDES = {"right": Code("24028007", "SCT", "Right"), "left": Code("7771000", "SCT", "Left")}
#: The nearest that CID 100 has.
PROCEDURE = Code("25045-6", "LN", "CT unspecified body region")
AI = Code("123110", "DCM", "Artificial Intelligence")

VOLUME = Code("118565006", "SCT", "Volume")
LONG_AXIS = Code("103339001", "SCT", "Long Axis")
SHORT_AXIS = Code("103340004", "SCT", "Short Axis")
DIAMETER = Code("81827009", "SCT", "Diameter")
MEAN = Code("373098007", "SCT", "Mean")
PERCENTILE = Code("121415", "DCM", "Percentile Ranking of measurement")
COMMENT = Code("121106", "DCM", "Comment")

MM, MM3 = Code("mm", "UCUM", "millimeter"), Code("mm3", "UCUM", "cubic millimeter")
ONE, PERCENT = Code("1", "UCUM", "no units"), Code("%", "UCUM", "Percent")

#: How a grade was come by: told with every decimal, since the interval's level has no place of its own.
ESTIMATED = Code("estimated", OURS, "Networks' estimate of LIDC readers' mean; 80 % interval")
EXPECTED = Code("expected", OURS, "Networks' estimate")
MEAN_CODE = Code("mean-code", OURS, "Mean of LIDC's codes: names no pattern, for comparison only")
MEASURED = Code("measured", OURS, "Measured on the outline")
BY_THRESHOLD = Code("threshold", OURS, "Measured on the outline's solid part, by threshold")
SUSPICION = Code("suspicion", OURS, "Probability that LIDC readers suspect it; not that of cancer")
SUSPICION_METHOD = Code("suspicion-of", OURS, "Half of LIDC's readers or more give malignancy 4 or 5")
CALCIFIED = Code("calcified", OURS, "Share of LIDC's readers expected to see calcification")
PATTERN = Code("pattern", OURS, "Probability of the calcification's pattern, if there is any")
SOLID_DIAMETER = Code("solid-diameter", OURS, "Diameter of the solid part")
SOLID_VOLUME = Code("solid-volume", OURS, "Volume of the solid part")
DRAWN_BY = Code("outline-by", OURS, "Outline drawn by")
DRAWN = {"user": Code("user", OURS, "User"), "network": Code("network", OURS, "Network")}
DOUBT = Code("doubt", OURS, "Doubtful")
GROWTH = Code("growth", OURS, "Growth since the earlier CT")
PLACE = Code("point", OURS, "Point with which the user marked the nodule")
MIDDLE = Code("middle-slice", OURS, "Image through the nodule's middle")
HEATMAP = Code("heatmap", OURS, "Heatmap: how much the grade rests on each place, 0 to 1")


def value_of(grade: Grade, nodule: Nodule) -> Code:
    """The coded value of a nodule's grade: the step nearest to the estimate; calcification's pattern."""
    if grade.name == "calcification":
        return VALUES[grade.name][grade.words.index(nodule.calcification.word)]
    value = nodule.estimate(grade.name).value
    return VALUES[grade.name][grade.words.index(grade.word(value))]


def pattern_of(nodule: Nodule) -> Code:
    """The most likely pattern of a nodule's calcification, if there is any."""
    return VALUES["calcification"][CALCIFICATION_PATTERNS.index(nodule.calcification.pattern)]


#: The grades that have words, in the order of ``GRADES``.
CODED = tuple(grade for grade in GRADES if grade.name in CONCEPTS)


def guideline(name: str) -> Code:
    """The name under which a guideline's answer stands."""
    value = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    return Code(value[:16].strip("-"), OURS, name[:64])
