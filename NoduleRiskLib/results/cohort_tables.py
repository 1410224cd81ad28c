"""What a cohort leaves on disk: a table of nodules and a table of series, both Parquet in numbered parts.

A part is there once its series are: its nodules are renamed into place first, its series last. Nodules without
their series were left by a run that was killed between the two, and are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NoduleRiskError
from .tables import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

#: The two tables: a folder each, whose parts lie in ``part=000001`` and so on, as Hive names partitions.
NODULES, SERIES = "nodules", "series"
#: What became of a series: graded; refused because of what it is; not graded for a reason that lies elsewhere.
DONE, REFUSED, FAILED = "done", "refused", "failed"
STATUSES = (DONE, REFUSED, FAILED)
#: So many parts are read together: pyarrow holds what each says of its 80 columns until all of them are read.
PARTS_TOGETHER = 100


@dataclass(frozen=True)
class CohortColumn:
    """A column of either table; ``kind`` is "text", "number" or "count"."""

    name: str
    meaning: str
    kind: str = "text"


NODULE_COLUMNS = (
    CohortColumn("id", "the series in the manifest"),
    CohortColumn("number", "the nodule among those of its series, from 1", "count"),
    *(CohortColumn(one.name, one.meaning, "text" if one.text else "number") for one in COLUMNS),
    CohortColumn("package_sha256", "hash of the model package that graded it"),
    CohortColumn("versions", "of NoduleRisk and all that can change a number, as JSON"),
)
SERIES_COLUMNS = (
    CohortColumn("id", "the series in the manifest"),
    CohortColumn("ct", "where its CT was read"),
    CohortColumn("status", ", ".join(STATUSES)),
    CohortColumn("sentence", "why it was refused or failed; empty otherwise"),
    CohortColumn("series_uid", "SeriesInstanceUID of a CT from DICOM"),
    CohortColumn("nodules", "rows in the table of nodules", "count"),
    CohortColumn("doubtful", "how many of them have a doubt", "count"),
    CohortColumn("ct_warnings", "full sentences about the whole CT"),
    CohortColumn("seconds", "from the first byte to the last grade, also of those graded in one go with it", "number"),
    CohortColumn("read_seconds", "of these, fetching and reading the CT", "number"),
    CohortColumn("memory_mb", "the most that its process held or keeps; 0 where the system does not tell", "number"),
    CohortColumn("needed_mb", "what its header announced beforehand", "number"),
    CohortColumn("computer", "where it was graded"),
    CohortColumn("finished", "when, ISO 8601 in UTC"),
    CohortColumn("package_sha256", "hash of the model package"),
    CohortColumn("nodulerisk", "version"),
    CohortColumn("inputs", "digest of its row, points and outlines: with others it is graded again"),
)
TABLES = {NODULES: NODULE_COLUMNS, SERIES: SERIES_COLUMNS}


@dataclass(frozen=True, eq=False)
class Cohort:
    """Both tables as pandas frames, columns as ``NODULE_COLUMNS`` and ``SERIES_COLUMNS`` explain them.

    Attributes
    ----------
    nodules : DataFrame
        One row a nodule.
    series : DataFrame
        One row a series, whatever became of it.
    """

    nodules: pd.DataFrame
    series: pd.DataFrame


def read_cohort(path: Path | str, columns: Sequence[str] | None = None) -> Cohort:
    """The data set that ``nodulerisk cohort`` wrote, or has written so far.

    Parameters
    ----------
    path : path
        What ``--out`` named.
    columns : sequence of str, optional
        Those of nodules that are wanted beside ``id``, which spares time and memory; all unless given.

    Raises
    ------
    NoduleRiskError
        If the folder holds none, or pandas or pyarrow is missing.

    Examples
    --------
    >>> from NoduleRiskLib.results import read_cohort          # doctest: +SKIP
    >>> cohort = read_cohort("results")                        # doctest: +SKIP
    >>> cohort.series.status.value_counts()                    # doctest: +SKIP
    """
    folder = Path(path)
    numbers = parts(folder)
    if not (folder / SERIES).is_dir():
        raise NoduleRiskError(f"{folder} holds no cohort: give the folder that nodulerisk cohort wrote with --out.")
    # In this order: of a series that is taken out meanwhile, the nodules go last.
    nodules = read_parts(folder, NODULES, numbers, None if columns is None else ["id", *columns]).to_pandas()
    series = read_parts(folder, SERIES, numbers).to_pandas()
    return Cohort(nodules[nodules["id"].isin(series["id"])].reset_index(drop=True), series)


def parts(folder: Path) -> list[int]:
    """The numbers of the parts that are whole."""
    found = (folder / SERIES).glob(f"part=*/{SERIES}.parquet")
    return sorted(map(part_number, found))


def part_file(folder: Path, table: str, number: int) -> Path:
    """Where a part of a table lies."""
    return folder / table / f"part={number:06d}" / f"{table}.parquet"


def part_number(file: Path) -> int:
    """The number of the part that a file of ``part_file`` belongs to."""
    return int(file.parent.name.partition("=")[2])


def read_parts(folder: Path, table: str, numbers: list[int], columns: list[str] | None = None) -> Any:
    """Some parts of a table as one pyarrow table; ``__filename`` among the columns asks for each row's file."""
    try:
        import pyarrow
        import pyarrow.dataset as datasets
    except ImportError as error:
        raise NoduleRiskError('Cohorts need pyarrow: install it with pip install "NoduleRisk[cohort]".') from error
    files = [str(part_file(folder, table, number)) for number in numbers]
    some = (files[start : start + PARTS_TOGETHER] for start in range(0, max(len(files), 1), PARTS_TOGETHER))
    return pyarrow.concat_tables(
        datasets.dataset(one, schema=schema(table), format="parquet").to_table(columns=columns) for one in some
    )


def schema(table: str) -> Any:
    """The pyarrow schema of a table."""
    import pyarrow

    kinds = {"text": pyarrow.string(), "number": pyarrow.float64(), "count": pyarrow.int64()}
    return pyarrow.schema([(one.name, kinds[one.kind]) for one in TABLES[table]])
