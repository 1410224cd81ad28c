"""What the user says of a patient and of single nodules, beside what was measured: one record, one file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import NoduleRiskError
from ..imaging.shown import shown
from .questions import QUESTIONS, Axes, answered

#: Key of a file's nodules; everything else in it is an answer about the patient.
NODULES = "nodules"


@dataclass(frozen=True)
class About:
    """Answers to ``QUESTIONS``, by their names.

    Attributes
    ----------
    patient : mapping
        What holds for the patient and the CT, and so for every nodule.
    nodules : mapping of str to mapping
        By a point's name, what holds for that nodule alone; it stands above the patient's.

    Raises
    ------
    NoduleRiskError
        If something is no answer.

    Examples
    --------
    >>> About({"age": 61, "smoked": "yes"}, {"N-1": {"lobe": "upper"}}).of("N-1")
    {'age': 61.0, 'smoked': True, 'lobe': 'upper'}
    """

    patient: Mapping[str, Any] = field(default_factory=dict)
    nodules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "patient", _answers(self.patient))
        if not isinstance(self.nodules, Mapping):
            raise NoduleRiskError(f'"{NODULES}" holds, for each point\'s name, the answers about that nodule.')
        object.__setattr__(self, "nodules", {str(label): _answers(one) for label, one in self.nodules.items()})

    def of(self, label: str) -> dict[str, Any]:
        """All answers that hold for a nodule."""
        return {**self.patient, **self.nodules.get(label, {})}

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it, and ``from_dict`` reads it."""
        nodules = {label: _plain(one) for label, one in self.nodules.items()}
        return {**_plain(self.patient), **({NODULES: nodules} if nodules else {})}

    @classmethod
    def from_dict(cls, values: Any) -> About:
        """What ``to_dict`` gave, or a person wrote."""
        if not isinstance(values, Mapping):
            raise NoduleRiskError('Answers come as {"age": 61, ..., "nodules": {"N-1": {"lobe": "upper"}}}.')
        return cls({name: one for name, one in values.items() if name != NODULES}, values.get(NODULES, {}))

    @classmethod
    def typed(cls, given: Iterable[str], labels: Iterable[str] = ()) -> About:
        """What is typed at the command line: files of answers (JSON), ``NAME=VALUE``, ``NODULE:NAME=VALUE``.

        What comes later stands above what came before.

        Parameters
        ----------
        given : iterable of str
        labels : iterable of str
            The nodules' names, to refuse answers about others; without any, every name is taken.
        """
        patient: dict[str, Any] = {}
        nodules: dict[str, dict[str, Any]] = {}
        for text in given:
            name, equals, value = text.partition("=")
            label, colon, question = name.rpartition(":")
            if not equals:
                read = cls.read(Path(text))
                patient |= read.patient
                for nodule, one in read.nodules.items():
                    nodules.setdefault(nodule, {}).update(one)
            elif colon:
                nodules.setdefault(label.strip(), {})[question.strip()] = value
            else:
                patient[name.strip()] = value
        known = set(labels)
        if known and (strange := [label for label in nodules if label not in known]):
            raise NoduleRiskError(
                f"There is no nodule {shown(strange[0])!r}: there are {', '.join(map(shown, sorted(known)))}."
            )
        return cls(patient, nodules)

    @classmethod
    def read(cls, path: Path) -> About:
        """The answers in a JSON file."""
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise NoduleRiskError(
                f"{shown(path)} cannot be read ({error.strerror}): give a JSON file, or NAME=VALUE such as age=61."
            ) from error
        except (ValueError, RecursionError) as error:
            if isinstance(error, NoduleRiskError):
                raise
            raise NoduleRiskError(f"{shown(path)} is no JSON file of answers.") from error


def _answers(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise NoduleRiskError(f"{shown(given)!r} are no answers: give them by name, such as {{'age': 61}}.")
    # What is left open in a form is not said.
    return {name: answered(name, value) for name, value in given.items() if value is not None and value != ""}


def _plain(answers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: [value.long_mm, value.short_mm] if isinstance(value, Axes) else value
        for name, value in answers.items()
        if name in QUESTIONS
    }
