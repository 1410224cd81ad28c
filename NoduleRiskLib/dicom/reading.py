"""Our own structured report with its segmentation, back into the assessments that it was written from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputWarning, NoduleRiskError
from ..grades import CALCIFICATION_PATTERNS, GRADES
from ..imaging.dicom_objects import modality, read_object, refuse_other_frame, refuse_other_patient
from ..imaging.dicom_outlines import read as read_outlines
from ..imaging.interpolated import graded_layout
from ..imaging.outline import Outline, users_outline
from ..imaging.points import Point
from ..imaging.report_points import GROUP, TRACKING_IDENTIFIER, TRACKING_UID
from ..imaging.resampling import cut
from ..imaging.segment import Segment
from ..imaging.shown import shown
from ..imaging.slice_stack import Layout
from ..imaging.solid_part import SolidPart, solid_part
from ..imaging.volume import Volume, lps_ras, middle_image
from ..networks import model_package
from ..results.assessment import Assessment
from ..results.nodule import Calcification, Estimate, Nodule
from . import codes
from .identity import NAME
from .structured_report import EDITED

#: Concepts of DICOM's own that highdicom writes for us (PS3.16 TID 4019, TID 311 and TID 1420).
PARAMETERS, UPPER, LOWER, RANK = "111002", "371886008", "371885007", codes.PERCENTILE.value
#: The words with which the model package stands among the algorithm's parameters.
PACKAGE = "model package "
#: What stands before a doubt whose own sentence the report does not name.
DOUBTFUL = "The report says that it is doubtful: "


def read_assessments(path: Path | str, volume: Volume, layout: Layout | None = None) -> list[Assessment]:
    """The assessments of a CT that ``write_dicom`` wrote.

    Parameters
    ----------
    path : path
        The folder with report and segmentation, which holds one report of this CT; or the report, beside which its
        segmentation lies.
    volume : Volume
        The CT.
    layout : Layout, optional
        How the nodules' slices are cut for pictures; by default as the package that ships has them.

    Returns
    -------
    list of Assessment
        Equal to those written as far as the report tells: names, places, sizes, grades with intervals, calcification,
        suspicion, sentences. Outlines are the segmentation's; heatmaps and the suspicion's account are not in it.

    Raises
    ------
    NoduleRiskError
        If there is no such report, it is another CT's or tool's, or its segmentation is not there.
    """
    path = Path(path)
    if not path.exists():
        raise NoduleRiskError(f"{path} does not exist: check its name.")
    files = sorted(path.iterdir()) if path.is_dir() else sorted(path.parent.iterdir())
    kinds = {file: modality(file) for file in files if file.is_file()}
    report = _report(path, [file for file, kind in kinds.items() if kind == "SR"])
    dataset = read_object(report)
    name = str(report)
    refuse_other_patient(name, dataset, volume)
    layout = layout or model_package.load(model_package.SHIPPED).config.layout
    try:
        groups = [one for one in _below(dataset) if _concept(one) == GROUP]
        if not groups or not all(_find(one, codes.SUSPICION.value) for one in groups):
            raise NoduleRiskError(
                f"{name} was not written by {NAME}: grade its places with --points, its outlines with --segmentation."
            )
        refuse_other_frame(name, _one(groups[0], codes.PLACE.value).get("ReferencedFrameOfReferenceUID"), volume)
        wanted = {_segmentation_uid(one) for one in groups}
        outlines = _outlines([file for file, kind in kinds.items() if kind == "SEG"], wanted, volume)
        return [_assessment(name, one, volume, outlines, layout) for one in groups]
    except NoduleRiskError:
        raise
    # What is damaged, or follows no standard, raises whatever its values happen to mean.
    except Exception as error:
        raise NoduleRiskError(
            f"{name} cannot be read as a report of {NAME} ({shown(error)}): write it again."
        ) from error


def _report(path: Path, reports: Sequence[Path]) -> Path:
    if not path.is_dir():
        return path
    if len(reports) != 1:
        raise NoduleRiskError(
            f"{path} holds {len(reports) or 'no'} structured reports: give the one that is meant by its file's name."
        )
    return reports[0]


def _outlines(files: Sequence[Path], wanted: set[str], volume: Volume) -> dict[str, Segment]:
    """The segments of the segmentations that a report refers to, by tracking UID."""
    found: dict[str, Segment] = {}
    for file in files:
        if str(read_object(file).get("SOPInstanceUID")) in wanted:
            found |= {one.tracking_uid: one for one in read_outlines(file, volume, ())}
    return found


def _assessment(name: str, group: Any, volume: Volume, outlines: dict[str, Segment], layout: Layout) -> Assessment:
    label, uid = str(_one(group, TRACKING_IDENTIFIER).TextValue), str(_one(group, TRACKING_UID).UID)
    if uid not in outlines:
        raise NoduleRiskError(
            f"{name} refers to a segmentation of {shown(label)} that is not beside it: put both into one folder."
        )
    outline = _outline(name, group, outlines[uid], volume)
    x, y, z = map(float, _one(group, codes.PLACE.value).GraphicData)
    r, a, s = (lps_ras((x, y, z)) + 0.0).tolist()
    nodule = Nodule(
        outline=outline,
        estimates=tuple(_estimates(group)),
        calcification=_calcification(group),
        suspicion_probability=_number(_one(group, codes.SUSPICION.value)),
        stack=cut(volume, outline.centre_ras, graded_layout(layout, volume), outline.bounds_ras, outline.probability),
        solid_part=_solid_part(group, volume, outline),
    )
    parameters = [str(one.TextValue) for one in _find(group, PARAMETERS)]
    package = next((text.removeprefix(PACKAGE) for text in parameters if text.startswith(PACKAGE)), "")
    point = Point(label, (r, a, s), uid)
    return Assessment(point, tuple(_warnings(group)), package, nodule, middle_image(volume, outline.centre_ras), uid)


def _outline(name: str, group: Any, segment: Segment, volume: Volume) -> Outline:
    """The segment as the nodule's outline, with the sizes that the report gives it."""
    found = users_outline(volume, segment.mask)
    if found is None:
        raise NoduleRiskError(
            f"The outline of {shown(segment.label)} in {name} lies between the CT's slices: assess it again."
        )
    drawn = _one(group, codes.DRAWN_BY.value).ConceptCodeSequence[0].CodeValue
    return replace(
        found,
        long_axis_mm=_number(_one(group, codes.LONG_AXIS.value)),
        short_axis_mm=_number(_one(group, codes.SHORT_AXIS.value)),
        diameter_mm=_number(_one(group, codes.DIAMETER.value)),
        volume_mm3=_number(_one(group, codes.VOLUME.value)),
        drawn_by="user" if drawn == codes.DRAWN["user"].value else "network",
    )


