"""What became of some nodules: the collection's diagnosis sheet, for one table and never for training."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..checkpoints import read_table

#: Codes of the collection's sheet (The Cancer Imaging Archive, LIDC-IDRI, ``tcia-diagnosis-data``; 0: unknown).
BENIGN, PRIMARY_CANCER, METASTASIS = 1, 2, 3
#: How the diagnosis was made: images that were stable for two years; otherwise by biopsy (2), surgery (3) or
#: progression and response (4).
STABLE = 1


def diagnoses(data: Path) -> pd.DataFrame | None:
    """One row per nodule with a known diagnosis: ``nodule_id``, ``malignant`` and ``stable`` (bool).

    ``None`` where the data set has no sheet: ``training crops`` makes none. Diagnoses are the patient's, mapped to a
    nodule where that is unambiguous.
    """
    path = data / "lidc" / "pathology.csv"
    if not path.is_file():
        return None
    table = read_table(path)
    known = table[table.diagnosis >= BENIGN]
    return pd.DataFrame(
        {"nodule_id": known.nodule_id, "malignant": known.diagnosis > BENIGN, "stable": known.method == STABLE}
    ).reset_index(drop=True)
