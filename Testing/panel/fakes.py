"""An assessor without torch, and a scan with nodules: what tests of scene and panel hand in."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from NoduleRiskLib.errors import InputWarning, NoduleRiskError
from NoduleRiskLib.explain.heatmap import Heatmap
from NoduleRiskLib.grades import GRADES, OTHER_GRADES
from NoduleRiskLib.imaging.outline import Outline, measure, users_outline
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.segment import Segment
from NoduleRiskLib.imaging.segmentation_files import as_segments
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.results.assessment import Assessment, Calcification, Estimate, Nodule
from NoduleRiskLib.results.nodule import Account, Term
from NoduleRiskLib.similar.reference_set import SimilarNodule

LAYOUT = Layout("native", slices=15, pixels=32, pixel_mm=0.8)
RADIUS_MM = 5.0
MODEL_ID = "fake@0123456789ab"
CT_WARNING = InputWarning("The lungs of this CT are empty boxes.", "ct")
SIMILAR = SimilarNodule(
    "P1_0", {**{grade.name: 3.0 for grade in GRADES}, "diameter": 12.5, "malignancy": 13 / 3}, 0.0, (4, 4, 5)
)
DOUBT, DOUBT_SENTENCE = "vessel?", "What lies there looks more like a vessel than a nodule."
GPU_WARNING = InputWarning("FakeGPU 9000 ran out of memory: assessed on the CPU instead.", "ct")
#: Nodules of ``lungs()``, RAS mm.
PLACES = ((-16.0, -6.0, 2.0), (14.0, 4.0, -8.0), (-2.0, 10.0, 9.0))
AXIAL = np.array([[-0.8, 0, 0, 26.0], [0, -0.8, 0, 26.0], [0, 0, 1.5, -24.0], [0, 0, 0, 1]])


def lungs(ijk_to_ras: Array = AXIAL, places: Sequence[Sequence[float]] = PLACES) -> Volume:
    """Air-filled lung with solid balls of ``RADIUS_MM`` at ``places``, on 64 x 64 x 32 voxels."""
    k, j, i = np.mgrid[0:32, 0:64, 0:64]
    ras = np.stack([i, j, k], -1) @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]
    hu = np.full(k.shape, -850, np.int16)
    for place in places:
        hu[np.linalg.norm(ras - np.array(place), axis=-1) < RADIUS_MM] = 30
    return Volume(hu, ijk_to_ras, "lungs")


class FakeAssessor:
    """Finds what is denser than lung, grades by size, and points its heatmaps at the nodule's middle.

    Attributes
    ----------
    gate : threading.Event
        Every nodule waits for it: cleared, a test can look at the panel in the middle of the work.
    error : Exception or None
        Raised instead of any work.
    asked : list of str
        Labels of all points that were assessed, or begun to be.
    gpu_fails_at : int
        From that many assessments on, they come with ``GPU_WARNING``, from the CPU.
    doubtful : set of str
        Labels of points that come with ``DOUBT``.
    """

    device_name = "FakeGPU 9000"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.gpu_fails_at = 10**9
        self.doubtful: set[str] = set()
        self.similar: tuple[SimilarNodule, ...] = ()

    def prepare(self, ct: Volume) -> Volume:
        """Nothing to look at."""
        return ct

    def assess(
        self,
        volume: Volume,
        points: Sequence[Point] = (),
        heatmaps: bool = True,
        outlines: Sequence[Segment] | None = None,
    ) -> Iterator[Assessment]:
        """Checks all points at once, then yields one assessment after the other, as the real one does."""
        if self.error:
            raise self.error
        outside = [point.label for point in points if not volume.contains(np.array(point.ras))]
        if outside:
            raise NoduleRiskError(f"The point {outside[0]} lies outside the CT.")
        drawn = [(one.label, users_outline(volume, one.mask)) for one in as_segments(outlines)] if outlines else []
        of_user = [(Point(label, tuple(outline.centre_ras.tolist())), outline) for label, outline in drawn]
        return self._each(volume, [*((point, None) for point in points), *of_user], heatmaps)

    def _each(
        self, volume: Volume, wanted: Sequence[tuple[Point, Outline | None]], heatmaps: bool
    ) -> Iterator[Assessment]:
        for point, drawn in wanted:
            self.asked.append(point.label)
            self.gate.wait(20)
            assessment = self._assess(volume, point, drawn, heatmaps)
            if len(self.asked) >= self.gpu_fails_at:
                self.device_name = "CPU"
                assessment = replace(assessment, warnings=(GPU_WARNING, *assessment.warnings))
            yield assessment

    def _assess(self, volume: Volume, point: Point, drawn: Outline | None, heatmaps: bool) -> Assessment:
        whole = cut(volume, np.array(point.ras), LAYOUT)
        distance = np.linalg.norm(whole.pixels_ras() - np.array(point.ras), axis=-1)
        outline = drawn or measure(whole, np.where((whole.pixels > -400) & (distance < 2 * RADIUS_MM), 0.9, 0.0))
        if outline is None:
            warning = InputWarning(f"No nodule was found under {point.label}.", "nodule")
            return Assessment(point, (CT_WARNING, warning), MODEL_ID)
        stack = cut(volume, outline.centre_ras, LAYOUT, outline.bounds_ras, outline.probability)
        size = min(outline.diameter_mm / 20, 1)
        estimates = []
        for n, grade in enumerate(GRADES):
            value = outline.diameter_mm if grade.unit else grade.low + (grade.high - grade.low) * size * (n + 3) / 12
            estimates.append(
                Estimate(grade, value, grade.clip(value * 0.8), grade.clip(value * 1.15), min(99.0, 8.0 * n + 30))
            )
        nodule = Nodule(
            outline=outline,
            estimates=tuple(estimates),
            calcification=Calcification(0.08, "central", 0.6),
            suspicion_probability=0.37,
            account=Account(-1.0, tuple(Term(one, 2.0, 0.3 * n - 1) for n, one in enumerate(OTHER_GRADES))),
            similar=self.similar,
            stack=stack,
            heatmaps={g.name: self._heatmap(stack, outline.centre_ras, n) for n, g in enumerate(GRADES)}
            if heatmaps
            else {},
        )
        sentences = (f"The nodule under {point.label} is made up.", "So are its grades.")
        doubts = (InputWarning(DOUBT_SENTENCE, "nodule", DOUBT),) if point.label in self.doubtful else ()
        warnings = (CT_WARNING, *(InputWarning(sentence, "nodule") for sentence in sentences), *doubts)
        return Assessment(point, warnings, MODEL_ID, nodule)

    @staticmethod
    def _heatmap(stack, centre: Array, n: int) -> Heatmap:
        weights = np.where(stack.valid, np.exp(-((stack.offset_mm / (3 + n)) ** 2)), 0).astype(np.float32)
        near = np.exp(-np.sum((stack.pixels_ras() - centre) ** 2, -1) / (20 + 4 * n)).astype(np.float32)
        near = near[stack.valid] / np.maximum(near[stack.valid].max((1, 2), keepdims=True), 1e-6)
        return Heatmap(weights * (0.2 + 0.1 * n), stack.valid, near)
