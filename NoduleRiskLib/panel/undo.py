"""Undo and redo of what happens to the chosen list of points: placed, moved, renamed and removed points."""

from __future__ import annotations

from collections.abc import Callable

import slicer

from ..slicer_scene import inputs
from ..slicer_scene.inputs import Mark, Node


class Undo:
    """Has the scene keep the states of the chosen point list, and goes back and forth between those that differ.

    Slicer has undo switched off and no key for it, and markups keep no state by themselves. While it is on, a scrolled
    slice view saves the scene's state too: steps that changed no point are passed over. What was said of points stays
    in the scene until it is saved, so that points which come back have their grades.
    """

    def __init__(self) -> None:
        self._kept: tuple[str, list[Mark]] | None = None
        self._on = False

    def start(self) -> None:
        """The module is shown. Where somebody else has switched undo on, it is theirs."""
        if not slicer.mrmlScene.GetUndoFlag():
            slicer.mrmlScene.SetUndoOn()
            self._on, self._kept = True, None

    def stop(self) -> None:
        """Another module is shown; what happens there is not ours to take back."""
        if self._on:
            self._forget()
            slicer.mrmlScene.SetUndoOff()
            self._on = False

    def keep(self, points: Node, moved: bool = True) -> None:
        """Keep the list's state, if it is another one than was kept last.

        Parameters
        ----------
        points : vtkMRMLMarkupsFiducialNode or None
        moved : bool
            Whether another place of a point makes another state: not while one is dragged, step by step.
        """
        if not (points and self._on):
            return
        if self._kept is None or self._kept[0] != points.GetID():
            # States of another list, or of a scene that is closed.
            self._forget()
        now = points.GetID(), inputs.marks(points)
        if self._kept is None or (now != self._kept and (moved or _named(now[1]) != _named(self._kept[1]))):
            points.SetUndoEnabled(True)
            slicer.mrmlScene.SaveStateForUndo()
            self._kept = now

    def undo(self, points: Node) -> None:
        """Bring the list's last other state back."""
        self._step(points, slicer.mrmlScene.GetNumberOfUndoLevels, slicer.mrmlScene.Undo)

    def redo(self, points: Node) -> None:
        """Take the last ``undo`` back."""
        self._step(points, slicer.mrmlScene.GetNumberOfRedoLevels, slicer.mrmlScene.Redo)

    def _step(self, points: Node, levels: Callable[[], int], step: Callable[[], None]) -> None:
        # Of another list nothing was kept yet.
        if not (points and self._kept and self._kept[0] == points.GetID()):
            return
        before = inputs.marks(points)
        while levels() and inputs.marks(points) == before:
            step()
        # What came back is no change to be kept: that would end all redoing.
        self._kept = points.GetID(), inputs.marks(points)

    def _forget(self) -> None:
        slicer.mrmlScene.ClearUndoStack()
        slicer.mrmlScene.ClearRedoStack()
        self._kept = None


def _named(marks: list[Mark]) -> list[tuple[str, str]]:
    """A state without the places."""
    return [(mark.id, mark.point.label) for mark in marks]
