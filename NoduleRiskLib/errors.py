"""What a user is told when something is not as it should be: one exception, and warnings beside results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class NoduleRiskError(ValueError):
    """Bad input, told in one full sentence: what is wrong and what to do about it.

    The command line prints it and exits with code 2, the panel shows it above the nodule list. Every other
    exception is a bug.
    """


@dataclass(frozen=True)
class InputWarning:
    """Something that makes a result less certain.

    Attributes
    ----------
    text : str
        One full sentence.
    about : "ct" or "nodule"
        Whether it holds for the whole CT, and so for every nodule on it, or for this nodule alone.
    doubt : str
        What makes the nodule doubtful, in a few words to show in its own row, such as "vessel?". Empty: worth reading,
        but nothing is doubtful.
    """

    text: str
    about: Literal["ct", "nodule"]
    doubt: str = ""

    def __str__(self) -> str:
        return self.text
