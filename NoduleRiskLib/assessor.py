"""The way in: a CT and points go in, assessments come out; knows about devices, memory and warnings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .errors import InputWarning, NoduleRiskError
from .explain.heatmaps import explain
from .grades import CALCIFICATION_PATTERNS, GRADE_NAMES
from .imaging import input_checks
from .imaging.inputs import as_ct, as_points
from .imaging.interpolated import graded_layout
from .imaging.marked_nodules import Marked, is_segmentation, matched
from .imaging.outline import Outline
from .imaging.outline_checks import check_parts, check_sureness
from .imaging.points import Point
from .imaging.resampling import cut
from .imaging.segmentation_files import as_segments
from .imaging.slice_stack import SliceStack
from .imaging.solid_part import solid_part
from .imaging.volume import Volume, middle_image
from .networks.false_positive_reduction import nodule_probability
from .networks.model_package import SHIPPED, ModelPackage, Networks, load
from .networks.nodule_vit import Encoded, Prediction, average, collate, encode
from .networks.segmentation import REACH_MM, segment
from .results.assessment import Assessment, Calcification, Nodule
from .results.estimates import account, estimates, suspicion_probability
from .similar.pictures import recognised
from .similar.reference_set import SimilarNodule, compared, shipped

#: How many points are outlined and graded at once. On a processor more gain nothing (one, two, four or seven at once
#: took 183 to 195 ms each), and what the graders made of their slices waits in memory until they are explained.
BATCH = 8
#: How CUDA, cuBLAS and cuDNN begin what they say of a GPU that cannot be used, where torch has no class for it.
GPU_TROUBLE = ("CUDA", "cuDNN", "CUBLAS", "HIP", "no kernel image")


@dataclass(frozen=True, eq=False)
class PreparedVolume:
    """A CT that has been looked at once, ready for points.

    Attributes
    ----------
    volume : Volume
    warnings : tuple of InputWarning
        What is unusual about the whole CT.
    """

    volume: Volume
    warnings: tuple[InputWarning, ...]


@dataclass(frozen=True, eq=False)
class MarkedVolume:
    """A CT and what is marked in it, looked at and not refused: what ``Assessor.assess_all`` takes."""

    prepared: PreparedVolume
    marked: Sequence[Marked]


def assess(
    ct: Any,
    points: Any = (),
    *,
    outlines: Any = None,
    heatmaps: bool = True,
    model: ModelPackage | Path | str | None = None,
    device: str = "auto",
) -> list[Assessment]:
    """Grade the nodules under points of a chest CT: one call for scripts and notebooks.

    Parameters
    ----------
    ct : path, SimpleITK.Image, Volume or PreparedVolume
    points : sequence of (r, a, s) or Point, or path
        RAS mm, as 3D Slicer shows them; or a file of points. Or what ``outlines`` takes, where no points are needed.
    outlines : path, SimpleITK.Image, Volume or list of Segment, optional
        Outlines that the user drew, as ``Assessor.assess`` takes them.
    heatmaps : bool
        Whether to explain the grades; takes most of the time.
    model : ModelPackage or path, optional
        Instead of the package that ships.
    device : str
        "auto" takes a GPU if there is one; otherwise a torch device such as "cpu" or "cuda:1".

    Returns
    -------
    list of Assessment
        One per point, in their order, then one per outline without a point.

    Raises
    ------
    NoduleRiskError
        With one sentence, if the CT, a point, the package or the device is at fault.

    Examples
    --------
    >>> from NoduleRiskLib.phantom.chest_ct import chest_ct
    >>> ct, nodules = chest_ct()
    >>> (one,) = assess(ct, [nodules[3].point], heatmaps=False, device="cpu")
    >>> one.nodule.estimate("malignancy").word
    'moderately suspicious'
    """
    return list(Assessor(model, device).assess(ct, points, heatmaps, outlines))


class Assessor:
    """A model package on a device, ready to assess many points on many CTs.

    Parameters
    ----------
    package : ModelPackage, path or None
        ``None`` takes the one that ships.
    device : str
        "auto" takes a GPU if there is one that can be used; otherwise a torch device such as "cpu" or "cuda:1".

    Raises
    ------
    NoduleRiskError
        If the package does not verify, or the device does not exist or cannot be used.
    """

    def __init__(self, package: ModelPackage | Path | str | None = None, device: str = "auto") -> None:
        self.package = package if isinstance(package, ModelPackage) else load(package or SHIPPED)
        self._calibration = self.package.calibration
        self._config = self.package.config
        self._reference = shipped()
        self._device_warnings: tuple[InputWarning, ...] = ()
        wanted = _device(device)
        try:
            self._put_on(wanted)
        except (RuntimeError, torch.cuda.OutOfMemoryError) as error:
            if not _gpu_failed(error, wanted):
                raise
            if device != "auto":
                raise NoduleRiskError(
                    f"{_device_name(wanted)} cannot be used ({_first_line(error)}): choose the device 'cpu', "
                    "or install the PyTorch build that fits this graphics card."
                ) from error
            self._fall_back(error)

    @property
    def device_name(self) -> str:
        """What people call the device in use: "CPU" or the GPU's own name."""
        return _device_name(self._device)

    def prepare(self, ct: Any) -> PreparedVolume:
        """Look at a CT once, so that many calls of ``assess`` need not.

        Parameters
        ----------
        ct : path, SimpleITK.Image, Volume or PreparedVolume

        Raises
        ------
        NoduleRiskError
            If it is not a chest CT in HU.
        """
        if isinstance(ct, PreparedVolume):
            return ct
        volume = as_ct(ct)
        sentences = volume.warnings + input_checks.check_volume(volume)
        if patient := self._reference_patient(volume):
            sentences += (
                f"This CT is {patient} of LIDC, one of the reference nodules' patients: similar nodules are looked for "
                "among the others.",
            )
        return PreparedVolume(volume, tuple(InputWarning(text, "ct") for text in sentences))

    def assess(self, ct: Any, points: Any = (), heatmaps: bool = True, outlines: Any = None) -> Iterator[Assessment]:
        """Outline, grade and explain the nodule under each point, one after the other.

        Parameters
        ----------
        ct : path, SimpleITK.Image, Volume or PreparedVolume
        points : sequence of Point or (r, a, s), or path
            RAS mm. Or what ``outlines`` takes, where no points are needed.
        heatmaps : bool
            Whether to explain the grades; takes most of the time.
        outlines : path, SimpleITK.Image, Volume or list of Segment, optional
            Segments of single nodules on any grid: a label map, Slicer's ``.seg.nrrd``, a DICOM SEG or RTSTRUCT. A
            point in or near a segment is graded at that outline instead of the network's, whichever other points lie
            there; a segment without a point gets one.

        Returns
        -------
        iterator of Assessment
            One per point, in their order, then one per segment without a point, each explained when it is asked for;
            ``BATCH`` of them are outlined and graded at a time. Every one has a nodule; ``Assessment.doubts`` says
            what is doubtful about it. Results do not depend on which other points are assessed with them. Stop
            asking, and the work stops.

        Raises
        ------
        NoduleRiskError
            At once, if the CT cannot be assessed or a point lies outside of it; nothing is assessed then.
        """
        return self._each([self.marked(ct, points, outlines)], heatmaps)

    def marked(self, ct: Any, points: Any = (), outlines: Any = None) -> MarkedVolume:
        """Look at a CT and its points as ``assess`` does, and grade nothing yet.

        Raises
        ------
        NoduleRiskError
            If the CT cannot be assessed or a point lies outside of it.
        """
        if outlines is None and is_segmentation(points):
            points, outlines = (), points
        prepared = self.prepare(ct)
        given = as_points(points, prepared.volume)
        outside = [one.label for one in given if not prepared.volume.contains(np.array(one.ras))]
        if outside:
            # What is odd about the CT, an unknown position for example, may be why.
            why = "".join(f" {text}" for text in prepared.volume.warnings)
            raise NoduleRiskError(
                f"{_listed(outside)} outside the CT: move or remove what is not on the image, then assess again.{why}"
            )
        segments = [] if outlines is None else as_segments(outlines, prepared.volume)
        if not given and outlines is None:
            raise NoduleRiskError("There is no point and no outline: mark at least one nodule.")
        return MarkedVolume(prepared, matched(prepared.volume, given, segments, REACH_MM))

    def assess_all(self, cts: Sequence[MarkedVolume], heatmaps: bool = True) -> list[list[Assessment]]:
        """What ``assess`` says of each of several CTs: ``BATCH`` nodules are graded at a time, whosever they are."""
        each = self._each(cts, heatmaps)
        return [list(islice(each, len(one.marked))) for one in cts]

    def _each(self, cts: Sequence[MarkedVolume], heatmaps: bool) -> Iterator[Assessment]:
        waiting: list[tuple[PreparedVolume, Marked, list[tuple[Point, Outline]]]] = []
        for ct in cts:
            earlier: list[tuple[Point, Outline]] = []
            waiting += [(ct.prepared, one, earlier) for one in ct.marked]
        for begin in range(0, len(waiting), BATCH):
            some = waiting[begin : begin + BATCH]
            graded = self._on_device(self._graded, [prepared.volume for prepared, *_ in some], [one[1] for one in some])
            for (prepared, marked, earlier), (nodule, warnings, encoded) in zip(some, graded, strict=True):
                point = marked.point
                if heatmaps:
                    nodule = self._on_device(self._explained, nodule, encoded)
                warnings += input_checks.check_repetition(point, nodule.outline, earlier)
                earlier.append((point, nodule.outline))
                told = prepared.warnings + self._device_warnings + warnings
                image = middle_image(prepared.volume, nodule.outline.centre_ras)
                yield Assessment(point, told, self.package.model_id, nodule, image, point.tracking_uid)

    def _graded(
        self, volumes: Sequence[Volume], marked: Sequence[Marked]
    ) -> list[tuple[Nodule, tuple[InputWarning, ...], list[Encoded]]]:
        """For each point in its CT its nodule without heatmaps, what is unusual or doubtful, and what explains it."""
        alone = [(volume, one.point.ras) for volume, one in zip(volumes, marked, strict=True) if not one.outline]
        places = np.array([ras for _, ras in alone]).reshape(-1, 3)
        by_network = iter(segment([volume for volume, _ in alone], places, self._networks.segmentation, self._device))
        outlines = [one.outline or next(by_network) for one in marked]
        layout = self._config.layout
        stacks = [
            cut(volume, one.centre_ras, graded_layout(layout, volume), one.bounds_ras, one.probability)
            for volume, one in zip(volumes, outlines, strict=True)
        ]
        likely = nodule_probability(volumes, outlines, self._networks.false_positive, self._device).tolist()
        results = []
        for volume, one, outline, stack, (prediction, encoded), probability in zip(
            volumes, marked, outlines, stacks, self._predict(stacks), likely, strict=True
        ):
            nodule = replace(self._nodule(outline, stack, prediction), solid_part=solid_part(volume, outline))
            nodule = replace(nodule, similar=self._similar(volume, nodule))
            warnings = (
                *input_checks.check_point(volume, one.point),
                *input_checks.check_outline(volume, one.point, outline),
                *input_checks.check_likeness(one.point, probability, self._calibration.likely),
                *check_sureness(one.point, outline, float(prediction.grades[GRADE_NAMES.index("diameter")])),
                *(check_parts(one.point, one.drawn) if one.drawn else ()),
            )
            results.append((nodule, warnings, encoded))
        return results

    @torch.inference_mode()
    def _predict(self, stacks: list[SliceStack]) -> list[tuple[Prediction, list[Encoded]]]:
        """Mean over the graders (CPU tensors without batch axis) and what each made of the slices, for every stack."""
        graders = self._networks.graders
        batch = collate(stacks, graders[0].config).to(self._device)
        encoded = encode(graders, batch)
        mean = Prediction(*(values.cpu() for values in average(graders, batch, encoded)))
        counts = [int(stack.valid.sum()) for stack in stacks]
        each = zip(*(zip(*(values.split(counts) for values in one), strict=True) for one in encoded), strict=True)
        return [
            (Prediction(*(values[i] for values in mean)), [Encoded(*one) for one in own]) for i, own in enumerate(each)
        ]

    def _nodule(self, outline: Outline, stack: SliceStack, prediction: Prediction) -> Nodule:
        graded = [float(value) for value in prediction.grades]
        if not all(map(math.isfinite, (*graded, float(prediction.calcified), *prediction.pattern.tolist()))):
            raise NoduleRiskError(
                f"The model package {self.package.model_id} gives grades that are not numbers, so its weights are bad: "
                "take another package."
            )
        pattern = int(prediction.pattern.argmax())
        calcification = Calcification(
            float(prediction.calcified), CALCIFICATION_PATTERNS[pattern], float(prediction.pattern[pattern])
        )
        told = estimates(self._calibration, graded, outline.diameter_mm)
        return Nodule(
            outline=outline,
            estimates=told,
            calcification=calcification,
            suspicion_probability=suspicion_probability(self._calibration, graded),
            stack=stack,
            repeatability=self._calibration.repeatability_at(outline.diameter_mm),
            account=account(self._calibration, told, calcification),
        )

    def _similar(self, volume: Volume, nodule: Nodule) -> tuple[SimilarNodule, ...]:
        """The LIDC nodules most like it, none of the CT's own patient; empty where there is no reference set."""
        if self._reference is None:
            return ()
        grades = {one.grade.name: one.value for one in nodule.estimates}
        values = compared(grades, nodule.calcification.presence)
        found = self._reference.nearest(values, without=self._reference_patient(volume))
        return recognised(volume, nodule.outline.centre_ras, found, self._reference)

    def _reference_patient(self, volume: Volume) -> str:
        """LIDC's name of the patient, if the CT says that it is one of the reference set's."""
        return self._reference.patient_of(volume.identity.get("SeriesInstanceUID", "")) if self._reference else ""

    def _explained(self, nodule: Nodule, encoded: list[Encoded]) -> Nodule:
        # Of no use once the GPU that holds it has failed.
        kept = encoded if encoded[0].slices.device == self._networks.graders[0].target_mean.device else None
        account = self._calibration.account
        return replace(nodule, heatmaps=explain(self._networks.graders, nodule.stack, account=account, encoded=kept))

    def _on_device(self, work: Any, *arguments: Any) -> Any:
        """Do some work; if the GPU fails, do it and everything after it on the CPU, and say so."""
        try:
            return work(*arguments)
        except (RuntimeError, torch.cuda.OutOfMemoryError) as error:
            if not _gpu_failed(error, self._device):
                raise
            self._fall_back(error)
            return work(*arguments)

    def _fall_back(self, error: Exception) -> None:
        name = "The GPU" if not hasattr(self, "_device") else self.device_name
        why = (
            "ran out of memory"
            if isinstance(error, torch.cuda.OutOfMemoryError)
            else f"cannot be used ({_first_line(error)})"
        )
        self._device_warnings = (InputWarning(f"{name} {why}: assessed on the CPU instead.", "ct"),)
        self._put_on(torch.device("cpu"))
        torch.cuda.empty_cache()

    def _put_on(self, device: torch.device) -> None:
        self._networks: Networks = self.package.networks(device)
        self._device = device


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise NoduleRiskError(f"There is no device {name!r} on this computer: use 'auto' or 'cpu'.") from error
    return device


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def _gpu_failed(error: Exception, device: torch.device) -> bool:
    """Whether an exception is the GPU's fault rather than a bug: torch raises a plain ``RuntimeError`` for many."""
    if device.type == "cpu":
        return isinstance(error, torch.cuda.OutOfMemoryError)
    accelerator_error = getattr(torch, "AcceleratorError", torch.cuda.OutOfMemoryError)
    return isinstance(error, (torch.cuda.OutOfMemoryError, accelerator_error)) or any(
        word in str(error) for word in GPU_TROUBLE
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _listed(labels: Sequence[str]) -> str:
    if len(labels) == 1:
        return f"The point {labels[0]} lies"
    return f"The points {', '.join(labels[:-1])} and {labels[-1]} lie"
