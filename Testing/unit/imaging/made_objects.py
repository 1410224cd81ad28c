"""DICOM objects that tests and fuzzing make as other tools write them: RTSTRUCT, SEG and TID 1500 reports on one CT."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from NoduleRiskLib.imaging.dicom_facts import DicomFacts, DicomSlice
from NoduleRiskLib.imaging.volume import LPS_TO_RAS, Array, Volume

FRAME_UID, PATIENT, STUDY_UID, SERIES_UID = "1.2.826.0.1.7", "P-17", "1.2.826.0.1.5", "1.2.826.0.1.6"
RTSTRUCT, SEG, SR = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"
SHAPE = (14, 40, 44)


def made_ct(frame: Array, frame_uid: str = FRAME_UID, patient: str = PATIENT) -> Volume:
    """A CT of nothing with these axes (3, 3), as if it had been read from DICOM."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = frame, (-31.3, 12.7, -140.2)
    slices = {k: DicomSlice(k + 1, f"{SERIES_UID}.{k + 1}") for k in range(SHAPE[0])}
    return Volume(
        np.zeros(SHAPE, np.int16),
        matrix,
        "ct",
        dicom=DicomFacts(slices=slices, frame_uid=frame_uid, study={"PatientID": patient}),
    )


def ball(volume: Volume, kji: Sequence[float], radius_mm: float) -> Array:
    """Bool (K, J, I): the voxels of a ball around a voxel."""
    places = volume.to_ras(np.stack(np.indices(volume.array.shape)[::-1], -1))
    return np.asarray(np.linalg.norm(places - volume.to_ras(np.array(kji[::-1])), axis=-1) < radius_mm)


def lps(volume: Volume, ijk: Array) -> list[float]:
    """Flat LPS millimetres of continuous voxel indices (N, 3), as DICOM writes them: with a few digits."""
    return [round(float(x), 4) for x in (volume.to_ras(ijk) * np.diag(LPS_TO_RAS)[:3]).ravel()]


def contours(volume: Volume, mask: Array) -> list[tuple[str, list[float]]]:
    """The closed contours around a mask, slice by slice."""
    from skimage.measure import find_contours

    found = []
    for k, one in enumerate(mask):
        for line in find_contours(np.pad(one.astype(float), 1), 0.5):
            ijk = np.column_stack([line[:-1, 1] - 1, line[:-1, 0] - 1, np.full(len(line) - 1, k)])
            found.append(("CLOSED_PLANAR", lps(volume, ijk)))
    return found


