"""The Mayo Clinic model: how likely a single nodule of 4 to 30 mm is cancer."""

from __future__ import annotations

from .answer import Answer, Conclusion, Outcome, Refusal, in_percent
from .asking import Reader, answer
from .inputs import Inputs
from .logistic import Model, Term

NAME = "Mayo"
SOURCE = "Swensen et al. 1997, Arch Intern Med 157:849"
SMALLEST_MM, LARGEST_MM = 4, 30

#: The constant is -6.8272: public calculators have -6.872 and -6.8238.
MODEL = Model(
    -6.8272,
    (
        Term("age in years", 0.0391, "age", float),
        Term("ever smoked", 0.7917, "smoked", float),
        Term("cancer outside the chest over 5 years ago", 1.3388, "cancer", lambda cancer: cancer != "none"),
        Term("diameter in mm", 0.1274, "size", lambda size: size.long_mm),
        Term("spiculation", 1.0407, "spiculation", float),
        Term("upper lobe", 0.7838, "lobe", lambda lobe: lobe == "upper"),
    ),
)


def mayo(inputs: Inputs) -> Answer:
    """The Mayo model; refuses sizes outside 4 to 30 mm and cancers within 5 years or in the chest.

    The paper measured one diameter on radiographs; the long axis stands for it here.

    References
    ----------
    Swensen et al. 1997, "The probability of malignancy in solitary pulmonary nodules", Arch Intern Med 157:849.
    """
    return answer(NAME, rule, inputs)


def rule(inputs: Inputs, read: Reader) -> Outcome:
    """The probability, or why the model does not hold."""
    if refusal := outside(inputs, read):
        return refusal
    low, high = MODEL.risk(inputs, read)
    return Conclusion(in_percent(low, high), "", "all six terms of the model", SOURCE, (), (low, high))


def outside(inputs: Inputs, read: Reader) -> Refusal | None:
    """Why the model does not hold, if it does not."""
    if not SMALLEST_MM <= read(inputs.size).long_mm <= LARGEST_MM:
        return Refusal("The Mayo model is for nodules of 4 to 30 mm.", SOURCE)
    if read(inputs.cancer) == "other":
        return Refusal("The Mayo model is not for patients with a cancer within 5 years or in the chest.", SOURCE)
    return None
