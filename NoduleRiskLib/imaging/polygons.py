"""A synthetic chest CT whose nodules have the shapes that LIDC readers drew: what demo, tests and Sample Data open."""

from __future__ import annotations

import numpy as np

from .volume import Array


def drawn(readers: list[list[list[int]]]) -> Array:
    """Each reader's outline, bool (reader, slice, row, column), from polygons as ``phantom_nodules.json`` keeps them.

    A polygon runs through the first pixels outside the nodule, so its own pixels do not count.
    """
    contours = [contour for reader in readers for contour in reader]
    depth = max(contour[0] for contour in contours) + 1
    width = max(max(contour[2::2]) for contour in contours) + 1
    height = max(max(contour[3::2]) for contour in contours) + 1
    masks = np.zeros((len(readers), depth, height, width), bool)
    for mask, reader in zip(masks, readers, strict=True):
        for k, included, *flat in sorted(reader, key=lambda contour: -contour[1]):
            filled = _filled(np.reshape(flat, (-1, 2)), height, width)
            mask[k] = mask[k] | filled if included else mask[k] & ~filled
    return masks


def _filled(polygon: Array, height: int, width: int) -> Array:
    """Pixels strictly inside a polygon of (x, y) corners, bool (height, width)."""
    x0, y0 = polygon.T[:, None, :]
    x1, y1 = np.roll(polygon, -1, axis=0).T[:, None, :]
    rows, columns = np.arange(height)[:, None], np.arange(width)
    crossed = (y0 <= rows) != (y1 <= rows)
    at = x0 + (rows - y0) * (x1 - x0) / np.where(y1 == y0, 1, y1 - y0)
    filled = (crossed[..., None] & (at[..., None] > columns)).sum(1) % 2 == 1
    filled[polygon[:, 1], polygon[:, 0]] = False
    return np.asarray(filled)
