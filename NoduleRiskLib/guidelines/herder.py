"""Herder's model: the Mayo model's probability after a PET-CT."""

from __future__ import annotations

from . import mayo
from .answer import Answer, Conclusion, Outcome, Refusal, in_percent
from .asking import Reader, answer
from .inputs import Inputs
from .logistic import logistic

NAME = "Herder"
SOURCE = "Herder et al. 2005, Chest 128:2490"

CONSTANT, OF_MAYO = -4.739, 3.691
#: By uptake, as the British Thoracic Society words it: none as lung, faint up to the mediastinal blood pool, moderate
#: above it, intense far above it.
UPTAKE = {"none": 0.0, "faint": 2.322, "moderate": 4.617, "intense": 4.771}


def herder(inputs: Inputs) -> Answer:
    """Herder's model; needs a PET-CT, and refuses whatever the Mayo model refuses.

    References
    ----------
    Herder et al. 2005, "Clinical prediction model to characterize pulmonary nodules: validation and added value of
    18F-fluorodeoxyglucose positron emission tomography", Chest 128:2490. Uptake in words: Callister et al. 2015,
    doi 10.1136/thoraxjnl-2015-207168.
    """
    return answer(NAME, rule, inputs)


def rule(inputs: Inputs, read: Reader) -> Outcome:
    """The probability, or why the model does not hold."""
    if read(inputs.pet) == "not done":
        return Refusal("Herder's model needs the uptake on a PET-CT.", SOURCE)
    if refusal := mayo.outside(inputs, read):
        return refusal
    low, high = risk(inputs, read)
    kind = read.optional(inputs.nodule_type)
    notes = ("It is meant for solid nodules.",) if kind not in (None, "solid") else ()
    return Conclusion(in_percent(low, high), "", "Mayo's probability and the uptake", SOURCE, notes, (low, high))


def risk(inputs: Inputs, read: Reader) -> tuple[float, float]:
    """Lowest and highest probability (0 to 1) that the unknown inputs leave possible."""
    uptake = UPTAKE[read(inputs.pet)]
    low, high = (logistic(CONSTANT + OF_MAYO * before + uptake) for before in mayo.MODEL.risk(inputs, read))
    return low, high
