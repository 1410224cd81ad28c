"""What a user would lose if voxels were not where ``Volume`` says, or if something else passed for a CT."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.volume import Array, Volume, checked_ct, hounsfield

SHEARED = np.array([[0.0, -0.8, 0.3, 12.0], [0.7, 0.0, 0.0, -40.0], [0.0, 0.1, 2.5, 7.0], [0.0, 0.0, 0.0, 1.0]])


def scan(shape: tuple[int, ...] = (8, 7, 6)) -> Array:
    """Noise that runs from air to bone."""
    return np.random.default_rng(0).integers(-1000, 900, shape).astype(np.int16)


def test_a_point_on_a_sheared_scan_falls_on_its_voxel() -> None:
    volume = Volume(scan(), SHEARED)
    ijk = np.array([[0.0, 0.0, 0.0], [5.0, 6.0, 7.0], [1.5, 2.25, 3.0]])
    assert np.allclose(volume.to_ras(ijk[0]), (12, -40, 7))
    assert np.allclose(volume.to_ras(ijk[1]), SHEARED[:3] @ (5, 6, 7, 1))
    assert np.allclose(volume.to_ijk(volume.to_ras(ijk)), ijk)
    assert np.allclose(volume.spacing_mm, (0.7, np.hypot(0.8, 0.1), np.hypot(0.3, 2.5)))


def test_a_point_half_a_voxel_beyond_the_last_centre_is_still_inside() -> None:
    volume = Volume(scan(), SHEARED)
    assert volume.contains(volume.to_ras(np.array([[-0.5, 0, 0], [5.5, 6.5, 7.5]]))).all()
    assert not volume.contains(volume.to_ras(np.array([[-0.51, 0, 0], [0, 6.51, 0], [0, 0, 7.51]]))).any()


def test_a_result_goes_stale_when_voxels_or_place_change() -> None:
    volume, changed = Volume(scan(), SHEARED), scan()
    changed[3, 3, 3] += 1
    assert volume.digest == Volume(scan(), SHEARED, name="another file").digest
    assert volume.digest != Volume(changed, SHEARED).digest
    assert volume.digest != Volume(scan(), np.eye(4)).digest


def test_fractions_and_huge_values_become_the_nearest_hu() -> None:
    values = np.array([-1000.4, -1000.6, 3.5, 1e9, -1e9])
    assert hounsfield(values).tolist() == [-1000, -1001, 4, 32767, -32768]
    assert hounsfield(values).dtype == np.int16
    assert hounsfield(np.array([65535, 5], np.uint16)).tolist() == [32767, 5]


def test_a_ct_passes_unchanged() -> None:
    volume = Volume(scan(), SHEARED, "scan", {"path": "x"}, ("Told before.",))
    ct = checked_ct(volume)
    assert ct.digest == volume.digest
    assert (ct.name, ct.identity, ct.warnings) == ("scan", {"path": "x"}, ("Told before.",))


@pytest.mark.parametrize(
    ("distance_mm", "thickness_mm", "words"),
    [
        (3.0, 0.0, None),
        (3.0, 3.0, None),
        (5.0, 0.0, "5.0 mm apart)"),
        (2.5, 5.0, "2.5 mm apart, each of 5.0 mm)"),
        (5.0, 1.0, "5.0 mm apart"),
    ],
)
def test_the_reader_hears_of_thick_slices(distance_mm: float, thickness_mm: float, words: str | None) -> None:
    warnings = checked_ct(Volume(scan(), np.diag((0.7, 0.7, distance_mm, 1))), thickness_mm).warnings
    assert len(warnings) == (words is not None)
    assert words is None or words in warnings[0]


def test_a_tilted_gantrys_slices_count_by_the_distance_between_their_planes() -> None:
    tilted = np.diag((0.7, 0.7, 3.0, 1))
    tilted[1, 2] = 1.5
    assert checked_ct(Volume(scan(), tilted)).warnings == ()


def _with(value: float) -> Array:
    array = scan().astype(np.float32)
    array[2, 2, 2] = value
    return array


FLAT = np.diag((0.7, 0.7, 0.0, 1.0))
SKEWED = np.array([[0.7, 0.7, 0, 0], [0, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(
    ("array", "ijk_to_ras", "words"),
    [
        (scan((4, 7, 6)), SHEARED, ("4 x 7 x 6 voxels", "5 or more")),
        (scan((7, 6)), SHEARED, ("7 x 6 voxels", "three axes")),
        (scan((2, 8, 7, 6)), SHEARED, ("2 x 8 x 7 x 6 voxels", "three axes")),
        (scan(), FLAT, ("axes that do not span space",)),
        (scan(), SKEWED, ("axes that do not span space",)),
        (scan(), np.full((4, 4), np.nan), ("axes that do not span space",)),
        (scan(), np.diag((0.0007, 0.0007, 0.0025, 1)), ("0.0007 x 0.0007 x 0.0025 mm",)),
        (scan(), np.diag((700.0, 700.0, 2500.0, 1)), ("700 x 700 x 2500 mm", "spacing in mm")),
        (_with(np.nan), SHEARED, ("NaN or infinite",)),
        (_with(np.inf), SHEARED, ("NaN or infinite",)),
        (scan() + 1j, SHEARED, ("no numbers",)),
        (np.zeros((8, 7, 6), np.int16), SHEARED, ("from 0 to 0", "not the HU of a chest")),
        (np.full((8, 7, 6), -1024, np.int16), SHEARED, ("from -1024 to -1024",)),
        (np.clip(scan(), 0, 255).astype(np.uint8), SHEARED, ("from 0 to 255", "rescale slope")),
        (scan() + 1024, SHEARED, ("not the HU of a chest",)),
        (scan() / 1000, SHEARED, ("has values from -", "not the HU of a chest")),
    ],
)
def test_what_is_no_ct_is_refused_before_anybody_believes_a_grade(
    array: Array, ijk_to_ras: Array, words: tuple[str, ...]
) -> None:
    with pytest.raises(NoduleRiskError) as refused:
        checked_ct(Volume(array, ijk_to_ras, "scan"))
    assert str(refused.value).startswith("scan has") or str(refused.value).startswith("scan holds")
    assert all(word in str(refused.value) for word in words)
    assert str(refused.value).endswith(".")


def test_slicer_starts_without_waiting_for_torch_or_image_libraries() -> None:
    program = (
        "import sys, NoduleRiskLib.imaging.volume, NoduleRiskLib.imaging.reading, NoduleRiskLib.imaging.points\n"
        "print({'torch', 'SimpleITK', 'pydicom', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
