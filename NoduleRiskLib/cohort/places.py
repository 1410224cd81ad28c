"""Where CTs and points lie: on this computer, or wherever fsspec reaches; what is elsewhere is fetched for a while."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import NoduleRiskError


def is_remote(path: str) -> bool:
    """Whether a path is an address (``s3://``, ``gs://``) rather than a name on this computer."""
    return "://" in path


def beside(table: str) -> str:
    """The folder or address at which a table's relative paths start."""
    return table.rpartition("/")[0] if is_remote(table) else os.path.dirname(os.path.abspath(table))


def joined(folder: str, path: str) -> str:
    """A path as it stands, or below a folder or address if it is relative."""
    if is_remote(path):
        return path
    if is_remote(folder):
        return f"{folder}/{path}"
    return os.path.join(folder, path)


@contextmanager
def fetched(path: str) -> Iterator[Path]:
    """A file or a folder of files (without subfolders) as it lies here, or a copy of it for as long as it is needed.

    A file comes with those beside it that share its name up to the last dot, such as the voxels of an ``.mhd``.

    Raises
    ------
    NoduleRiskError
        If nothing is there, or fsspec lacks what it takes to reach it.
    """
    if not is_remote(path):
        yield Path(path)
        return
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(path.removesuffix("/*").rstrip("/"))
    except (ImportError, ValueError) as error:
        raise NoduleRiskError(f"{path} cannot be reached ({error}).") from error
    with tempfile.TemporaryDirectory(prefix="nodulerisk-ct-") as folder:
        if system.isfile(root):
            stem = root.rsplit(".", 1)[0]
            wanted = [one for one in system.ls(root.rpartition("/")[0], detail=False) if one.startswith(f"{stem}.")]
            place = Path(folder, root.rpartition("/")[2])
        else:
            listed = system.ls(root, detail=True) if system.exists(root) else []
            wanted = [one["name"] for one in listed if one["type"] == "file"]
            place = Path(folder)
        if not wanted:
            raise NoduleRiskError(f"{path} holds no files: check its name and place.")
        # One by one and by name: what a server calls a file must not leave the folder.
        for one in wanted:
            system.get_file(one, os.path.join(folder, one.rpartition("/")[2]))
        yield place
