"""The panel as a whole: hears the scene and the user, and has its parts draw what MRML holds."""

from __future__ import annotations

import time
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from ..errors import NoduleRiskError
from ..grades import DISCLAIMER
from ..slicer_scene import display, inputs, outline_segments, results
from ..slicer_scene.inputs import Node
from .export_section import ExportSection
from .followup_section import FollowUpSection
from .grade_card import GradeCard
from .logic import NoduleRiskLogic
from .management_section import ManagementSection
from .model_section import ModelSection
from .nodule_list import NoduleList
from .observers import ChosenNodes, SliceViews
from .outline_section import OutlineSection
from .overlay import Overlay
from .requirements import Requirements
from .results_reading import ResultsReader
from .run_section import RunSection
from .shortcuts import HEATMAP, NEXT, PLACE, PREVIOUS, REDO, UNDO, Shortcuts
from .slice_strip import SliceStrip
from .undo import Undo
from .view_state import NEW, ViewState
from .work import Work


class Panel:
    """Every event only asks for one redraw, and one timer serves them all.

    Parameters
    ----------
    ui : namespace of widgets
        Those of ``NoduleRisk.ui``, by their names.
    logic : NoduleRiskLogic
    requirements : Requirements
    observations : slicer.util.VTKObservationMixin
        Keeps the observers; whoever made it removes them.
    """

    def __init__(self, ui: Any, logic: NoduleRiskLogic, requirements: Requirements, observations: Any) -> None:
        self.logic, self.state = logic, ViewState()
        self.work = Work(logic, requirements, self.state, self.changed)
        self.strip = SliceStrip(ui)
        self._ui, self._requirements, self._observations = ui, requirements, observations
        self._gui_tag: Any = None
        self._entered = self._dirty = self._assess_new = self._removed = False
        self._results = ResultsReader()
        self._given: object = None
        self._list = NoduleList(ui, self.choose)
        self._parts = (
            self._list,
            GradeCard(ui, self._choose_grade),
            self.strip,
            Overlay(ui),
            ManagementSection(ui, self.changed, self.work.report, self.work.copy_text),
            OutlineSection(ui, logic.reader, self.work.assess),
            RunSection(ui, self.work.assess_waiting, self.work.cancel, lambda: self.logic.device_name),
            FollowUpSection(ui, self.work.compare),
            ExportSection(ui, self.work.export),
            ModelSection(ui, logic, self.work.use_model),
        )
        self._nodes = ChosenNodes(observations, self.changed, self._placed, self._drawn, self._touched)
        self._views = SliceViews(observations, self._take)
        ui.disclaimerLabel.setText(_(DISCLAIMER))
        ui.disclaimerLabel.setStyleSheet("background: #fff3d6; color: #5c4300; border-radius: 3px; padding: 4px;")
        ui.placeButton.toggled.connect(self._place)
        ui.placeWidget.activeMarkupsPlaceModeChanged.connect(lambda on: ui.placeButton.setChecked(on))
        self._undo = Undo()
        self._shortcuts = Shortcuts(
            {
                PLACE: ui.placeButton.click,
                NEXT: lambda: self.choose_next(1),
                PREVIOUS: lambda: self.choose_next(-1),
                HEATMAP: ui.heatmapCheckBox.click,
                UNDO: lambda: self._undo.undo(self.state.points),
                REDO: lambda: self._undo.redo(self.state.points),
            }
        )
        self._observe_scene()
        self.timer = qt.QTimer()
        self.timer.setInterval(25)
        self.timer.timeout.connect(self.tick)
        self._bind()

    @property
    def busy(self) -> bool:
        """Whether something is still to be drawn or computed."""
        return self._dirty or self.logic.worker.busy

    # --- coming and going

    def enter(self) -> None:
        """The module is shown."""
        self._entered, self._given = True, None
        self._bind()
        self._take()
        self._shortcuts.install()
        self._undo.start()

    def exit(self) -> None:
        """Another module is shown."""
        self._entered = False
        self._undo.stop()
        self._shortcuts.remove()
        self._ui.placeButton.setChecked(False)

    def cleanup(self) -> None:
        """The panel is closed for good."""
        self.exit()
        self.timer.stop()
        self.logic.worker.stop()
        self._unbind()

    def _bind(self) -> None:
        """Take up the scene's settings, making them if there are none."""
        if self.state.parameters is None and not slicer.mrmlScene.IsClosing():
            self.state.parameters = self.logic.getParameterNode()
            self._gui_tag = self.state.parameters.connectGui(self._ui)
            self._observations.addObserver(self.state.parameters, vtk.vtkCommand.ModifiedEvent, self.changed)
            self._views.follow()
        self.changed()

    def _unbind(self) -> None:
        if self.state.parameters is not None:
            self.state.parameters.disconnectGui(self._gui_tag)
            self._observations.removeObserver(self.state.parameters, vtk.vtkCommand.ModifiedEvent, self.changed)
            self.state.parameters = None

    # --- what happens in the scene

    def _observe_scene(self) -> None:
        kind = slicer.vtkMRMLScene
        for event, heard in (
            (kind.StartCloseEvent, self._scene_closes),
            (kind.EndCloseEvent, self._scene_is_closed),
            (kind.EndImportEvent, self._scene_is_loaded),
            # The results of removed points are not saved; until then, undo brings them back.
            (kind.StartSaveEvent, lambda caller, event: results.forget_removed_points()),
            (kind.EndUndoEvent, self.changed),
            (kind.NodeRemovedEvent, self._node_removed),
        ):
            self._observations.addObserver(slicer.mrmlScene, event, heard)

    def _scene_closes(self, caller: Any, event: Any) -> None:
        self.work.cancel()
        self.logic.forget_scene()
        self._unbind()

    def _scene_is_closed(self, caller: Any, event: Any) -> None:
        self._results.forget(self.state)
        if self._entered:
            self._bind()
        self.changed()

    def _scene_is_loaded(self, caller: Any, event: Any) -> None:
        # A loaded scene brings views of its own, and a parameter node whose references were read before their nodes.
        if self.state.parameters is not None:
            self._unbind()
            self._bind()

    def _node_removed(self, caller: Any, event: Any) -> None:
        self._removed = True
        self.changed()

    def _placed(self, caller: Any, event: Any) -> None:
        self.changed()
        if self.state.parameters.assessAsPlaced and not self._requirements.missing():
            self._assess_new = True

    def _drawn(self, caller: Any, event: Any) -> None:
        # Whoever draws is in another module: what was drawn is read when they come back, not with every stroke.
        if self._entered:
            self._given = None
            self.changed()

    def _touched(self, point_id: str) -> None:
        # Where it lies before it is dragged.
        self._undo.keep(self.state.points)
        if any(nodule.mark.id == point_id for nodule in self.state.nodules):
            self.choose(point_id, jump=False)

    def _take(self, ct: Node = None, points: Node = None) -> None:
        """Take over what the views show; without arguments, only where nothing was chosen yet."""
        settings = self.state.parameters
        if settings is None:
            return
        shown_ct, shown_points = self._views.shown()
        ct = ct or (shown_ct if settings.ct is None else None)
        points = points or (shown_points if settings.points is None else None)
        if ct:
            settings.ct = ct
        # Whoever marks nodules of the earlier CT goes on looking at this one's.
        if points and not (settings.priorPoints and points.GetID() == settings.priorPoints.GetID()):
            settings.points = points

    # --- what the user does

    def choose(self, point_id: str, jump: bool = True) -> None:
        """Show the card and the heatmap of a point's nodule, and centre the slice views on it."""
        if self.state.parameters.nodule != point_id:
            self.state.parameters.nodule = point_id
        if jump:
            display.jump(next(n.mark.point.ras for n in self.state.nodules if n.mark.id == point_id))

    def choose_next(self, by: int) -> None:
        """Choose the nodule so many rows further down; after the last comes the first."""
        ids = [nodule.mark.id for nodule in self.state.nodules]
        if ids:
            chosen = self.state.chosen.mark.id if self.state.chosen else ""
            # Without one, the first or the last.
            at = ids.index(chosen) if chosen in ids else -1 if by > 0 else 0
            self.choose(ids[(at + by) % len(ids)])

    def _choose_grade(self, name: str) -> None:
        self.state.parameters.grade = name

    def _place(self, on: bool) -> None:
        settings = self.state.parameters
        if settings is None:
            return
        if on and settings.points is None:
            settings.points = inputs.add_points("Nodules", [], settings.ct)
        self._ui.placeWidget.setCurrentNode(settings.points)
        self._ui.placeWidget.setPlaceModeEnabled(on)

    # --- drawing

    def changed(self, caller: Any = None, event: Any = None) -> None:
        """Something may look different now: redraw with the next tick."""
        if not self._dirty:
            self._dirty = True
            # Only once: each start begins to count from zero, and a dragged point would put the tick off for ever.
            self.timer.start()

    def tick(self) -> None:
        """Redraw if anything changed, otherwise poll the worker: one of them per tick, so that none is long."""
        if self.logic.worker.busy:
            # Slicer's event loop may hold Python's lock between ticks: here the worker's thread gets it.
            time.sleep(0.01)
        if self._dirty:
            self._dirty = False
            self._refresh()
        elif self.logic.worker.busy:
            self.logic.worker.poll()
        else:
            self.timer.stop()

    def _refresh(self) -> None:
        """Read the scene and draw everything that may have changed; cheap where nothing did."""
        state = self.state
        if state.parameters is None:
            state.nodules, state.chosen = [], None
            self._list.draw(state)
            return
        if self._removed and not slicer.mrmlScene.IsBatchProcessing():
            self._removed = False
            results.forget_maps_without_table()
            outline_segments.remove_ownerless(self.logic.reader)
        self._read_scene()
        self._undo.keep(state.points, moved=False)
        for part in self._parts:
            part.draw(state)
        self.work.look_ahead()
        if self._assess_new and not state.task:
            self._assess_new = False
            self.work.assess(nodule.mark for nodule in state.nodules if nodule.state == NEW)

    def _read_scene(self) -> None:
        state, settings = self.state, self.state.parameters
        state.ct, state.points, state.problem = settings.ct, settings.points, ""
        try:
            self._give_points()
            state.nodules = self.logic.nodules(state.ct, state.points, settings.outlines)
            state.problem = self.logic.problem(state.ct)
        except NoduleRiskError as error:
            state.problem, state.ct = str(error), None
            state.nodules = self.logic.nodules(None, state.points)
        state.left_out = self.logic.left_out
        own = outline_segments.segmentation_of(settings.ct, settings.points)
        self._nodes.follow(settings.ct, settings.points, settings.outlines, own)
        self._views.show(state.ct)
        heatmap_ids = [heatmap.GetID() for _ct, heatmap in display.heatmaps()]
        for selector in (self._ui.ctSelector, self._ui.priorSelector):
            selector.sortFilterProxyModel().setProperty("hiddenNodeIDs", heatmap_ids)
        self._ui.placeWidget.setCurrentNode(state.points)
        state.table = results.table_of(state.ct, state.points)
        if state.table:
            results.show_rows(state.table, state.points)
        self._results.read(state, own)
        state.missing = self._requirements.missing()
        state.missing_for_pictures = self._requirements.missing_for_pictures()

    def _give_points(self) -> None:
        """Put points into outlines that have none, once the user has drawn and come back, or has chosen others."""
        state, settings = self.state, self.state.parameters
        wanted = state.ct, state.points, settings.outlines
        # Not while nodules are assessed: each one's own segment is an event.
        if not (self._entered and state.ct) or state.task or wanted == self._given:
            return
        if settings.outlines and state.points is None:
            state.points = settings.points = inputs.add_points("Nodules", [], state.ct)
        self._given = state.ct, state.points, settings.outlines
        if state.points:
            self.logic.give_points(state.ct, state.points, settings.outlines)
