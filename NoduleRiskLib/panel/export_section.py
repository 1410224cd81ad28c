"""The export buttons: table in the views, CSV, JSON, one page per nodule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .export import PICTURES, TEXTS
from .view_state import ViewState


class ExportSection:
    """Draws the export buttons; calls ``export`` with a kind and the path that the user chose."""

    def __init__(self, ui: Any, export: Callable[[str, str], None]) -> None:
        self._ui, self._export = ui, export
        self._state = ViewState()
        ui.tableButton.clicked.connect(lambda *unused: self.show_table())
        for kind in (*TEXTS, PICTURES):
            getattr(ui, f"{kind}Button").clicked.connect(lambda *unused, kind=kind: self.ask(kind))

    def draw(self, state: ViewState) -> None:
        """Enable what there is to export."""
        self._state = state
        ui, lacking = self._ui, state.missing_for_pictures
        ready = any(nodule.row for nodule in state.nodules) and not state.export
        for button in ("table", *TEXTS):
            getattr(ui, f"{button}Button").setEnabled(ready)
        ui.picturesButton.setEnabled(ready and not lacking)
        ui.picturesButton.setToolTip(
            _("Needs {names}: install it with Assess, or in the Python console.").format(names=", ".join(lacking))
            if lacking
            else _("One page per nodule: slices, heatmap, grades, warnings.")
        )

    def ask(self, kind: str) -> None:
        """Ask where to write, then export."""
        if kind == PICTURES:
            path = qt.QFileDialog.getExistingDirectory(None, _("Folder for one page per nodule"))
        else:
            path = qt.QFileDialog.getSaveFileName(None, _("Save the grades"), f"nodules.{kind}", f"*.{kind}")
        if path:
            self._export(kind, path)

    def show_table(self) -> None:
        """Show the results table beside the slice views."""
        logic = slicer.app.applicationLogic()
        logic.GetSelectionNode().SetActiveTableID(self._state.table.GetID())
        logic.PropagateTableSelection()
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpTableView)
