"""What the scene's results say of the listed nodules; panel and page in a browser read them alike. Needs no Qt."""

from __future__ import annotations

from dataclasses import replace

from ..slicer_scene import followups, outline_segments, results
from ..slicer_scene.inputs import Node
from .view_state import ListedNodule, ViewState


class ResultsReader:
    """Completes a state whose settings, CT, points, table and nodules are read."""

    def __init__(self) -> None:
        self._read: object = None

    def read(self, state: ViewState, own: Node) -> None:
        """Take up growth, pass on the points' new names, find the chosen nodule and its assessment.

        Parameters
        ----------
        state : ViewState
        own : node or None
            The segmentation that holds our outlines of this CT's points.
        """
        state.nodules = [_grown(nodule, state.table) for nodule in state.nodules]
        # The guidelines ask for the growth itself; the list shows its words.
        state.growth = {
            nodule.mark.id: nodule.growth[2] for nodule in state.nodules if nodule.growth and nodule.growth[2]
        }
        for nodule in state.nodules:
            if nodule.row and nodule.row.columns["label"] != nodule.mark.point.label:
                results.rename(state.table, nodule.mark)
                outline_segments.rename(own, nodule.mark)
        chosen = state.parameters.nodule
        state.chosen = next((nodule for nodule in state.nodules if nodule.mark.id == chosen), None)
        self._read_assessment(state)

    def forget(self, state: ViewState) -> None:
        """Another scene comes: what was read holds no more."""
        self._read = state.assessment = None

    def _read_assessment(self, state: ViewState) -> None:
        """The chosen nodule's assessment, read again only if another one is chosen or it was assessed again."""
        wanted = (state.chosen, results.maps_of(state.table, state.chosen.mark.id)) if state.chosen else None
        if wanted != self._read:
            self._read, state.assessment = wanted, None
            if state.chosen and state.chosen.row:
                state.assessment = results.assessment(state.table, state.chosen.mark.id)


def _grown(nodule: ListedNodule, table: Node) -> ListedNodule:
    """The nodule with what became of it since an earlier CT, if that still holds."""
    if not nodule.row or not nodule.row.found:
        return nodule
    volume = nodule.row.columns["outline_volume_mm3"]
    return replace(nodule, growth=followups.growth(table, nodule.mark.id, volume))
