"""What a session holds and does: its CT and points, assessing, outlines, follow-up; the panel's logic without Qt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
import slicer.util

from ..errors import NoduleRiskError
from ..imaging.points import Point
from ..imaging.reading import read
from ..imaging.volume import Volume
from ..panel import comparing, overlay
from ..panel.comparing import Comparison
from ..panel.job import Job
from ..panel.logic import NoduleRiskLogic
from ..panel.messages import sentence
from ..panel.observers import ChosenNodes
from ..panel.results_reading import ResultsReader
from ..panel.view_state import NEW, ViewState
from ..panel.worker import Cancelled, Tell
from ..slicer_scene import answers, followups, inputs, outline_segments, results
from ..slicer_scene.inputs import Mark, Node
from . import outlines
from .dicom_files import DicomFiles, files_of, instance_uids
from .page import Guidelines
from .viewer import BRUSH, ERASER, LOOK, PLACE, Viewer


@dataclass
class Settings:
    """What the panel's parts read from its parameter node; a session's last as long as it does."""

    ct: Node = None
    points: Node = None
    outlines: Node = None
    prior: Node = None
    priorPoints: Node = None  # noqa: N815 - the panel's name
    heatmapShown: bool = True  # noqa: N815
    outlineShown: bool = True  # noqa: N815
    opacity: float = 0.6
    threshold: float = 0.2
    nodule: str = ""
    grade: str = "malignancy"


class Work:
    """One reader's work.

    Parameters
    ----------
    viewer : Viewer
    logic : NoduleRiskLogic
        Its assessor asks the grader.
    changed : callable
        Called whenever the page may look different.
    """

    def __init__(self, viewer: Viewer, logic: NoduleRiskLogic, changed: Callable[[], None]) -> None:
        self.viewer, self.logic, self.changed = viewer, logic, changed
        self.settings = Settings()
        self.state = ViewState(parameters=self.settings)
        self.files = slicer.dicomDatabase = DicomFiles()
        #: What is being read, or nothing; jobs of others before this session's, as the grader told it last.
        self.reading, self.before = "", 0
        self.window = ""
        #: Where a new tab's views look before anything is graded, RAS mm.
        self.look_first: tuple[float, float, float] | None = None
        self._observations: Any = slicer.util.VTKObservationMixin()
        heard = lambda caller, event: self.changed()  # noqa: E731
        self._nodes = ChosenNodes(self._observations, heard, self._placed, heard, self.choose)
        self._assess_new = self._choose_next = False
        self._results = ResultsReader()
        self.guidelines = Guidelines()

    # --- opening

    def open(self, place: Path, within: Path, prior: bool = False) -> None:
        """Read a CT, and nothing outside ``within``, on the worker's thread, and show it; an earlier one beside."""
        self.state.error, self.reading = "", place.name

        def work(tell: Tell) -> None:
            volume = read(place, within=within)
            tell(self._opened, volume, files_of(volume, place), prior)

        self.logic.worker.do(work, self._read_ended)
        self.changed()

    def show(self, volume: Volume, files: dict[str, Path], points: Sequence[Point] = ()) -> None:
        """Show a CT that was read, in place of all that there was."""
        self.cancel()
        self.logic.forget_scene()
        for kind in ("Segmentation", "Model", "Table", "Sequence", "Markups", "ScalarVolume"):
            for node in slicer.util.getNodesByClass(f"vtkMRML{kind}Node"):
                slicer.mrmlScene.RemoveNode(node)
        self.settings.__init__()  # type: ignore[misc]
        self.settings.ct = self._add(volume, files)
        self.settings.points = inputs.add_points("Nodules", list(points))
        display = self.settings.points.GetDisplayNode()
        display.SetGlyphScale(1.6)
        display.SetTextScale(3.0)
        display.SetSelectedColor(1.0, 0.78, 0.2)
        display.SetColor(1.0, 0.78, 0.2)
        display.SetActiveColor(1.0, 0.9, 0.5)
        self.window = "lung"
        self.viewer.show(self.settings.ct)
        # Whoever opens a CT wants to mark something: the first click does.
        self.use(PLACE)
        self.changed()

    def _add(self, volume: Volume, files: dict[str, Path]) -> Node:
        node = inputs.add_volume(volume)
        if uids := instance_uids(volume):
            node.SetAttribute("DICOM.instanceUIDs", uids)
            self.files.add(files)
        return node

    def _opened(self, volume: Volume, files: dict[str, Path], prior: bool) -> None:
        if prior:
            self.settings.prior = self._add(volume, files)
        else:
            self.show(volume, files)

    def _read_ended(self, error: BaseException | None) -> None:
        self.reading = ""
        self._show_error(error)

    # --- what the reader does

    def use(self, mode: str) -> None:
        """Let the mouse look, place a point, or draw on the chosen nodule's outline."""
        try:
            if mode in (BRUSH, ERASER):
                self.viewer.edit(*self._segment(), self.settings.ct)
            self.viewer.use(mode, self.settings.points)
        except NoduleRiskError as error:
            self._show_error(error)
        self.changed()

    def choose(self, point_id: str, jump: bool = True) -> None:
        """Show a nodule's card and heatmap, and centre the views on it."""
        self.settings.nodule = point_id
        nodule = next((one for one in self.state.nodules if one.mark.id == point_id), None)
        if nodule and jump:
            self.viewer.near(nodule.mark.point.ras)
            self.viewer.look_at_surface(nodule.mark.point.ras)
        if self.viewer.mode in (BRUSH, ERASER):
            self.use(LOOK)
        self.changed()

    def step(self, by: int) -> None:
        """Choose the next nodule of the list, or the one before."""
        ids = [one.mark.id for one in self.state.nodules]
        if ids:
            at = ids.index(self.settings.nodule) + by if self.settings.nodule in ids else 0
            self.choose(ids[at % len(ids)])

    def remove(self, point_id: str) -> None:
        """Remove a point, with what was said of it."""
        points = self.settings.points
        n = points.GetNthControlPointIndexByID(point_id)
        if n >= 0:
            points.RemoveNthControlPoint(n)
            results.forget_removed_points()
        self.changed()

    def rename(self, point_id: str, name: str) -> None:
        """Give a point another name."""
        n = self.settings.points.GetNthControlPointIndexByID(point_id)
        if n >= 0 and name.strip():
            self.settings.points.SetNthControlPointLabel(n, name.strip()[:40])

    def assess(self, marks: Sequence[Mark] = ()) -> None:
        """Assess these points, or all that are new or outdated, unless some are being assessed."""
        marks = tuple(marks or self.state.waiting)
        if not marks or self.state.task or not self.settings.ct:
            return
        if self.viewer.mode in (BRUSH, ERASER):
            self.use(LOOK)
        state = self.state
        state.error, state.finished, state.asked, self.before = "", 0, len(marks), 0
        self._choose_next = not (state.chosen and state.chosen.row)
        job = Job(self.settings.ct, self.settings.points, marks, assessed=self._assessed, ended=self._ended)
        try:
            state.task = self.logic.start(job)
        except NoduleRiskError as error:
            self._show_error(error)
        self.changed()

    def cancel(self) -> None:
        """End what is being assessed or compared after the nodule that is under way; at once what waits."""
        for task in (self.state.task, self.state.comparison):
            if task:
                task.cancel()

    def wanted(self) -> bool:
        """Whether what is being assessed is still wanted; asked on the worker's thread."""
        task = self.state.task or self.state.comparison
        return not (task and task.cancelled.is_set())

    def use_other_outline(self) -> None:
        """Grade the network's outline of the chosen nodule instead of the reader's, or the reader's again."""
        chosen, node = self.state.chosen, self._own()
        if not chosen or node is None:
            return
        if chosen.outline:
            outline_segments.set_aside(node, chosen.outline[1], chosen.mark)
        elif chosen.aside:
            segment_id = outline_segments.points_set_aside(node)[chosen.mark.id]
            outline_segments.take_back(node, segment_id, chosen.mark)
        self.assess([chosen.mark])

    def answer(self, name: str, value: Any) -> None:
        """Keep an answer to a guideline's question."""
        self.state.error = ""
        try:
            if self.state.table and self.state.chosen:
                answers.give(self.state.table, self.state.chosen.mark.id, name, value)
        except NoduleRiskError as error:
            self._show_error(error)
        self.changed()

    def compare(self, days: float) -> None:
        """Compare with the earlier CT; ``days`` between both, 0 where their dates say it."""
        state = self.state
        if state.comparison or state.task or not self.settings.prior:
            return
        state.error = ""

        def ended(error: BaseException | None) -> None:
            state.comparison = None
            self._show_error(error)

        try:
            wanted = Comparison(self.settings.prior, self.settings.ct, self.settings.points, days=days)
            state.comparison = comparing.start(self.logic, wanted, ended)
        except NoduleRiskError as error:
            self._show_error(error)
        self.changed()

    def show_prior(self, shown: bool) -> None:
        """Show the earlier CT over the later one, or take it away; the heatmap would lie in its place."""
        if self.settings.prior:
            self.settings.heatmapShown = not shown
            self.show_found()
            followups.show(self.settings.prior, shown)

    # --- what the scene and the worker say

    def read_scene(self) -> None:
        """Read what the page tells, and have new points graded; cheap where nothing changed."""
        state, settings = self.state, self.settings
        state.ct, state.points, state.problem = settings.ct, settings.points, ""
        if not settings.ct:
            state.nodules, state.chosen, state.assessment, state.table = [], None, None, None
            return
        try:
            state.nodules = self.logic.nodules(state.ct, state.points)
        except NoduleRiskError as error:
            state.problem, state.nodules = str(error), []
        state.table = results.table_of(state.ct, state.points)
        own = self._own()
        self._results.read(state, own)
        outline_segments.withdraw_removed(state.ct, state.points, self.logic.reader)
        self._nodes.follow(settings.ct, settings.points, own)
        if self._assess_new and not state.task:
            self._assess_new = False
            self.assess([one.mark for one in state.nodules if one.state == NEW])

    def show_found(self) -> None:
        """Bring heatmap and outlines in the views up to date; cheap where nothing changed. The page need not wait."""
        if not self.settings.ct:
            return
        overlay.show(self.state)
        for legend in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"):
            # The page has its own, beside the list of grades.
            legend.SetVisibility(False)
        if own := self._own():
            own.SetDisplayVisibility(self.settings.outlineShown)
            drawn_on = self.viewer.mode in (BRUSH, ERASER)
            outlines.show(own, self.settings.ct, self.logic.reader, drawn_on)
            if not drawn_on:
                own.CreateClosedSurfaceRepresentation()

    def _own(self) -> Node:
        return outline_segments.segmentation_of(self.settings.ct, self.settings.points)

    def _segment(self) -> tuple[Node, str]:
        """The segment that brush and eraser change."""
        chosen, node = self.state.chosen, self._own()
        found = ""
        if chosen and node:
            found = (
                chosen.outline[1] if chosen.outline else next(iter(outline_segments.of_point(node, chosen.mark.id)), "")
            )
        if not found:
            raise NoduleRiskError("There is no outline to draw on: choose a nodule that was graded.")
        return node, found

    def _placed(self, caller: Any, event: Any) -> None:
        self._assess_new = True
        points = self.settings.points
        self.settings.nodule = points.GetNthControlPointID(points.GetNumberOfControlPoints() - 1)
        self.viewer.mode = LOOK
        self.changed()

    def _assessed(self, mark: Mark, assessment: Any) -> None:
        self.state.finished += 1
        if self._choose_next:
            self._choose_next = False
            self.settings.nodule = mark.id
        self.viewer.cross(mark.point.ras)
        self.viewer.look_at_surface(mark.point.ras)
        self.changed()

    def _ended(self, error: BaseException | None) -> None:
        self.state.task = None
        self._show_error(error)

    def _show_error(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Cancelled):
            self.state.error = sentence(error)
        self.changed()