def structure_set(
    regions: Mapping[str, Sequence[tuple[str, list[float]]]], frame_uid: str = FRAME_UID, patient: str = PATIENT
) -> Dataset:
    """An RTSTRUCT of regions: for each its name and contours (geometric type, LPS mm)."""
    made = _object(RTSTRUCT, "RTSTRUCT", patient)
    made.StructureSetLabel = "test"
    made.StructureSetROISequence = [
        _with(ROINumber=number, ReferencedFrameOfReferenceUID=frame_uid, ROIName=name)
        for number, name in enumerate(regions, 1)
    ]
    made.ROIContourSequence = [
        _with(
            ReferencedROINumber=number,
            ContourSequence=[
                _with(ContourGeometricType=kind, NumberOfContourPoints=len(data) // 3, ContourData=data)
                for kind, data in each
            ],
        )
        for number, each in enumerate(regions.values(), 1)
    ]
    return made


def report(*groups: Sequence[Dataset], patient: str = PATIENT) -> Dataset:
    """A TID 1500 report with one measurement group for each sequence of content items."""
    made = _object(SR, "SR", patient)
    made.ValueType, made.ConceptNameCodeSequence = "CONTAINER", [code("126000", "Imaging Measurement Report")]
    made.ContinuityOfContent = "SEPARATE"
    each = [_container("125007", "Measurement Group", items) for items in groups]
    made.ContentSequence = [_container("126010", "Imaging Measurements", each)]
    return made


def tracking(name: str) -> Dataset:
    """What a measurement group calls its nodule."""
    return _with(
        RelationshipType="HAS OBS CONTEXT",
        ValueType="TEXT",
        ConceptNameCodeSequence=[code("112039", "Tracking Identifier")],
        TextValue=name,
    )


def place_3d(kind: str, data: Sequence[float], frame_uid: str = FRAME_UID) -> Dataset:
    """A place in LPS mm."""
    return _with(
        RelationshipType="CONTAINS",
        ValueType="SCOORD3D",
        ConceptNameCodeSequence=[code("111030", "Image Region")],
        GraphicType=kind,
        GraphicData=list(data),
        ReferencedFrameOfReferenceUID=frame_uid,
    )


def place_2d(kind: str, data: Sequence[float], sop_uid: str) -> Dataset:
    """A place on one image: columns and rows from the corner of its first pixel."""
    image = _with(
        RelationshipType="SELECTED FROM",
        ValueType="IMAGE",
        ReferencedSOPSequence=[
            _with(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=sop_uid)
        ],
    )
    return _with(
        RelationshipType="CONTAINS",
        ValueType="SCOORD",
        ConceptNameCodeSequence=[code("111030", "Image Region")],
        GraphicType=kind,
        GraphicData=list(data),
        ContentSequence=[image],
    )


def measured(*places: Dataset) -> Dataset:
    """A measurement that was taken at places (TID 300)."""
    return _with(
        RelationshipType="CONTAINS",
        ValueType="NUM",
        ConceptNameCodeSequence=[code("103339001", "Long Axis", "SCT")],
        MeasuredValueSequence=[
            _with(NumericValue="7.5", MeasurementUnitsCodeSequence=[code("mm", "mm", "UCUM")]),
        ],
        ContentSequence=list(places),
    )


def code(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    """A coded concept."""
    return _with(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def segmentation(volume: Volume, masks: Mapping[str, Array]) -> Dataset:
    """A binary SEG of masks on the CT's grid, made by highdicom."""
    import highdicom
    from pydicom.sr.codedict import codes

    description = [
        highdicom.seg.SegmentDescription(
            number,
            label,
            codes.SCT.MorphologicallyAbnormalStructure,
            codes.SCT.Nodule,
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, label in enumerate(masks, 1)
    ]
    return highdicom.seg.Segmentation(
        source_images(volume),
        np.stack(list(masks.values()), -1).astype(np.uint8),
        highdicom.seg.SegmentationTypeValues.BINARY,
        description,
        generate_uid(),
        1,
        generate_uid(),
        1,
        "test",
        "test",
        "1",
        "1",
    )


def source_images(volume: Volume) -> list[Dataset]:
    """The CT slices that a SEG refers to."""
    to_lps = LPS_TO_RAS @ volume.ijk_to_ras
    told = volume.dicom or DicomFacts(frame_uid=FRAME_UID)
    images = []
    for k in range(len(volume.array)):
        image = _object("1.2.840.10008.5.1.4.1.1.2", "CT", told.study.get("PatientID", PATIENT))
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{SERIES_UID}.{k + 1}"
        image.SeriesInstanceUID, image.FrameOfReferenceUID = (
            SERIES_UID,
            told.frame_uid,
        )
        image.StudyTime, image.InstanceNumber, image.SeriesNumber = "", k + 1, 1
        image.Rows, image.Columns = volume.array.shape[1:]
        image.PixelSpacing = [float(volume.spacing_mm[1]), float(volume.spacing_mm[0])]
        image.SliceThickness = float(volume.spacing_mm[2])
        axes = to_lps[:3, :2] / volume.spacing_mm[:2]
        image.ImageOrientationPatient = axes.T.ravel().tolist()
        image.ImagePositionPatient = (to_lps @ (0, 0, k, 1))[:3].tolist()
        images.append(image)
    return images


def as_bytes(dataset: Dataset) -> bytes:
    """The object as a file."""
    with io.BytesIO() as stream:
        pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
        return stream.getvalue()


def _object(class_uid: str, modality: str, patient: str) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = class_uid, generate_uid()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = class_uid, made.file_meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality = STUDY_UID, generate_uid(), modality
    made.PatientID, made.PatientName, made.PatientBirthDate, made.PatientSex = patient, "Doe^Jane", "", ""
    made.StudyID, made.StudyDate, made.AccessionNumber, made.ReferringPhysicianName = "1", "", "", ""
    return made


def _container(value: str, meaning: str, items: Sequence[Dataset]) -> Dataset:
    return _with(
        RelationshipType="CONTAINS",
        ValueType="CONTAINER",
        ConceptNameCodeSequence=[code(value, meaning)],
        ContinuityOfContent="SEPARATE",
        ContentSequence=list(items),
    )


def _with(**elements: Any) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made
