"""Starts the server and drives its page as a reader does."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
#: How long a slow machine may take for one step, ms.
PATIENCE = 180_000
#: Where pictures of the page are kept to be looked at.
PICTURES = os.environ.get("NODULERISK_PICTURES")


class Server:
    """``nodulerisk serve`` in a process of its own."""

    def __init__(self, *options: str, port: int = 0) -> None:
        self._options = options
        self.start(port)

    def start(self, port: int) -> None:
        """Start it and wait for its address."""
        command = [sys.executable, "-m", "NoduleRiskLib", "serve", *self._options, "--port", str(port)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self.told: list[str] = []
        assert self.process.stdout
        for line in self.process.stdout:
            self.told.append(line)
            found = re.search(r"NoduleRisk is at (http://\S+)", line)
            if found:
                self.address = found[1]
                break
        else:
            raise AssertionError("".join(self.told))
        threading.Thread(target=self.told.extend, args=(self.process.stdout,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(re.findall(r":(\d+)/", self.address)[0])

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def opened(server: Server, chromium: Any, width: int = 1280, height: int = 800, **more: Any) -> Iterator[Any]:
    """A browser of its own on the server's page, with the CT in its views."""
    context = chromium.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **more)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.wrong, page.elsewhere = [], []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    own = f":{server.port}/"
    page.on("request", lambda one: page.elsewhere.append(one.url) if own not in one.url[:40] else None)
    page.goto(server.address)
    drawn(page)
    yield page
    assert page.wrong == [], page.wrong
    assert [one for one in page.elsewhere if not one.startswith(("data:", "blob:"))] == []
    context.close()


def drawn(page: Any, view: str = "Red") -> None:
    """Wait until a view shows more than one grey."""
    page.wait_for_selector(f"[data-view={view}] .nr-label")
    for _ in range(900):
        if view_pixels(page, view).std() > 8:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"the view {view} stays empty")


def view_pixels(page: Any, view: str = "Red") -> Any:
    """What a view looks like now, without what the page draws over it: uint8, shape (rows, columns, 3)."""
    page.add_style_tag(content=".shot .nr-view > :not(:first-child), .shot .nr-hint { visibility: hidden !important }")
    page.evaluate("document.body.classList.add('shot')")
    box = page.locator(f"[data-view={view}]").bounding_box()
    taken = page.screenshot(clip=box)
    page.evaluate("document.body.classList.remove('shot')")
    return np.asarray(Image.open(io.BytesIO(taken)).convert("RGB"))


def settled(page: Any, view: str = "Red") -> Any:
    """``view_pixels`` once two pictures in a row are the same."""
    before = view_pixels(page, view)
    for _ in range(60):
        page.wait_for_timeout(400)
        now = view_pixels(page, view)
        if now.shape == before.shape and np.array_equal(now, before):
            return now
        before = now
    raise AssertionError("the view does not come to rest")


def middle(page: Any, view: str = "Red") -> tuple[float, float]:
    """The middle of a view: where the demo's nodule is shown."""
    box = page.locator(f"[data-view={view}]").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def press_view(page: Any, x: float, y: float) -> None:
    """Click in a view as people do: move there, press, let go."""
    page.mouse.move(x - 12, y - 9)
    page.mouse.move(x, y, steps=3)
    page.wait_for_timeout(200)
    page.mouse.down()
    page.wait_for_timeout(60)
    page.mouse.up()


def place_point(page: Any, view: str = "Red", dx: float = 0, dy: float = 0) -> None:
    """Place a point beside the middle of a view, and wait for its grades."""
    before = page.locator(".nr-list tbody tr").count()
    if not page.locator("[data-view=Red][data-mode=place]").count():
        page.get_by_role("button", name="Place a point").click()
        page.wait_for_selector("[data-view=Red][data-mode=place]")
    x, y = middle(page, view)
    press_view(page, x + dx, y + dy)
    page.wait_for_function(f"document.querySelectorAll('.nr-list tbody tr').length > {before}")
    graded(page)


def graded(page: Any) -> None:
    """Wait until nothing is being graded and nine grades stand in the card."""
    page.wait_for_selector(".nr-grades tbody tr:nth-child(9)")
    page.wait_for_function("!document.querySelector('.nr-messages .nr-status')")


def grades(page: Any) -> dict[str, str]:
    """The card's grades: name -> value, as they are shown."""
    read = "row => [row.querySelector('th').innerText, row.querySelectorAll('td')[1].firstChild.textContent]"
    cells = page.locator(".nr-grades tbody tr").evaluate_all(f"rows => rows.map({read})")
    return {name.lower(): value for name, value in cells}


def picture(page: Any, name: str) -> None:
    """Keep a picture of the page, if someone wants to look."""
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


def write_small_series(folder: Path) -> Path:
    """A DICOM series around the demo's part-solid nodule: 40 slices, 24 cm wide."""
    from NoduleRiskLib.phantom.chest_ct import chest_ct
    from Testing.unit.dicom.made_series import series_of

    ct, nodules = chest_ct()
    point = next(one.point.ras for one in nodules if one.label == "part-solid")
    i, j, k = np.rint(ct.to_ijk(np.array(point))).astype(int)
    low = np.maximum(np.array([i, j, k]) - (110, 110, 20), 0)
    cut = ct.array[low[2] : low[2] + 40, low[1] : low[1] + 220, low[0] : low[0] + 220]
    frame = ct.ijk_to_ras.copy()
    frame[:3, 3] = ct.to_ras(low)
    series_of(folder, replace(ct, array=np.ascontiguousarray(cut), ijk_to_ras=frame))
    return folder
