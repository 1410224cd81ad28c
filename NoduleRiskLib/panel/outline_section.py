"""The nodules' outlines: shown, opened in the Segment Editor, the network's instead of the user's and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import slicer.util
from slicer.i18n import tr as _

from ..imaging.volume import Volume
from ..slicer_scene import inputs, outline_segments, results
from ..slicer_scene.drawn_outlines import open_in_segment_editor
from ..slicer_scene.inputs import Mark
from ..slicer_scene.segment_voxels import SegmentReader
from .view_state import ListedNodule, ViewState

EDIT_TIP = "Opens the outline in the Segment Editor. Come back and press Assess to grade what you drew."
NETWORK_TIP = "Grades the network's outline again. What you drew is kept as a segment of another name."
BACK_TIP = "Grades what you drew again."


class OutlineSection:
    """Draws the row of outlines and keeps their segments as the list of points is.

    Parameters
    ----------
    ui : namespace of widgets
    reader : SegmentReader
    assess : callable
        Called with the points to assess.
    """

    def __init__(self, ui: Any, reader: SegmentReader, assess: Callable[[list[Mark]], None]) -> None:
        self._ui, self._reader, self._assess = ui, reader, assess
        self._state = ViewState()
        self._owners: object = None
        self._seen: dict[str, str] = {}
        self._shown: object = None
        self._surfaces = False
        ui.editOutlineButton.setToolTip(_(EDIT_TIP))
        ui.editOutlineButton.clicked.connect(lambda *unused: self.edit())
        ui.otherOutlineButton.clicked.connect(lambda *unused: self.use_other())

    def draw(self, state: ViewState) -> None:
        """Draw what can be done with the chosen nodule's outline, and bring segments and their display up to date."""
        self._state = state
        chosen, ui = state.chosen, self._ui
        outlined = bool(chosen and (chosen.outline or (chosen.row and chosen.row.found)))
        ui.editOutlineButton.setEnabled(bool(state.ct) and outlined)
        own = self._is_own(chosen)
        back = bool(chosen and chosen.aside and not own)
        ui.otherOutlineButton.setText(_("Use my outline") if back else _("Use the network's"))
        ui.otherOutlineButton.setToolTip(_(BACK_TIP) if back else _(NETWORK_TIP))
        ui.otherOutlineButton.setEnabled(bool(state.ct) and (own or back) and not state.task)
        ui.leftOutLabel.setText("\n".join(state.left_out))
        ui.leftOutLabel.setVisible(bool(state.left_out))
        if state.ct and state.points:
            self._keep_up(state)
            self._show(state)

    def edit(self) -> None:
        """Open the chosen nodule's outline in the Segment Editor."""
        state, chosen = self._state, self._state.chosen
        if not (state.ct and chosen):
            return
        if chosen.outline:
            node, segment_id = slicer.mrmlScene.GetNodeByID(chosen.outline[0]), chosen.outline[1]
        else:
            node = outline_segments.segmentation_of(state.ct, state.points)
            segment_id = next(iter(outline_segments.of_point(node, chosen.mark.id)), "")
            if not segment_id:
                # The user removed it.
                node, segment_id = self._propose(chosen)
        if not segment_id:
            return
        state.parameters.outlineShown = True
        node.SetDisplayVisibility(True)
        node.GetDisplayNode().SetSegmentVisibility(segment_id, True)
        open_in_segment_editor(node, segment_id, state.ct)

    def use_other(self) -> None:
        """Grade the network's outline of the chosen nodule instead of the user's, or the user's again."""
        state, chosen = self._state, self._state.chosen
        if not (state.ct and chosen):
            return
        node = outline_segments.segmentation_of(state.ct, state.points)
        if chosen.outline and self._is_own(chosen):
            outline_segments.set_aside(node, chosen.outline[1], chosen.mark)
        elif chosen.aside:
            segment_id = outline_segments.points_set_aside(node)[chosen.mark.id]
            outline_segments.take_back(node, segment_id, chosen.mark)
        else:
            return
        self._assess([chosen.mark])

    def _is_own(self, nodule: ListedNodule | None) -> bool:
        """Whether the user drew a nodule's outline in the list's own segmentation."""
        own = outline_segments.segmentation_of(self._state.ct, self._state.points)
        return bool(nodule and nodule.outline and own and nodule.outline[0] == own.GetID())

    def _keep_up(self, state: ViewState) -> None:
        """Withdraw the segments of removed points; make those that a loaded scene or an undone removal lacks."""
        outline_segments.withdraw_removed(state.ct, state.points, self._reader)
        owners = state.ct.GetID(), state.points.GetID()
        before, self._seen = (self._seen if owners == self._owners else {}), {}
        self._owners = owners
        map_ids = results.map_ids(state.table) if state.table else {}
        for nodule in state.nodules:
            point_id = nodule.mark.id
            if point_id not in map_ids or nodule.outline or not nodule.row or nodule.row.drawn:
                continue
            self._seen[point_id] = map_ids[point_id]
            # Looked at once: a segment that the user removes does not come back by itself.
            if before.get(point_id) != map_ids[point_id]:
                node = outline_segments.segmentation_of(state.ct, state.points)
                if not outline_segments.of_point(node, point_id):
                    self._propose(nodule)

    def _propose(self, nodule: ListedNodule) -> tuple[Any, str]:
        """Make the segment of the network's outline that the scene keeps with a nodule's grades."""
        from ..imaging.outline_labels import on_grid_of

        state = self._state
        held = results.assessment(state.table, nodule.mark.id)
        if held is None or held.nodule is None or not results.maps_of(state.table, nodule.mark.id):
            return None, ""
        scan = inputs.scan(state.ct)
        mask = on_grid_of(Volume(scan.voxels, scan.ijk_to_ras), held.nodule.outline.probability)
        return outline_segments.propose(state.ct, state.points, nodule.mark, mask, self._reader)

    def _show(self, state: ViewState) -> None:
        """Show or hide the outlines, once for each time that this is another wish: the user may show and hide too."""
        node = outline_segments.segmentation_of(state.ct, state.points)
        wanted = state.parameters.outlineShown, node
        if wanted != self._shown:
            self._shown = wanted
            outline_segments.hide_others(state.ct, state.points)
            if node:
                node.SetDisplayVisibility(state.parameters.outlineShown)
        # Of surfaces that the user made elsewhere none is dropped.
        if state.parameters.surfacesShown or self._surfaces:
            outline_segments.show_surfaces(node, state.parameters.surfacesShown)
        self._surfaces = state.parameters.surfacesShown
