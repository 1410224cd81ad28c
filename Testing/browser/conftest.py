"""A server with the demo CT and a headless Chromium; what lacks is said, and what needs it is left out."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM, launched

#: The wheels and the program that the page's tests need.
NEEDED = ("slicer", "trame_slicer", "aiohttp", "playwright")
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
    """A headless browser for one file: others may have an event loop of their own."""
    with launched() as browser:
        yield browser


@pytest.fixture
def page(server: Any, chromium: Any) -> Iterator[Any]:
    """A browser of its own with the demo CT open; nothing in it may fail unseen or come from elsewhere."""
    from driving import opened

    with opened(server, chromium) as one:
        yield one
