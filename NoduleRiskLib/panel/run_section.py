"""The buttons that start and stop an assessment, its progress, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from .view_state import ViewState


class RunSection:
    """Draws Assess, Cancel, progress and status line; calls ``assess`` and ``cancel``.

    Parameters
    ----------
    ui : namespace of widgets
    assess, cancel : callable
    device_name : callable
        Returns the name of the device in use; empty before a model is loaded.
    """

    def __init__(
        self, ui: Any, assess: Callable[[], None], cancel: Callable[[], None], device_name: Callable[[], str]
    ) -> None:
        self._ui, self._device_name = ui, device_name
        ui.statusLabel.setStyleSheet("background: #fde8e6; color: #7a1f14; border-radius: 3px; padding: 4px;")
        ui.assessButton.clicked.connect(lambda *unused: assess())
        ui.cancelButton.clicked.connect(lambda *unused: cancel())

    def draw(self, state: ViewState) -> None:
        """Draw what can be done now, and how far the running assessment is."""
        ui, running = self._ui, state.task is not None
        text, tip = self._action(state)
        ui.assessButton.setText(text)
        ui.assessButton.setToolTip(tip)
        ui.assessButton.setEnabled(bool(state.missing) or bool(state.ct and state.waiting and not running))
        ui.cancelButton.setVisible(running)
        ui.cancelButton.setEnabled(state.task is not None and not state.task.cancelled.is_set())
        if running:
            # The text before the value, which is drawn at once, and both before the bar is seen: no older run's text.
            ui.progressBar.setFormat(_("{done} of {of} nodules").format(done=state.finished, of=state.asked))
            ui.progressBar.setRange(0, state.asked)
            ui.progressBar.setValue(state.finished)
        ui.progressBar.setVisible(running)
        message = state.problem or state.error
        ui.statusLabel.setText(message)
        ui.statusLabel.setVisible(bool(message))

    def _action(self, state: ViewState) -> tuple[str, str]:
        """Text and tool tip of the Assess button."""
        device = _(" on {device}").format(device=self._device_name()) if self._device_name() else ""
        if state.missing:
            tip = _("Missing in Slicer's Python: {names}").format(names=", ".join(state.missing))
            return _("Install PyTorch to assess…"), tip
        if state.task:
            return _("Assessing{device}").format(device=device), ""
        if not state.ct:
            return _("Choose a chest CT"), ""
        if state.waiting:
            number = len(state.waiting)
            count = _("1 nodule") if number == 1 else _("{n} nodules").format(n=number)
            tip = _("All points that are new, or whose results are outdated.")
            return _("Assess {count}{device}").format(count=count, device=device), tip
        return _("All nodules are assessed") if state.nodules else _("Place a point on each nodule"), ""
