"""What the panel has the worker do: assess, export, load a model; and the errors that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
import slicer.util
from slicer.i18n import tr as _

from ..slicer_scene.inputs import Mark
from . import comparing
from .comparing import Comparison
from .job import Job
from .logic import NoduleRiskLogic
from .messages import sentence
from .requirements import Requirements
from .view_state import ViewState
from .worker import Cancelled, Task

if TYPE_CHECKING:
    from ..results.assessment import Assessment


class Work:
    """Starts the panel's tasks and writes into its state how they are going.

    Parameters
    ----------
    logic : NoduleRiskLogic
    requirements : Requirements
    state : ViewState
    changed : callable
        Called whenever the state is another one.
    """

    def __init__(
        self, logic: NoduleRiskLogic, requirements: Requirements, state: ViewState, changed: Callable[[], None]
    ) -> None:
        self._logic, self._requirements, self._state, self._changed = logic, requirements, state, changed
        self._choose_next = False
        self._loaded: tuple[str, str] | None = None
        self._looking: Task | None = None

    def assess_waiting(self) -> None:
        """Assess all points that are new or outdated, after installing what that needs."""
        if self._requirements.missing():
            installed = self._attempt(self._requirements.install)
            self._changed()
            if not installed:
                return
        self.assess(self._state.waiting)

    def assess(self, marks: Iterable[Mark]) -> None:
        """Assess these points, unless some are being assessed."""
        marks = tuple(marks)
        if marks and not self._state.task:
            self._attempt(self._start, marks)
            self._changed()

    def cancel(self) -> None:
        """Stop after the nodule that is being assessed."""
        if self._state.task:
            self._state.task.cancel()
            self._changed()

    def export(self, kind: str, path: str) -> None:
        """Write what the scene holds; parameters as in ``export.Export``."""
        self._attempt(self._start_export, kind, path)
        self._changed()

    def report(self, path: str) -> None:
        """Write the report of what the scene holds, after installing what that needs."""
        if self._requirements.missing_for_report() and not self._attempt(self._requirements.install):
            self._changed()
            return
        self._attempt(self._start_report, path, None)
        self._changed()

    def copy_text(self) -> None:
        """Put the report's text on the clipboard."""
        self._attempt(self._start_report, "", self._copied)
        self._changed()

    def compare(self, days: float) -> None:
        """Compare with the chosen earlier CT; ``days`` between both, 0 where their dates say it."""
        if not self._state.comparison:
            self._attempt(self._start_comparison, days)
            self._changed()

    def use_model(self, path: str) -> None:
        """Assess with another model package (a folder; empty: the one that ships), if it verifies."""

        def use(package: Any) -> None:
            self._state.parameters.package = path

        self._logic.describe(path, use, self._show_error)
        self._changed()

    def look_ahead(self) -> None:
        """Load the model before it is asked for, and find out whether the CT was changed since it was assessed."""
        state, settings = self._state, self._state.parameters
        wanted = settings.package, settings.device
        if wanted != self._loaded and state.nodules and state.ct and not state.missing and not state.task:
            self._loaded = wanted
            self._logic.prepare(*wanted, self._show_error)
        if state.ct and state.table and not self._looking:
            self._looking = self._logic.look(state.ct, self._looked)

    def _start(self, marks: tuple[Mark, ...]) -> None:
        state, settings = self._state, self._state.parameters
        state.finished, state.asked = 0, len(marks)
        # Who looks at a nodule's results goes on looking at them.
        self._choose_next = not (state.chosen and state.chosen.row)
        job = Job(
            ct=settings.ct,
            points=settings.points,
            marks=marks,
            outlines=settings.outlines,
            package=settings.package,
            device=settings.device,
            assessed=self._assessed,
            ended=self._ended,
        )
        state.task = self._logic.start(job)

    def _start_comparison(self, days: float) -> None:
        settings = self._state.parameters
        nodes = settings.prior, settings.ct, settings.points, settings.priorPoints
        wanted = Comparison(*nodes, days, settings.package, settings.device)

        def ended(error: BaseException | None) -> None:
            self._state.comparison = None
            self._show_error(error)

        self._state.comparison = comparing.start(self._logic, wanted, ended)

    def _start_export(self, kind: str, path: str) -> None:
        settings = self._state.parameters

        def ended(error: BaseException | None) -> None:
            self._state.export = None
            self._show_error(error)
            if error is None:
                slicer.util.showStatusMessage(_("Saved {path}").format(path=path), 5000)

        self._state.export = self._logic.export(
            kind, path, settings.ct, settings.points, settings.grade, ended, settings.outlines
        )

    def _start_report(self, path: str, copied: Callable[[str], None] | None) -> None:
        from ..report.document import check_kind

        if copied is None:
            check_kind(Path(path))
        settings = self._state.parameters

        def ended(error: BaseException | None) -> None:
            self._state.export = None
            self._show_error(error)
            if error is None and copied is None:
                slicer.util.showStatusMessage(_("Saved {path}").format(path=path), 5000)

        self._state.export = self._logic.report(
            path, settings.ct, settings.points, ended, settings.outlines, self._state.growth, copied
        )

    def _copied(self, text: str) -> None:
        slicer.app.clipboard().setText(text)
        slicer.util.showStatusMessage(_("The text is on the clipboard."), 5000)

    def _assessed(self, mark: Mark, assessment: Assessment) -> None:
        self._state.finished += 1
        if self._choose_next:
            self._choose_next = False
            self._state.parameters.nodule = mark.id
        self._changed()

    def _ended(self, error: BaseException | None) -> None:
        self._state.task = None
        self._show_error(error)

    def _looked(self, error: BaseException | None) -> None:
        self._looking = None
        self._show_error(error)

    def _show_error(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Cancelled):
            self._state.error = sentence(error)
        self._changed()

    def _attempt(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call; an error becomes the sentence under the buttons."""
        self._state.error = ""
        try:
            return function(*arguments)
        except Exception as error:
            self._show_error(error)
            return None
