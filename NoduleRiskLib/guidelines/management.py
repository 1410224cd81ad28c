"""From an assessment and what the user says to what all guidelines answer: doubts first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..imaging.dicom_facts import DicomFacts
from ..results.assessment import Assessment
from ..results.nodule import Nodule
from . import answers
from .answer import Answer
from .inputs import UNKNOWN, Earlier, Inputs, measured, told
from .proposals import proposed, with_header


class Grown(Protocol):
    """What became of a nodule since an earlier CT: ``followup``'s ``Growth``."""

    @property
    def sentence(self) -> str: ...
    def earlier(self) -> Earlier | None: ...


DOUBTFUL = (
    "Doubtful ({doubts}): look at the nodule and its outline first. What the guidelines say below holds only if both "
    "are right."
)


@dataclass(frozen=True)
class Management:
    """What the guidelines and risk models say of one nodule.

    Attributes
    ----------
    cautions : tuple of str
        Sentences that have to be read before the answers: what is doubtful about the nodule.
    inputs : Inputs
    answers : tuple of Answer
        In the order of ``GUIDELINES``.
    """

    cautions: tuple[str, ...]
    inputs: Inputs
    answers: tuple[Answer, ...]

    def __str__(self) -> str:
        return "\n".join((*self.cautions, *map(str, self.answers)))


def manage(
    assessment: Assessment,
    facts: DicomFacts | None = None,
    said: Mapping[str, Any] | None = None,
    earlier: Earlier | None = None,
) -> Management | None:
    """Ask all guidelines about an assessed nodule; ``None`` where 0.1.0 outlined nothing.

    Parameters
    ----------
    assessment : Assessment
    facts : DicomFacts, optional
        ``Volume.dicom``: age and sex.
    said : mapping, optional
        The user's answers by the names of ``QUESTIONS``, as ``About.of`` gives them; they stand above all others.
    earlier : Earlier, optional
        The same nodule on an earlier CT.

    Raises
    ------
    NoduleRiskError
        If the user's answers contradict each other.
    """
    if assessment.nodule is None:
        return None
    inputs = inputs_of(assessment.nodule, facts, said, earlier)
    doubts = assessment.doubts
    cautions = (DOUBTFUL.format(doubts=", ".join(doubts)),) if doubts else ()
    return Management(cautions, inputs, answers(inputs))


def inputs_of(
    nodule: Nodule,
    facts: DicomFacts | None = None,
    said: Mapping[str, Any] | None = None,
    earlier: Earlier | None = None,
) -> Inputs:
    """Every input with its origin: measured, graded, DICOM header, told; parameters as of ``manage``."""
    inputs = with_header(proposed(nodule, nodule.solid_part), facts)
    answered: dict[str, Any] = {name: told(value) for name, value in (said or {}).items()}
    if "size" in answered:
        # What was measured on the outline is another nodule's than the user's.
        answered = {"volume_mm3": UNKNOWN, "solid_part": UNKNOWN, **answered}
    if earlier is not None:
        answered["earlier"] = measured(earlier)
    return replace(inputs, **answered)
