"""What a view streams to the page: pictures that differ from the last one."""

from __future__ import annotations

from typing import Any


class Pictures:
    """Stands between a view and its stream: of a click's pictures half show what the page already shows.

    Scene and views tell each other of every change, also of those that none can see; what the page need not decode
    leaves the time to it.

    Parameters
    ----------
    area : trame_rca.view_adapter.RcaViewAdapter
        Registered with its stream already.
    """

    def __init__(self, area: Any) -> None:
        self._stream, self._last, self._resize = area.streamer, b"", area.update_size
        area.update_size = self._sized
        area.set_streamer(self)

    def push_content(self, name: str, meta: dict[str, Any], content: bytes) -> None:
        """Pass a picture on, if it is another one."""
        if content != self._last:
            self._last = content
            self._stream.push_content(name, meta, content)

    def forget(self) -> None:
        """Pass the next picture on, whatever it shows: there is a page that has none."""
        self._last = b""

    def _sized(self, *told: Any) -> None:
        # A page that begins to show a view says how large it is.
        self.forget()
        self._resize(*told)
