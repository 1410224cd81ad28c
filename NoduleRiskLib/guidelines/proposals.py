"""What NoduleRisk can fill in of the guidelines' inputs: from a graded nodule, and from a DICOM header."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from ..imaging.dicom_facts import DicomFacts
from ..results.nodule import Nodule
from .inputs import Inputs, from_header, graded, measured
from .questions import Axes

#: LIDC's texture is 1 for non-solid, 3 for part-solid and 5 for solid.
NON_SOLID_UP_TO, SOLID_FROM = 2.0, 4.0
#: From here on LIDC's word is "medium spiculation" or more, and spiculation is proposed. Our choice: the models'
#: authors name no grade.
SPICULATED_FROM = 2.5


class Measured(Protocol):
    """What has a long and a short axis in mm: ``Outline``, ``SolidPart``."""

    @property
    def long_axis_mm(self) -> float: ...
    @property
    def short_axis_mm(self) -> float: ...


def proposed(nodule: Nodule, solid_part: Measured | None = None) -> Inputs:
    """Sizes as measured on the outline; nodule type, calcification and spiculation as graded, to be confirmed.

    Parameters
    ----------
    nodule : Nodule
        Its suspicion is not looked at: guidelines and suspicion are never blended.
    solid_part : object with ``long_axis_mm`` and ``short_axis_mm``, optional
        What is solid in a part-solid nodule.
    """
    texture, outline = nodule.estimate("texture").value, nodule.outline
    kind = "non-solid" if texture <= NON_SOLID_UP_TO else "solid" if texture >= SOLID_FROM else "part-solid"
    inputs = Inputs(
        size=measured(_axes(outline)),
        volume_mm3=measured(outline.volume_mm3),
        nodule_type=graded(kind),
        calcification=graded(nodule.calcification.word),
        spiculation=graded(nodule.estimate("spiculation").value >= SPICULATED_FROM),
    )
    if solid_part is None:
        return inputs
    # Measured in its own slice, a part's axis may be longer than that of the whole in another one.
    whole, part = _axes(outline), _axes(solid_part)
    part = Axes(min(part.long_mm, whole.long_mm), min(part.short_mm, whole.long_mm))
    return replace(inputs, solid_part=measured(part))


def with_header(inputs: Inputs, facts: DicomFacts | None) -> Inputs:
    """``inputs`` with age and sex from a DICOM header, where it has them and they are not known yet."""
    if facts is None:
        return inputs
    if facts.age_years is not None and inputs.age.value is None:
        inputs = replace(inputs, age=from_header(facts.age_years))
    if facts.sex and inputs.sex.value is None:
        inputs = replace(inputs, sex=from_header(facts.sex))
    return inputs


def _axes(shape: Measured) -> Axes:
    # The width across the long axis can exceed it by a rounding error.
    return Axes(max(shape.long_axis_mm, shape.short_axis_mm), min(shape.long_axis_mm, shape.short_axis_mm))
