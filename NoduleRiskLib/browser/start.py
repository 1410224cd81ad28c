"""What the process before the sessions tells each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..imaging.volume import Volume
from .uploads import Limits

#: The header by which a session knows that a request came through the front.
PASS = "X-NoduleRisk-Pass"


class FirstCt(NamedTuple):
    """The CT that every session opens: its files by SOP instance UID, and where to look first, RAS mm."""

    volume: Volume
    files: dict[str, Path]
    first: tuple[float, float, float] | None


@dataclass(frozen=True)
class Start:
    """What a session is started with.

    Attributes
    ----------
    name : str
        Tells the page whether it is still the same session.
    secret : str
        Requests without it (header ``PASS``) are refused: other users of this computer reach the port, too.
    grader, key
        Address of the grader process and its key.
    device : str
        What people call the device in use.
    ct : FirstCt or None
    root : Path or None
        The folder of this computer from which CTs may be opened.
    folder : Path
        For what is uploaded and written; removed when the session ends.
    limits : Limits
    """

    name: str
    secret: str
    grader: Any
    key: bytes
    device: str
    ct: FirstCt | None
    root: Path | None
    folder: Path
    limits: Limits
