"""The data set as it grows: parts that appear whole, one writer at a time, and what a killed run left."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from ..errors import NoduleRiskError
from ..results.cohort_tables import NODULES, SERIES, part_file, part_number, parts, read_parts, schema
from ..results.result_folder import partial_folder, write_whole

#: What the data set was made with; all of its series are made with the same.
ABOUT = "cohort.json"
#: The series that are being taken out of the tables, as long as that is not done.
FORGETTING = ".forgetting.json"
#: Results wait to share a part until one comes so long after the part before, or so many are there. A kill loses what
#: waits, and it is graded again.
SECONDS_A_PART, SERIES_A_PART = 5.0, 500


class Before(NamedTuple):
    """What the tables hold of a series: its status, and the digest of its inputs, ``None`` if that was not kept yet."""

    status: str
    inputs: str | None


class DataSet:
    """A folder of parts that is written to, by one process at a time.

    Use it as a context manager: at the end what is left is written, and other processes may write.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    about : mapping of str to str
        What the results depend on; a folder that was begun with something else is refused.

    Raises
    ------
    NoduleRiskError
        If another process writes there, it was begun with something else, or the disk is full.
    """

    def __init__(self, folder: Path, about: Mapping[str, str]) -> None:
        # Slicer's Python lacks it.
        from filelock import FileLock, Timeout

        self.folder = folder
        self._rows: dict[str, list[dict[str, Any]]] = {NODULES: [], SERIES: []}
        self._committed = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # The system frees it when its process ends, however that ends.
            self._lock = FileLock(folder / ".lock")
            self._lock.acquire(timeout=0)
            self._check(about)
            self._number = max(parts(folder), default=0)
            self._remove_unfinished()
            self._forget()
        except Timeout as error:
            raise NoduleRiskError(f"Another run writes to {folder}: wait for it or name another folder.") from error
        except OSError as error:
            raise self._unwritten(error) from error

    def __enter__(self) -> DataSet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.commit()
        except NoduleRiskError:
            # A second error of the disk would only hide the first.
            if not isinstance(error, NoduleRiskError):
                raise
        finally:
            self._lock.release()

    def done(self) -> dict[str, Before]:
        """Every series that the tables hold, by id."""
        there = read_parts(self.folder, SERIES, parts(self.folder), ["id", "status", "inputs"]).to_pydict()
        return dict(zip(there["id"], map(Before, there["status"], there["inputs"]), strict=True))

    def forget(self, ids: Collection[str]) -> None:
        """Take series and their nodules out of the tables, so that they are graded again.

        Which ones is written down first: what a killed run left of them is taken out when the next one begins.

        Raises
        ------
        NoduleRiskError
            If the disk is full.
        """
        if not ids:
            return
        try:
            write_whole(self.folder / FORGETTING, json.dumps(sorted(ids)))
            self._forget()
        except OSError as error:
            raise self._unwritten(error) from error

    def add(self, series: dict[str, Any], nodules: Iterable[dict[str, Any]]) -> None:
        """Take the rows of a series; they are written with others', soon."""
        self._rows[SERIES].append(series)
        self._rows[NODULES].extend(nodules)
        if len(self._rows[SERIES]) >= SERIES_A_PART or time.monotonic() - self._committed > SECONDS_A_PART:
            self.commit()

    def commit(self) -> None:
        """Write what has been taken as a part.

        Raises
        ------
        NoduleRiskError
            If it cannot be written; what stood there before still stands.
        """
        import pyarrow

        if self._rows[SERIES]:
            # The series come last: with them the part is there.
            for table in (NODULES, SERIES):
                rows = pyarrow.Table.from_pylist(self._rows[table], schema=schema(table))
                self._replace(table, self._number + 1, rows)
            self._number += 1
            self._rows = {NODULES: [], SERIES: []}
        self._committed = time.monotonic()

    def write_summary(self, name: str, text: str) -> Path:
        """Write a file beside the tables."""
        write_whole(self.folder / name, text)
        return self.folder / name

    def _replace(self, table: str, number: int, rows: Any) -> None:
        import pyarrow.parquet

        target = part_file(self.folder, table, number)
        try:
            with partial_folder(self.folder) as partial:
                written = partial / target.name
                with written.open("wb") as file:
                    pyarrow.parquet.write_table(rows, file)
                    file.flush()
                    os.fsync(file.fileno())
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(written, target)
        except OSError as error:
            raise self._unwritten(error) from error

    def _check(self, about: Mapping[str, str]) -> None:
        file = self.folder / ABOUT
        before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else about
        differ = [name for name in about if before.get(name) != about[name]]
        if differ:
            raise NoduleRiskError(
                f"{self.folder} was begun with another {' and '.join(differ)} ({before.get(differ[0])}, now "
                f"{about[differ[0]]}): name another folder with --out."
            )
        if not file.exists():
            write_whole(file, json.dumps(dict(about), indent=1) + "\n")

    def _forget(self) -> None:
        import pyarrow
        import pyarrow.compute as compute

        file = self.folder / FORGETTING
        if not file.exists():
            return
        ids = pyarrow.array(json.loads(file.read_text(encoding="utf-8")), "string")
        # Nodules without their series are not read, so that these go first.
        for table in (SERIES, NODULES):
            there = read_parts(self.folder, table, parts(self.folder), ["id", "__filename"])
            # Of thousands of parts most hold none of them.
            for name in there["__filename"].filter(compute.is_in(there["id"], ids)).unique().to_pylist():
                number = part_number(Path(name))
                rows = read_parts(self.folder, table, [number])
                self._replace(table, number, rows.filter(compute.invert(compute.is_in(rows["id"], ids))))
        file.unlink()

    def _remove_unfinished(self) -> None:
        """Remove nodules whose series never came: their run was killed between both."""
        whole = {part_file(self.folder, NODULES, number).parent.name for number in parts(self.folder)}
        for folder in (self.folder / NODULES).glob("part=*"):
            if folder.name not in whole:
                shutil.rmtree(folder)
        (self.folder / SERIES).mkdir(exist_ok=True)

    def _unwritten(self, error: OSError) -> NoduleRiskError:
        return NoduleRiskError(
            f"The results could not be written to {self.folder} ({error.strerror or error}): free some space, then "
            "start the same command again; what is there already stays."
        )