def _estimates(group: Any) -> Iterator[Estimate]:
    for grade in GRADES:
        concept = codes.CONCEPTS.get(grade.name, codes.DIAMETER)
        item = _one(group, concept.value, "NUM")
        value = _number(item)
        low, high, rank = (_number(_one(item, one)) for one in (LOWER, UPPER, RANK))
        yield Estimate(grade, value, value - low, value + high, rank)


def _calcification(group: Any) -> Calcification:
    told = _one(group, codes.PATTERN.value, "CODE").ConceptCodeSequence[0]
    patterns = [one.value for one in codes.VALUES["calcification"]]
    return Calcification(
        _number(_one(group, codes.CALCIFIED.value)),
        CALCIFICATION_PATTERNS[patterns.index(str(told.CodeValue))],
        _number(_one(group, codes.PATTERN.value, "NUM")),
    )


def _solid_part(group: Any, volume: Volume, outline: Outline) -> SolidPart | None:
    diameter, size = (_find(group, one.value) for one in (codes.SOLID_DIAMETER, codes.SOLID_VOLUME))
    if not diameter or not size:
        return None
    diameter_mm = _number(diameter[0])
    # Its axes are not in the report.
    found = solid_part(volume, outline) or SolidPart(diameter_mm, diameter_mm, diameter_mm, 0.0)
    return replace(found, diameter_mm=diameter_mm, volume_mm3=_number(size[0]))


def _warnings(group: Any) -> Iterator[InputWarning]:
    for item in _find(group, codes.COMMENT.value):
        # Those are made anew, of the outline and of the doubts.
        if str(item.TextValue) != EDITED and not str(item.TextValue).startswith(DOUBTFUL):
            yield InputWarning(str(item.TextValue), "nodule")
    for item in _find(group, codes.DOUBT.value):
        # Which of the sentences it belongs to, the report does not say.
        yield InputWarning(f"{DOUBTFUL}{item.TextValue}", "nodule", str(item.TextValue))


def _segmentation_uid(group: Any) -> str:
    (found,) = [one for one in group.ContentSequence if one.ValueType == "IMAGE" and _concept(one) == "121191"]
    return str(found.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)


def _below(item: Any) -> Iterator[Any]:
    """All content items below one, from the top down."""
    for one in item.get("ContentSequence") or ():
        yield one
        yield from _below(one)


def _concept(item: Any) -> str:
    return next((str(one.get("CodeValue")) for one in item.get("ConceptNameCodeSequence") or ()), "")


def _find(item: Any, concept: str, kind: str = "") -> list[Any]:
    return [one for one in item.ContentSequence if _concept(one) == concept and kind in ("", one.ValueType)]


def _one(item: Any, concept: str, kind: str = "") -> Any:
    found = _find(item, concept, kind)
    if not found:
        raise ValueError(f"{concept} is missing")
    return found[0]


def _number(item: Any) -> float:
    """A measurement's value, in full where its text has no room for it."""
    value = item.MeasuredValueSequence[0]
    return float(value.get("FloatingPointValue") or value.NumericValue)
