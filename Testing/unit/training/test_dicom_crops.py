"""What a training on all of LIDC-IDRI would lose if a nodule were cut where it is not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_reading import ORIGIN, PIXEL_MM, STEP_MM, write_series

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.reading import read
from NoduleRiskLib.imaging.volume import Array
from training.data import crops, dicom_crops, lidc

SHAPE = (12, 110, 120)
#: The slices that hold the nodule, and its first and last rows and columns.
SLICES, ROWS, COLUMNS = (4, 5, 6), (50, 58), (90, 99)


def hu() -> Array:
    """Lung with a box of soft tissue, and noise that makes each place its own."""
    array = np.random.default_rng(0).integers(-900, -800, SHAPE).astype(np.int16)
    array[SLICES[0] : SLICES[-1] + 1, ROWS[0] : ROWS[1] + 1, COLUMNS[0] : COLUMNS[1] + 1] += 850
    return array


def drawing(annotation: int, slices: tuple[int, ...] = SLICES, off_mm: float = 0.0, wider: int = 0) -> pd.DataFrame:
    """The box as a reader outlines it: from pixel to pixel around it, through the first ones outside."""
    low, high = np.array([COLUMNS[0], ROWS[0]]) - 1 - wider, np.array([COLUMNS[1], ROWS[1]]) + 1 + wider
    x, y = (np.arange(a, b) for a, b in zip(low, high, strict=True))
    sides = [np.c_[x, 0 * x + low[1]], np.c_[0 * y + high[0], y]]
    sides += [np.c_[x[::-1] + 1, 0 * x + high[1]], np.c_[0 * y + low[0], y[::-1] + 1]]
    box = np.concatenate(sides)
    heights = [ORIGIN[2] + STEP_MM * k + off_mm for k in slices]
    rows = {"scan_id": 1, "annotation_id": annotation, "included": 1, "z_mm": heights, "k": slices}
    return pd.DataFrame(rows).assign(polygon=[box] * len(slices))


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return write_series(tmp_path / "scan", hu())


def test_a_nodule_is_cut_at_its_own_slices_around_what_most_readers_marked(scan: Path) -> None:
    volume = read(scan)
    crop, mask, centre_ras = dicom_crops.cut_nodule(volume, [drawing(1), drawing(2, (3, *SLICES), wider=2)], "n")
    assert crop.array.shape == mask.array.shape == (4, 96, 96)
    # As far to the right as the scan goes: the middle column would be 94 - 48.
    rows, columns = slice(54 - 48, 54 + 48), slice(120 - 96, 120)
    assert np.array_equal(crop.array, volume.array[3:7, rows, columns])
    assert [int((mask.array >> r & 1).sum()) for r in range(3)] == [3 * 9 * 10, 4 * 13 * 14, 0]
    marked = np.argwhere(mask.array & 1)
    assert np.allclose(crop.to_ras(marked[:, ::-1].mean(0))[:2], 0, atol=1e-6)
    assert np.allclose(centre_ras, volume.to_ras([94.5, 54, 4.5]))
    assert np.allclose(crop.spacing_mm, volume.spacing_mm)


def test_a_cube_shows_the_same_voxels_around_the_same_centre(scan: Path) -> None:
    volume = read(scan)
    *_, centre_ras = dicom_crops.cut_nodule(volume, [drawing(1)], "n")
    cube = dicom_crops.cube(volume, centre_ras)
    assert cube.array.shape == (51, 51, 51) and np.allclose(cube.to_ras([25, 25, 25]), 0)
    assert cube.array[25, 25, 25] > -100 and cube.array[25, 25, 15] < -600
    assert cube.array.min() >= -1200 and cube.array.max() <= 400
    # The nodule's own extent, along each axis of the patient.
    for axis, length in enumerate((10 * PIXEL_MM[0], 9 * PIXEL_MM[1], 3 * STEP_MM)):
        line = np.moveaxis(cube.array, 2 - axis, 0)[:, 25, 25]
        assert (line > -425).sum() == pytest.approx(length, abs=1.1)


def test_an_outline_between_slices_or_beyond_them_is_named(scan: Path) -> None:
    volume = read(scan)
    with pytest.raises(NoduleRiskError, match=r"far is outlined at z = -291\.00 mm, where scan has no slice"):
        dicom_crops.cut_nodule(volume, [drawing(1, (4,), off_mm=1.0)], "far")
    with pytest.raises(NoduleRiskError, match="has no slice"):
        dicom_crops.cut_nodule(volume, [drawing(1, (11, 12))], "far")
    point = drawing(1, (4,)).assign(polygon=[np.array([[5, 5]])])
    with pytest.raises(NoduleRiskError, match="No outline of small holds a voxel"):
        dicom_crops.cut_nodule(volume, [point], "small")


def test_a_folder_of_scans_becomes_a_data_set_and_what_is_unfit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dicom, data = tmp_path / "dicom", tmp_path / "data"
    dicom.mkdir()
    write_series(dicom / "a", hu())
    gap = [ORIGIN + np.array([0, 0, STEP_MM * (k + 4 * (k > 5))]) for k in range(len(hu()))]
    write_series(dicom / "b", hu(), places=np.array(gap), SeriesInstanceUID="9.9")
    (dicom / "notes.txt").write_text("not DICOM")
    one = {"luna16": True, "internal_structure": 1, "calcified": 0.0}
    rows = [
        {**one, **dict.fromkeys([*lidc.READER_GRADES, *lidc.SIZES], 3.0), "nodule": nodule, "series_uid": uid,
         "patient_id": patient}
        for nodule, uid, patient in (
            *[(0, "1.2.3", "LIDC-IDRI-0001")] * 3, (1, "1.2.3", "LIDC-IDRI-0001"), (2, "9.9", "LIDC-IDRI-0085")
        )
    ]  # fmt: skip
    readings = pd.DataFrame(rows, index=pd.Index([84, 85, 86, 87, 90], name="annotation_id"))
    drawn = pd.concat([drawing(n) for n in (84, 85, 86)] + [drawing(87, (4,), 1.0), drawing(90)], ignore_index=True)
    monkeypatch.setattr(lidc, "outlines", lambda: drawn)
    kept, left_out = dicom_crops.build(dicom, data, readings, jobs=1)
    assert kept.nodule_id.tolist() == ["LIDC-IDRI-0001_0"] and kept.luna16_fold.tolist() == [1]
    reasons = left_out.set_index("nodule_id").reason
    assert "no slice" in reasons["LIDC-IDRI-0001_1"] and "Slices are missing" in reasons["LIDC-IDRI-0085_0"]
    again = crops.nodule_table(data).iloc[0]
    assert again.annotation_ids == "84;85;86" and again.in_luna16_reference and again.mean_margin == 3
    nodule = crops.read_nodule(data, "LIDC-IDRI-0001_0")
    assert len(nodule.readers) == 3 and nodule.volume.array.shape == (3, 96, 96)
    assert crops.read_nodule(data, "LIDC-IDRI-0001_0", cube=True).volume.array.shape == (51, 51, 51)
    # What is done is not done again: a second run needs no scan any more.
    monkeypatch.setattr(dicom_crops, "_one_scan", None)
    second, _ = dicom_crops.build(dicom, data, readings, jobs=1)
    assert second.equals(kept)


def test_a_folder_without_lidc_is_refused(scan: Path, tmp_path: Path) -> None:
    with pytest.raises(NoduleRiskError, match="holds no scan of LIDC-IDRI"):
        dicom_crops.build(scan, tmp_path, pd.DataFrame({"series_uid": ["7.7"]}))


def test_the_sample_scan_gives_the_data_sets_own_crop_and_mask() -> None:
    if "NODULERISK_DATA" not in os.environ:
        pytest.skip("NODULERISK_DATA is not set: the data set's crop is not compared")
    data = Path(os.environ["NODULERISK_DATA"])
    drawings = lidc.outlines()
    readers = [drawings[drawings.annotation_id == n] for n in (84, 85, 86, 87)]
    crop, mask, centre_ras = dicom_crops.cut_nodule(read(data / "ct" / "LIDC-IDRI-0001"), readers, "LIDC-IDRI-0001_0")
    theirs = crops._read(data / "lidc" / "crops" / "LIDC-IDRI-0001_0.nrrd")
    assert np.allclose(crop.ijk_to_ras, theirs.ijk_to_ras, atol=1e-6)
    # The two copies of this scan differ by up to 4 HU everywhere.
    assert np.abs(crop.array - theirs.array).max() <= 4
    assert np.array_equal(mask.array, crops._read(data / "lidc" / "masks" / "LIDC-IDRI-0001_0.nrrd").array)
    assert np.allclose(centre_ras, (-56.19, -86.21, -115.0), atol=1.5)
    folds = crops.nodule_table(data).groupby("patient_id").luna16_fold.first()
    assert folds[folds >= 0].to_dict() == dicom_crops.official_folds()
