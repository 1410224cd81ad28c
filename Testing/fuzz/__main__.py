"""``python -m Testing.fuzz SUBJECT COUNT``: so many changed inputs, and what came of them."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from . import dicom_objects, image_headers, packages, point_files
from .trying import RIGHT, Case, Trial

SUBJECTS = {"points": point_files, "headers": image_headers, "objects": dicom_objects}
KEPT = Path(tempfile.gettempdir()) / "nodulerisk-fuzz"


def main(subject: str, count: int) -> int:
    """Try ``count`` inputs; print how often each answer came; keep the inputs of the wrong ones."""
    if subject == "packages":
        # Packages are built in this process, where reading is slow and cannot end the interpreter.
        packages.main(count)
        return 0
    module = SUBJECTS[subject]
    keep = KEPT / subject
    keep.mkdir(parents=True, exist_ok=True)
    trial = Trial(module.read, keep)
    begun = time.monotonic()

    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(module.cases())
    def attempt(case: Case) -> None:
        trial.answer(case)

    attempt()
    trial.stop()
    for answer, times in trial.answers.most_common():
        print(f"{answer}: {times}")
    bugs = sum(times for answer, times in trial.answers.items() if answer not in RIGHT)
    print(f"{subject}: {trial.answers.total()} inputs, {bugs} bugs, {time.monotonic() - begun:.0f} s")
    if bugs:
        print(f"Their inputs are in {keep}.")
    return int(bugs > 0)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in (*SUBJECTS, "packages"):
        sys.exit(f"python -m Testing.fuzz SUBJECT COUNT, with one of {', '.join(SUBJECTS)}, packages")
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
