"""Serving: four readers who click at once, how long each waits for grades, what their sessions hold and give back."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from .timing import Figure, Part, markdown

ROOT = Path(__file__).resolve().parents[2]
READERS, CLICKS = 4, 20
#: How long a reader who does not click at once looks at an answer, seconds on average; readers take longer.
LOOK_S = 5.0
IDLE_MINUTES = 0.5
#: In the slices that the demo opens with: across and down from the middle, pixels. The nodule itself, vessels, lung.
PLACES = [(40 * (n % 5) - 80, 40 * (n // 5) - 60) for n in range(CLICKS)]


def parts() -> Iterator[Part]:
    """The table of a load trial; needs Chromium and the extra ``browser``."""
    sys.path[:0] = [str(ROOT / "Testing" / "browser"), str(ROOT / "Testing" / "unit")]
    from chromium import launched
    from driving import Server

    server = Server("--demo", "--sessions", str(2 * READERS + 1), "--idle", str(IDLE_MINUTES))
    try:
        cold = memory_mb(server.process.pid)
        with launched() as browser:
            alone, _ = trial(server, browser, 1)
            # The model and PyTorch stay: what readers take is what comes on top of that, once one of them was there.
            time.sleep(60 * IDLE_MINUTES + 30)
            before = memory_mb(server.process.pid)
            waited, most = trial(server, browser, READERS)
            looking, _ = trial(server, browser, READERS, LOOK_S)
        after = left(server, before)
    finally:
        server.stop()
    rows = [
        ["one reader, click to grades", *told(alone)],
        [f"{READERS} readers who all click at once, again when all are answered", *told(waited)],
        [f"{READERS} readers who each look at an answer for {LOOK_S:g} s", *told(looking)],
        ["memory at the start", f"{cold:.0f} MB", ""],
        ["memory before them, with them, after", f"{before:.0f}, {most:.0f}, {after:.0f} MB", ""],
    ]
    figures = (
        Figure("one reader's median click to grades in a browser", median(alone), 1.0, "s"),
        Figure(f"the same, {READERS} readers at once", median(waited), 1.0, "s"),
        Figure(f"the same, {READERS} readers who look", median(looking), 1.0, "s"),
        Figure("memory after readers left, of that before", after / before, 1.1, "times"),
    )
    yield Part("Serving", markdown(["", "median", "longest"], rows), figures)


def told(waited: list[float]) -> tuple[str, str]:
    """Median and longest, as they are shown."""
    return f"{median(waited):.2f} s", f"{max(waited):.2f} s"


def trial(server: Any, browser: Any, readers: int, look_s: float = 0.0) -> tuple[list[float], float]:
    """Let readers click without waiting for each other; seconds from click to grades, and MB meanwhile.

    Each looks at an answer for ``look_s`` seconds on average before the next click: at random, so some clicks meet.
    """
    from driving import drawn, middle, press_view

    pages, pauses = [], random.Random(0)
    for _ in range(readers):
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.set_default_timeout(180_000)
        page.goto(server.address)
        drawn(page)
        page.evaluate(_WATCH)
        pages.append(page)
    x, y = middle(pages[0])
    waited, most = [], 0.0
    for click, (dx, dy) in enumerate(PLACES, 1):
        for page in pages:
            time.sleep(pauses.uniform(0, 2 * look_s / readers))
            page.keyboard.press("p" if click > 1 else "Shift")
            page.wait_for_selector("[data-view=Red][data-mode=place]")
            page.evaluate("count => watch(count)", click)
            press_view(page, x + dx, y + dy)
        for page in pages:
            page.wait_for_function("window.graded > 0", timeout=120_000, polling=100)
            waited.append(page.evaluate("(window.graded - window.begun) / 1000"))
        most = max(most, memory_mb(server.process.pid))
        assert all(page.locator(".nr-error").count() == 0 for page in pages)
    for page in pages:
        page.context.close()
    return waited, most


#: Times in the page itself from the mouse button's release until so many nodules have a diameter: neither the driver's
#: own steps are counted, nor is anything asked 60 times a second, which would have the browser draw as often.
_WATCH = """() => {
  let wanted = 0;
  window.watch = count => { wanted = count; window.graded = 0; };
  document.addEventListener('mouseup', () => { window.begun = performance.now(); }, true);
  new MutationObserver(() => {
    const sizes = [...document.querySelectorAll('.nr-list tbody td:nth-child(4)')];
    if (wanted && !window.graded && sizes.filter(one => one.textContent.trim()).length >= wanted) {
      requestAnimationFrame(() => { window.graded = performance.now(); });
    }
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


def left(server: Any, before: float) -> float:
    """MB once all sessions have ended, or after two minutes."""
    for _ in range(120):
        now = memory_mb(server.process.pid)
        if now <= before * 1.1:
            return now
        time.sleep(1)
    return now


def memory_mb(root: int) -> float:
    """What a process and all below it hold, MB, shared pages counted once (PSS)."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    every, todo = [], [root]
    while todo:
        every.append(todo.pop())
        todo += children.get(every[-1], [])
    total = 0
    for process in every:
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024
