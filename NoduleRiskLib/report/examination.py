"""What a report says of one CT, worked out once for text, HTML and PDF: each nodule's place, image and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .. import __version__
from ..guidelines.lines import AnswerLine, InputLine, answer_line, input_lines
from ..guidelines.management import Grown, Management, manage
from ..imaging.dicom_facts import DicomFacts, DicomSlice
from ..imaging.lung_place import LungPlace, lung_place
from ..imaging.volume import Array, Volume
from ..results.assessment import Assessment
from ..results.grade_lines import GradeLine, grade_lines
from ..results.phrases import percent, place
from ..results.similar_lines import SimilarLine, similar_lines, similar_sentence
from . import words


@dataclass(frozen=True, eq=False)
class Finding:
    """One nodule as the report tells it.

    Attributes
    ----------
    number : int
        From 1, in the order of the points.
    assessment : Assessment
    lung : LungPlace
    image : DicomSlice
        The slice through the nodule's centre; empty if the CT is not from DICOM.
    slice_number, slices : int
        The same slice counted from 1 in the volume, and how many there are.
    series : str
        DICOM's SeriesNumber, or "".
    management : Management or None
        ``None`` where nothing was outlined.
    growth : str
        What became of it since an earlier CT, one sentence; empty without one.
    """

    number: int
    assessment: Assessment
    lung: LungPlace
    image: DicomSlice
    slice_number: int
    slices: int
    series: str
    management: Management | None
    growth: str = ""

    @property
    def label(self) -> str:
        return self.assessment.point.label

    @property
    def doubts(self) -> tuple[str, ...]:
        return self.assessment.doubts

    @property
    def centre_ras(self) -> Array:
        """The outline's centre, or the point (RAS mm)."""
        nodule = self.assessment.nodule
        return np.array(self.assessment.point.ras) if nodule is None else nodule.outline.centre_ras

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is said about this nodule; what makes it doubtful first."""
        own = [one for one in self.assessment.warnings if one.about == "nodule"]
        return tuple(one.text for one in sorted(own, key=lambda one: not one.doubt))

    @property
    def suspicion(self) -> str:
        nodule = self.assessment.nodule
        return "" if nodule is None else percent(nodule.suspicion_probability)

    @cached_property
    def grades(self) -> list[GradeLine]:
        return [] if self.assessment.nodule is None else grade_lines(self.assessment.nodule)

    @cached_property
    def similar(self) -> list[SimilarLine]:
        return similar_lines(self.assessment.nodule)

    @property
    def similar_sentence(self) -> str:
        return similar_sentence(self.assessment.nodule)

    @cached_property
    def answers(self) -> tuple[AnswerLine, ...]:
        return () if self.management is None else tuple(map(answer_line, self.management.answers))

    @property
    def lung_rads(self) -> str:
        """Lung-RADS' short answer; empty where nothing was outlined."""
        return next((line.short for line in self.answers if line.name.startswith("Lung-RADS")), "")

    @cached_property
    def inputs(self) -> list[InputLine]:
        return [] if self.management is None else input_lines(self.management.inputs, self.management.answers)

    @property
    def kind(self) -> str:
        """ "Solid nodule": as told, or as proposed."""
        if self.management is None:
            return words.NODULE
        return words.TYPES[str(self.management.inputs.nodule_type.value)]

    @property
    def size(self) -> str:
        """Axes, mean diameter, volume, solid part: as measured on the outline, or as told."""
        nodule = self.assessment.nodule
        if nodule is None or self.management is None:
            return ""
        inputs, axes = self.management.inputs, self.management.inputs.size
        assert axes.value is not None
        mean_mm = nodule.outline.diameter_mm if axes.origin == "measured" else axes.value.mean_mm(1)
        parts = [words.SIZE.format(long_mm=axes.value.long_mm, short_mm=axes.value.short_mm, mean_mm=mean_mm)]
        if inputs.nodule_type.value == "part-solid" and inputs.solid_part.value is not None:
            solid = inputs.solid_part.value
            parts.append(words.SOLID_PART.format(long_mm=solid.long_mm, short_mm=solid.short_mm))
        if inputs.volume_mm3.value is not None:
            parts.append(words.VOLUME.format(volume_mm3=inputs.volume_mm3.value))
        return ", ".join(parts)

    @property
    def place(self) -> str:
        """Side, third and lobe in words."""
        side = words.LUNG.format(side=self.lung.side) if self.lung.side else words.SIDE_UNKNOWN
        lobe = self.management.inputs.lobe.value if self.management else None
        told = words.LOBE_UNKNOWN if lobe is None else words.LOBES[lobe]
        return ", ".join(filter(None, (side, self.lung.third, told)))

    @property
    def coordinates(self) -> str:
        return f"{place(self.assessment.point.ras, 1)} mm"

    @property
    def slice(self) -> str:
        """Image and series as a DICOM viewer numbers them, or the slice of the file."""
        if self.image.number is None:
            return words.SLICE.format(number=self.slice_number, count=self.slices)
        image = words.IMAGE.format(number=self.image.number)
        return f"{image}, {words.IN_SERIES.format(series=self.series)}" if self.series else image

    @property
    def signs(self) -> str:
        """Spiculation, lobulation, margin and calcification in LIDC's words, or as told: one sentence."""
        nodule = self.assessment.nodule
        if nodule is None or self.management is None:
            return ""
        inputs = self.management.inputs
        told = inputs.spiculation.origin == "user"
        text = words.SIGNS.format(
            spiculation=words.SPICULATED[bool(inputs.spiculation.value)]
            if told
            else nodule.estimate("spiculation").word,
            lobulation=nodule.estimate("lobulation").word,
            margin=words.MARGIN.format(word=nodule.estimate("margin").word.removesuffix(" margin")),
            calcification=inputs.calcification.value,
        )
        return f"{text[:1].upper()}{text[1:]}."


