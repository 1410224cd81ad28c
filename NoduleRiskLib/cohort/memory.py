"""How much memory a series will take, from its header alone, and how many workers fit beside each other."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

from ..errors import NoduleRiskError
from ..imaging.dicom_headers import read_header
from ..imaging.image_file import FILE_TYPES, HEADERS
from ..imaging.image_header import HeaderError

#: What a worker holds without a CT: networks, libraries, and what some nodules take for a moment
#: (``python -m Testing.benchmark.cohort memory``: 0.94 GB, so a quarter is to spare).
WORKER_MB = 1200
#: What a CT takes while it is read and looked at, against its voxels in int16 (same command: 2.0 times).
TIMES_VOXELS = 3.0
#: A worker has room for CTs of so many voxels, as megabytes of int16: 950 slices of 512 x 512. Larger ones come last,
#: fewer at a time.
ORDINARY_MB = 500
#: What such a worker may take in all.
ROOM_MB = WORKER_MB + TIMES_VOXELS * ORDINARY_MB
#: Of glibc's malloc.h: freed memory from so many bytes on goes back to the system, and larger blocks always do.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, NEVER = -1, -3, 2**31 - 1


def needed_mb(path: Path, series_uid: str = "") -> float:
    """Megabytes that a CT's voxels would take in int16, and what is worked on them; 0 if the header does not tell.

    Of a DICOM folder one header is read and the files are counted, so that the answer takes milliseconds; files of
    other series make it too large, never too small.
    """
    try:
        voxels = _voxels(path, series_uid)
    except (OSError, HeaderError, NoduleRiskError):
        # Whoever reads the CT says what is wrong with it.
        voxels = 0
    return WORKER_MB + TIMES_VOXELS * voxels * 2 / 1e6 if voxels else 0.0


def keep_freed() -> None:
    """Let this process keep what it frees for the next CT: the system takes its time to hand out pages anew (glibc)."""
    # No other C library has it.
    with suppress(AttributeError, OSError, TypeError):
        for threshold in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            ctypes.CDLL(None).mallopt(threshold, NEVER)


def forget_peak() -> None:
    """Let the system count the most memory that this process holds anew (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """The most memory that this process has held since; 0 where the system does not tell."""
    with suppress(OSError):
        told = Path("/proc/self/status").read_text()
        return int(told.partition("VmHWM:")[2].split()[0]) / 1e3
    return 0.0


def _voxels(path: Path, series_uid: str) -> int:
    name = path.name.lower()
    if ending := next((one for one in FILE_TYPES if name.endswith(one)), None):
        columns, rows, slices = HEADERS[ending](path, None).size
        return columns * rows * slices
    files = [one for one in (path if path.is_dir() else path.parent).iterdir() if one.is_file()]
    for file in files:
        header = read_header(file)
        if header and series_uid in ("", header.text("SeriesInstanceUID")):
            rows, columns = header.size
            return rows * columns * len(files)
    return 0
