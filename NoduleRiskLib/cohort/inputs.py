"""What a series' grades depend on, as a digest: corrected points must not pass as graded already."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial

from .manifest import Series
from .places import beside, is_remote

#: Files that are read at the same time, and how much of each at once.
THREADS, BLOCK = 8, 2**20


def with_digests(series: Sequence[Series], manifest: str) -> list[Series]:
    """The series with digests of what the manifest says of them, and of their points and outlines on this computer.

    Parameters
    ----------
    series : sequence of Series
    manifest : str
        CTs are told by their places as seen from it: a cohort that is moved as a whole stays the same.
    """
    folder = None if is_remote(manifest) else beside(manifest)
    with ThreadPoolExecutor(THREADS) as pool:
        digests = pool.map(partial(_digest, folder=folder), series)
        return [replace(one, inputs=digest) for one, digest in zip(series, digests, strict=True)]


def _digest(series: Series, folder: str | None) -> str:
    told = asdict(series) | {
        "ct": _place(series.ct, folder),
        "points": _contents(series.points),
        "segmentation": _contents(series.segmentation),
        "inputs": "",
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _place(path: str, folder: str | None) -> str:
    if not path or is_remote(path):
        return path
    # Windows knows no way from one drive to another.
    with suppress(ValueError):
        path = os.path.relpath(path, folder) if folder else os.path.abspath(path)
    return path.replace(os.sep, "/")


def _contents(path: str) -> str:
    """A digest of a file here; an address as it is; nothing of what cannot be read, which may come."""
    if not path or is_remote(path):
        return path
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError:
        return "nothing"
    return digest.hexdigest()
