"""The way in: a CT and points go in, assessments come out; knows about devices, memory and warnings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from .assessment import Assessment, Calcification, Estimate
from .attention import explain
from .errors import NoduleRiskError
from .extent import Extent
from .grades import CALCIFICATION_PATTERNS, GRADES
from .locate import locate
from .model import Prediction, collate
from .mosaic import SliceStack, cut
from .package import SHIPPED, ModelPackage, load
from .points import Point
from .volume import Array, Volume

#: Sizes that LIDC's readers graded: beyond them the model guesses.
TRAINED_MM = (3.0, 40.0)
BATCH = 16


class Assessor:
    """A model package on a device, ready to assess many points on many volumes.

    Parameters
    ----------
    package : ModelPackage, path or None
        ``None`` takes the one that ships.
    device : str
        "auto" takes a GPU if there is one; otherwise a torch device such as "cpu" or "cuda:1".

    Raises
    ------
    NoduleRiskError
        If the package does not verify or the device does not exist.
    """

    def __init__(self, package: ModelPackage | Path | str | None = None, device: str = "auto") -> None:
        self.package = package if isinstance(package, ModelPackage) else load(package or SHIPPED)
        self._settings = self.package.calibration
        self._config = self.package.config
        self._put_on(_device(device))

    @property
    def device_name(self) -> str:
        """What people call the device in use: "CPU" or the GPU's own name."""
        return torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else self._device.type.upper()

    def assess(
        self,
        volume: Volume,
        points: Sequence[Point],
        heatmaps: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Assessment]:
        """Locate, cut, grade and explain the nodule under each point.

        Parameters
        ----------
        volume : Volume
            The CT, int16 HU.
        points : sequence of Point
            RAS mm.
        heatmaps : bool
            Whether to say which slices and pixels moved the grades; takes most of the time.
        progress : callable, optional
            Called with (points done, points in all) after each step of the work; may raise to cancel.

        Returns
        -------
        list of Assessment
            One a point, in their order. A point without a nodule has no grades and a warning that says so.
            Results do not depend on which other points are assessed with them.

        Raises
        ------
        NoduleRiskError
            If a point lies outside the volume; nothing is assessed then.
        """
        outside = [point.label for point in points if not volume.contains(np.array(point.ras))]
        if outside:
            raise NoduleRiskError(
                f"{_listed(outside)} outside the CT: move or remove what is not on the image, then assess again."
            )
        try:
            return self._assess(volume, points, heatmaps, progress)
        except torch.cuda.OutOfMemoryError:
            name = self.device_name
            self._put_on(torch.device("cpu"))
            torch.cuda.empty_cache()
            warning = f"{name} ran out of memory: assessed on the CPU instead."
            return [_warned(assessment, warning) for assessment in self._assess(volume, points, heatmaps, progress)]

    def _assess(
        self,
        volume: Volume,
        points: Sequence[Point],
        heatmaps: bool,
        progress: Callable[[int, int], None] | None,
    ) -> list[Assessment]:
        assessments: list[Assessment] = []
        for start in range(0, len(points), BATCH):
            some = points[start : start + BATCH]
            extents = locate(volume, np.array([point.ras for point in some]), self._locators, self._device)
            stacks = [
                cut(volume, extent.centre_ras, self._config.layout, extent.bounds_ras, extent.outline)
                if extent
                else None
                for extent in extents
            ]
            found = [stack for stack in stacks if stack is not None]
            predictions = iter(self._grade(found) if found else [])
            for point, extent, stack in zip(some, extents, stacks, strict=True):
                if extent is None or stack is None:
                    assessments.append(self._nothing(volume, point))
                else:
                    assessments.append(self._assessment(volume, point, extent, stack, next(predictions), heatmaps))
                if progress:
                    progress(len(assessments), len(points))
        return assessments

    @torch.inference_mode()
    def _grade(self, stacks: list[SliceStack]) -> list[Prediction]:
        """Mean over the graders, one prediction a stack (CPU tensors without batch axis)."""
        batch = collate(stacks).to(self._device)
        each = [grader(batch) for grader in self._graders]
        mean = Prediction(*(torch.stack(values).mean(0).cpu() for values in zip(*each, strict=True)))
        return [Prediction(*(values[i] for values in mean)) for i in range(len(stacks))]

    def _assessment(
        self, volume: Volume, point: Point, extent: Extent, stack: SliceStack, prediction: Prediction, heatmaps: bool
    ) -> Assessment:
        estimates = tuple(self._estimate(g, float(value)) for g, value in enumerate(prediction.grades))
        pattern = int(prediction.pattern.argmax())
        intercept, slope = self._settings.suspicion
        return Assessment(
            label=point.label,
            point_ras=point.ras,
            extent=extent,
            estimates=estimates,
            calcification=Calcification(
                float(prediction.calcified), CALCIFICATION_PATTERNS[pattern], float(prediction.pattern[pattern])
            ),
            suspicion_probability=1 / (1 + math.exp(-intercept - slope * float(prediction.grades[-1]))),
            stack=stack,
            heatmaps=explain(self._graders, stack) if heatmaps else {},
            warnings=volume.warnings + _warnings(volume, point, extent),
            model_id=self.package.model_id,
        )

    def _estimate(self, g: int, value: float) -> Estimate:
        grade = GRADES[g]
        value = grade.clip(value)
        low, high = self._settings.interval[grade.name]
        ends = (value * 2**low, value * 2**high) if grade.logarithmic else (value + low, value + high)
        levels = self._settings.reference[grade.name]
        # Many nodules share one grade: their middle stands for them.
        below, upto = np.searchsorted(levels, [value, value], "left")[0], np.searchsorted(levels, value, "right")
        percentile = float((below + upto) / 2 / len(levels) * 100)
        return Estimate(grade, value, grade.clip(ends[0]), grade.clip(ends[1]), percentile)

    def _nothing(self, volume: Volume, point: Point) -> Assessment:
        warning = f"No nodule was found under {point.label}: if you see one there, put the point nearer to its middle."
        return Assessment(
            point.label, point.ras, None, warnings=(*volume.warnings, warning), model_id=self.package.model_id
        )

    def _put_on(self, device: torch.device) -> None:
        self._device = device
        self._graders, self._locators = self.package.networks(device)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise NoduleRiskError(f"There is no device {name!r} on this computer: use 'auto' or 'cpu'.") from error
    return device


