"""The export buttons: table in the views, CSV, JSON, one page per nodule, DICOM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from .export import DICOM, PICTURES, TEXTS, page_names
from .view_state import ViewState


class ExportSection:
    """Draws the export buttons; calls ``export`` with a kind and the path that the user chose."""

    def __init__(self, ui: Any, export: Callable[[str, str], None]) -> None:
        self._ui, self._export = ui, export
        self._state = ViewState()
        ui.tableButton.clicked.connect(lambda *unused: self.show_table())
        for kind in (*TEXTS, PICTURES, DICOM):
            getattr(ui, f"{kind}Button").clicked.connect(lambda *unused, kind=kind: self.ask(kind))

    def draw(self, state: ViewState) -> None:
        """Enable what there is to export."""
        self._state = state
        ui, lacking = self._ui, state.missing_for_pictures
        ready = any(nodule.row for nodule in state.nodules) and not state.export
        for button in ("table", *TEXTS, DICOM):
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
            if path and not self._may_replace(Path(path)):
                return
        elif kind == DICOM:
            path = qt.QFileDialog.getExistingDirectory(None, _("Folder for DICOM objects of the CT's study"))
        else:
            # This dialog asks itself before a file is replaced.
            path = qt.QFileDialog.getSaveFileName(None, _("Save the grades"), f"nodules.{kind}", f"*.{kind}")
        if path:
            self._export(kind, path)

    def _may_replace(self, folder: Path) -> bool:
        """Whether no page is in the folder already, or the user agrees that those are replaced."""
        names = page_names(nodule.mark.point.label for nodule in self._state.nodules if nodule.row)
        there = [name for name in names if (folder / name).exists()]
        if not there:
            return True
        # Without the folder's path: what looks like HTML in it would be shown as such.
        text = _("{n} of {of} pages are in that folder already, {first} for example: replace them?")
        return bool(
            slicer.util.confirmOkCancelDisplay(
                text.format(n=len(there), of=len(names), first=there[0]), _("Replace pages")
            )
        )

    def show_table(self) -> None:
        """Show the results table beside the slice views."""
        logic = slicer.app.applicationLogic()
        logic.GetSelectionNode().SetActiveTableID(self._state.table.GetID())
        logic.PropagateTableSelection()
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpTableView)
