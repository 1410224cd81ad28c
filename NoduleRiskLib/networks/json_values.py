"""JSON read strictly: every value knows its key, and says in one sentence what was expected where it is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ..errors import NoduleRiskError

#: More digits than any whole number of a package has; Python takes quadratic time for very long ones.
DIGITS = 18
#: How every sentence about a value ends.
MEND = "the package was edited or made by another version; take a matching one."


@dataclass(frozen=True)
class JsonValue:
    """One value of a JSON file.

    Every method returns the value as the type it is named after, or raises ``NoduleRiskError`` with one sentence that
    names the file, the key and what is expected.

    Attributes
    ----------
    value : object
        As ``json`` reads it.
    file : Path
        For the sentences.
    key : str
        How one gets there, such as ``grader.layout.pixels``; empty for the whole file.
    """

    value: Any
    file: Path
    key: str = ""

    def fields(self, required: Collection[str], optional: Collection[str] = ()) -> dict[str, JsonValue]:
        """The values of an object that has all ``required`` keys and none but these and the ``optional`` ones."""
        if not isinstance(self.value, dict):
            self.refuse(f"an object with the keys {', '.join(required)}")
        for name in self.value:
            if name not in required and name not in optional:
                raise NoduleRiskError(
                    f"{self.file} has a key that this NoduleRisk does not know, {shown(self._under(name))}: {MEND}"
                )
        for name in required:
            if name not in self.value:
                raise NoduleRiskError(f"{self.file} lacks the key {self._under(name)}: {MEND}")
        return {name: JsonValue(value, self.file, self._under(name)) for name, value in self.value.items()}

    def entries(self) -> dict[str, JsonValue]:
        """The values of an object whose keys may be any."""
        if not isinstance(self.value, dict):
            self.refuse("an object")
        return {name: JsonValue(value, self.file, self._under(name)) for name, value in self.value.items()}

    def items(self, fewest: int, most: int) -> list[JsonValue]:
        """The values of a list of ``fewest`` to ``most``."""
        if not isinstance(self.value, list) or not fewest <= len(self.value) <= most:
            self.refuse(f"a list of {fewest}" + (f" to {most}" if most > fewest else ""))
        return [JsonValue(value, self.file, f"{self.key}[{i}]") for i, value in enumerate(self.value)]

    def whole(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        if type(self.value) is not int or not low <= self.value <= high:
            self.refuse(f"a whole number from {low} to {high}")
        return self.value

    def number(self, low: float, high: float) -> float:
        """A finite number from ``low`` to ``high``."""
        if type(self.value) not in (int, float) or not low <= self.value <= high:
            self.refuse(f"a number from {low:g} to {high:g}")
        return float(self.value)

    def flag(self) -> bool:
        """``true`` or ``false``."""
        if not isinstance(self.value, bool):
            self.refuse("true or false")
        return self.value

    def text(self, shortest: int = 1, longest: int = 1000, pattern: str = ".*", expected: str = "") -> str:
        """Printable text of ``shortest`` to ``longest`` characters that matches ``pattern``."""
        value = self.value
        fits = isinstance(value, str) and shortest <= len(value) <= longest and value.isprintable()
        if not fits or not re.fullmatch(pattern, value):
            self.refuse(expected or f"printable text of {shortest} to {longest} characters")
        return value

    def choice(self, among: Sequence[str]) -> Any:
        """One of some words."""
        if self.value not in among:
            self.refuse(f"one of {', '.join(among)}")
        return self.value

    def refuse(self, expected: str) -> NoReturn:
        """Raise the sentence that says what is expected here."""
        raise NoduleRiskError(
            f"In {self.file}, {self.key or 'the content'} must be {expected}, not {shown(self.value)}: {MEND}"
        )

    def _under(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name


def parse(data: bytes, file: Path, refusal: str) -> JsonValue:
    """A JSON file's content, without keys that stand twice, ``NaN``, ``Infinity`` and endless numbers.

    Parameters
    ----------
    data : bytes
        UTF-8.
    file : Path
        For the sentences.
    refusal : str
        The sentence if this is no JSON at all.

    Raises
    ------
    NoduleRiskError
        ``refusal``, or a sentence that names the key that stands twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, value in pairs:
            if name in values:
                raise NoduleRiskError(f"{file} has the key {shown(name)} twice: fetch the package again.")
            values[name] = value
        return values

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_constant=_no_number, parse_int=_whole)
    except NoduleRiskError:
        raise
    except (ValueError, RecursionError) as error:
        raise NoduleRiskError(refusal) from error
    return JsonValue(value, file)


def shown(value: Any) -> str:
    """A value of a JSON file as it may stand in a sentence: short, ASCII, on one line."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number without end"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:50] + '..."'


def _whole(digits: str) -> int:
    if len(digits) > DIGITS + 1:
        raise ValueError("a whole number of too many digits")
    return int(digits)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"JSON knows no {name}")
