"""Assessments as a Comprehensive 3D structured report: TID 1500, one TID 1411 group a nodule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..guidelines.management import Grown, Management
from ..imaging.lung_place import lung_place
from ..imaging.volume import lps_ras
from ..results.assessment import Assessment
from ..results.nodule import Estimate, Nodule
from . import codes
from .codes import Code
from .identity import NAME, Tracking, coded, fingerprint, made_by, parameters, schemes, short
from .library import highdicom
from .outlines import Segment
from .source import Source, uid_of

#: What the percentile ranks among.
REFERENCE = "LIDC's reference nodules"
#: Said of every outline of the user's.
EDITED = "The user drew or edited the outline: sizes and grades are those of the user's outline."


@dataclass(frozen=True, eq=False)
class Reported:
    """One nodule of the report.

    Attributes
    ----------
    assessment : Assessment
        With a nodule.
    tracked : Tracking
    segment : Segment
    management : Management or None
        What the guidelines answer.
    growth : Grown or None
        What became of it since an earlier CT.
    """

    assessment: Assessment
    tracked: Tracking
    segment: Segment
    management: Management | None = None
    growth: Grown | None = None

    @property
    def nodule(self) -> Nodule:
        assert self.assessment.nodule is not None
        return self.assessment.nodule


def structured_report(
    source: Source, reported: Sequence[Reported], model: Mapping[str, Any] | None = None, observer: str = ""
) -> Any:
    """The report of one CT.

    Parameters
    ----------
    source : Source
    reported : sequence of Reported
    model : mapping, optional
        ``digest`` of the model package, if it is at hand.
    observer : str
        Who marked and outlined the nodules, as DICOM writes names; "" if nobody says.
    """
    hd = highdicom()
    package = reported[0].assessment.model_id
    content = (
        observer,
        *(text for one in reported for text in (fingerprint(one.assessment), one.tracked.uid, *_texts(one))),
        *(str(one.segment.segmentation.SOPInstanceUID) for one in reported),
    )
    written = {one.segment.segmentation.SOPInstanceUID: one.segment.segmentation for one in reported}
    slices = sorted({source.slice_of(one.nodule.outline.centre_ras) for one in reported})
    tree = hd.sr.MeasurementReport(
        observation_context=_context(package, model, observer),
        procedure_reported=coded(codes.PROCEDURE),
        imaging_measurements=[_group(source, one, model) for one in reported],
        title=hd.sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    about = made_by(source, "SR", content, 1, package)
    return hd.sr.Comprehensive3DSR(
        evidence=[*source.images(slices), *written.values()],
        content=tree,
        is_complete=True,
        coding_schemes=schemes(),
        **about,
    )


def _context(package: str, model: Mapping[str, Any] | None, observer: str) -> Any:
    sr = highdicom().sr
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=uid_of("device", NAME, __version__, package),
        name=NAME,
        manufacturer_name=NAME,
        model_name=NAME,
        serial_number=short(str(model["digest"]) if model else package, 64),
    )
    context = sr.ObserverContext(sr.CodedConcept("121007", "DCM", "Device"), device)
    if not observer:
        return sr.ObservationContext(observer_device_context=context)
    person = sr.PersonObserverIdentifyingAttributes(name=observer)
    return sr.ObservationContext(
        observer_person_context=sr.ObserverContext(sr.CodedConcept("121006", "DCM", "Person"), person),
        observer_device_context=context,
    )


def _group(source: Source, one: Reported, model: Mapping[str, Any] | None) -> Any:
    sr = highdicom().sr
    segmentation = one.segment.segmentation
    package = one.assessment.model_id
    side = lung_place(source.volume, one.nodule.outline.centre_ras).side
    group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(one.tracked.uid, one.tracked.identifier),
        referenced_segment=sr.ReferencedSegment(
            segmentation.SOPClassUID,
            segmentation.SOPInstanceUID,
            one.segment.number,
            source_series=sr.SourceSeriesForSegmentation(source.facts.series_uid),
        ),
        finding_type=coded(codes.NODULE),
        finding_sites=[sr.FindingSite(coded(codes.LUNG), laterality=coded(codes.SIDES[side]) if side else None)],
        algorithm_id=sr.AlgorithmIdentification(
            NAME, __version__, [f"{name} {value}" for name, value in parameters(package, model).items()]
        ),
        measurements=list(_measurements(one)),
        qualitative_evaluations=[
            *(
                sr.QualitativeEvaluation(coded(codes.CONCEPTS[grade.name]), coded(codes.value_of(grade, one.nodule)))
                for grade in codes.CODED
            ),
            # Told even where calcification is absent, as its probability is: what is read back is whole.
            sr.QualitativeEvaluation(coded(codes.PATTERN), coded(codes.pattern_of(one.nodule))),
            sr.QualitativeEvaluation(coded(codes.DRAWN_BY), coded(codes.DRAWN[one.nodule.outline.drawn_by])),
        ],
    )
    contains = sr.RelationshipTypeValues.CONTAINS
    for name, text in _said(one):
        group[0].ContentSequence.append(sr.TextContentItem(coded(name), text, contains))
    marked = sr.Scoord3DContentItem(
        coded(codes.PLACE),
        sr.GraphicTypeValues3D.POINT,
        lps_ras([one.assessment.point.ras]),
        source.facts.frame_uid,
        relationship_type=contains,
    )
    image = source.image_at(one.nodule.outline.centre_ras)
    middle = sr.ImageContentItem(
        coded(codes.MIDDLE), image.SOPClassUID, image.SOPInstanceUID, relationship_type=contains
    )
    group[0].ContentSequence.extend([marked, middle])
    return group


def _measurements(one: Reported) -> Iterator[Any]:
    nodule, outline = one.nodule, one.nodule.outline
    for name, value, unit in (
        (codes.VOLUME, outline.volume_mm3, codes.MM3),
        (codes.LONG_AXIS, outline.long_axis_mm, codes.MM),
        (codes.SHORT_AXIS, outline.short_axis_mm, codes.MM),
    ):
        yield _measurement(name, value, unit, codes.MEASURED)
    # The grade "diameter" is what was measured, with its interval.
    yield _estimate(codes.DIAMETER, nodule.estimate("diameter"), codes.MM, codes.MEASURED, codes.MEAN)
    for grade in codes.CODED:
        method = codes.MEAN_CODE if grade.name == "calcification" else codes.ESTIMATED
        yield _estimate(codes.CONCEPTS[grade.name], nodule.estimate(grade.name), codes.ONE, method)
    yield _measurement(codes.CALCIFIED, nodule.calcification.presence, codes.ONE, codes.EXPECTED)
    yield _measurement(codes.PATTERN, nodule.calcification.pattern_probability, codes.ONE, codes.EXPECTED)
    yield _measurement(codes.SUSPICION, nodule.suspicion_probability, codes.ONE, codes.SUSPICION_METHOD)
    if nodule.solid_part is not None:
        yield _measurement(codes.SOLID_DIAMETER, nodule.solid_part.diameter_mm, codes.MM, codes.BY_THRESHOLD)
        yield _measurement(codes.SOLID_VOLUME, nodule.solid_part.volume_mm3, codes.MM3, codes.BY_THRESHOLD)


def _measurement(name: Code, value: float, unit: Code, method: Code, **more: Any) -> Any:
    return highdicom().sr.Measurement(coded(name), float(value), coded(unit), method=coded(method), **more)


def _estimate(name: Code, estimate: Estimate, unit: Code, method: Code, derivation: Code | None = None) -> Any:
    """A value with how far its interval reaches to either side, and how many of LIDC's nodules have less."""
    sr = highdicom().sr
    rank = sr.NumContentItem(
        coded(codes.PERCENTILE),
        float(estimate.percentile),
        coded(codes.PERCENT),
        relationship_type=sr.RelationshipTypeValues.HAS_PROPERTIES,
    )
    properties = sr.MeasurementProperties(
        measurement_statistical_properties=sr.MeasurementStatisticalProperties([rank], REFERENCE),
        upper_measurement_uncertainty=float(estimate.high - estimate.value),
        lower_measurement_uncertainty=float(estimate.value - estimate.low),
    )
    for reach in properties[-2:]:
        # highdicom gives them no unit.
        reach.MeasuredValueSequence[0].MeasurementUnitsCodeSequence = [coded(unit)]
    more = {} if derivation is None else {"derivation": coded(derivation)}
    return _measurement(name, estimate.value, unit, method, properties=properties, **more)


def _said(one: Reported) -> Iterator[tuple[Code, str]]:
    """What is said of a nodule in sentences, each with the name under which it stands."""
    yield from ((codes.DOUBT, text) for text in one.assessment.doubts)
    yield from ((codes.COMMENT, warning.text) for warning in one.assessment.warnings)
    if one.nodule.outline.drawn_by == "user":
        yield codes.COMMENT, EDITED
    if one.growth is not None:
        yield codes.GROWTH, one.growth.sentence
    if one.management is not None:
        for answer in one.management.answers:
            yield codes.guideline(answer.guideline), str(answer)


def _texts(one: Reported) -> list[str]:
    told = [] if one.growth is None else [one.growth.sentence]
    return told + ([] if one.management is None else [str(one.management)])
