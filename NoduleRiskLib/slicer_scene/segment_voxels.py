"""The voxels of a segment: read out of a segmentation node with their place, put into one, and told from others."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..errors import NoduleRiskError
from ..imaging.volume import Array, Volume
from .inputs import Node
from .placement import placement

#: The same voxels lie closer than this, though files keep their place with few digits.
SAME_PLACE_MM = 0.05
#: No distance needs to be known to the voxel from here on.
FAR_MM = 10.0


@dataclass(frozen=True, eq=False)
class SegmentVoxels:
    """A copy of the voxels of a segment that holds some.

    Attributes
    ----------
    mask : Volume
        uint8, 1 inside, on a box around the segment; ``ijk_to_ras`` takes its voxels to world RAS mm.
    own_place : str
        ``fingerprint`` in the segmentation's own frame: a transform above it changes nothing.
    place : str
        ``fingerprint`` in the world.
    """

    mask: Volume
    own_place: str
    place: str

    def distance_mm(self, ras: tuple[float, float, float]) -> float:
        """From a place (world RAS mm) to the nearest voxel's centre; to the box around all, where that is far."""
        low, high = self._centres_ras.min(0), self._centres_ras.max(0)
        to_box = float(np.linalg.norm(np.maximum(np.maximum(low - ras, ras - high), 0)))
        # A list of points asks for all of them while one is dragged.
        return to_box if to_box > FAR_MM else float(np.linalg.norm(self._centres_ras - ras, axis=1).min())

    def middle_ras(self) -> tuple[float, float, float]:
        """The voxel's centre (world RAS mm) that lies nearest to the centroid: in the segment, whatever its shape."""
        centres = self._centres_ras
        r, a, s = centres[np.linalg.norm(centres - centres.mean(0), axis=1).argmin()].tolist()
        return r, a, s

    @cached_property
    def _centres_ras(self) -> Array:
        return self.mask.to_ras(np.argwhere(self.mask.array)[:, ::-1])


class SegmentReader:
    """Reads segments, each once for as long as nobody changes it."""

    def __init__(self) -> None:
        self._boxes: dict[str, tuple[Any, list[Any]]] = {}
        self._read: dict[tuple[str, str], tuple[Any, SegmentVoxels]] = {}

    def width_mm(self, node: Node, segment_id: str) -> float | None:
        """The longest side (mm) of a segment's box, without reading its voxels; ``None`` if it has none."""
        image, box = self._box(node, segment_id)
        if box is None:
            return None
        return max((one.stop - one.start) * mm for one, mm in zip(box[::-1], image.GetSpacing(), strict=True))

    def read(self, node: Node, segment_id: str, frame: Array, anew: bool = False) -> SegmentVoxels | None:
        """A segment's voxels; ``None`` if it is empty or has no binary label map.

        Parameters
        ----------
        node : vtkMRMLSegmentationNode
        segment_id : str
        frame : ndarray, shape (4, 4)
            ``to_world`` of the segmentation.
        anew : bool
            Whether to read it though nobody said that it was changed.
        """
        image, box = self._box(node, segment_id, anew)
        if box is None:
            return None
        segment = node.GetSegmentation().GetSegment(segment_id)
        state = image.GetMTime(), segment.GetMTime(), segment.GetLabelValue(), frame.tobytes()
        key = node.GetID(), segment_id
        if anew or key not in self._read or self._read[key][0] != state:
            self._read[key] = state, _voxels(image, box, segment.GetLabelValue(), frame)
        return self._read[key][1]

    def forget(self) -> None:
        """Another scene may use the same IDs."""
        self._boxes.clear()
        self._read.clear()

    def _box(self, node: Node, segment_id: str, anew: bool = False) -> tuple[Any, tuple[slice, ...] | None]:
        """A segment's image, and where in that its voxels are."""
        from scipy import ndimage

        segment = node.GetSegmentation().GetSegment(segment_id)
        image, label = segment.GetRepresentation(binary_labelmap()), segment.GetLabelValue()
        if image is None:
            return None, None
        # Many segments share one image: it is searched once for all of them.
        key, changed = image.GetAddressAsString(""), max(image.GetMTime(), segment.GetMTime())
        if anew or key not in self._boxes or self._boxes[key][0].GetMTime() < changed:
            labels, now = _array(image), vtk.vtkTimeStamp()
            now.Modified()
            whole = labels if labels.dtype.kind in "iub" else labels.astype(np.int32)
            self._boxes[key] = now, ndimage.find_objects(whole) if labels.size else []
        boxes = self._boxes[key][1]
        return image, boxes[label - 1] if 0 < label <= len(boxes) else None


