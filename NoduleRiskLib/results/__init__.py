"""What is said about a nodule, and the forms in which people and files get it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from ..imaging.volume import Volume
    from .assessment import Assessment
    from .cohort_tables import Cohort


def to_frame(assessments: Sequence[Assessment], volume: Volume | None = None) -> pd.DataFrame:
    """Assessments as a pandas frame; see ``tables.to_frame``."""
    from .tables import to_frame

    return to_frame(assessments, volume)


def read_cohort(path: Path | str, columns: Sequence[str] | None = None) -> Cohort:
    """The tables of a cohort as pandas frames; see ``cohort_tables.read_cohort``."""
    from .cohort_tables import read_cohort

    return read_cohort(path, columns)
