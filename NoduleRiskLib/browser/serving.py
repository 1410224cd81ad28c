"""The way in: a CT or the demo's, and who may look; serves until it is stopped."""

from __future__ import annotations

import logging
import re
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import NoduleRiskError
from .start import FirstCt
from .uploads import Limits

#: Where the demo looks first: one of its nodules.
DEMO_NODULE = "spiculated"


@dataclass(frozen=True)
class Serving:
    """How to serve.

    Attributes
    ----------
    ct : Path or None
        Opened in every session; ``None``: nothing, readers open their own.
    demo : bool
        Open the synthetic CT instead.
    host : str
        Empty: this computer alone, without a token.
    port : int
        0 takes a free one.
    root : Path or None
        Readers may open CTs of this folder.
    sessions : int
    idle_minutes : float
    upload_mb : int
    model : Path or None
    device : str
    """

    ct: Path | None = None
    demo: bool = False
    host: str = ""
    port: int = 8765
    root: Path | None = None
    sessions: int = 6
    idle_minutes: float = 30.0
    upload_mb: int = 2048
    model: Path | None = None
    device: str = "auto"


def serve(wanted: Serving, say: Callable[[str], None], reading: Callable[[str], Any]) -> None:
    """Serve until interrupted.

    Parameters
    ----------
    wanted : Serving
    say : callable
        Is given the lines to print: the address, with the token where one is needed.
    reading : callable
        Is given what takes a while and returns a context that shows it.

    Raises
    ------
    NoduleRiskError
        If the root is no folder, the CT cannot be read, the model not loaded, or the port is taken; later, if the
        model's process ends.
    """
    try:
        import trame_slicer  # noqa: F401
        from aiohttp import web
    except ImportError as error:
        raise NoduleRiskError(
            "The page in a browser also needs trame-slicer: run python -m pip install 'NoduleRisk[browser]'."
        ) from error
    from .front import Front
    from .sessions import Grader, Sessions

    if wanted.root is not None and not wanted.root.is_dir():
        raise NoduleRiskError(f"{wanted.root} is no folder: name one with --root from which readers may open CTs.")
    # aiohttp's log has every request, and trame's every message.
    logging.getLogger("aiohttp").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="nodulerisk-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        ct = _first_ct(wanted, reading)
        with reading("Loading the model"):
            grader = Grader(wanted.model, wanted.device)
        try:
            limits = Limits(bytes=wanted.upload_mb * 2**20)
            sessions = Sessions(grader, ct, wanted.root, folder, wanted.sessions, wanted.idle_minutes * 60, limits)
            token = secrets.token_urlsafe(24) if wanted.host else ""
            host = wanted.host or "127.0.0.1"

            front = Front(sessions, token, limits.bytes)

            def listening(told: str) -> None:
                say(_address(told, host) + (f"?token={token}" if token else ""))

            web.run_app(front.app, host=host, port=wanted.port, print=listening, shutdown_timeout=2.0)
            if front.fault:
                raise NoduleRiskError(front.fault)
        except OSError as error:
            raise NoduleRiskError(
                f"Port {wanted.port} of {wanted.host or 'this computer'} cannot be used ({error.strerror}): "
                "choose another with --port or --host."
            ) from error
        finally:
            grader.stop()


def _address(told: str, host: str) -> str:
    """Where the page is, by aiohttp's own line once the port is open: it names the port where a free one was taken."""
    port = urlsplit(re.findall(r"https?://\S+", told)[0]).port
    shown = "localhost" if host == "127.0.0.1" else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"


def _first_ct(wanted: Serving, reading: Callable[[str], Any]) -> FirstCt | None:
    """The CT that every session opens, read once."""
    first: tuple[float, float, float] | None = None
    files: dict[str, Path] = {}
    if wanted.demo:
        from ..phantom.chest_ct import chest_ct

        with reading("Making a synthetic chest CT"):
            volume, nodules = chest_ct()
        first = next(one.point.ras for one in nodules if one.label == DEMO_NODULE)
    elif wanted.ct is not None:
        from ..imaging.reading import read
        from .dicom_files import files_of

        with reading(f"Reading {wanted.ct.name}"):
            volume = read(wanted.ct)
            files = files_of(volume, wanted.ct)
    else:
        return None
    return FirstCt(volume, files, first)
