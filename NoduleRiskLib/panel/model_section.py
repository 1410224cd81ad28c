"""The model section: which package assesses, its card, and the device it runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from ..networks.model_package import ModelPackage
from .cells import as_tip
from .logic import NoduleRiskLogic
from .messages import sentence
from .view_state import ViewState
from .worker import Cancelled


class ModelSection:
    """Draws the model package and the devices.

    Parameters
    ----------
    ui : namespace of widgets
    logic : NoduleRiskLogic
    use : callable
        Called with the folder of the package that the user chose; empty: the one that ships.
    """

    def __init__(self, ui: Any, logic: NoduleRiskLogic, use: Callable[[str], None]) -> None:
        self._ui, self._logic = ui, logic
        self._state = ViewState()
        self._described: str | None = None
        ui.localModelButton.clicked.connect(lambda *unused: self.ask(use))
        ui.shippedModelButton.clicked.connect(lambda *unused: use(""))
        ui.deviceComboBox.currentIndexChanged.connect(lambda *unused: self._choose_device())

    def draw(self, state: ViewState) -> None:
        """Draw the devices, and have a package that is not shown yet read on the worker's thread."""
        self._state = state
        ui, settings, devices = self._ui, state.parameters, self._logic.devices
        ui.shippedModelButton.setEnabled(bool(settings.package))
        ui.deviceComboBox.blockSignals(True)
        ui.deviceComboBox.clear()
        ui.deviceComboBox.addItems([_("Automatic") if device == "auto" else device.upper() for device in devices])
        ui.deviceComboBox.setCurrentIndex(devices.index(settings.device) if settings.device in devices else 0)
        ui.deviceComboBox.blockSignals(False)
        if self._described != settings.package:
            self._described = settings.package
            self._logic.describe(settings.package, self._draw_package, self._draw_error)

    def ask(self, use: Callable[[str], None]) -> None:
        """Ask for the folder of a model package."""
        path = qt.QFileDialog.getExistingDirectory(None, _("Folder of a model package"))
        if path:
            use(path)

    def _choose_device(self) -> None:
        n = self._ui.deviceComboBox.property("currentIndex")
        if 0 <= n < len(self._logic.devices) and self._state.parameters:
            self._state.parameters.device = self._logic.devices[n]

    def _draw_package(self, package: ModelPackage) -> None:
        facts = package.describe()
        lines = (
            f"{facts['name']} {facts['version']}",
            facts["networks"],
            facts["layout"],
            facts["size"],
            f"SHA-256 {facts['SHA-256'][:12]}",
        )
        self._ui.packageLabel.setText("\n".join(lines))
        self._ui.packageLabel.setToolTip(as_tip(facts["folder"]))
        self._ui.modelCardBrowser.setMarkdown(package.card)

    def _draw_error(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Cancelled):
            self._ui.packageLabel.setText(sentence(error))
            self._ui.modelCardBrowser.setPlainText("")
