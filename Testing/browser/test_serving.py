"""What the server says when it starts and when it cannot go on."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trame_slicer", reason="LEFT OUT: the server; it needs pip install 'NoduleRisk[browser]'")

from NoduleRiskLib.browser import front, sessions
from NoduleRiskLib.browser.serving import Serving, _address, serve
from NoduleRiskLib.errors import NoduleRiskError


@pytest.mark.parametrize(
    ("listening", "host", "address"),
    [
        ("http://127.0.0.1:8765", "127.0.0.1", "http://localhost:8765/"),
        ("http://[::1]:8765", "::1", "http://[::1]:8765/"),
        ("http://reader.example:80", "reader.example", "http://reader.example:80/"),
    ],
)
def test_the_address_has_the_port(listening: str, host: str, address: str) -> None:
    assert _address(f"======== Running on {listening} ========\n(Press CTRL+C to quit)", host) == address


@pytest.mark.parametrize("name", ["none", "file"])
def test_a_root_that_is_no_folder_is_refused_at_the_start(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NoduleRiskError, match=f"{name} is no folder"):
        serve(Serving(root=tmp_path / name), print, lambda what: nullcontext())


def test_without_the_model_s_process_the_server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit code then says that it failed, and systemd starts it again."""

    class Dead:
        alive = False

        def __init__(self, *arguments: Any) -> None:
            pass

        def stop(self) -> None:
            pass

    monkeypatch.setattr(sessions, "Grader", Dead)
    monkeypatch.setattr(front, "SWEEP_S", 0.01)
    told: list[str] = []
    with pytest.raises(NoduleRiskError, match="model has ended"):
        serve(Serving(port=0), told.append, lambda what: nullcontext())
    assert told
