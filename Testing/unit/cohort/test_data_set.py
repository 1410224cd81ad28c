"""What would be lost or told twice when a run is killed between any two of its steps."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from NoduleRiskLib.cohort.data_set import DataSet
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.results import cohort_tables, read_cohort

ABOUT = {"model package": "abc", "NoduleRisk": "1"}


def rows(name: str, nodules: int = 2, status: str = "done") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    series = {"id": name, "status": status, "nodules": nodules, "sentence": "", "ct": f"/{name}"}
    return series, [{"id": name, "number": number, "label": "=1"} for number in range(nodules)]


def ids(folder: Path) -> list[str]:
    """The series, once each; their nodules are as many as they say."""
    there = read_cohort(folder)
    assert Counter(there.nodules.id) == Counter(
        {one.id: one.nodules for one in there.series.itertuples() if one.nodules}
    )
    return sorted(there.series.id)


class Killed(BaseException):
    """What SIGKILL is to a test."""


def kill_after(step: int, patch: pytest.MonkeyPatch, *calls: tuple[Any, str]) -> None:
    """Let so many of these calls pass, all counted together; those after them end the run."""
    count = itertools.count(1)

    def dying(real: Any) -> Any:
        def call(*given: Any, **more: Any) -> Any:
            if next(count) > step:
                raise Killed
            return real(*given, **more)

        return call

    for place, name in calls:
        patch.setattr(place, name, dying(getattr(place, name)))


@pytest.mark.parametrize("step", range(9))
def test_killed_at_any_step_the_tables_are_whole_and_the_run_goes_on(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that changes the disk may be the last: SIGKILL leaves what stands there then."""
    with DataSet(tmp_path, ABOUT) as data_set:
        data_set.add(*rows("a"))
    with monkeypatch.context() as patch:
        kill_after(step, patch, (os, "replace"), (os, "fsync"), (Path, "mkdir"))
        # Its lock is freed as the system frees a killed process's.
        with pytest.raises(Killed), DataSet(tmp_path, ABOUT) as data_set:
            for name in "bc":
                data_set.add(*rows(name))
                data_set.commit()
            raise Killed
    assert "a" in ids(tmp_path) and set(ids(tmp_path)) <= set("abc")
    with DataSet(tmp_path, ABOUT) as data_set:
        for name in sorted(set("abc") - set(data_set.done())):
            data_set.add(*rows(name))
    assert ids(tmp_path) == ["a", "b", "c"]
    # Whatever reads the folder as a plain Parquet data set finds the same.
    import pandas as pd

    assert len(pd.read_parquet(tmp_path / "nodules")) == 6 and len(pd.read_parquet(tmp_path / "series")) == 3


@pytest.mark.parametrize("step", range(19))
def test_killed_while_series_are_taken_out_none_is_told_twice_or_halved(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DataSet(tmp_path, ABOUT) as data_set:
        data_set.add(*rows("a"))
        data_set.add(*rows("b"))
        data_set.commit()
        data_set.add(*rows("c"))
    with DataSet(tmp_path, ABOUT) as data_set:
        with monkeypatch.context() as patch:
            kill_after(step, patch, (os, "replace"), (os, "fsync"), (Path, "mkdir"), (Path, "unlink"))
            with suppress(Killed):
                data_set.forget({"a", "c"})
        assert "b" in ids(tmp_path)
    with DataSet(tmp_path, ABOUT) as data_set:
        # All of them or none, and what is there is as it was.
        assert set(data_set.done()) in ({"b"}, {"a", "b", "c"})
        data_set.forget({"a", "c"})
        for name in "ac":
            data_set.add(*rows(name, 3))
    assert ids(tmp_path) == ["a", "b", "c"]
    import pandas as pd

    assert len(pd.read_parquet(tmp_path / "nodules")) == 8 and len(pd.read_parquet(tmp_path / "series")) == 3


def test_many_parts_are_read_and_taken_out_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort_tables, "PARTS_TOGETHER", 2)
    with DataSet(tmp_path, ABOUT) as data_set:
        for name in "abcde":
            data_set.add(*rows(name))
            data_set.commit()
        assert list(data_set.done()) == list(ids(tmp_path)) == list("abcde")
        untouched = {one: one.stat().st_mtime_ns for one in tmp_path.glob("*/part=00000[124]/*.parquet")}
        data_set.forget({"c", "e"})
        assert ids(tmp_path) == ["a", "b", "d"] and len(untouched) == 6
        assert untouched == {one: one.stat().st_mtime_ns for one in untouched}


def test_a_data_set_from_before_digests_were_kept_is_read_and_gone_on_with(tmp_path: Path) -> None:
    import pyarrow.parquet

    with DataSet(tmp_path, ABOUT) as data_set:
        data_set.add(*rows("a"))
    (part,) = tmp_path.glob("series/*/*.parquet")
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(part, partitioning=None).drop_columns(["inputs"]), part)
    with DataSet(tmp_path, ABOUT) as data_set:
        assert {name: one.inputs for name, one in data_set.done().items()} == {"a": None}
        data_set.add(*rows("b"))
    assert ids(tmp_path) == ["a", "b"]


def test_other_weights_do_not_go_into_the_same_tables(tmp_path: Path) -> None:
    with DataSet(tmp_path, ABOUT):
        pass
    with pytest.raises(NoduleRiskError, match="begun with another model package"):
        DataSet(tmp_path, ABOUT | {"model package": "def"})


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    code = (
        "import sys, json; from pathlib import Path; from NoduleRiskLib.cohort.data_set import DataSet\n"
        "DataSet(Path(sys.argv[1]), json.loads(sys.argv[2]))"
    )
    with DataSet(tmp_path, ABOUT):
        done = subprocess.run([sys.executable, "-c", code, tmp_path, json.dumps(ABOUT)], capture_output=True, text=True)
    assert "Another run writes to" in done.stderr


def test_a_full_disk_is_one_sentence_and_spares_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DataSet(tmp_path, ABOUT) as data_set:
        data_set.add(*rows("a"))

    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoduleRiskError, match="No space left on device"), DataSet(tmp_path, ABOUT) as data_set:
        data_set.add(*rows("b"))
        data_set.commit()
    assert ids(tmp_path) == ["a"]
    assert not list(tmp_path.glob(".nodulerisk-partial-*"))


def test_what_was_graded_before_ray_ended_is_kept(tmp_path: Path) -> None:
    """The sentence says so; what waited for its part was lost."""
    with pytest.raises(NoduleRiskError, match="Ray has stopped"), DataSet(tmp_path, ABOUT) as data_set:
        data_set.add(*rows("a"))
        raise NoduleRiskError("Ray has stopped.")
    assert ids(tmp_path) == ["a"]


def test_a_folder_without_a_cohort_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NoduleRiskError, match="holds no cohort"):
        read_cohort(tmp_path)
