"""The way in: a CT and points go in, assessments come out; knows about devices, memory and warnings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from .errors import NoduleRiskError
from .explain.heatmaps import explain
from .grades import CALCIFICATION_PATTERNS, GRADE_NAMES, GRADES, Grade
from .imaging import input_checks
from .imaging.outline import Outline
from .imaging.points import Point
from .imaging.resampling import cut
from .imaging.slice_stack import SliceStack
from .imaging.volume import Volume
from .networks.false_positive_reduction import nodule_probability
from .networks.model_package import SHIPPED, ModelPackage, load
from .networks.nodule_vit import Prediction, average, collate
from .networks.segmentation import segment
from .results.assessment import Assessment, Calcification, Estimate

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
        general = volume.warnings + input_checks.check_volume(volume)
        try:
            return self._assess(volume, points, heatmaps, progress, general)
        except torch.cuda.OutOfMemoryError:
            name = self.device_name
            self._put_on(torch.device("cpu"))
            torch.cuda.empty_cache()
            general += (f"{name} ran out of memory: assessed on the CPU instead.",)
            return self._assess(volume, points, heatmaps, progress, general)

    def _assess(
        self,
        volume: Volume,
        points: Sequence[Point],
        heatmaps: bool,
        progress: Callable[[int, int], None] | None,
        general: tuple[str, ...],
    ) -> list[Assessment]:
        assessments: list[Assessment] = []
        for start in range(0, len(points), BATCH):
            some = points[start : start + BATCH]
            outlines = segment(
                volume, np.array([point.ras for point in some]), self._networks.segmentation, self._device
            )
            stacks = [
                cut(volume, outline.centre_ras, self._config.layout, outline.bounds_ras, outline.probability)
                if outline
                else None
                for outline in outlines
            ]
            found = [stack for stack in stacks if stack is not None]
            centres = np.array([outline.centre_ras for outline in outlines if outline]).reshape(-1, 3)
            likely = iter(nodule_probability(volume, centres, self._networks.false_positive, self._device).tolist())
            predictions = iter(self._grade(found) if found else [])
            for point, outline, stack in zip(some, outlines, stacks, strict=True):
                warnings = general + input_checks.check_point(volume, point)
                if outline is None or stack is None:
                    assessments.append(self._nothing(point, warnings))
                else:
                    warnings += input_checks.check_outline(volume, point, outline) + input_checks.check_likeness(
                        point, next(likely)
                    )
                    assessments.append(self._assessment(point, outline, stack, next(predictions), heatmaps, warnings))
                if progress:
                    progress(len(assessments), len(points))
        return assessments

    @torch.inference_mode()
    def _grade(self, stacks: list[SliceStack]) -> list[Prediction]:
        """Mean over the graders, one prediction a stack (CPU tensors without batch axis)."""
        mean = average(self._networks.graders, collate(stacks).to(self._device))
        mean = Prediction(*(values.cpu() for values in mean))
        return [Prediction(*(values[i] for values in mean)) for i in range(len(stacks))]

    def _assessment(
        self,
        point: Point,
        outline: Outline,
        stack: SliceStack,
        prediction: Prediction,
        heatmaps: bool,
        warnings: tuple[str, ...],
    ) -> Assessment:
        values = [float(value) for value in prediction.grades]
        pattern = int(prediction.pattern.argmax())
        intercept, slope = self._settings.suspicion
        diameter_mm = values[GRADE_NAMES.index("diameter")]
        return Assessment(
            label=point.label,
            point_ras=point.ras,
            outline=outline,
            estimates=tuple(self._estimate(*one, diameter_mm) for one in zip(GRADES, values, strict=True)),
            calcification=Calcification(
                float(prediction.calcified), CALCIFICATION_PATTERNS[pattern], float(prediction.pattern[pattern])
            ),
            suspicion_probability=1 / (1 + math.exp(-intercept - slope * values[GRADE_NAMES.index("malignancy")])),
            stack=stack,
            heatmaps=explain(self._networks.graders, stack) if heatmaps else {},
            warnings=warnings,
            model_id=self.package.model_id,
        )

    def _estimate(self, grade: Grade, value: float, diameter_mm: float) -> Estimate:
        value = grade.clip(value)
        low, high = self._settings.interval_at(grade.name, diameter_mm)
        ends = (value * 2**low, value * 2**high) if grade.logarithmic else (value + low, value + high)
        levels = self._settings.reference[grade.name]
        # Many nodules share one grade: their middle stands for them.
        rank = np.mean([np.searchsorted(levels, value, side) for side in ("left", "right")])
        return Estimate(grade, value, grade.clip(ends[0]), grade.clip(ends[1]), float(100 * rank / len(levels)))

    def _nothing(self, point: Point, warnings: tuple[str, ...]) -> Assessment:
        warning = f"No nodule was found under {point.label}: if you see one there, put the point nearer to its middle."
        return Assessment(point.label, point.ras, None, warnings=(*warnings, warning), model_id=self.package.model_id)

    def _put_on(self, device: torch.device) -> None:
        self._device = device
        self._networks = self.package.networks(device)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise NoduleRiskError(f"There is no device {name!r} on this computer: use 'auto' or 'cpu'.") from error
    return device


def _listed(labels: Sequence[str]) -> str:
    if len(labels) == 1:
        return f"The point {labels[0]} lies"
    return f"The points {', '.join(labels[:-1])} and {labels[-1]} lie"
