"""A server with the demo CT and a headless Chromium; what lacks is said, and what needs it is left out."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

#: The wheels and the program that the page's tests need.
NEEDED = ("slicer", "trame_slicer", "aiohttp", "playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LACKING = [name for name in NEEDED if not importlib.util.find_spec(name)] + ([] if CHROMIUM else ["chromium"])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the page itself where it cannot be opened, and say why."""
    left_out = pytest.mark.skip(reason=f"LEFT OUT: the page in a browser; it needs {', '.join(LACKING)}")
    for item in items:
        if LACKING and "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(left_out)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that readers may open CTs of: a DICOM series around one of the demo's nodules, and a link outwards."""
    from driving import write_small_series

    folder = tmp_path_factory.mktemp("root")
    write_small_series(folder / "small")
    (folder / "out").symlink_to("/etc")
    return folder


@pytest.fixture(scope="session")
def server(root: Path) -> Iterator[Any]:
    """A running server with the demo CT."""
    from driving import Server

    one = Server("--demo", "--root", str(root), "--sessions", "12", "--upload", "40")
    yield one
    one.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless browser; Playwright's event loop ends with it, so that other files may have their own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root in a container there is no sandbox to be had.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(server: Any, chromium: Any) -> Iterator[Any]:
    """A browser of its own with the demo CT open; nothing in it may fail unseen or come from elsewhere."""
    from driving import opened

    with opened(server, chromium) as one:
        yield one
