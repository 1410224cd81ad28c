"""A cohort on one page: how many series came to what, why some did not, and how the nodules are distributed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..grades import DISCLAIMER, GRADES
from ..report.document import filled
from ..results.cohort_tables import DONE, STATUSES
from ..results.phrases import SUSPICION_MEANS

if TYPE_CHECKING:
    import pandas as pd

    from ..results.cohort_tables import Cohort

SUMMARY = "summary.html"
TEMPLATE = Path(__file__).with_name(SUMMARY)
#: Columns of each drawing.
BINS = 12
#: Kinds of failures that are listed.
KINDS = 30
#: Grades whose values are no scale from word to word: what they are, their column, its ends (the largest found).
OTHERWISE: dict[str, tuple[str, str, float, float | None]] = {
    "calcification": ("how likely there is any", "calcification_presence", 0, 1),
    "diameter": ("measured on the outline, mm", "diameter", 0, None),
}
#: Columns of nodules that stand on the page.
COLUMNS = ("doubts", "suspicion_probability", *(OTHERWISE.get(one.name, ("", one.name))[1] for one in GRADES))


@dataclass(frozen=True)
class Distribution:
    """How often a value lies where: ``bars`` are heights from 0 to 1 with what they count, from ``low`` to ``high``."""

    name: str
    note: str
    low: str
    high: str
    median: str
    bars: tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class Kind:
    """Series that were not graded for the same reason, and the first of them in its own words."""

    status: str
    sentence: str
    count: int
    first: str


def summary_html(cohort: Cohort, name: str) -> str:
    """One document that needs no other file; whatever files and headers hold is shown as text."""
    return filled(
        TEMPLATE,
        name=name,
        disclaimer=DISCLAIMER,
        facts=list(facts(cohort)),
        counts=[(status, int((cohort.series["status"] == status).sum())) for status in STATUSES],
        kinds=list(kinds(cohort.series))[:KINDS],
        doubts=_counted(cohort.nodules["doubts"]),
        warnings=_counted(cohort.series["ct_warnings"], ". "),
        distributions=list(distributions(cohort)),
    )


def facts(cohort: Cohort) -> Iterable[tuple[str, str]]:
    """What stands at the head: numbers of series and nodules, times, memory, versions."""
    series, done = cohort.series, cohort.series[cohort.series["status"] == DONE]
    yield "Series", f"{len(series):,}"
    doubtful = int(done["doubtful"].sum())
    yield "Nodules", f"{len(cohort.nodules):,}, {doubtful:,} of them doubtful"
    if len(done):
        yield "Seconds a series", f"{_spread(done['seconds'])} (of these reading: {_spread(done['read_seconds'])})"
        yield "Memory a worker", f"at most {done['memory_mb'].max() / 1e3:.1f} GB"
        yield "Computers", ", ".join(sorted(done["computer"].dropna().unique()))
    if len(series):
        yield "Finished", f"{series['finished'].min()} to {series['finished'].max()}"
        yield "Model package", ", ".join(series["package_sha256"].dropna().unique())
        yield "NoduleRisk", ", ".join(series["nodulerisk"].dropna().unique())


def kinds(series: pd.DataFrame) -> Iterable[Kind]:
    """Why series were not graded, most frequent first; sentences that differ in names or numbers alone are one."""
    lost = series[series["status"] != DONE]
    alike = [_alike(sentence, ct) for sentence, ct in zip(lost["sentence"], lost["ct"], strict=True)]
    for (status, _), of in sorted(lost.groupby([lost["status"], alike]), key=lambda one: -len(one[1])):
        yield Kind(str(status), str(of["sentence"].iloc[0]), len(of), str(of["id"].iloc[0]))


def distributions(cohort: Cohort) -> Iterable[Distribution]:
    """Of suspicion, each grade and what a series took."""
    nodules, done = cohort.nodules, cohort.series[cohort.series["status"] == DONE]
    yield from _distribution("suspicion probability", SUSPICION_MEANS, nodules["suspicion_probability"], 0, 1)
    for grade in GRADES:
        words = " to ".join((*grade.words[:1], *grade.words[-1:]))
        note, column, low, high = OTHERWISE.get(grade.name, (words, grade.name, grade.low, grade.high))
        yield from _distribution(grade.name, note, nodules[column], low, high)
    yield from _distribution("seconds a series", "reading and grading", done["seconds"], 0, None)


def _distribution(
    name: str, note: str, values: pd.Series[float], low: float, high: float | None
) -> Iterable[Distribution]:
    import numpy as np

    found = values.dropna().to_numpy(float)
    if not len(found):
        return
    top = float(found.max()) if high is None else high
    counts, _ = np.histogram(np.clip(found, low, top), BINS, (low, max(top, low + 1e-9)))
    bars = tuple((float(count / counts.max()), int(count)) for count in counts)
    yield Distribution(name, note, f"{low:g}", f"{top:.3g}", f"{np.median(found):.2f}", bars)


def _spread(values: pd.Series[float]) -> str:
    return f"{values.median():.1f}, at most {values.max():.1f}"


def _counted(texts: pd.Series[str], separator: str = "; ") -> list[tuple[str, int]]:
    """How often each of the parts of joined text stands there, most frequent first."""
    from collections import Counter

    found = Counter(part.strip(". ") for text in texts.dropna() for part in text.split(separator) if part.strip(". "))
    return found.most_common(KINDS)


def _alike(sentence: str, ct: str) -> str:
    """A sentence without what names or measures this one series."""
    place = Path(ct)
    for name in filter(None, (ct, place.name, place.stem)):
        sentence = sentence.replace(name, "CT")
    return re.sub(r"\d+([.,]\d+)*", "0", sentence)
