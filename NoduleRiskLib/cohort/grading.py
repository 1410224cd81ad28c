"""One series of a cohort: fetched, read, graded, and told as rows of both tables, whatever is wrong with it."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import NoduleRiskError
from ..imaging.inputs import as_points
from ..results.cohort_tables import DONE, FAILED, REFUSED
from ..results.tables import row as table_row
from ..results.tables import versions
from .manifest import Series
from .memory import ROOM_MB, keep_freed, needed_mb, peak_mb
from .places import fetched
from .together import Room, Together

if TYPE_CHECKING:
    from ..assessor import Assessor
    from ..imaging.points import Point
    from ..imaging.volume import Volume
    from ..results.assessment import Assessment

#: A series whose worker was lost, or whose memory ran short, is tried again twice.
TRIES = 3
LOST = (
    "Its worker was lost three times: its memory ran short, its computer went down, or something in this CT ends the "
    "process."
)
SHORT = "Memory ran short three times: give it a computer with more, or fewer workers"
#: A series that needs more memory than its worker has: it comes again, to a worker with more.
LARGE = "large"
#: Errors of the system that tell of a wrong path.
OF_THE_MANIFEST = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
#: How torch begins what it says when the processor's memory is short.
NO_MEMORY = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory")


class MemoryShortError(Exception):
    """The computer's memory ran short: the series is tried again, when its neighbours may be done."""


class _UnwrittenError(Exception):
    """Pages or DICOM objects of a good CT could not be written."""


@dataclass(frozen=True)
class Wanted:
    """What is made of each series.

    Attributes
    ----------
    model : str
        Folder of the model package.
    package_sha256 : str
        Its hash; a worker with another package is stopped.
    device : str
    heatmaps : bool
    files : str
        Folder in which each series gets one of its own, for what follows; "" for none.
    pages, dicom : bool
        Write pages and outlines, and DICOM objects.
    room_mb : float
        Memory that a worker may take.
    together : int
        So many series are in a worker at a time.
    about : mapping
        What files say of the model package.
    """

    model: str
    package_sha256: str
    device: str = "cpu"
    heatmaps: bool = False
    files: str = ""
    pages: bool = False
    dicom: bool = False
    room_mb: float = ROOM_MB
    together: int = 1
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graded:
    """A series' row, and those of its nodules."""

    series: dict[str, Any]
    nodules: list[dict[str, Any]]


