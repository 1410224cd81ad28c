"""``nodulerisk serve``: the page in a browser."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.padding import Padding
from rich.text import Text

from ..errors import NoduleRiskError
from ..networks import model_package
from .arguments import Device, Model
from .running import progress_bars, stdout, step
from .terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterator


def serve(
    ct: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="Opened in every session: DICOM folder, NRRD, NIfTI or MHA.", metavar="[CT]"),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Open a synthetic chest CT.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8765,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Which of this computer's addresses answers, instead of localhost alone. A token is then asked for.",
        ),
    ] = "",
    root: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FOLDER", help="Readers may open the CTs of this folder; of no other."),
    ] = None,
    sessions: Annotated[int, typer.Option(min=1, help="How many browsers may work at once.")] = 6,
    idle: Annotated[float, typer.Option(min=0.1, metavar="MINUTES", help="After these an unused session ends.")] = 30,
    upload: Annotated[int, typer.Option(min=1, metavar="MB", help="How much one upload may hold.")] = 2048,
    model: Model = model_package.SHIPPED,
    device: Device = "auto",
) -> None:
    """Show the panel's work as a page in a browser; see docs/serve.md. Research use only."""
    from ..browser.serving import Serving
    from ..browser.serving import serve as run

    if ct is not None and demo:
        raise NoduleRiskError("Name a CT or say --demo, not both.")

    def say(address: str) -> None:
        lines = f"NoduleRisk is at {address}\nStop it with Ctrl-C. Research use only."
        stdout().print(Padding(Text(lines), (0, 1)), soft_wrap=True)

    @contextmanager
    def reading(what: str) -> Iterator[None]:
        with progress_bars() as progress, step(progress, printable(what)):
            yield

    run(Serving(ct, demo, host, port, root, sessions, idle, upload, model, device), say, reading)
