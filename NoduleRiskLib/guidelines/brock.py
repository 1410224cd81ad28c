"""The Brock (PanCan) model 2b: how likely a nodule on a first screening CT is cancer."""

from __future__ import annotations

from .answer import Answer, Conclusion, Outcome, Refusal, in_percent
from .asking import Reader, answer
from .inputs import Inputs
from .logistic import Model, Term
from .questions import LYMPH_NODE

NAME = "Brock 2b"
SOURCE = "McWilliams et al. 2013, doi 10.1056/NEJMoa1214726, table 2, full model with spiculation"

#: Model 2b. The size term is (d/10)^-0.5 - 1.58113883 with d, the longest diameter, in mm: 1.58113883 is the centre,
#: (4/10)^-0.5, so that nothing else is subtracted from d.
MODEL = Model(
    -6.7892,
    (
        Term("years above 62", 0.0287, "age", lambda age: age - 62),
        Term("woman", 0.6011, "sex", lambda sex: sex == "female"),
        Term("lung cancer in the family", 0.2961, "family_history", float),
        Term("emphysema", 0.2953, "emphysema", float),
        Term("size", -5.3854, "size", lambda size: (size.long_mm / 10) ** -0.5 - 1.58113883),
        Term("non-solid", -0.1276, "nodule_type", lambda kind: kind == "non-solid"),
        Term("part-solid", 0.3770, "nodule_type", lambda kind: kind == "part-solid"),
        Term("upper lobe", 0.6581, "lobe", lambda lobe: lobe == "upper"),
        Term("nodules above 4", -0.0824, "count", lambda count: count - 4),
        Term("spiculation", 0.7729, "spiculation", float),
    ),
)


def brock(inputs: Inputs) -> Answer:
    """The Brock model 2b (full, with spiculation).

    Its size is the longest diameter, its count that of all nodules on the CT. It was made on first screening CTs:
    it under-calls nodules found by chance.

    References
    ----------
    McWilliams et al. 2013, "Probability of cancer in pulmonary nodules detected on first screening CT",
    doi 10.1056/NEJMoa1214726. The coefficients agree with table 2 of Uthoff et al. 2019 (PMC6717521), whose
    uncentred intercept .2761 follows from them. Model 2a is left out: sources differ on its non-solid term.
    """
    return answer(NAME, rule, inputs)


def rule(inputs: Inputs, read: Reader) -> Outcome:
    """The probability, or why the model does not hold."""
    lesion = read(inputs.lesion)
    if lesion == LYMPH_NODE:
        return Refusal("Brock's model counts typical perifissural nodules as benign and gives them no risk.", SOURCE)
    if lesion != "nodule":
        return Refusal("Brock's model is for nodules, not for airway lesions or cysts.", SOURCE)
    low, high = MODEL.risk(inputs, read)
    return Conclusion(in_percent(low, high), "", "all ten terms of model 2b", SOURCE, _notes(inputs, read), (low, high))


def _notes(inputs: Inputs, read: Reader) -> tuple[str, ...]:
    notes = []
    if read.optional(inputs.setting) == "incidental":
        notes.append("The model was made on screening CTs and under-calls nodules found by chance.")
    if read.optional(inputs.comparison) not in (None, "baseline"):
        notes.append("The model was made on first CTs: it knows nothing of growth.")
    return tuple(notes)
