"""The way in: a CT from DICOM and its assessments go in, DICOM objects of the CT's own study come out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import NoduleRiskError
from ..guidelines.management import Grown, Management
from ..imaging.volume import Volume
from ..results.assessment import Assessment
from .identity import trackings
from .library import highdicom
from .outlines import segmentations
from .parametric_maps import parametric_maps
from .source import source_of
from .structured_report import Reported, structured_report


def dicom_objects(
    volume: Volume,
    assessments: Sequence[Assessment],
    *,
    model: Mapping[str, Any] | None = None,
    managements: Sequence[Management | None] = (),
    growth: Sequence[Grown | None] = (),
    heatmap: str = "malignancy",
    fractional: bool = False,
    anonymous: bool = False,
    observer: str = "",
) -> list[Any]:
    """Assessments of a CT as DICOM objects.

    Parameters
    ----------
    volume : Volume
        A CT that was read from DICOM.
    assessments : sequence of Assessment
        Those without a nodule are passed over.
    model : mapping, optional
        ``digest`` of the model package, if it is at hand.
    managements, growth : sequences, optional
        For each assessment what the guidelines answer, and what became of it since an earlier CT.
    heatmap : str
        The grade whose heatmaps are written; those that were not computed are not.
    fractional : bool
        Write how likely each voxel is the nodule's instead of inside or outside.
    anonymous : bool
        Leave out names, numbers and dates of patient and study; UIDs stay.
    observer : str
        Who marked the nodules, as DICOM writes names ("Doe^Jane"); left out if empty.

    Returns
    -------
    list of pydicom.Dataset
        First the Segmentation (several if outlines overlap or are fractional), then the Parametric Maps, last the
        structured report that refers to the segments. Equal input has equal UIDs.

    Raises
    ------
    NoduleRiskError
        If highdicom is missing, the CT is not from DICOM or lacks what references need, or there is no nodule.
    """
    highdicom()
    source = source_of(volume, anonymous)
    kept = [n for n, one in enumerate(assessments) if one.nodule is not None]
    if not kept:
        raise NoduleRiskError("There is no nodule to be written as DICOM: assess at least one point.")
    some = [assessments[n] for n in kept]
    tracked = trackings(source, some)
    segments = segmentations(source, some, tracked, model, fractional)
    reported = [
        Reported(
            one,
            of,
            segment,
            managements[n] if managements else None,
            growth[n] if growth else None,
        )
        for n, one, of, segment in zip(kept, some, tracked, segments, strict=True)
    ]
    objects = [
        *{segment.segmentation.SOPInstanceUID: segment.segmentation for segment in segments}.values(),
        *parametric_maps(source, some, tracked, heatmap),
        structured_report(source, reported, model, observer),
    ]
    for one in objects:
        # highdicom before 0.28, which Slicer 5.12 brings along, does not take it over from the CT's headers.
        one.SpecificCharacterSet = "ISO_IR 192"
    return objects


def check_dicom(volume: Volume) -> None:
    """Refuse a CT that no object can refer to, before minutes of work go into it.

    Raises
    ------
    NoduleRiskError
        Also if highdicom is missing.
    """
    source_of(volume)
    highdicom()


def write_dicom(folder: Path, objects: Sequence[Any]) -> list[Path]:
    """Write objects to files that are called by kind and number, beside others of other results, or none of them.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    objects : sequence of pydicom.Dataset

    Returns
    -------
    list of Path
        ``SEG-1-ab12cd34.dcm``, for example: the end is that of its UID, so that the same result has the same files.

    Raises
    ------
    NoduleRiskError
        If they cannot be written.
    """
    from ..results.result_folder import partial_folder

    names = [f"{kind_of(one)}-{one.InstanceNumber}-{one.SOPInstanceUID[-8:]}.dcm" for one in objects]
    try:
        with partial_folder(folder) as part:
            for one, name in zip(objects, names, strict=True):
                one.save_as(part / name)
            for name in names:
                os.replace(part / name, folder / name)
        return [folder / name for name in names]
    except OSError as error:
        raise NoduleRiskError(
            f"DICOM files could not be written to {folder} ({error.strerror}): choose another folder."
        ) from error


def kind_of(written: Any) -> str:
    """ "SEG", "PM" or "SR"."""
    # A map has the modality of what it was made of, or OT.
    return str(written.Modality) if written.Modality in ("SEG", "SR") else "PM"
