"""What nobody thought of: packages changed at random, a few here, thousands by ``python -m Testing.fuzz packages``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from Testing.fuzz import __main__ as fuzz
from Testing.fuzz import packages


def test_a_changed_package_is_read_or_refused_with_a_sentence() -> None:
    seen = packages.run(40, derandomize=True)
    assert set(seen) == {"read", "refused"} and seen.total() >= 40


def test_whole_packages_are_read(tmp_path: Path) -> None:
    assert [packages.outcome(files, tmp_path) for files in packages.originals()] == ["read", "read"]


def test_a_traceback_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: Path) -> Any:
        raise KeyError(path)

    monkeypatch.setattr(packages, "load", load)
    with pytest.raises(KeyError):
        packages.run(5)


def test_the_command_counts_what_it_tried(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main("packages", 5) == 0
    assert "packages: 5 tried, " in capsys.readouterr().out


def test_only_memory_that_the_packages_took_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak is the process's own: other tests may have had theirs before."""
    peaks = iter([3e9, 3e9, 1e9, 3e9])
    monkeypatch.setattr(packages, "_memory", lambda: next(peaks))
    packages.main(2)
    with pytest.raises(SystemExit, match="2000 MB"):
        packages.main(2)
