"""Which DICOM files make one CT, in which order and where each of its slices lies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import NoduleRiskError
from .dicom_facts import OF_SERIES, OF_SLICE, facts
from .dicom_headers import GREY, DicomHeader, read_header, read_study
from .dicom_pixels import read_hu, refuse_short
from .image_file import FILE_TYPES
from .memory_limit import refuse_beyond_limit
from .series_order import acquisitions_alternate
from .shown import shown
from .volume import LPS_TO_RAS, MIN_SLICES, Array, Volume, checked_ct

#: How far slices may lie off an even spacing: less than the first, in mm, comes from headers that round to a tenth;
#: more than the second, in slice distances, is no regular scan.
DRIFT_TOLD_MM, DRIFT_REFUSED = 0.15, 0.25
#: From this many slice distances between neighbours on, a slice is missing.
GAP = 1.5
#: Slices closer than this lie at the same place.
SAME_PLACE_MM = 0.01
#: Below it a gantry's tilt moves nothing by a millimetre within a nodule.
TILT_TOLD_DEGREES = 0.5
#: How many images of a series (localizers, say) may be left out before it is unclear which ones are meant.
ODD_SHARE = 0.2
#: How many series a sentence names.
NAMED = 8
#: What ImageType, VolumeBasedCalculationTechnique or SeriesDescription call images that are made of many slices.
PROJECTION = re.compile(r"(?<![A-Z])(MAX_IP|MIN_IP|M(?:IN|N)?IP|AVERAGE|AVG|MEAN|PROJECTION)(?![A-Z])")


@dataclass(frozen=True, eq=False)
class _Slice:
    """A DICOM image and where its header puts it, LPS mm: ``axes`` (2, 3) are the steps along i and j."""

    header: DicomHeader
    size: tuple[int, int]
    axes: Array
    position: Array
    thickness_mm: float

    @property
    def file_name(self) -> str:
        return self.header.file.name

    @property
    def acquisition(self) -> tuple[str, str]:
        """What may tell acquisitions apart, best first."""
        return self.header.text("AcquisitionNumber"), self.header.text("AcquisitionTime")

    @property
    def normal(self) -> Array:
        """Unit vector, shape (3,)."""
        normal = np.cross(*self.axes)
        return normal / np.linalg.norm(normal)


def read_series(folder: Path, series_uid: str | None = None) -> Volume:
    """The CT that the DICOM files of a folder make; see ``reading.read``.

    Parameters
    ----------
    folder : Path
        Its subfolders are not searched.
    series_uid : str, optional
        Which series; may be left out if only one has enough slices.

    Raises
    ------
    NoduleRiskError
        If there is no such CT, or anything about its slices is in doubt.
    """
    headers, doubts = _chosen(folder, series_uid)
    first = headers[0]
    modality, colours = first.text("Modality") or "unknown", {one.text("PhotometricInterpretation") for one in headers}
    if modality != "CT":
        raise NoduleRiskError(f"{folder} holds no CT but images of modality {shown(modality)}: choose a chest CT.")
    if all(one.number("NumberOfFrames", 1) > 1 for one in headers):
        raise NoduleRiskError(f"{folder} holds a multi-frame CT: convert it to one file per slice, or to NRRD.")
    if not colours & set(GREY):
        raise NoduleRiskError(
            f"{folder} holds pictures ({shown(min(colours))}) and no HU: choose the original CT series."
        )

    slices, odd = _alike(folder, headers)
    slices, dropped = _without_duplicates(folder, slices)
    if len(slices) < MIN_SLICES:
        raise NoduleRiskError(
            f"The series in {folder} has too few slices ({len(slices)}, not {MIN_SLICES} or more): choose all."
        )
    _refuse_lost_rescale(slices)
    acquisitions = [one.acquisition for one in slices]
    try:
        step, uneven = even_step(folder, np.array([one.position for one in slices]), slices[0].normal)
    except NoduleRiskError:
        if acquisitions_alternate(acquisitions):
            raise NoduleRiskError(
                f"{folder} holds two acquisitions that overlap: export each as a series of its own and choose one."
            ) from None
        raise
    ijk_to_lps = np.eye(4)
    ijk_to_lps[:3] = np.column_stack([*slices[0].axes, step, slices[0].position])
    told = facts(_texts(first, OF_SERIES), [_texts(one.header, OF_SLICE) for one in slices], read_study(first.file))
    volume = Volume(
        _voxels(folder, slices),
        LPS_TO_RAS @ ijk_to_lps,
        folder.resolve().name,
        {uid: first.text(uid) for uid in ("SeriesInstanceUID", "StudyInstanceUID")},
        doubts + odd + dropped + uneven + _projected(first),
        told,
        told.acquired,
    )
    thickness_mm = max(one.thickness_mm for one in slices)
    return checked_ct(volume, thickness_mm, [one.file_name for one in slices], acquisitions)


def _texts(header: DicomHeader, keywords: Sequence[str]) -> dict[str, str]:
    return {keyword: header.text(keyword) for keyword in keywords}


def _chosen(folder: Path, series_uid: str | None) -> tuple[list[DicomHeader], tuple[str, ...]]:
    """The headers of the one series that is meant, and what is doubtful about them as a series."""
    series: dict[str, list[DicomHeader]] = {}
    for file in sorted(folder.iterdir()):
        # Reading a pipe would wait for ever; a link to nothing is a slice that was lost.
        other = file.exists() and not file.is_file()
        header = None if other or file.name.startswith(".") else read_header(file)
        if header is not None:
            series.setdefault(header.text("SeriesInstanceUID"), []).append(header)
    if not series:
        raise NoduleRiskError(
            f"{folder} holds no DICOM images: give the folder in which the CT's slices themselves lie, "
            f"or one of {', '.join(FILE_TYPES)}."
        )
    if series_uid is not None and series_uid not in series:
        raise NoduleRiskError(
            f"{folder} holds no series {shown(series_uid)}: choose one of these by its UID: {_listed(series)}."
        )
    # Segmentations and reports often lie beside the one CT; they leave no doubt about which is meant.
    cts = {uid: of for uid, of in series.items() if of[0].text("Modality") == "CT"}
    # A scout and a dose report are CT series, too, but of an image or two.
    stacks = {uid: of for uid, of in cts.items() if sum(_placed(one) is not None for one in of) >= MIN_SLICES}
    single = [of[0] for uid, of in cts.items() if len(of) == 1]
    if not stacks and len(single) >= MIN_SLICES and (series_uid is None or len(series[series_uid]) == 1):
        return single, (
            "Each slice has a SeriesInstanceUID of its own, as some anonymisers give it: all slices of the folder were "
            "read as one series.",
        )
    if series_uid is None and len(stacks) > 1:
        raise NoduleRiskError(
            f"{folder} holds {len(stacks)} CT series: choose one of these by its UID (on the command line with "
            f"--series UID): {_listed(stacks)}."
        )
    uid = series_uid if series_uid is not None else max(stacks or cts or series, key=lambda uid: len(series[uid]))
    lost = [one.file for one in series.get("", []) if uid and _placed(one) is not None]
    if lost:
        raise NoduleRiskError(
            f"{lost[0]} has no SeriesInstanceUID, so whether it belongs to the CT is unknown: export the series again, "
            "or take the file out of the folder."
        )
    if uid:
        return series[uid], ()
    return series[uid], ("The slices have no SeriesInstanceUID: all of the folder were read as one series.",)


def _listed(series: dict[str, list[DicomHeader]]) -> str:
    named = [
        f"{shown(uid or 'no UID')} ({of[0].description or 'no description'}, "
        f"{shown(of[0].text('Modality') or 'no modality')}, {len(of)} slices)"
        for uid, of in series.items()
    ]
    return "; ".join(named[:NAMED]) + (f"; and {len(named) - NAMED} more" if len(named) > NAMED else "")


def _placed(header: DicomHeader) -> _Slice | None:
    """The slice, or None if the image is none or its header does not say where it lies."""
    position, cosines = header.numbers("ImagePositionPatient"), header.numbers("ImageOrientationPatient")
    # DICOM names the distance between rows first.
    pixel_mm = header.numbers("PixelSpacing")[::-1]
    if not header.is_grey or (len(position), len(cosines), len(pixel_mm)) != (3, 6, 2):
        return None
    axes = np.array(cosines).reshape(2, 3)
    square = np.allclose(axes @ axes.T, np.eye(2), atol=1e-3)
    if not (square and np.isfinite(position).all() and min(pixel_mm) > 0 and np.isfinite(pixel_mm).all()):
        return None
    # Only a warning needs the thickness: what is no number does not matter.
    thickness_mm = (header.numbers("SliceThickness") or (0.0,))[0]
    return _Slice(header, header.size, axes * np.array(pixel_mm)[:, None], np.array(position), thickness_mm)


def _alike(folder: Path, headers: list[DicomHeader]) -> tuple[list[_Slice], tuple[str, ...]]:
    """The slices of the size, pixel spacing and orientation that most of them have, sorted along their normal."""
    placed = [one for one in map(_placed, headers) if one is not None]
    if not placed:
        raise NoduleRiskError(
            f"The DICOM images in {folder} do not say where they lie (position, orientation, pixel spacing): "
            "export the CT from its archive again."
        )
    kinds = [(one.size, *np.round(one.axes, 2).ravel()) for one in placed]
    usual = placed[kinds.index(Counter(kinds).most_common(1)[0][0])]
    tolerance = 1e-3 * np.linalg.norm(usual.axes, axis=1).min()
    alike = [one for one in placed if one.size == usual.size and np.abs(one.axes - usual.axes).max() < tolerance]
    for one in placed:
        if one.size != usual.size:
            # A damaged header may be what makes it differ.
            refuse_short(one.header)
    odd = len(headers) - len(alike)
    if odd > ODD_SHARE * len(headers):
        raise NoduleRiskError(
            f"Too many images in {folder} ({odd} of {len(headers)}) differ in size, pixel spacing or orientation from "
            "the others: export the chest CT as a series of its own."
        )
    if len(alike) > 1 and max(np.abs(one.position - alike[0].position).max() for one in alike) < SAME_PLACE_MM:
        raise NoduleRiskError(
            f"The slices in {folder} have lost their positions (ImagePositionPatient of all {len(alike)} is the same): "
            "export the CT from its archive again."
        )
    alike.sort(key=lambda one: float(one.position @ usual.normal))
    if not odd:
        return alike, ()
    return alike, (
        f"Images of the series were left out ({odd} of {len(headers)}), "
        "because their size, pixel spacing or orientation differs (a localizer, for instance).",
    )


def _without_duplicates(folder: Path, slices: list[_Slice]) -> tuple[list[_Slice], tuple[str, ...]]:
    kept = slices[:1]
    for one in slices[1:]:
        if (one.position - kept[-1].position) @ one.normal > SAME_PLACE_MM:
            kept.append(one)
        elif not np.array_equal(read_hu(one.header), read_hu(kept[-1].header)):
            raise NoduleRiskError(
                f"{kept[-1].file_name} and {one.file_name} in {folder} are different images of the same place: "
                "export one phase or reconstruction as a series of its own."
            )
    dropped = len(slices) - len(kept)
    return kept, (f"Slices that are in the series twice were read once ({dropped} of {len(kept)}).",) if dropped else ()


def even_step(name: Path | str, positions: Array, normal: Array) -> tuple[Array, tuple[str, ...]]:
    """From one slice to the next (mm, shape (3,)), and warnings: along the normal, unless the gantry was tilted.

    Parameters
    ----------
    name : path or str
        What sentences call the series.
    positions : ndarray, shape (K, 3)
        Where the slices lie, mm, in order along the normal; any frame.
    normal : ndarray, shape (3,)
        Unit vector across the slices, in the same frame.

    Raises
    ------
    NoduleRiskError
        If slices are missing or lie unevenly.
    """
    along = positions @ normal
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    wide = gaps > GAP * usual
    if wide.any():
        at = int(np.argmax(wide))
        missing = int(np.sum(np.maximum(np.rint(gaps[wide] / usual) - 1, 1)))
        raise NoduleRiskError(
            f"Slices are missing in {name} (about {missing}): between {along[at]:.1f} and {along[at + 1]:.1f} mm "
            f"there is none, where one every {usual:.2f} mm is usual; export or copy the whole series again."
        )
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    step_mm = float(np.linalg.norm(step))
    even = positions[0] + np.arange(len(positions))[:, None] * step
    drift_mm = float(np.linalg.norm(positions - even, axis=1).max())
    if drift_mm > DRIFT_REFUSED * step_mm:
        raise NoduleRiskError(
            f"The slices in {name} do not lie evenly (from {gaps.min():.2f} to {gaps.max():.2f} mm apart, up to "
            f"{drift_mm:.1f} mm off their place): reconstruct the CT with one slice distance."
        )
    warnings = []
    if drift_mm > DRIFT_TOLD_MM:
        warnings.append(f"The slices do not lie quite evenly: places are up to {drift_mm:.2f} mm off.")
    tilt = float(np.degrees(np.arccos(min(1.0, step @ normal / step_mm))))
    if tilt > TILT_TOLD_DEGREES:
        warnings.append(f"The gantry was tilted by {tilt:.1f} degrees: the slices are placed accordingly.")
    return step, tuple(warnings)


def _voxels(folder: Path, slices: list[_Slice]) -> Array:
    """HU of all slices, int16, shape (K, J, I)."""
    shape = (len(slices), *slices[0].size)
    refuse_beyond_limit(str(folder), int(np.prod(shape, dtype=object)), 2)
    array = np.empty(shape, np.int16)

    def fill(k: int) -> None:
        array[k] = read_hu(slices[k].header)

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(len(slices))))
    return array


def _refuse_lost_rescale(slices: list[_Slice]) -> None:
    """Refuse slices without rescale slope or intercept among others that have it: their values would be no HU."""
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        lost = [one for one in slices if not one.header.text(keyword)]
        if 0 < len(lost) < len(slices):
            raise NoduleRiskError(
                f"{lost[0].header.file} has no {keyword}, and other slices of its series have one: export the series "
                "again."
            )


def _projected(header: DicomHeader) -> tuple[str, ...]:
    words = (header.text("ImageType"), header.text("VolumeBasedCalculationTechnique"), header.description)
    found = PROJECTION.search(" ".join(words).upper())
    if not found:
        return ()
    return (
        f"The slices are projections through several slices ({found[0]}), in which vessels and nodules overlap: the "
        "models learned from plain slices; choose the original series.",
    )
