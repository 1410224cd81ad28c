"""What lies inside closed polygons, on a grid of pixels."""

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
            polygon = np.reshape(flat, (-1, 2))
            inside = filled(polygon, height, width)
            inside[polygon[:, 1], polygon[:, 0]] = False
            mask[k] = mask[k] | inside if included else mask[k] & ~inside
    return masks


def filled(polygon: Array, height: int, width: int) -> Array:
    """Which pixel centres lie inside a closed polygon, by the even-odd rule.

    Parameters
    ----------
    polygon : ndarray, shape (N, 2)
        Corners (x, y) in pixels; the centre of the first pixel is (0, 0). The last corner is joined to the first.
    height, width : int

    Returns
    -------
    ndarray of bool, shape (height, width)
    """
    x0, y0 = np.asarray(polygon, np.float64).T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    # An edge crosses the rows from its lower end on, up to and without its upper one.
    first, beyond = (np.clip(np.ceil(end(y0, y1)), 0, height).astype(int) for end in (np.minimum, np.maximum))
    count = beyond - first
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    at = x0[edge] + (row - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    crossings = np.zeros((height, width + 1), int)
    np.add.at(crossings, (row, np.clip(np.ceil(at), 0, width).astype(int)), 1)
    # A pixel is inside if a ray to its right meets an odd number of edges.
    to_the_right = np.cumsum(crossings[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return np.asarray(to_the_right % 2 == 1)
