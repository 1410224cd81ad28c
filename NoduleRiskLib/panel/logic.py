"""Points in, assessments and nodes out: what the panel and Slicer's Python console share. Needs no Qt."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from ..errors import NoduleRiskError
from ..imaging.points import Point
from ..imaging.volume import Volume
from ..networks import model_package
from ..slicer_scene import inputs, results
from ..slicer_scene.inputs import Mark, Node, Scan
from ..slicer_scene.records import Record, record_of
from .export import collect
from .job import Job
from .parameters import NoduleRiskParameterNode
from .same_nodule import Outlines, stored_outlines, with_twins
from .view_state import ASSESSED, NEW, OUTDATED, OUTSIDE, ListedNodule
from .worker import Task, Tell, Worker

if TYPE_CHECKING:
    from ..results.assessment import Assessment

Ended = Callable[[BaseException | None], None]


@dataclass(frozen=True)
class _Look:
    """What reading a CT gave: the node's state, ``Volume.digest`` (empty: unreadable), and why it cannot be read."""

    version: tuple[int, bytes]
    digest: str
    problem: str = ""


class NoduleAssessor(Protocol):
    """What the logic needs of ``NoduleRiskLib.assessor.Assessor``."""

    @property
    def device_name(self) -> str: ...

    def assess(self, ct: Volume, points: Sequence[Point], heatmaps: bool = True) -> Iterator[Assessment]: ...


