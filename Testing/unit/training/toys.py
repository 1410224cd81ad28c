"""Made-up nodules that all training tests learn from: balls in lung, the larger half called suspicious."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk
from rich.console import Console

from NoduleRiskLib.imaging.volume import Array
from training.data.crops import WIDE, Stacks
from training.data.lidc import reader_grades
from training.models.experiments import at_schedule
from training.models.grader_settings import GraderSettings

PEOPLE = 20
QUIET = Console(quiet=True)
PIXEL_MM, SLICE_MM = 0.8, 2.0


def write(path: Path, array: Array, spacing: tuple[float, float, float]) -> None:
    """An LPS image whose middle is the origin, as the data set's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    size = np.array(array.shape[::-1])
    image.SetOrigin((-(size - 1) / 2 * spacing).tolist())
    sitk.WriteImage(image, str(path), useCompression=True)


def ball(shape: tuple[int, int, int], spacing: tuple[float, float, float], radius_mm: float) -> Array:
    """Signed distance (mm, negative inside) to a ball in the middle; ``[k, j, i]``."""
    k, j, i = np.indices(shape)
    middle = [(n - 1) / 2 for n in shape]
    places = [(a - m) * s for a, m, s in zip((k, j, i), middle, spacing[::-1], strict=True)]
    return np.sqrt(sum(place**2 for place in places)) - radius_mm


def data_set(root: Path) -> Path:
    """A data set like LIDC's: 20 balls of 20 patients in lung, the larger half called suspicious by their readers."""
    grades = reader_grades()
    ids = {suspect: grades.index[grades.malignancy == value].tolist() for suspect, value in ((False, 1), (True, 5))}
    rng = np.random.default_rng(0)
    rows = []
    for n in range(20):
        suspect = n % 2 == 1
        radius = 4.0 + 0.1 * n + 4.0 * suspect
        depth = int(2 * radius / SLICE_MM) // 2 * 2 + 1
        name = f"PATIENT-{n:02d}_0"
        for kind, shape, spacing in (
            ("crops", (depth, 96, 96), (PIXEL_MM, PIXEL_MM, SLICE_MM)),
            ("cubes", (51, 51, 51), (1.0, 1.0, 1.0)),
        ):
            inside = np.clip(0.5 - ball(shape, spacing, radius), 0, 1)
            hu = -850 + 900 * inside + rng.normal(0, 15, shape)
            write(root / "lidc" / kind / f"{name}.nrrd", hu.round().astype(np.int16), spacing)
            if kind == "crops":
                bits = sum((ball(shape, spacing, radius + r) < 0).astype(np.uint8) << b for b, r in enumerate((0, 0.5)))
                write(root / "lidc" / "masks" / f"{name}.nrrd", bits.astype(np.uint8), spacing)
        rows.append(
            {
                "nodule_id": name,
                "patient_id": name[:-2],
                "luna16_fold": n // 2,
                "in_luna16_reference": True,
                "n_readers": 3,
                "mean_texture": 5.0,
                "annotation_ids": ";".join(map(str, ids[suspect][2 * n : 2 * n + 2])),
                "slices": depth,
                "slice_spacing_mm": SLICE_MM,
                "hu_exact": n > 0,
                "has_cube": True,
            }
        )
    pd.DataFrame(rows).to_csv(root / "lidc" / "nodules.csv", index=False)
    return root


def toy_stacks() -> Stacks:
    """20 reference nodules, then ten that one reader marked."""
    rng = np.random.default_rng(0)
    given = reader_grades()
    ids = {value: given.index[given.malignancy == value].tolist() for value in (1, 5)}
    j, i = np.indices((WIDE.pixels, WIDE.pixels)) - (WIDE.pixels - 1) / 2
    rows, pixels, readers, offsets, first = [], [], [], [], [0]
    for n in range(PEOPLE + 10):
        suspect, alone = n % 2 == 1, n >= PEOPLE
        radius = 3.0 + 0.1 * (n % PEOPLE) + 4.0 * suspect
        z = np.arange(-int(radius / 2), int(radius / 2) + 1) * 2.0
        distance = np.sqrt((i * WIDE.pixel_mm) ** 2 + (j * WIDE.pixel_mm) ** 2 + z[:, None, None] ** 2)
        pixels.append(np.where(distance < radius, 40, -850) + rng.normal(0, 15, distance.shape))
        marks = 1 if alone else 3
        outline = np.stack([(distance < radius + 0.3 * r) * 255.0 * (r < marks) for r in range(4)], 1)
        readers.append(outline)
        offsets.append(z)
        first.append(first[-1] + len(z))
        own = ids[5 if suspect else 1][3 * n : 3 * n + marks]
        grades = given.loc[own].mean().to_dict()
        present = given.calcification[own][given.calcification[own] < 6]
        rows.append(
            {
                "nodule_id": f"PATIENT-{n % PEOPLE:02d}_{n // PEOPLE}",
                "patient_id": f"PATIENT-{n % PEOPLE:02d}",
                "annotation_ids": ";".join(map(str, own)),
                "in_luna16_reference": not alone,
                "fold": n % PEOPLE // 4,
                "outlines": marks,
                **grades,
                "diameter": 2 * radius,
                "calcified": len(present) / len(own),
                **{f"pattern_{code}": float((present == code).mean()) if len(present) else 0.0 for code in range(1, 6)},
                "mean_internal_structure": 1.0 + (n == 3),
                "mean_texture": grades["texture"],
            }
        )
    return Stacks(
        pd.DataFrame(rows),
        np.concatenate(pixels).round().astype(np.int16),
        np.concatenate(readers).astype(np.uint8),
        np.concatenate(offsets).astype(np.float32),
        np.array(first),
    )


def small(settings: GraderSettings) -> GraderSettings:
    """Two epochs on coarse slices of a narrow network, whatever the settings' own."""
    config = replace(settings.config, transformer="vit_tiny_patch16_224", dim=32, depth=1, heads=2)
    return at_schedule(replace(settings, config=config), 2, 16, 4)