def fingerprint(inside: Array, to_mm: Array) -> str:
    """Which voxels a mask holds, as a hash, and where (mm) the first, the middle and the last of them lie.

    Parameters
    ----------
    inside : ndarray, shape (K, J, I)
    to_mm : ndarray, shape (4, 4)
        Takes voxel indices (i, j, k) to mm.
    """
    kji = np.argwhere(inside)
    # Voxels relative to the first: the image may be cut to another box around them.
    shape = hashlib.sha256((kji - kji.min(0)).astype(np.int32).tobytes()).hexdigest()[:16]
    places = np.stack([kji[0], kji.mean(0), kji[-1]])[:, ::-1] @ to_mm[:3, :3].T + to_mm[:3, 3]
    return " ".join([shape, *(f"{x:.3f}" for x in places.ravel())])


def same(one: str, other: str) -> bool:
    """Whether two fingerprints (or nothing) are those of the same voxels in the same place."""
    (shape, *places), (other_shape, *others) = (text.split() or [""] for text in (one, other))
    try:
        return shape == other_shape and math.dist(map(float, places), map(float, others)) <= 3 * SAME_PLACE_MM
    # Scenes are files that people edit; in doubt it was drawn by the user.
    except ValueError:
        return False


def to_world(node: Node, ct: Node) -> Array:
    """From a segmentation's own frame to world RAS mm, shape (4, 4).

    Under the CT's own transform a segmentation lies as the CT does, also under the grid that ``placement`` sees
    through.

    Raises
    ------
    NoduleRiskError
        If it lies under another transform that is not linear.
    """
    parent = node.GetParentTransformNode()
    if node.GetTransformNodeID() == ct.GetTransformNodeID():
        return placement(ct)[0] @ np.linalg.inv(ijk_to_own(ct))
    if parent and not parent.IsTransformToWorldLinear():
        raise NoduleRiskError(
            f"{node.GetName()} lies under a non-linear transform ({parent.GetName()}) that bends it: take it out of "
            "that transform (Data module, Transform Hierarchy)."
        )
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(parent, None, matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def ijk_to_own(ct: Node) -> Array:
    """A volume's voxels to its own frame, without its transforms, shape (4, 4)."""
    matrix = vtk.vtkMatrix4x4()
    ct.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def labelmap(mask: Volume, ct: Node, node: Node, label: int = 1) -> Any:
    """A mask that lies on a CT's grid as vtkOrientedImageData in a segmentation's own frame, voxel for voxel.

    On the CT's grid a segment stays as it is when a scene is saved, and is what the Segment Editor draws on.
    """
    to_ras, _ = placement(ct)
    first = np.rint(np.linalg.inv(to_ras) @ mask.ijk_to_ras[:, 3])[:3].astype(int)
    image = slicer.vtkOrientedImageData()
    size = mask.array.shape[::-1]
    image.SetExtent(*(int(n) for a, b in zip(first, size, strict=True) for n in (a, a + b - 1)))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    _array(image)[:] = mask.array * label
    own = np.linalg.inv(to_world(node, ct)) @ to_ras
    # To the digit the CT's own, where both lie in one frame: Slicer compares geometries.
    own = ijk_to_own(ct) if np.allclose(own, ijk_to_own(ct), atol=1e-6) else own
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(own))
    return image


def binary_labelmap() -> str:
    """Slicer's name of the representation of segments that is made of voxels."""
    return str(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())


def _array(image: Any) -> Array:
    """A label map's own voxels, ``[k, j, i]``."""
    scalars = image.GetPointData().GetScalars()
    columns, rows, slices = image.GetDimensions()
    if scalars is None or min(columns, rows, slices) < 1:
        return np.zeros((0, 0, 0), np.uint8)
    return vtk_to_numpy(scalars).reshape(slices, rows, columns)


def _voxels(image: Any, box: tuple[slice, ...], label: int, frame: Array) -> SegmentVoxels:
    inside = (_array(image)[box] == label).astype(np.uint8)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    own = slicer.util.arrayFromVTKMatrix(matrix)
    own[:3, 3] += own[:3, :3] @ (np.array(image.GetExtent()[::2]) + [one.start for one in box[::-1]])
    mask = Volume(inside, frame @ own, "segment")
    return SegmentVoxels(mask, fingerprint(inside, own), fingerprint(inside, mask.ijk_to_ras))
