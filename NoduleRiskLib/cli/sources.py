"""Where a command's CT and points come from and its DICOM objects go: folders and files, or a DICOMweb server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from ..dicom.web import Server, is_address
from ..errors import NoduleRiskError
from ..imaging.dicom_objects import is_dicom
from ..imaging.inputs import as_points
from ..imaging.points import Point
from ..imaging.points import read as read_points
from ..imaging.volume import Volume
from .terminal import printable

if TYPE_CHECKING:
    from ..imaging.segment import Segment


class Ct:
    """A CT that was named at the command line; an address that is none is told at once, before the CT is read.

    Parameters
    ----------
    given : str
        A folder, a file, or a DICOMweb server's address.
    series_uid : str or None
        Which series of it.
    """

    def __init__(self, given: str, series_uid: str | None) -> None:
        self._place = Server(given) if is_address(given) else Path(given)
        self._series_uid = series_uid
        #: What progress bars call it.
        self.name = self._place.name or str(self._place)

    def read(self, progress: Progress) -> Volume:
        """The CT; a server's images are counted as they come."""
        from ..dicom.web import read_series
        from ..imaging.reading import read

        task = progress.add_task(printable(f"Reading {self.name}"), total=None)
        if isinstance(self._place, Server):
            volume = read_series(self._place, self._series_uid, lambda: progress.advance(task))
        else:
            volume = read(self._place, self._series_uid)
        progress.update(task, total=1, completed=1)
        return volume


class Points:
    """Points that were named at the command line; a DICOM report's need the CT, all others are read at once.

    Parameters
    ----------
    file : path or None
    typed : sequence of Point
        Those of ``--point``.
    """

    def __init__(self, file: Path | None, typed: Sequence[Point] = ()) -> None:
        self._report = file if file and is_dicom(file) else None
        self._known = read_points(file) if file and not self._report else list(typed)

    @property
    def labels(self) -> list[str] | None:
        """Their names; ``None`` where only the CT will tell."""
        return None if self._report else [one.label for one in self._known]

    def on(self, volume: Volume) -> list[Point]:
        """The points on a CT."""
        return as_points(self._report, volume) if self._report else self._known


def outlines_of(file: Path | None, names: Sequence[str], volume: Volume) -> list[Segment] | None:
    """The segments of ``--segmentation``, of which ``--segment`` names some."""
    from ..imaging.segmentation_files import read

    if file is None:
        if names:
            raise NoduleRiskError("--segment chooses of a file's segments: name the file with --segmentation.")
        return None
    return read(file, volume, names)


def send(progress: Progress, paths: Sequence[Path], server: Server) -> Iterator[str]:
    """Store DICOM files on a server; a sentence if it did not take all of them, which stay where they are."""
    from ..imaging.dicom_objects import read_object

    # What refers to others comes last, so that it never refers to what is not there.
    objects: list[Any] = sorted(map(read_object, paths), key=lambda one: str(one.get("Modality")) == "SR")
    task = progress.add_task(printable(f"Storing on {server.name}"), total=len(objects))
    try:
        server.store(objects, lambda: progress.advance(task))
    except NoduleRiskError as error:
        yield f"{error} They are in {paths[0].parent}: nodulerisk send {paths[0].parent} {server.name}."
