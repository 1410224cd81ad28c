"""Points in, assessments and nodes out: what the panel and Slicer's Python console share. Needs no Qt."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer

from ..errors import NoduleRiskError
from ..imaging.volume import Volume
from ..networks import model_package
from ..slicer_scene import dicom_database, drawn_outlines, inputs, outline_segments, results
from ..slicer_scene.drawn_outlines import Drawn, DrawnOutline
from ..slicer_scene.inputs import Mark, Node, Scan
from ..slicer_scene.records import Record, Row, record_of
from ..slicer_scene.segment_voxels import SegmentReader, same
from .assessing import NoduleAssessor, Outcome, assess_each
from .ct_reading import CtReader, version_of
from .export import DICOM, collect
from .job import Job
from .reporting import collect_report
from .same_nodule import Outlines, stored_outlines, with_twins
from .view_state import ASSESSED, NEW, OUTDATED, OUTSIDE, ListedNodule
from .worker import Task, Tell, Worker

try:
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic
except ModuleNotFoundError:  # the page in a browser has Slicer's MRML without its application
    ScriptedLoadableModuleLogic = object

if TYPE_CHECKING:
    from ..guidelines.management import Grown
    from ..results.assessment import Assessment

Ended = Callable[[BaseException | None], None]


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
        #: Which segments of the chosen segmentation can be no nodules, as it was seen last; one sentence each.
        self.left_out: tuple[str, ...] = ()
        self.reader = SegmentReader()
        self._make_assessor = make_assessor or _make_assessor
        self._assessor: tuple[tuple[str, str], NoduleAssessor] | None = None
        self._cts = CtReader()
        self._scene_number = 0

    def getParameterNode(self) -> Any:  # noqa: N802 - Slicer's name
        """The settings that are saved with the scene (``NoduleRiskParameterNode``)."""
        from .parameters import NoduleRiskParameterNode

        node = super().getParameterNode()
        return NoduleRiskParameterNode(node)  # type: ignore[call-arg]  # its decorator makes it take a node

    def assess(
        self,
        ct: Node,
        points: Node = None,
        nodes: bool = True,
        heatmaps: bool = True,
        package: Path | str | None = None,
        device: str = "auto",
        outlines: Node = None,
    ) -> list[Assessment]:
        """Assess every point of a list on a CT and wait for it.

        Parameters
        ----------
        ct : vtkMRMLScalarVolumeNode
        points : vtkMRMLMarkupsFiducialNode, optional
            Without one, a new list for the outlines' points.
        nodes : bool
            Whether to put the results table and the heatmaps into the scene, as the panel does.
        heatmaps : bool
        package : path, optional
            Folder of a model package instead of the one that ships.
        device : str
        outlines : vtkMRMLSegmentationNode, optional
            Outlines of single nodules that the user or another tool drew. A point in or near a segment is graded at
            that outline; a segment without a point is given one in the list. The segmentation is not changed. What was
            edited in the list's own segmentation is graded in any case.

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

        if points is None:
            points = inputs.add_points("Nodules", [], ct)
        self.give_points(ct, points, outlines)
        for sentence in self.left_out:
            logging.warning("NoduleRisk: %s", sentence)
        marks = tuple(inputs.marks(points))
        task = self.start(Job(ct, points, marks, outlines, package, device, heatmaps, nodes, assessed, errors.append))
        while not task.ended:
            time.sleep(0.005)
            self.worker.poll()
        if errors[0] is not None:
            raise errors[0]
        return [found[mark.id] for mark in marks]

    def start(self, job: Job) -> Task:
        """Assess points on the worker's thread; the job's callables are called when ``worker`` is polled."""
        scan, version, scene_number = inputs.scan(job.ct), version_of(job.ct), self._scene_number
        ct_id, points_id = job.ct.GetID(), job.points.GetID()
        table = results.table_of(job.ct, job.points) if job.store_nodes else None
        stored = stored_outlines(table, job.points, [mark.id for mark in job.marks])
        chosen_id = job.outlines.GetID() if job.outlines else ""
        # Copies of what the user drew, made here and now.
        in_force = self._in_force(self._drawn(job.ct, scan, job.points, job.outlines, anew=True), job.ct, job.points)
        drawn = {mark.id: in_force[mark.id] for mark in job.marks if mark.id in in_force}

        def deliver(outcome: Outcome, record: Record | None, mask: Volume | None) -> None:
            if record:
                self._store((ct_id, points_id, chosen_id), outcome, record, mask)
            job.assessed(outcome.mark, outcome.assessment)

        def work(tell: Tell) -> None:
            from ..imaging.outline_labels import on_grid_of

            def call(function: Callable[..., Any], *arguments: Any) -> None:
                tell(self._in_the_same_scene, scene_number, function, *arguments)

            assessor = self._ready(job.package, job.device, tell)
            volume = self._cts.copied(scan, ct_id, version, call)
            outlines = Outlines(stored, volume.digest) if job.store_nodes else None
            for outcome in assess_each(assessor, volume, job.marks, drawn, job.heatmaps):
                record, mask, nodule = None, None, outcome.assessment.nodule
                if outlines:
                    kept, twins = outlines.compare(outcome.mark.id, outcome.assessment)
                    record = record_of(kept, volume.digest, twins, outcome.drawn)
                    mask = on_grid_of(volume, nodule.outline.probability) if nodule and not outcome.drawn else None
                call(deliver, outcome, record, mask)
                # Another one, if the GPU failed meanwhile.
                call(self._remember_device, assessor.device_name, _devices())

        return self.worker.do(work, job.ended)

    def with_assessor(
        self,
        package: Path | str | None,
        device: str,
        work: Callable[[NoduleAssessor, Callable[..., None]], None],
        ended: Ended,
    ) -> Task:
        """Work that needs an assessor, on the worker's thread; its calls are dropped if the scene is closed before."""
        scene_number = self._scene_number

        def all_of_it(tell: Tell) -> None:
            def call(function: Callable[..., Any], *arguments: Any) -> None:
                tell(self._in_the_same_scene, scene_number, function, *arguments)

            work(self._ready(package, device, tell), call)

        return self.worker.do(all_of_it, ended)

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
        if self._cts.look_at(ct):
            return None
        scan, version, ct_id, scene_number = inputs.scan(ct), version_of(ct), ct.GetID(), self._scene_number

        def work(tell: Tell) -> None:
            try:
                self._cts.read(scan, ct_id, version, lambda *call: tell(self._in_the_same_scene, scene_number, *call))
            except NoduleRiskError:
                # ``problem`` tells it for as long as it is so.
                return

        return self.worker.do(work, ended)

    def problem(self, ct: Node) -> str:
        """Why a CT cannot be read, if it was tried: one sentence, or nothing."""
        look = self._cts.look_at(ct) if ct else None
        return look.problem if look else ""

    def nodules(self, ct: Node, points: Node, outlines: Node = None) -> list[ListedNodule]:
        """The placed points of a list, each with what the scene holds of it; ``outlines`` as for ``assess``."""
        if not points:
            return []
        table = results.table_of(ct, points) if ct else None
        rows, without_maps = results.stored(table), results.without_maps(table)
        scan, look = (inputs.scan(ct), self._cts.look_at(ct)) if ct else (None, None)
        digest = look.digest if look else None
        drawn = self._drawn(ct, scan, points, outlines) if scan else Drawn()
        in_force, self.left_out = self._in_force(drawn, ct, points), drawn.left_out
        aside = outline_segments.points_set_aside(outline_segments.segmentation_of(ct, points))
        found = []
        for mark in inputs.marks(points):
            row, outline = rows.get(mark.id), in_force.get(mark.id)
            fits = row is not None and row.fits(mark.point.ras, digest)
            edited = row is not None and not same(row.drawn, outline.voxels.place if outline else "")
            # Not looked at without a CT.
            edited = edited and scan is not None
            state = NEW if row is None else ASSESSED if fits and not edited else OUTDATED
            if state != ASSESSED and scan and not scan.contains(mark.point):
                state = OUTSIDE
            found.append(
                ListedNodule(
                    mark,
                    row,
                    state,
                    damaged=row is None and mark.id in rows,
                    lacks_maps=row is not None and row.found and mark.id in without_maps,
                    outline=(outline.node.GetID(), outline.segment_id) if outline else None,
                    edited=fits and edited,
                    aside=mark.id in aside,
                )
            )
        return with_twins(found)

    def give_points(self, ct: Node, points: Node, outlines: Node = None) -> int:
        """Put a point into every drawn outline in which none lies, and into each once; returns how many."""
        drawn = self._drawn(ct, inputs.scan(ct), points, outlines)
        new, table = drawn_outlines.give_points(points, drawn, inputs.marks(points)), results.table_of(ct, points)
        if new and table:
            # Slicer uses the IDs of removed points again; what was said of those is said of no other.
            results.forget(table, set(results.stored(table)) - set(new))
        self.left_out = drawn.left_out
        return len(new)

    def export(
        self, kind: str, path: Path | str, ct: Node, points: Node, grade: str, ended: Ended, outlines: Node = None
    ) -> Task:
        """Write what the scene holds; parameters as in ``export.Export`` and ``assess``."""
        nodules = self.nodules(ct, points, outlines)
        facts = dicom_database.whole_facts(ct) if kind == DICOM else None
        files = collect(kind, Path(path), inputs.scan(ct), results.table_of(ct, points), nodules, grade, facts)
        return self.worker.do(files.write, ended)

    def report(
        self,
        path: Path | str,
        ct: Node,
        points: Node,
        ended: Ended,
        outlines: Node = None,
        growth: Mapping[str, Grown] | None = None,
        copied: Callable[[str], None] | None = None,
    ) -> Task:
        """Write the report of what the scene holds, or hand its text to ``copied``; parameters as in ``Reporting``."""
        table, nodules = results.table_of(ct, points), self.nodules(ct, points, outlines)
        reporting = collect_report(Path(path), ct, inputs.scan(ct), table, nodules, growth or {}, copied)
        return self.worker.do(reporting.make, ended)

    def forget_scene(self) -> None:
        """The scene is closed: drop the calls that are still to come, for new nodes may get the old ones' IDs."""
        self._scene_number += 1
        self._cts.forget()
        self.reader.forget()

    def _drawn(self, ct: Node, scan: Scan, points: Node, chosen: Node, anew: bool = False) -> Drawn:
        return drawn_outlines.drawn_on(ct, scan, points, chosen, self.reader, inputs.point_ids(points), anew)

    def _in_force(self, drawn: Drawn, ct: Node, points: Node) -> dict[str, DrawnOutline]:
        """The drawn outlines at which points are graded instead of the network's, by control point ID."""
        if not (drawn.chosen or drawn.own):
            return {}
        rows: dict[str, Row] = results.rows(results.table_of(ct, points))
        found = {}
        for mark in inputs.marks(points):
            moved = mark.id not in rows or rows[mark.id].moved(mark.point.ras)
            found[mark.id] = drawn_outlines.outline_of(mark, drawn, moved)
        return {point_id: outline for point_id, outline in found.items() if outline}

    def _store(self, node_ids: tuple[str, str, str], outcome: Outcome, record: Record, mask: Volume | None) -> None:
        # Each of them, and the point, may have been removed in the meantime.
        ct, points, chosen = (slicer.mrmlScene.GetNodeByID(node_id) for node_id in node_ids)
        mark = outcome.mark
        if not (ct and points and points.GetNthControlPointIndexByID(mark.id) >= 0):
            return
        # Before the results are stored: a point that was moved has left what it does not lie in.
        drawn = self._drawn(ct, inputs.scan(ct), points, chosen)
        outline = self._in_force(drawn, ct, points).get(mark.id)
        results.store(ct, points, mark, record)
        if outcome.drawn:
            outline_segments.withdraw(ct, points, {mark.id}, self.reader)
        if outline in drawn.own:
            outline_segments.link(outline.node, outline.segment_id, mark.id)
        elif mask is not None and outline is None:
            outline_segments.propose(ct, points, mark, mask, self.reader)

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


def _make_assessor(package: Path | str | None, device: str) -> NoduleAssessor:
    from ..assessor import Assessor

    return Assessor(package, device)


def _devices() -> list[str]:
    torch = sys.modules.get("torch")
    return ["auto", "cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count() if torch else 0))]