class NoduleRiskLogic(ScriptedLoadableModuleLogic):
    """Assesses the points of a list on a CT, on a thread of its own.

    In Slicer's Python console::

        import NoduleRisk
        ct, points = getNode("CT"), getNode("Nodules")
        for assessment in NoduleRisk.NoduleRiskLogic().assess(ct, points):
            print(assessment)

    Parameters
    ----------
    make_assessor : callable, optional
        Takes a package's folder (or ``None``) and a device, returns a ``NoduleAssessor``.
    """

    def __init__(self, make_assessor: Callable[[Path | str | None, str], NoduleAssessor] | None = None) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.worker = Worker()
        #: The name of the device in use, once a model is loaded; the devices to choose from.
        self.device_name, self.devices = "", ["auto", "cpu"]
        self._make_assessor = make_assessor or _make_assessor
        self._assessor: tuple[tuple[str, str], NoduleAssessor] | None = None
        self._looks: dict[str, _Look] = {}
        self._scene_number = 0

    def getParameterNode(self) -> Any:  # noqa: N802 - Slicer's name
        """The settings that are saved with the scene (``NoduleRiskParameterNode``)."""
        node = super().getParameterNode()
        return NoduleRiskParameterNode(node)  # type: ignore[call-arg]  # its decorator makes it take a node

    def assess(
        self,
        ct: Node,
        points: Node,
        nodes: bool = True,
        heatmaps: bool = True,
        package: Path | str | None = None,
        device: str = "auto",
    ) -> list[Assessment]:
        """Assess every point of a list on a CT and wait for it.

        Parameters
        ----------
        ct : vtkMRMLScalarVolumeNode
        points : vtkMRMLMarkupsFiducialNode
        nodes : bool
            Whether to put the results table and the heatmaps into the scene, as the panel does.
        heatmaps : bool
        package : path, optional
            Folder of a model package instead of the one that ships.
        device : str

        Returns
        -------
        list of NoduleRiskLib.results.assessment.Assessment
            One per placed point, in their order.

        Raises
        ------
        NoduleRiskError
            With one sentence, if the CT, a point, the package or the device is at fault.
        """
        found: dict[str, Assessment] = {}
        errors: list[BaseException | None] = []

        def assessed(mark: Mark, assessment: Assessment) -> None:
            found[mark.id] = assessment

        marks = tuple(inputs.marks(points))
        task = self.start(Job(ct, points, marks, package, device, heatmaps, nodes, assessed, errors.append))
        while not task.ended:
            time.sleep(0.005)
            self.worker.poll()
        if errors[0] is not None:
            raise errors[0]
        return [found[mark.id] for mark in marks]

    def start(self, job: Job) -> Task:
        """Assess points on the worker's thread; the job's callables are called when ``worker`` is polled."""
        scan, version, scene_number = inputs.scan(job.ct), _version(job.ct), self._scene_number
        ct_id, points_id = job.ct.GetID(), job.points.GetID()
        table = results.table_of(job.ct, job.points) if job.store_nodes else None
        stored = stored_outlines(table, job.points, [mark.id for mark in job.marks])

        def deliver(mark: Mark, assessment: Assessment, record: Record | None) -> None:
            if record:
                _store(ct_id, points_id, mark, record)
            job.assessed(mark, assessment)

        def work(tell: Tell) -> None:
            def call(function: Callable[..., Any], *arguments: Any) -> None:
                tell(self._in_the_same_scene, scene_number, function, *arguments)

            assessor = self._ready(job.package, job.device, tell)
            # A copy: what the user does to the voxels meanwhile is neither graded nor in the digest.
            volume = self._read(scan.copied(), ct_id, version, call)
            outlines = Outlines(stored, volume.digest) if job.store_nodes else None
            assessments = assessor.assess(volume, [mark.point for mark in job.marks], job.heatmaps)
            for mark, assessment in zip(job.marks, assessments, strict=True):
                record = None
                if outlines:
                    kept, twins = outlines.compare(mark.id, assessment)
                    record = record_of(kept, volume.digest, twins)
                call(deliver, mark, assessment, record)
                # Another one, if the GPU failed meanwhile.
                call(self._remember_device, assessor.device_name, _devices())

        return self.worker.do(work, job.ended)

    def prepare(self, package: Path | str | None, device: str, ended: Ended) -> Task:
        """Load the model on the worker's thread, so that ``device_name`` is known and the first nodule is quick."""

        def work(tell: Tell) -> None:
            self._ready(package, device, tell)

        return self.worker.do(work, ended)

    def describe(
        self, package: Path | str | None, described: Callable[[model_package.ModelPackage], None], ended: Ended
    ) -> Task:
        """Read and verify a model package on the worker's thread."""

        def work(tell: Tell) -> None:
            tell(described, model_package.load(package or model_package.SHIPPED))
            # An unknown ID has the package that ships read, once: here, so that drawing a heatmap need not.
            model_package.manifest_of("")

        return self.worker.do(work, ended)

    def look(self, ct: Node, ended: Ended) -> Task | None:
        """Read a CT on the worker's thread, once for each change; returns ``None`` if it was read as it is now."""
        if self._look_at(ct):
            return None
        scan, version, ct_id, scene_number = inputs.scan(ct), _version(ct), ct.GetID(), self._scene_number

        def work(tell: Tell) -> None:
            try:
                self._read(scan, ct_id, version, lambda *call: tell(self._in_the_same_scene, scene_number, *call))
            except NoduleRiskError:
                # ``problem`` tells it for as long as it is so.
                return

        return self.worker.do(work, ended)

    def problem(self, ct: Node) -> str:
        """Why a CT cannot be read, if it was tried: one sentence, or nothing."""
        look = self._look_at(ct) if ct else None
        return look.problem if look else ""

    def nodules(self, ct: Node, points: Node) -> list[ListedNodule]:
        """The placed points of a list, each with what the scene holds of it."""
        if not points:
            return []
        table = results.table_of(ct, points) if ct else None
        rows, without_maps = results.stored(table), results.without_maps(table)
        scan, look = (inputs.scan(ct), self._look_at(ct)) if ct else (None, None)
        digest = look.digest if look else None
        found = []
        for mark in inputs.marks(points):
            row = rows.get(mark.id)
            state = NEW if row is None else ASSESSED if row.fits(mark.point.ras, digest) else OUTDATED
            if state != ASSESSED and scan and not scan.contains(mark.point):
                state = OUTSIDE
            damaged = row is None and mark.id in rows
            lacks_maps = row is not None and row.found and mark.id in without_maps
            found.append(ListedNodule(mark, row, state, damaged, lacks_maps))
        return with_twins(found)

    def export(self, kind: str, path: Path | str, ct: Node, points: Node, grade: str, ended: Ended) -> Task:
        """Write what the scene holds; parameters as in ``export.Export``."""
        nodules = self.nodules(ct, points)
        files = collect(kind, Path(path), inputs.scan(ct), results.table_of(ct, points), nodules, grade)
        return self.worker.do(files.write, ended)

    def forget_scene(self) -> None:
        """The scene is closed: drop the calls that are still to come, for new nodes may get the old ones' IDs."""
        self._scene_number += 1
        self._looks.clear()

    def _in_the_same_scene(self, scene_number: int, function: Callable[..., Any], *arguments: Any) -> None:
        if scene_number == self._scene_number:
            function(*arguments)

    def _ready(self, package: Path | str | None, device: str, tell: Tell) -> NoduleAssessor:
        """The assessor for a package on a device, made once; called on the worker's thread only."""
        wanted = str(package or ""), device
        if self._assessor is None or self._assessor[0] != wanted:
            # The old one is dropped before the next takes its memory.
            self._assessor = None
            self._assessor = wanted, self._make_assessor(package or None, device)
        assessor = self._assessor[1]
        tell(self._remember_device, assessor.device_name, _devices())
        return assessor

    def _remember_device(self, name: str, devices: list[str]) -> None:
        self.device_name, self.devices = name, devices

    def _read(self, scan: Scan, ct_id: str, version: tuple[int, bytes], tell: Tell) -> Volume:
        """The CT, remembering its digest, or that it cannot be read; called on the worker's thread only."""
        try:
            volume = scan.read()
        except Exception as error:
            problem = str(error) if isinstance(error, NoduleRiskError) else ""
            tell(self._remember, ct_id, _Look(version, "", problem))
            raise
        tell(self._remember, ct_id, _Look(version, volume.digest))
        return volume

    def _remember(self, ct_id: str, look: _Look) -> None:
        self._looks[ct_id] = look

    def _look_at(self, ct: Node) -> _Look | None:
        look = self._looks.get(ct.GetID())
        return look if look and look.version == _version(ct) else None


def _store(ct_id: str, points_id: str, mark: Mark, record: Record) -> None:
    ct, points = (slicer.mrmlScene.GetNodeByID(node_id) for node_id in (ct_id, points_id))
    # Both nodes and the point may have been removed in the meantime.
    if ct and points and points.GetNthControlPointIndexByID(mark.id) >= 0:
        results.store(ct, points, mark, record)


def _version(ct: Node) -> tuple[int, bytes]:
    """Differs whenever the CT's voxels or its place do."""
    return ct.GetImageData().GetMTime(), inputs.scan(ct).ijk_to_ras.tobytes()


def _make_assessor(package: Path | str | None, device: str) -> NoduleAssessor:
    from ..assessor import Assessor

    return Assessor(package, device)


def _devices() -> list[str]:
    torch = sys.modules.get("torch")
    return ["auto", "cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count() if torch else 0))]
