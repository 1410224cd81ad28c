"""Reading a chest CT from disk: files and DICOM headers, and what can be wrong with them."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NoduleRiskError
from .image_file import FILE_TYPES, _readable
from .volume import LPS_TO_RAS, MIN_SLICES, Array, Volume, checked_ct, hounsfield

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

TAGS = [
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "SeriesDescription",
    "Modality",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "PixelSpacing",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
]
#: DICOM's word for an image that is not in colour.
GREY = "MONOCHROME2"


def _from_series(folder: Path, series_uid: str | None) -> Volume:
    headers = _chosen(folder, series_uid)
    first = headers[0]
    modality, colours = (
        first.get("Modality") or "unknown",
        {str(one.get("PhotometricInterpretation")) for one in headers},
    )
    if modality != "CT":
        raise NoduleRiskError(f"{folder} holds no CT but images of modality {modality}: choose a chest CT.")
    if all(int(one.get("NumberOfFrames") or 1) > 1 for one in headers):
        raise NoduleRiskError(f"{folder} holds a multi-frame CT: convert it to one file a slice, or to NRRD.")
    if GREY not in colours:
        raise NoduleRiskError(f"{folder} holds pictures ({min(colours)}) and no HU: choose the original CT series.")

    slices, warnings = _alike(folder, [_placed(header) for header in headers])
    slices, dropped = _without_duplicates(folder, slices)
    if len(slices) < MIN_SLICES:
        raise NoduleRiskError(
            f"The series in {folder} has too few slices ({len(slices)}, not {MIN_SLICES} or more): choose all."
        )
    step, uneven = _step(folder, slices)
    ijk_to_lps = np.eye(4)
    ijk_to_lps[:3] = np.column_stack([*slices[0].axes, step, slices[0].position])
    array = np.empty((len(slices), *slices[0].size), np.int16)
    with ThreadPoolExecutor() as pool:
        for pixels, hu in zip(array, pool.map(_pixels, [one.file for one in slices]), strict=True):
            pixels[...] = hu
    identity = {uid: str(first.get(uid, "")) for uid in ("SeriesInstanceUID", "StudyInstanceUID")}
    volume = Volume(array, LPS_TO_RAS @ ijk_to_lps, folder.resolve().name, identity, warnings + dropped + uneven)
    return checked_ct(volume, thickness_mm=max(one.thickness_mm for one in slices))


def _chosen(folder: Path, series_uid: str | None) -> list[Any]:
    """The headers of the one series that is meant."""
    series: dict[str, list[Any]] = {}
    for file in sorted(folder.iterdir()):
        header = None if file.is_dir() or file.name.startswith(".") else _header(file)
        if header is not None:
            series.setdefault(str(header.SeriesInstanceUID), []).append(header)
    if not series:
        raise NoduleRiskError(
            f"{folder} holds no DICOM images: give the folder in which the CT's slices themselves lie, "
            f"or one of {', '.join(FILE_TYPES)}."
        )
    told = "; ".join(
        f"{uid} ({of[0].get('SeriesDescription') or 'no description'}, {of[0].get('Modality')}, {len(of)} slices)"
        for uid, of in series.items()
    )
    if series_uid is not None:
        if series_uid not in series:
            raise NoduleRiskError(f"{folder} holds no series {series_uid}: choose one of these by its UID: {told}.")
        return series[series_uid]
    # Segmentations and reports often lie beside the one CT; they leave no doubt about which is meant.
    candidates = [of for of in series.values() if of[0].get("Modality") == "CT"] or list(series.values())[:1]
    if len(candidates) > 1:
        raise NoduleRiskError(f"{folder} holds {len(candidates)} CT series: choose one of these by its UID: {told}.")
    return candidates[0]


def _header(file: Path) -> Any:
    """``TAGS`` of a DICOM image, or None if the file is something else."""
    import pydicom

    damage: Exception | None = None
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
        # pydicom converts an element when it is first touched.
        list(header)
        if header.get("SeriesInstanceUID"):
            return header
    except pydicom.errors.InvalidDicomError:
        pass
    # A damaged header raises whatever its bytes happen to mean.
    except Exception as error:
        damage = error
    if damage or file.suffix.lower() == ".dcm":
        raise NoduleRiskError(
            f"{file} is no DICOM image or is damaged: copy it again or take it out of the folder."
        ) from damage
    return None


@dataclass(frozen=True, eq=False)
class _Slice:
    """A DICOM image and where its header puts it, LPS mm: ``axes`` (2, 3) are the steps along i and j."""

    file: Path
    size: tuple[int, int]
    axes: Array
    position: Array
    thickness_mm: float

    @property
    def normal(self) -> Array:
        """Unit vector, shape (3,)."""
        normal = np.cross(*self.axes)
        return normal / np.linalg.norm(normal)


def _placed(header: Any) -> _Slice | None:
    """The slice, or None if the image is none or its header does not say where it lies."""
    try:
        cosines = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        position = np.array(header.ImagePositionPatient, float).reshape(3)
        # DICOM names the distance between rows first.
        pixel_mm = np.array(header.PixelSpacing, float).reshape(2)[::-1]
        thickness_mm = float(header.get("SliceThickness") or 0)
        size = (int(header.Rows), int(header.Columns))
    except (AttributeError, TypeError, ValueError):
        return None
    one_picture = header.get("PhotometricInterpretation") == GREY and int(header.get("NumberOfFrames") or 1) == 1
    square = np.allclose(cosines @ cosines.T, np.eye(2), atol=1e-3)
    if not (one_picture and square and np.isfinite(position).all() and pixel_mm.min() > 0):
        return None
    return _Slice(Path(header.filename), size, cosines * pixel_mm[:, None], position, thickness_mm)


def _alike(folder: Path, images: list[_Slice | None]) -> tuple[list[_Slice], tuple[str, ...]]:
    """The slices of the size, pixel spacing and orientation that most of them have, sorted along their normal."""
    placed = [one for one in images if one is not None]
    if not placed:
        raise NoduleRiskError(
            f"The DICOM images in {folder} do not say where they lie (position, orientation, pixel spacing): "
            "export the CT from its archive again."
        )
    kinds = [(one.size, *np.round(one.axes, 2).ravel()) for one in placed]
    usual = placed[kinds.index(Counter(kinds).most_common(1)[0][0])]
    tolerance = 1e-3 * np.linalg.norm(usual.axes, axis=1).min()
    alike = [one for one in placed if one.size == usual.size and np.abs(one.axes - usual.axes).max() < tolerance]
    odd = len(images) - len(alike)
    if odd > ODD_SHARE * len(images):
        raise NoduleRiskError(
            f"Too many images in {folder} ({odd} of {len(images)}) differ in size, pixel spacing or orientation from "
            "the others: export the chest CT as a series of its own."
        )
    alike.sort(key=lambda one: float(one.position @ usual.normal))
    if not odd:
        return alike, ()
    return alike, (
        f"Images of the series were left out ({odd} of {len(images)}), "
        "because their size, pixel spacing or orientation differs (a localizer, for instance).",
    )


def _without_duplicates(folder: Path, slices: list[_Slice]) -> tuple[list[_Slice], tuple[str, ...]]:
    kept = slices[:1]
    for one in slices[1:]:
        if (one.position - kept[-1].position) @ one.normal > SAME_PLACE_MM:
            kept.append(one)
        elif not np.array_equal(_pixels(one.file), _pixels(kept[-1].file)):
            raise NoduleRiskError(
                f"{kept[-1].file.name} and {one.file.name} in {folder} are different images of the same place: "
                "export one phase or reconstruction as a series of its own."
            )
    dropped = len(slices) - len(kept)
    return kept, (f"Slices that are in the series twice were read once ({dropped} of {len(kept)}).",) if dropped else ()


def _step(folder: Path, slices: list[_Slice]) -> tuple[Array, tuple[str, ...]]:
    """From one slice to the next, LPS mm, shape (3,): along the normal, unless the gantry was tilted."""
    normal = slices[0].normal
    positions = np.array([one.position for one in slices])
    along = positions @ normal
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    wide = gaps > GAP * usual
    if wide.any():
        at = int(np.argmax(wide))
        missing = int(np.sum(np.maximum(np.rint(gaps[wide] / usual) - 1, 1)))
        raise NoduleRiskError(
            f"Slices are missing in {folder} (about {missing}): between {along[at]:.1f} and {along[at + 1]:.1f} mm "
            f"there is none, where one every {usual:.2f} mm is usual; export or copy the whole series again."
        )
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    step_mm = float(np.linalg.norm(step))
    even = positions[0] + np.arange(len(slices))[:, None] * step
    drift_mm = float(np.linalg.norm(positions - even, axis=1).max())
    if drift_mm > DRIFT_REFUSED * step_mm:
        raise NoduleRiskError(
            f"The slices in {folder} do not lie evenly (from {gaps.min():.2f} to {gaps.max():.2f} mm apart, up to "
            f"{drift_mm:.1f} mm off their place): reconstruct the CT with one slice distance."
        )
    warnings = []
    if drift_mm > DRIFT_TOLD_MM:
        warnings.append(f"The slices do not lie quite evenly: places are up to {drift_mm:.2f} mm off.")
    tilt = float(np.degrees(np.arccos(min(1.0, step @ normal / step_mm))))
    if tilt > TILT_TOLD_DEGREES:
        warnings.append(f"The gantry was tilted by {tilt:.1f} degrees: the slices are placed accordingly.")
    return step, tuple(warnings)


def _pixels(file: Path) -> Array:
    """HU of a DICOM slice, int16 (row, column), by its own rescale slope and intercept."""
    import SimpleITK as sitk

    with _readable(file):
        # ImageSeriesReader would give every slice the number type of the first one's rescale slope.
        return hounsfield(sitk.GetArrayFromImage(sitk.ReadImage(str(file), imageIO="GDCMImageIO"))[0])
