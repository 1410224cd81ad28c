"""What comes from outside as files: uploads within bounds, archives unpacked safely, paths that stay in their root."""

from __future__ import annotations

import errno
import re
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import NoduleRiskError
from ..imaging.image_file import FILE_TYPES
from ..imaging.image_header import is_there, lies_in

#: Bytes of an archive's file that are unpacked at once.
PIECE = 2**20
NOTHING_SENT = "There is no file in this upload: choose a CT's DICOM folder, an archive or a file."
BROKEN = "This archive is broken or of a kind that cannot be read: pack it again."
#: What the system says where no more can be written, which is not the archive's fault.
FULL = (errno.ENOSPC, errno.EDQUOT)
#: Of a file's name.
MOST_LETTERS = 100
#: What a file's name does not keep of what the user's computer called it; blanks and brackets stay, as in "CT (1).raw".
_STRANGE = re.compile(r"[^A-Za-z0-9._ ()-]")


@dataclass(frozen=True)
class Limits:
    """What one upload may hold.

    Attributes
    ----------
    bytes : int
        In all, as it is sent, and once more when unpacked: a whole-body CT of thin slices takes about one gigabyte.
    files : int
    """

    bytes: int = 2 * 2**30
    files: int = 10_000


class Inbox:
    """A new folder for one upload; takes pieces of files and says no as soon as there is too much.

    Parameters
    ----------
    folder : Path
        Made here.
    limits : Limits
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        folder.mkdir(parents=True)
        self.folder, self._limits = folder, limits
        self._bytes = self._files = 0
        self._names: set[str] = set()

    def new_file(self, name: str) -> Path:
        """Where a file of this name is written: what is harmless of its last part, once.

        A header that names its file of voxels finds it by that name.
        """
        self._files += 1
        if self._files > self._limits.files:
            raise NoduleRiskError(f"These are more than {self._limits.files:,} files: choose the CT's series alone.")
        harmless = _STRANGE.sub("-", PurePosixPath(name.replace("\\", "/")).name)[-MOST_LETTERS:]
        harmless = harmless.lstrip(". ").rstrip() or "file"
        tried = harmless
        # Some systems take capitals for small letters.
        while tried.lower() in self._names:
            tried = f"{self._files:05d}-{tried}"
        self._names.add(tried.lower())
        return self.folder / tried

    def count(self, size: int) -> None:
        """Count some bytes before they are written."""
        self._bytes += size
        if self._bytes > self._limits.bytes:
            raise NoduleRiskError(too_much(self._limits.bytes))


def too_much(most_bytes: int) -> str:
    """What is said of an upload that is larger."""
    return f"This is more than {most_bytes / 2**20:,.0f} MB: choose the CT's series alone."


def unpacked(inbox: Inbox, into: Inbox) -> Path:
    """What was uploaded as a place that can be read: archives unpacked, a folder of slices, or one image file.

    Parameters
    ----------
    inbox, into : Inbox
        What was sent, and an empty one for what is unpacked.

    Raises
    ------
    NoduleRiskError
        If an archive is broken, encrypted, holds links or more than the limits allow.
    OSError
        If the disk is full.
    """
    for file in sorted(inbox.folder.iterdir()):
        if zipfile.is_zipfile(file):
            _unpack(file, into)
            file.unlink()
        else:
            into.count(file.stat().st_size)
            file.rename(into.new_file(file.name))
    files = sorted(into.folder.iterdir())
    images = [file for file in files if file.name.lower().endswith(FILE_TYPES)]
    if not files:
        raise NoduleRiskError(NOTHING_SENT)
    return images[0] if len(images) == 1 else into.folder


def _unpack(file: Path, into: Inbox) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if entry.is_dir():
                    continue
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG):
                    raise NoduleRiskError("This archive holds links or devices: pack the files themselves.")
                if entry.flag_bits & 1:
                    raise NoduleRiskError("This archive is encrypted: unpack it first.")
                # Python's unpacking of other kinds makes pieces of any size, whatever it is asked for.
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise NoduleRiskError("This archive is packed in an unusual way: pack it again as a plain .zip.")
                # Names in the archive are never used as paths, and its own sizes are not believed.
                with archive.open(entry) as packed, into.new_file(entry.filename).open("wb") as written:
                    while piece := packed.read(PIECE):
                        into.count(len(piece))
                        written.write(piece)
    except NoduleRiskError:
        raise
    except OSError as error:
        if error.errno in FULL:
            raise
        raise NoduleRiskError(BROKEN) from error
    # zipfile and zlib have many kinds of errors for what is broken.
    except Exception as error:
        raise NoduleRiskError(BROKEN) from error


def below(root: Path | None, relative: str) -> Path:
    """A place below the root, links followed.

    Raises
    ------
    NoduleRiskError
        If no root was named, or the place lies elsewhere or does not exist; the same sentence for both.
    """
    if root is None:
        raise NoduleRiskError("The server was started without --root: no folder of its own is open to you.")
    try:
        place = (root.resolve() / relative).resolve(strict=True)
        inside = lies_in(place, root)
    # As a loop of links is told by older and newer Pythons.
    except (OSError, ValueError, RuntimeError):
        inside = False
    if not inside:
        raise NoduleRiskError("There is no such folder or file.")
    return place


def listing(root: Path | None, relative: str, most: int = 500) -> dict[str, object]:
    """A folder below the root as the page lists it: its path from there, folders, image files, how many other files."""
    place = below(root, relative)
    assert root is not None
    try:
        if not place.is_dir():
            place = place.parent
        entries = sorted(place.iterdir(), key=lambda one: one.name.lower())
        inside = [one for one in entries if not one.name.startswith(".") and lies_in(one, root)]
        folders = [one.name for one in inside if one.is_dir()]
    except OSError as error:
        raise NoduleRiskError(f"This folder cannot be listed ({error.strerror or error}).") from error
    here = place.relative_to(root.resolve()).as_posix()
    images = [one.name for one in inside if is_there(one) and one.name.lower().endswith(FILE_TYPES)]
    others = sum(is_there(one) for one in inside) - len(images)
    return {
        "path": "" if here == "." else here,
        "folders": folders[:most],
        "images": images[:most],
        "others": others,
        "more": max(0, len(folders) - most) + max(0, len(images) - most),
    }
