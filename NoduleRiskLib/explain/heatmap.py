"""A heatmap: how much each slice and each pixel matters to one grade of one nodule. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..imaging.volume import Array


@dataclass(frozen=True, eq=False)
class Heatmap:
    """What one grade of one nodule rests on, on the slices of its stack.

    Attributes
    ----------
    slice_weights : ndarray, float32, shape (S,)
        How well each slice alone predicts the grade: how much closer (grade units, never negative) it comes to the
        estimate from all slices than the slice that comes least close; 0 on invalid slices.
    valid : ndarray of bool, shape (S,)
        The stack's valid slices, N in all.
    in_valid : ndarray, float32, shape (N, h, w)
        ``in_slice`` of these alone: with all places, a hundred nodules' maps would fill a gigabyte.
    """

    slice_weights: Array
    valid: Array
    in_valid: Array

    @property
    def in_slice(self) -> Array:
        """How much evidence of the grade's sign is at each pixel; laid over the CT.

        float32, shape (S, h, w): 0 to 1, 0 on invalid slices. With graders that have evidence maps, 0 is no evidence
        and 1 is ``evidence.FULL``: where the sign is not seen, all is 0. With older ones, how far the pixel's
        neighbourhood moves the grade from its value for plain lung, the nodule's strongest pixel 1.
        """
        everywhere = np.zeros((len(self.valid), *self.in_valid.shape[1:]), np.float32)
        everywhere[self.valid] = self.in_valid
        return everywhere
