"""``python -m Testing.benchmark [SUBJECT ...]``: every subject, or some of them, as Markdown."""

from __future__ import annotations

import sys
import time
from datetime import date

from . import answering, clicking, cutting, explaining, following, grading, loading, locating, serving
from .timing import Figure, machine, markdown

SUBJECTS = {
    "cut": cutting,
    "locate": locating,
    "grade": grading,
    "explain": explaining,
    "click": clicking,
    "load": loading,
    "answer": answering,
    "follow": following,
}
#: Subjects that run only when they are named: they need Chromium and more than the extra ``bench``.
NAMED = {"serve": serving}


def main(names: list[str]) -> None:
    """Print a run's tables, the figures to reach last."""
    subjects = SUBJECTS | NAMED
    unknown = set(names) - set(subjects)
    if unknown:
        sys.exit(f"There is no subject {', '.join(sorted(unknown))}: choose from {', '.join(subjects)}.")
    begun = time.monotonic()
    print(f"# What it costs\n\n`make bench`, {date.today()}\n\n{machine()}")
    figures: list[Figure] = []
    for name in names or SUBJECTS:
        for part in subjects[name].parts():
            print(f"\n## {part.title}\n\n{part.table}", flush=True)
            figures += part.figures
    lines = [
        [
            one.what,
            f"{'>=' if one.more else '<='} {one.reach:g} {one.unit}",
            f"{one.measured:.3g} {one.unit}",
            "yes" if one.met else "no",
        ]
        for one in figures
    ]
    print(f"\n## Figures to reach\n\n{markdown(['what', 'reach', 'measured', 'met'], lines)}")
    print(f"\nThe run took {(time.monotonic() - begun) / 60:.1f} minutes.")


if __name__ == "__main__":
    main(sys.argv[1:])
