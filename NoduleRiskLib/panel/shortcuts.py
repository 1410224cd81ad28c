"""Keys that work while the module is shown, in the views as well as in the panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer.util

#: The panel's tool tips name them. None is among Slicer's own keys for slice and 3-D views.
PLACE, NEXT, PREVIOUS, HEATMAP, UNDO, REDO = "P", "N", "Shift+N", "H", "Ctrl+Z", "Ctrl+Y"


class Shortcuts:
    """Installs keys in Slicer's main window and takes them out again.

    Parameters
    ----------
    actions : mapping of str to callable
        What each key does.
    """

    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        self._actions = actions
        self._installed: list[Any] = []

    def install(self) -> None:
        """From now on the keys work; once, however often it is asked for."""
        window = slicer.util.mainWindow()
        if window is None or self._installed:
            return
        for key, act in self._actions.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), window)
            shortcut.activated.connect(act)
            self._installed.append(shortcut)

    def remove(self) -> None:
        """Another module may use the keys."""
        for shortcut in self._installed:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._installed.clear()
