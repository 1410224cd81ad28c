"""Many series at once, on Ray Data: manifests in, a data set of Parquet tables out."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import NoduleRiskError

#: The extra ``cohort``: what the library itself does without.
NEEDED = ("ray", "pyarrow", "pandas", "fsspec", "jinja2", "filelock")


def check_installed() -> None:
    """Refuse to begin without what cohorts need.

    Raises
    ------
    NoduleRiskError
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise NoduleRiskError(
            f'Cohorts also need {", ".join(missing)}: run python -m pip install "NoduleRisk[cohort]".'
        )
