"""What would leak or be made up if nodules were put into other patients' lungs wrongly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from NoduleRiskLib.imaging.outline import Outline, measure
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.volume import Array, Volume
from training.data.context_synthesis import ContextStacks
from training.data.crops import SAMPLE_PATIENT, Nodule, read_nodule
from training.data.places import CROPS, NODULE, places
from training.data.real_lungs import LungCT, free_in_lung, implant, marks
from training.data.surroundings import Surroundings, surroundings
from training.evaluation.repeatability import (
    CHANGES,
    MOVED,
    limits_of_agreement,
    measurements,
    repeatability,
)


@pytest.fixture
def nodule(data: Path) -> Nodule:
    return read_nodule(data, "PATIENT-04_0")


@pytest.fixture
def host() -> Volume:
    """A lung in which every voxel is another one."""
    k, j, i = np.indices((60, 90, 90))
    matrix = np.diag([1.2, 1.2, 2.0, 1.0])
    matrix[:3, 3] = (100, -50, 30)
    return Volume((-900 + i + j / 2 + 2 * k).astype(np.int16), matrix)


def test_an_implant_keeps_its_nodule_and_takes_the_lung_of_its_host(nodule: Nodule, host: Volume) -> None:
    place = host.to_ras(np.array([45.0, 45.0, 30.0]))
    made = implant(nodule, host, place, np.random.default_rng(0))
    added = (len(made.array) - len(nodule.volume.array)) // 2
    own = made.array[added : added + len(nodule.volume.array)]
    inside = nodule.readers[0].array > 0
    assert np.array_equal(own[inside], nodule.volume.array[inside])
    # Beyond the nodule's slices, and far from it in them, there is the host with its place and some noise.
    corner = np.array([0, 0, len(made.array) // 2])
    for ijk in (corner, np.array([40, 50, 1])):
        there = host.to_ijk(made.to_ras(ijk) + place)
        expected = -900 + there[0] + there[1] / 2 + 2 * there[2]
        assert float(made.array[tuple(ijk[::-1])]) == pytest.approx(expected, abs=60)
    assert np.allclose(made.to_ras(np.array([0, 0, added])), nodule.volume.to_ras(np.zeros(3)))


def test_a_nodule_at_the_chest_wall_is_not_taken_out_of_it(nodule: Nodule) -> None:
    assert free_in_lung(nodule)
    walled = nodule.volume.array.copy()
    walled[:, 40:] = 40
    assert not free_in_lung(replace(nodule, volume=replace(nodule.volume, array=walled)))


def test_marks_of_several_readers_are_one_place(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    rows = [("A", "nodule_lt_3mm", 0, 0, 0), ("A", "non_nodule", 2, 0, 0), ("A", "nodule_lt_3mm", 40, 0, 0)]
    rows += [("B", "non_nodule", 0, 0, 0)]
    table = pd.DataFrame(rows, columns=["file", "kind", "r_mm", "a_mm", "s_mm"])
    table.to_csv(tmp_path / "ct" / "non_nodule_marks.csv", index=False)
    found = marks(tmp_path, "A")
    assert found.kind.tolist() == ["non_nodule", "nodule_lt_3mm"]
    assert found.r.tolist() == [1, 40]


def test_no_fold_learns_from_its_own_patients_or_lungs() -> None:
    def of(patients: list[str], folds: list[int], **more: object) -> ContextStacks:
        count = len(patients)
        table = pd.DataFrame({"patient_id": patients, "fold": folds, **more})
        empty = np.zeros((count, 2, 2), np.int16)
        return ContextStacks(table, empty, empty, np.zeros(count), np.arange(count), np.arange(count) + 1, "k")

    cts = tuple(
        LungCT(name, fold, Volume(np.zeros((1, 1, 1)), np.eye(4)), pd.DataFrame())
        for name, fold in (("A", 0), ("B", 1))
    )
    plain = of(["A", "B", "C", SAMPLE_PATIENT], [0, 1, 2, 3])
    everything = Surroundings(
        (plain, plain), of(["A", "C", "C"], [0, 2, 2], host_fold=[1, 0, 1]), plain, plain, plain, cts
    )
    for fold in (0, 1, 2, -1):
        kept = everything.without(fold)
        for one in (*kept.synthetic, kept.implanted, kept.cubes, kept.whole, kept.lone):
            assert one is not None
            assert fold not in one.table.fold.tolist() and SAMPLE_PATIENT not in one.table.patient_id.tolist()
            assert fold not in one.table.get("host_fold", pd.Series(dtype=int)).tolist()
            assert len(one.table) == len(one.first) == len(one.last)
        assert fold not in [ct.fold for ct in kept.cts]
    own = everything.of_fold(1)
    assert own.cubes.table.patient_id.tolist() == ["B"] and own.implanted is None
    assert [ct.patient_id for ct in own.cts] == ["B"]


def ball(volume: Volume, centre: Array, radius_mm: float) -> Outline:
    stack = cut(volume, centre, Layout("test", slices=41))
    outline = measure(stack, np.clip(0.5 + radius_mm - np.linalg.norm(stack.pixels_ras() - centre, axis=-1), 0, 1))
    assert outline is not None
    return outline


def test_places_are_kept_as_they_were_outlined(data: Path, tmp_path: Path) -> None:
    nodules = surroundings(data, tmp_path / "cache").of_fold(0)
    asked = []

    def finder(volume: Volume, points: list[Array]) -> list[Outline]:
        asked.append(points[0])
        return [ball(volume, points[0], 5.0)]

    kept = places(nodules, data, finder, {"by": "test"}, tmp_path / "places", 0)  # type: ignore[arg-type]
    again = places(nodules, data, lambda volume, points: [], {"by": "test"}, tmp_path / "places", 0)
    assert np.array_equal(kept.hu, again.hu) and len(kept.table) == len(asked) == len(again.table)
    assert set(kept.table.patient_id) == set(nodules.cubes.table.patient_id)
    assert {CROPS, "cubes"} <= set(kept.table.source)
    on = (kept.table.kind == NODULE).to_numpy()
    assert (kept.table.target[on] == 1).all() and (kept.table.target[~on] == 0).all()
    # The outline lies in the middle; a nodule is denser there than lung.
    middle = kept.outline[:, 19:21, 19:21, 19:21].mean((1, 2, 3))
    assert (middle > 250).all() and (kept.outline[:, 0] == 0).all()
    assert kept.hu[on, 18:22, 18:22, 18:22].mean() > -300


def test_what_is_measured_again_is_compared_with_the_first(host: Volume) -> None:
    centre = host.to_ras(np.array([45.0, 45.0, 30.0]))
    sizes = iter([5.0, 6.0, 5.0, 5.0, 5.0])
    rows = measurements(
        host,
        np.stack([centre, centre + 1]),
        lambda volume, points: [ball(volume, centre, next(sizes)) for _ in points],
        np.random.default_rng(0),
    )
    assert [row["change"] for row in rows] == [MOVED, *CHANGES]
    assert rows[0]["diameter"] == pytest.approx(1.2, abs=0.02) and rows[0]["volume"] == pytest.approx(1.2**3, rel=0.1)
    assert rows[1]["diameter"] == pytest.approx(1.0, abs=0.02) and rows[0]["size"] == pytest.approx(11, abs=0.3)


def test_limits_of_agreement_are_those_of_the_differences() -> None:
    rng = np.random.default_rng(0)
    ratio = np.exp(rng.normal(0.05, 0.1, 4000))
    table = pd.DataFrame({"change": "noise", "size": 8.0, "diameter": ratio, "volume": ratio**3})
    row = limits_of_agreement(table).loc["noise"]
    assert row["diameter bias, %"] == pytest.approx(5.1, abs=0.4)
    assert row["diameter from, %"] == pytest.approx(100 * (np.exp(0.05 - 0.196) - 1), abs=0.6)
    assert row["volume to, %"] == pytest.approx(100 * (np.exp(0.15 + 0.588) - 1), rel=0.03)
    many = pd.concat([table.assign(size=size) for size in (4.0, 8.0, 12.0, 20.0)])
    limits = repeatability(many)
    assert [up_to for up_to, *_ in limits][:3] == [6.0, 10.0, 15.0]
    within = (np.abs(np.log(ratio)) <= np.log(1 + limits[0][1] / 100)).mean()
    assert within == pytest.approx(0.95, abs=0.001)