@dataclass(frozen=True, eq=False)
class Examination:
    """One CT and its nodules, as the report tells them."""

    volume: Volume
    findings: tuple[Finding, ...]
    model: str

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is unusual about the whole CT, each sentence once."""
        every = [one for finding in self.findings for one in finding.assessment.warnings if one.about == "ct"]
        return tuple(dict.fromkeys([*self.volume.warnings, *(one.text for one in every)]))

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What was examined with what: names and values, never whose it is."""
        volume, dicom = self.volume, self.volume.dicom or DicomFacts()
        step_mm = float(volume.spacing_mm[2])
        slices = words.SLICES_OF.format(count=len(volume.array), step_mm=step_mm)
        if dicom.thickness_mm:
            slices += words.THICK.format(thickness_mm=dicom.thickness_mm)
        told = (
            words.KERNEL.format(kernel=dicom.kernel) if dicom.kernel else "",
            words.CONTRAST.format(contrast=dicom.contrast) if dicom.contrast else "",
        )
        age = words.YEARS.format(age=dicom.age_years) if dicom.age_years else ""
        lines = (
            (words.CT, volume.name),
            (
                words.STUDY_DATE,
                "-".join((dicom.study_date[:4], dicom.study_date[4:6], dicom.study_date[6:])).strip("-"),
            ),
            (words.PATIENT, ", ".join(filter(None, (age, dicom.sex)))),
            (words.SERIES, " ".join(filter(None, (dicom.series_number, self.series_uid)))),
            (words.SLICES, ", ".join(filter(None, (slices, *told)))),
            (words.MODEL, self.model),
            (words.SOFTWARE, f"NoduleRisk {__version__}"),
        )
        return [(name, value) for name, value in lines if value]

    @property
    def series_uid(self) -> str:
        return self.volume.identity.get("SeriesInstanceUID", "")


def examination(
    volume: Volume,
    assessments: Sequence[Assessment],
    said: Sequence[Mapping[str, Any]] = (),
    model: Mapping[str, Any] | None = None,
    growth: Sequence[Grown | None] = (),
) -> Examination:
    """Work out what the report says.

    Parameters
    ----------
    volume : Volume
    assessments : sequence of Assessment
    said, growth : sequences, optional
        For each assessment: the user's answers, as ``manage`` takes them, and what became of it since an earlier CT.
    model : mapping, optional
        ``name``, ``version`` and ``digest`` of the model package.

    Raises
    ------
    NoduleRiskError
        If the user's answers contradict each other.
    """
    findings = []
    for n, one in enumerate(assessments):
        centre = np.array(one.point.ras) if one.nodule is None else one.nodule.outline.centre_ras
        grown = growth[n] if growth else None
        k = int(np.clip(np.round(volume.to_ijk(centre)[2]), 0, len(volume.array) - 1))
        findings.append(
            Finding(
                n + 1,
                one,
                lung_place(volume, centre),
                volume.dicom.slice_at(k) if volume.dicom else DicomSlice(),
                k + 1,
                len(volume.array),
                volume.dicom.series_number if volume.dicom else "",
                manage(one, volume.dicom, said[n] if said else None, grown.earlier() if grown else None),
                grown.sentence if grown else "",
            )
        )
    ids = ", ".join(sorted({one.model_id for one in assessments}))
    known = f"{model['name']} {model['version']}, SHA-256 {model['digest']}" if model else ids
    return Examination(volume, tuple(findings), known)
