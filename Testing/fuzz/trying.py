"""Inputs tried one by one in a process of their own: what reads them may end the interpreter or want all memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from NoduleRiskLib.errors import NoduleRiskError

#: More memory than this no input may take, more time neither.
MEMORY_BYTES, SECONDS = 2 * 10**9, 30
#: The two right answers; every other one is a bug.
RIGHT = ("result", "sentence")

Reader = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """Files to write and the one of them (or "", their folder) to read."""

    files: Mapping[str, bytes]
    target: str


@dataclass
class Trial:
    """A process that reads cases with ``reader``, started again when it ends; ``answers`` counts what came of them."""

    reader: Reader
    keep: Path | None = None
    answers: Counter[str] = field(default_factory=Counter)
    _process: multiprocessing.Process | None = None
    _pipe: Connection | None = None

    def answer(self, case: Case) -> str:
        """What came of a case: "result", "sentence", or what kind of bug."""
        with tempfile.TemporaryDirectory(prefix="nodulerisk-fuzz-") as folder:
            for name, data in case.files.items():
                (Path(folder) / name).write_bytes(data)
            if self._process is None or self._pipe is None:
                self._start()
            assert self._process and self._pipe
            self._pipe.send(str(Path(folder) / case.target))
            if self._pipe.poll(SECONDS):
                try:
                    found: str = self._pipe.recv()
                except EOFError:
                    self._process.join()
                    found = f"crash with exit code {self._process.exitcode}"
            else:
                found = f"no answer within {SECONDS} s"
            if found.partition(" ")[0] in ("crash", "no"):
                self.stop()
            kind = found.partition("\n")[0]
            self.answers[kind] += 1
            if kind not in RIGHT and self.keep:
                place = self.keep / f"{len(list(self.keep.iterdir())):04}"
                shutil.copytree(folder, place)
                (place / "answer.txt").write_text(f"{case.target}\n{found}", errors="backslashreplace")
            return found

    def stop(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None

    def _start(self) -> None:
        # Forked processes share what threads of the parent hold locked; spawned ones begin anew.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self.reader, theirs), daemon=True)
        assert self._process
        self._process.start()
        theirs.close()


def _serve(reader: Reader, pipe: Connection) -> None:
    """In the process: read paths until nobody asks any more."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What C libraries print about damaged files is not wanted.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(_read(reader, Path(pipe.recv())))


def _read(reader: Reader, path: Path) -> str:
    try:
        reader(path)
        return "result"
    except NoduleRiskError as error:
        sentence = str(error)
        whole = sentence.endswith(".") and "\n" not in sentence and len(sentence) < 2000 and sentence.isprintable()
        return "sentence" if whole else f"no sentence\n{sentence}"
    except BaseException as error:
        return f"{type(error).__name__}\n{traceback.format_exc()}"
