"""When views are drawn: after what was found is on its way to the page, and one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trame_slicer.views import AbstractView, ScheduledRenderStrategy

#: How long messages go before a view is drawn, seconds: grades leave, and a click comes in, within a few turns of the
#: loop, while drawing keeps the whole session busy.
PAUSE_S = 0.004


class Drawing:
    """Draws the views that changed, in the order in which they did.

    Four views drawn as they come hold a click up, and grades that were found, until the last one is done.
    """

    def __init__(self) -> None:
        self._waiting: dict[Callable[[], None], None] = {}
        self._changed = asyncio.Event()

    def take(self, view: AbstractView) -> None:
        """Draw a view when its turn comes instead of as soon as it changes."""
        view.set_scheduled_render(_Turn(view._scheduled_render, self._want))

    async def draw_for_ever(self) -> None:
        """Draw what changed, one view at a time."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(PAUSE_S)
            draw = next(iter(self._waiting))
            del self._waiting[draw]
            if not self._waiting:
                self._changed.clear()
            draw()
            # Its own task draws in one of the next two turns.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    def _want(self, draw: Callable[[], None]) -> None:
        self._waiting[draw] = None
        self._changed.set()


class _Turn(ScheduledRenderStrategy):
    """Stands before a view's own way of drawing, ``own``."""

    def __init__(self, own: ScheduledRenderStrategy, want: Callable[[Callable[[], None]], None]) -> None:
        super().__init__()
        self.own, self._want = own, want

    def schedule_render(self) -> None:
        self._want(self.own.schedule_render)
