"""Guidelines and risk models: arithmetic on what was measured and what the user says, never on suspicion."""

from __future__ import annotations

from . import brock, bts, fleischner, herder, lung_rads, mayo
from .answer import Answer, Conclusion, Open, Refusal, Used
from .inputs import Earlier, Inputs, Known, from_header, graded, measured, told
from .questions import QUESTIONS, Axes

__all__ = [
    "GUIDELINES",
    "QUESTIONS",
    "Answer",
    "Axes",
    "Conclusion",
    "Earlier",
    "Inputs",
    "Known",
    "Open",
    "Refusal",
    "Used",
    "answers",
    "from_header",
    "graded",
    "measured",
    "told",
]

#: In the order in which they are shown: three guidelines, three risk models.
GUIDELINES = (lung_rads.lung_rads, fleischner.fleischner, bts.bts, brock.brock, mayo.mayo, herder.herder)


def answers(inputs: Inputs) -> tuple[Answer, ...]:
    """What each guideline and each risk model says of one nodule, side by side."""
    return tuple(guideline(inputs) for guideline in GUIDELINES)
