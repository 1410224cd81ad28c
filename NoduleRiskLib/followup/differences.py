"""What makes two CTs hard to compare: other slices, kernel or contrast, another patient, the same CT twice."""

from __future__ import annotations

from ..errors import NoduleRiskError
from ..imaging.dicom_facts import DicomFacts
from ..imaging.input_checks import has_contrast
from ..imaging.volume import Volume

#: Slices that differ by more than this (mm) change a small nodule's volume: our own choice.
SLICES_MM = 0.3


def refuse_same(prior: Volume, current: Volume) -> None:
    """Refuse two CTs that are one.

    Raises
    ------
    NoduleRiskError
        If both are of one DICOM series, or equal.
    """
    uids = [volume.identity.get("SeriesInstanceUID") for volume in (prior, current)]
    if prior is current or (uids[0] and uids[0] == uids[1]) or prior.digest == current.digest:
        raise NoduleRiskError("The earlier and the later CT are the same: choose two examinations of one patient.")


def differences(prior: Volume, current: Volume) -> tuple[str, ...]:
    """One sentence for each way in which the CTs differ and sizes may differ with them."""
    found = []
    headers = [volume.dicom or DicomFacts() for volume in (prior, current)]
    patients = [header.study.get("PatientID", "") for header in headers]
    if all(patients) and patients[0] != patients[1]:
        found.append("The two CTs have different patient IDs: make sure that they are of one patient.")
    apart = [_slices_mm(volume) for volume in (prior, current)]
    if abs(apart[0] - apart[1]) > SLICES_MM:
        found.append(
            f"The slices differ ({apart[0]:.3g} mm before, {apart[1]:.3g} mm now): volumes of small nodules differ "
            "with them."
        )
    kernels = [header.kernel for header in headers]
    if all(kernels) and kernels[0] != kernels[1]:
        found.append(
            f"The reconstruction kernels differ ({kernels[0]} before, {kernels[1]} now): a sharper one changes a "
            "nodule's edge, and its volume with it."
        )
    contrast = [has_contrast(volume) for volume in (prior, current)]
    if contrast[0] != contrast[1]:
        when = "before" if contrast[0] else "now"
        found.append(f"Only one of the CTs is contrast-enhanced ({when}): enhancement makes nodules look denser.")
    return tuple(found)


def _slices_mm(volume: Volume) -> float:
    """Thickness of a CT's slices, or the distance between them if that is more or all that is known."""
    told = volume.dicom.thickness_mm if volume.dicom else None
    return max(told or 0.0, float(volume.spacing_mm[2]))
