"""What a user would lose if a damaged file ended the program: a few seconds of fuzzing; ``make fuzz`` does more."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Testing.fuzz import dicom_objects, image_headers, point_files
from Testing.fuzz.trying import RIGHT, Case, Trial

#: Inputs of each kind.
COUNT = 150


@pytest.fixture(
    scope="module", params=[point_files, image_headers, dicom_objects], ids=["points", "headers", "objects"]
)
def subject(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


@pytest.fixture(scope="module")
def trial(subject: ModuleType) -> Iterator[Trial]:
    made = Trial(subject.read)
    yield made
    made.stop()


@settings(max_examples=COUNT, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damaged_file_gives_a_result_or_a_sentence(subject: ModuleType, trial: Trial, data: st.DataObject) -> None:
    answer = trial.answer(data.draw(subject.cases()))
    assert answer in RIGHT


def test_good_files_are_read(subject: ModuleType, trial: Trial) -> None:
    if subject is point_files:
        good = [Case({name: text.encode()}, name) for name, text in point_files.GOOD.items()]
        assert [trial.answer(case) for case in good] == ["result", "result", "result", "sentence", "result"]
    elif subject is dicom_objects:
        good = [Case({name: data}, name) for name, data in dicom_objects.good().items()]
        good += [Case(dicom_objects.own(), name) for name in dicom_objects.OWN]
        assert {trial.answer(case) for case in good} == {"result"}
    else:
        good = [Case(files, target) for target, files in image_headers.good().items()]
        assert {trial.answer(case) for case in good} == {"result"}


def _end(path: object) -> None:
    import os

    os._exit(139)


def _want_memory(path: object) -> None:
    bytearray(3 * 10**9)


def _fail(path: object) -> None:
    raise KeyError("a bug")


@pytest.mark.parametrize(
    ("reader", "words"), [(_end, "crash with exit code 139"), (_want_memory, "MemoryError"), (_fail, "KeyError")]
)
def test_what_the_fuzzing_looks_for_is_seen(reader: object, words: str) -> None:
    trial = Trial(reader)
    try:
        assert trial.answer(Case({"a": b""}, "a")).startswith(words)
        # The next input is tried in a new process.
        assert trial.answer(Case({"a": b""}, "a")).startswith(words)
        assert sum(trial.answers.values()) == 2
    finally:
        trial.stop()