def _warnings(volume: Volume, point: Point, extent: Extent) -> tuple[str, ...]:
    """One sentence for everything that makes the grades of this nodule less sure than usual."""
    found = []
    corners = volume.to_ijk(extent.outline.to_ras(_corners(extent.outline.array > 0.5)))
    size = np.array(volume.array.shape[::-1])
    if (corners.min(0) < 0.6).any() or (corners.max(0) > size - 1.6).any():
        found.append(
            f"The nodule under {point.label} reaches the edge of the scan: beyond it, size and grades are unknown."
        )
    if not TRAINED_MM[0] <= extent.diameter_mm <= TRAINED_MM[1]:
        found.append(
            f"The nodule under {point.label} measures {extent.diameter_mm:.1f} mm; "
            f"the model knows nodules of {TRAINED_MM[0]:.0f} to {TRAINED_MM[1]:.0f} mm."
        )
    return tuple(found)


def _corners(inside: Array) -> Array:
    """The voxels (i, j, k) at the ends of a mask along each of its axes."""
    at = np.argwhere(inside)[:, ::-1]
    return at[np.concatenate([at.argmin(0), at.argmax(0)])]


def _listed(labels: Sequence[str]) -> str:
    if len(labels) == 1:
        return f"The point {labels[0]} lies"
    return f"The points {', '.join(labels[:-1])} and {labels[-1]} lie"


def _warned(assessment: Assessment, warning: str) -> Assessment:
    from dataclasses import replace

    return replace(assessment, warnings=(*assessment.warnings, warning))
