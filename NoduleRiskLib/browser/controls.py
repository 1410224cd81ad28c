"""The page's buttons and what stands beside them: which call each makes, which values the page is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import NoduleRiskError
from ..grades import GRADE_NAMES
from . import page
from .uploads import below, listing
from .viewer import BRUSH, ERASER, LOOK, PLACE, SLICES, WINDOWS
from .work import Work

#: What the page itself changes: no text of the user's, so that each is checked here.
CHOICES = {
    "tab": ("nodule", "management", "earlier", "files"),
    "big": ("", *SLICES, "ThreeD"),
    "theme": ("light", "dark"),
    "dialog": ("", "open", "prior", "help"),
}


def first_state(name: str, device: str, rooted: bool) -> dict[str, Any]:
    """What a new session's page begins with."""
    return {
        "trame__title": "NoduleRisk",
        "trame__template_error": (
            "<div class='nr-gone' id='nr-gone' role='alert'><h1>The server does not answer</h1><p>This page asks again "
            "every two seconds and comes back by itself.</p><p class='nr-research'>Research use only</p></div>"
        ),
        "session": name,
        "device": device,
        "rooted": rooted,
        "legend": page.legend(),
        "windows": list(WINDOWS),
        "tab": "nodule",
        "big": "",
        "theme": "dark",
        "dialog": "",
        "listing": {"path": "", "folders": [], "images": [], "others": 0, "more": 0},
        "cross": False,
        "days_between": "",
    }


def shown(work: Work, tab: str) -> dict[str, Any]:
    """What the page shows of a session now, with this tab of the card open."""
    state, settings = work.state, work.settings
    slices = {name: work.viewer.slice_state(name) for name in SLICES} if state.ct else {}
    return {
        "ct": settings.ct.GetName() if settings.ct else "",
        "ct_warnings": [one.text for one in state.ct_warnings],
        "rows": page.rows(state),
        "card": page.card(state),
        # Worked out once somebody looks: grades are not to wait for it. ``False``: not yet.
        "management": work.guidelines.management(state) if tab == "management" else False,
        "earlier": page.follow_up(state),
        "status": page.status(state, work.before, work.reading),
        "running": bool(state.task or state.comparison),
        "waiting": len(state.waiting),
        "error": state.error or state.problem,
        "mode": work.viewer.mode,
        "window": work.window,
        "grade": settings.grade,
        "opacity": round(100 * settings.opacity),
        "heatmap": settings.heatmapShown,
        "outline": settings.outlineShown,
        "slices": slices,
    }


def triggers(work: Work, state: Any, root: Path | None) -> dict[str, Callable[..., None]]:
    """What the page may call, by name. Each checks what it is given: a page can be made to send anything.

    Parameters
    ----------
    work : Work
    state : trame_server.state.State
    root : Path or None
        As ``session.Start`` has it.
    """
    viewer, settings = work.viewer, work.settings

    def known(point_id: str) -> str:
        if point_id not in [one.mark.id for one in work.state.nodules]:
            raise NoduleRiskError("This point is not there any more.")
        return point_id

    def show(name: str, value: str) -> None:
        if value in CHOICES.get(name, ()):
            state[name] = value
            if name == "dialog" and value in ("open", "prior") and root:
                browse("")

    def use(mode: str) -> None:
        if mode in (PLACE, BRUSH, ERASER):
            state.tab = "nodule"
        if mode in (LOOK, PLACE, BRUSH, ERASER) and settings.ct:
            work.use(LOOK if mode == viewer.mode else mode)

    def window(name: str) -> None:
        if name in WINDOWS and settings.ct:
            work.window = name
            viewer.window(settings.ct, *WINDOWS[name])

    def grade(name: str) -> None:
        if name in GRADE_NAMES:
            settings.grade = name

    def opacity(percent: float) -> None:
        settings.opacity = min(1.0, max(0.0, float(percent) / 100))

    def toggle(name: str) -> None:
        if name == "heatmap":
            settings.heatmapShown = not settings.heatmapShown
        elif name == "outline":
            settings.outlineShown = not settings.outlineShown
        elif name == "cross":
            state.cross = not state.cross
            viewer.show_cross(state.cross)

    def browse(relative: str) -> None:
        state.listing = listing(root, str(relative))

    def open_ct(relative: str, prior: bool = False) -> None:
        place = below(root, str(relative))
        state.dialog = ""
        assert root is not None
        work.open(place, root, bool(prior))

    def slice_to(name: str, value: float) -> None:
        if name in SLICES:
            viewer.slice_to(name, float(value))

    def scroll(name: str, by: int) -> None:
        if name in SLICES:
            viewer.scroll(name, int(by))

    def complain(text: str = "") -> None:
        work.state.error = str(text)[:300]

    return {
        "show": show,
        "use": use,
        "window": window,
        "grade": grade,
        "opacity": opacity,
        "toggle": toggle,
        "browse": browse,
        "open": open_ct,
        "slice": slice_to,
        "scroll": scroll,
        "choose": lambda point_id: work.choose(known(point_id)),
        "step": lambda by: work.step(int(by)),
        "remove": lambda point_id: work.remove(known(point_id)),
        "rename": lambda point_id, name: work.rename(known(point_id), str(name)),
        "assess": lambda: work.assess(),
        "cancel": work.cancel,
        "other_outline": work.use_other_outline,
        "answer": lambda name, value: work.answer(str(name), value if value not in ("", "?") else None),
        "compare": lambda days: work.compare(max(0.0, float(days or 0))),
        "show_prior": lambda on: work.show_prior(bool(on)),
        "whole": viewer.whole,
        "clear": complain,
        "complain": complain,
    }
