"""A slice stack laid out as one 2-D image, one slice per patch."""

from __future__ import annotations

import math

import numpy as np

from .slice_stack import SliceStack
from .volume import Array


def mosaic(stack: SliceStack, values: Array | None = None, empty: float = -1024.0) -> Array:
    """The stack as one 2-D image, one slice a patch, row by row: what the paper's transformer reads.

    Parameters
    ----------
    stack : SliceStack
    values : array, shape (S, h, w) or (S,), optional
        What to lay out instead of ``stack.pixels``.
    empty : float
        Value of absent slices and of places after the last slice.

    Returns
    -------
    ndarray, float32, shape (rows * h, columns * w)
        ``columns`` as in ``stack.layout.columns``; as many rows as the slices fill.
    """
    slices = stack.per_pixel(stack.pixels if values is None else values)
    slices = np.where(stack.valid[:, None, None], slices, np.float32(empty))
    count, h, w = slices.shape
    columns = stack.layout.columns
    rows = math.ceil(count / columns)
    grid = np.full((rows * columns, h, w), empty, np.float32)
    grid[:count] = slices
    return grid.reshape(rows, columns, h, w).swapaxes(1, 2).reshape(rows * h, columns * w)
