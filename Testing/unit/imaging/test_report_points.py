"""What a radiologist would lose if another tool's nodules came in at another place, under another name or scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_objects import PATIENT, SERIES_UID, as_bytes, made_ct, measured, place_2d, place_3d, report, tracking

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.inputs import as_points
from NoduleRiskLib.imaging.volume import LPS_TO_RAS, Array, Volume

AXIAL = np.diag([-0.7, -0.7, 2.0])
#: Voxel (i, j, k) of a nodule.
PLACE = np.array([14.0, 12.0, 5.0])


def written(folder: Path, dataset: object) -> Path:
    file = folder / "report.dcm"
    file.write_bytes(as_bytes(dataset))
    return file


def refusal(path: Path, volume: Volume | None) -> str:
    with pytest.raises(NoduleRiskError) as refused:
        as_points(path, volume)
    sentence = str(refused.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def in_lps(volume: Volume, ijk: Array = PLACE) -> Array:
    return np.asarray(volume.to_ras(ijk) * np.diag(LPS_TO_RAS)[:3])


def test_every_graphic_type_is_taken_at_its_middle(tmp_path: Path) -> None:
    volume = made_ct(AXIAL)
    middle = in_lps(volume)
    x, y, z = np.diag([3.0, 2.0, 1.0])
    graphics = {
        "POINT": [middle],
        "POLYLINE": [middle - x, middle + x],
        "POLYGON": [middle - x - y, middle + x - y, middle + x + y, middle - x + y, middle - x - y],
        "ELLIPSE": [middle - x, middle + x, middle - y, middle + y],
        "ELLIPSOID": [middle - x, middle + x, middle - y, middle + y, middle - z, middle + z],
    }
    groups = [[tracking(kind.title()), place_3d(kind, np.ravel(data))] for kind, data in graphics.items()]
    found = as_points(written(tmp_path, report(*groups)), volume)
    assert [one.label for one in found] == [kind.title() for kind in graphics]
    for one in found:
        assert np.allclose(one.ras, volume.to_ras(PLACE), atol=1e-3)


def test_a_place_on_an_image_is_that_voxel_in_every_orientation(tmp_path: Path, frame: Array) -> None:
    volume = made_ct(frame)
    # The centre of column 14 and row 12 lies 14.5 and 12.5 pixels from the corner.
    item = place_2d("POINT", [14.5, 12.5], f"{SERIES_UID}.6")
    line = place_2d("POLYLINE", [10.5, 12.5, 18.5, 12.5], f"{SERIES_UID}.6")
    found = as_points(written(tmp_path, report([tracking("a"), item], [measured(line)])), volume)
    assert [one.label for one in found] == ["a", "2"]
    for one in found:
        assert np.allclose(one.ras, volume.to_ras(PLACE), atol=1e-6)


def test_the_parts_of_a_group_are_one_nodule(tmp_path: Path) -> None:
    volume = made_ct(AXIAL)
    x = np.array([2.0, 0, 0])
    group = [tracking("a"), *(measured(place_3d("POINT", in_lps(volume) + one)) for one in (x, -x))]
    (found,) = as_points(written(tmp_path, report(group)), volume)
    assert np.allclose(found.ras, volume.to_ras(PLACE), atol=1e-3)


def test_what_was_measured_on_another_scan_is_left_out_or_refused(tmp_path: Path) -> None:
    volume = made_ct(AXIAL)
    here = [tracking("here"), place_3d("POINT", in_lps(volume))]
    before = [tracking("before"), place_3d("POINT", in_lps(volume), "1.2.3.4")]
    elsewhere = [tracking("elsewhere"), place_2d("POINT", [1, 2], "1.2.3.4.5")]
    found = as_points(written(tmp_path, report(before, here, elsewhere)), volume)
    assert [one.label for one in found] == ["here"]
    assert "another scan" in refusal(written(tmp_path, report(before, elsewhere)), volume)


def test_reports_that_mark_nothing_here_are_told_why(tmp_path: Path) -> None:
    volume = made_ct(AXIAL)
    good = report([place_3d("POINT", in_lps(volume))])
    sentence = refusal(written(tmp_path, good), made_ct(AXIAL, patient="P-18"))
    assert "another patient" in sentence and PATIENT not in sentence
    assert "give it, too" in refusal(written(tmp_path, good), None)
    assert "no place in 3-D" in refusal(written(tmp_path, report([tracking("a")])), volume)
    for item in (place_3d("POINT", [1, 2]), place_3d("CUBE", [1, 2, 3]), place_3d("POINT", [np.nan, 2, 3])):
        assert "cannot be read as a structured report" in refusal(written(tmp_path, report([item])), volume)
    other = report()
    other.Modality = "CT"
    assert "modality CT" in refusal(written(tmp_path, other), volume)


def test_a_report_that_is_cut_short_is_refused_and_never_read_in_part(tmp_path: Path) -> None:
    volume = made_ct(AXIAL)
    places = [place_3d("POINT", in_lps(volume, PLACE + np.array([n, 0, 0])).tolist()) for n in range(3)]
    whole = report(*([tracking(f"n{n}"), measured(one)] for n, one in enumerate(places)))
    for undefined in (False, True):
        whole["ContentSequence"].is_undefined_length = undefined
        content = as_bytes(whole)
        path = tmp_path / "cut.dcm"
        for size in range(400, len(content) - 8, 31):
            path.write_bytes(content[:size])
            told = refusal(path, volume)
            assert "marks no place" not in told and "another scan" not in told
        path.write_bytes(content)
        assert len(as_points(path, volume)) == 3


def test_a_report_that_highdicom_made_is_read(tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom", reason="pip install highdicom to make a TID 1500 report")
    from made_objects import FRAME_UID, source_images
    from pydicom.sr.codedict import codes

    sr, volume = highdicom.sr, made_ct(AXIAL)
    region = sr.ImageRegion3D("POINT", in_lps(volume)[None], FRAME_UID)
    group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(identifier="Nodule 3"),
        referenced_region=region,
        finding_type=codes.SCT.Nodule,
    )
    person = sr.ObserverContext(codes.DCM.Person, sr.PersonObserverIdentifyingAttributes("Doe^John"))
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(person),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[group],
    )
    made = sr.Comprehensive3DSR(
        source_images(volume), content, "1.2.3.5", 1, "1.2.3.6", 1, "test", is_complete=True, is_final=True
    )
    (found,) = as_points(written(tmp_path, made), volume)
    assert found.label == "Nodule 3" and np.allclose(found.ras, volume.to_ras(PLACE), atol=1e-3)
