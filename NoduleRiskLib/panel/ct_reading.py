"""CTs of the scene as the library reads them, each read once for each change, and what reading them said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import NoduleRiskError
from ..imaging.volume import Volume
from ..slicer_scene.inputs import Node, Scan
from ..slicer_scene.placement import placement


@dataclass(frozen=True)
class Look:
    """What reading a CT gave: the node's state, ``Volume.digest`` (empty: unreadable), and why it cannot be read."""

    version: tuple[int, bytes]
    digest: str
    problem: str = ""


class CtReader:
    """Reads CTs on the worker's thread, and remembers for the main thread what they gave."""

    def __init__(self) -> None:
        self._looks: dict[str, Look] = {}
        self._graded: tuple[tuple[Any, ...], Volume] | None = None

    def forget(self) -> None:
        """The scene is closed: its nodes' IDs will be others'."""
        self._looks.clear()
        self._graded = None

    def look_at(self, ct: Node) -> Look | None:
        """What reading a CT gave, if it was read as it is now."""
        look = self._looks.get(ct.GetID())
        return look if look and look.version == version_of(ct) else None

    def read(self, scan: Scan, ct_id: str, version: tuple[int, bytes], tell: Callable[..., None]) -> Volume:
        """The CT, ``tell``-ing the main thread its digest, or that it cannot be read; worker's thread only."""
        try:
            volume = scan.read()
        except Exception as error:
            problem = str(error) if isinstance(error, NoduleRiskError) else ""
            tell(self._remember, ct_id, Look(version, "", problem))
            raise
        tell(self._remember, ct_id, Look(version, volume.digest))
        return volume

    def copied(self, scan: Scan, ct_id: str, version: tuple[int, bytes], tell: Callable[..., None]) -> Volume:
        """As ``read``, of a copy: what the user does to the voxels meanwhile is neither graded nor in the digest.

        The last one is kept: a click on a CT that is as it was neither copies nor checks nor hashes it again, which
        took as long as grading a nodule.
        """
        state = (ct_id, version, scan.name, scan.identity, scan.warnings, scan.acquired, scan.dicom)
        kept = self._graded
        if kept is None or kept[0] != state:
            # The old one is dropped before the next takes its memory.
            self._graded = kept = None
            self._graded = kept = state, self.read(scan.copied(), ct_id, version, tell)
        return kept[1]

    def _remember(self, ct_id: str, look: Look) -> None:
        self._looks[ct_id] = look


def version_of(ct: Node) -> tuple[int, bytes]:
    """Differs whenever the CT's voxels or its place do."""
    return ct.GetImageData().GetMTime(), placement(ct)[0].tobytes()
