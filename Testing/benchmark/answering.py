"""Guidelines and risk models: what all six answers of one nodule cost."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from NoduleRiskLib.guidelines import Axes, Inputs, answers, graded, measured, told

from .timing import Figure, Part, in_turns, markdown, milliseconds

NODULE = Inputs(
    size=measured(Axes(8.2, 6.9)),
    volume_mm3=measured(210.0),
    nodule_type=graded("solid"),
    calcification=graded("absent"),
    spiculation=graded(False),
)
#: Everything that a guideline may ask of that nodule, as the user would say it.
TOLD = {
    "size": Axes(8.2, 6.9),
    "volume_mm3": 210.0,
    "solid_part": Axes(0, 0),
    "nodule_type": "solid",
    "calcification": "absent",
    "spiculation": False,
    "lesion": "nodule",
    "fat": False,
    "lobe": "upper",
    "count": 1,
    "emphysema": False,
    "suspicious_features": False,
    "examination": "complete",
    "pet": "not done",
    "age": 61.0,
    "sex": "female",
    "smoked": True,
    "family_history": False,
    "cancer": "none",
    "immunosuppressed": False,
    "risk": "high",
    "setting": "incidental",
    "comparison": "baseline",
}


def parts() -> Iterator[Part]:
    """With all inputs told, and with the measured and graded ones alone: every open one is tried with all values."""
    ways = {
        "all inputs known": Inputs(**{name: told(value) for name, value in TOLD.items()}),
        "only what is measured and graded": NODULE,
    }
    times = {
        name: in_turns({"": lambda inputs=inputs: answers(inputs)}, seconds=2)[""] for name, inputs in ways.items()
    }
    lines = [[name, milliseconds(median(one)), milliseconds(min(one))] for name, one in times.items()]
    yield Part(
        "Ask all six guidelines and risk models",
        markdown(["inputs", "median", "quickest"], lines),
        (Figure("guidelines of one nodule", 1e3 * min(times["all inputs known"]), 1, "ms"),),
    )