def graded(assessor: Assessor | Together, series: Series, wanted: Wanted, room: Room | None = None) -> Graded:
    """Grade a series; what is wrong with it becomes its row.

    Parameters
    ----------
    assessor : Assessor or Together
    series : Series
    wanted : Wanted
    room : Room, optional
        In which the series is, and whose memory it shares with others.

    Raises
    ------
    MemoryShortError
        If the computer's memory ran short.
    """
    if room is None:
        alone = Room(wanted.room_mb)
        with alone.entered():
            return graded(assessor, series, wanted, alone)
    begun = time.monotonic()
    told: dict[str, Any] = {"status": DONE, "sentence": "", "nodules": 0, "doubtful": 0}
    nodules: list[dict[str, Any]] = []
    try:
        nodules = _grade(assessor, series, wanted, room, told, begun)
    except NoduleRiskError as error:
        if isinstance(error.__cause__, MemoryError):
            raise MemoryShortError(str(error)) from error
        told |= {"status": FAILED if _lies_elsewhere(error.__cause__) else REFUSED, "sentence": str(error)}
    except MemoryError as error:
        raise MemoryShortError(repr(error)) from error
    except _UnwrittenError as error:
        told |= {"status": FAILED, "sentence": str(error), "nodules": 0, "doubtful": 0}
    # A bug of ours in one series of thousands must not stop the others.
    except Exception as error:
        if any(words in str(error) for words in NO_MEMORY):
            raise MemoryShortError(str(error)) from error
        told |= {"status": FAILED, "sentence": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
    told |= {"seconds": time.monotonic() - begun, "memory_mb": peak_mb()}
    return Graded(series_row(series, wanted, **told), nodules)


def series_row(series: Series, wanted: Wanted, **told: Any) -> dict[str, Any]:
    """The row of a series."""
    return {
        "id": series.id,
        "ct": series.ct,
        "series_uid": series.series_uid,
        "inputs": series.inputs,
        "nodules": 0,
        "doubtful": 0,
        "computer": platform.node(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "package_sha256": wanted.package_sha256,
        "nodulerisk": __version__,
        **told,
    }


def folder_of(files: str, series: Series) -> Path:
    """The folder of a series' pages and DICOM objects, a name on every file system."""
    name = re.sub(r"[^\w.-]+", "-", series.id).strip("-.")[:100]
    # Names that look alike then stay two.
    return Path(files, name if name == series.id else f"{name}-{hashlib.sha256(series.id.encode()).hexdigest()[:8]}")


def _grade(
    assessor: Assessor | Together, series: Series, wanted: Wanted, room: Room, told: dict[str, Any], begun: float
) -> list[dict[str, Any]]:
    from ..imaging.reading import read

    with ExitStack() as stack:
        place, points, outlines = (
            stack.enter_context(fetched(one)) if one else None
            for one in (series.ct, series.points, series.segmentation)
        )
        if place is None:
            raise NoduleRiskError("The manifest does not say where this CT lies: write its path into the column ct.")
        told["needed_mb"] = needed_mb(place, series.series_uid)
        if told["needed_mb"] > wanted.room_mb:
            told["status"] = LARGE
            return []
        asked = time.monotonic()
        stack.enter_context(room.memory(told["needed_mb"]))
        waited = time.monotonic() - asked
        # Only DICOM has series to choose from.
        volume = read(place, series.series_uid or None if place.is_dir() else None)
        told["read_seconds"] = time.monotonic() - begun - waited
        told["series_uid"] = volume.identity.get("SeriesInstanceUID", series.series_uid)
        told["ct_warnings"] = " ".join(volume.warnings)
        marked: list[Point] = [*series.placed, *(as_points(points, volume) if points else ())]
        found = list(assessor.assess(volume, marked, wanted.heatmaps, outlines))
        told |= {"nodules": len(found), "doubtful": sum(bool(one.doubts) for one in found)}
        if found:
            told["ct_warnings"] = " ".join(one.text for one in found[0].warnings if one.about == "ct")
        with room.drawing:
            told["sentence"] = _write_files(folder_of(wanted.files, series), volume, found, wanted)
        more = {"id": series.id, "package_sha256": wanted.package_sha256, "versions": json.dumps(versions())}
        return [{**table_row(one), **more, "number": number} for number, one in enumerate(found, 1)]


def _write_files(folder: Path, volume: Volume, found: Sequence[Assessment], wanted: Wanted) -> str:
    """Write what is wanted beside the tables; what went wrong with single pages."""
    failures: list[str] = []
    try:
        if wanted.pages:
            from ..results.result_folder import write_results

            _, failures = write_results(folder, volume, found, wanted.about)
        if wanted.dicom and volume.dicom is not None:
            from ..dicom.writing import dicom_objects, write_dicom

            write_dicom(folder / "dicom", dicom_objects(volume, found, model=wanted.about))
    except NoduleRiskError as error:
        raise _UnwrittenError(str(error)) from error
    return " ".join(failures)


def _lies_elsewhere(cause: BaseException | None) -> bool:
    """Whether disk, network or installation are what is wrong, rather than the CT, its points or the manifest.

    Decoders of pictures, too, raise ``OSError`` for what is broken; the system's own have a number.
    """
    if isinstance(cause, OSError):
        told = cause.errno is not None or isinstance(cause, TimeoutError | ConnectionError)
        return told and not isinstance(cause, OF_THE_MANIFEST)
    return isinstance(cause, ImportError)


class Starts:
    """Counts how often each series was begun: one process for all workers, which are lost without a word."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def before(self, name: str) -> int:
        """How often the series has been begun."""
        return self._counts[name]

    def begin(self, name: str) -> int:
        """Which try of the series this is, from 1."""
        self._counts[name] += 1
        return self._counts[name]


class Grader:
    """A worker of Ray Data: keeps the networks and grades series, each in a thread if there are several at a time.

    A series that was begun before is graded while no other is in the worker: it may be what ended one.

    Parameters
    ----------
    wanted : Wanted
    starts : handle of a Ray actor of ``Starts``
    """

    def __init__(self, wanted: Wanted, starts: Any) -> None:
        import torch

        from ..assessor import Assessor

        torch.set_num_threads(1)
        keep_freed()
        self._keep(wanted, starts)
        assessor = Assessor(wanted.model, wanted.device)
        if assessor.package.digest != wanted.package_sha256:
            raise RuntimeError(f"The model package in {wanted.model} on {platform.node()} is another one.")
        self._assessor = Together(assessor) if wanted.together > 1 else assessor

    def _keep(self, wanted: Wanted, starts: Any) -> None:
        self._wanted, self._starts, self._room = wanted, starts, Room(wanted.room_mb)

    def __call__(self, batch: Any) -> Any:
        """A pyarrow table with ``series`` (JSON) in, one with ``graded`` (JSON) out.

        Raises
        ------
        MemoryShortError
            If memory ran short and the series has tries left.
        """
        import pyarrow

        rows = [self._graded(Series.from_json(one)) for one in batch["series"].to_pylist()]
        return pyarrow.table({"graded": [json.dumps([one.series, one.nodules]) for one in rows]})

    def _grade(self, series: Series) -> Graded:
        return graded(self._assessor, series, self._wanted, self._room)

    def _graded(self, series: Series) -> Graded:
        import ray

        before = ray.get(self._starts.before.remote(series.id))
        with self._room.entered(alone=before > 0):
            number = ray.get(self._starts.begin.remote(series.id))
            if number > TRIES:
                return Graded(series_row(series, self._wanted, status=FAILED, sentence=LOST), [])
            try:
                return self._grade(series)
            except MemoryShortError as error:
                if number < TRIES:
                    raise
                return Graded(series_row(series, self._wanted, status=FAILED, sentence=f"{SHORT} ({error})."), [])
