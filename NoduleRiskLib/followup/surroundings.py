"""A nodule's place found again by what surrounds it: vessels, fissures and chest wall, without the nodule itself."""

from __future__ import annotations

import numpy as np

from ..imaging.resampling import sample_grid
from ..imaging.volume import Array, Volume

#: Half the side of the cube that is compared, its grid, and how far it may lie from where the lungs' alignment puts it.
HALF_MM, GRID_MM, SHIFT_MM = 21.0, 1.5, 12.0
#: Lung, vessels and chest wall (HU), whatever the contrast medium.
SHOWN_HU = (-1000.0, -200.0)
#: Beside the nodule so much (mm) is not compared either: it may have grown.
BESIDE_MM = 2.0
#: Correlation from which on the surroundings are the same; below it the lungs' alignment alone counts.
ALIKE = 0.5
#: What the furthest shift costs in correlation: of two places that look alike the nearer is taken.
FAR_COST = 0.05


def found_again(source: Volume, ras: Array, diameter_mm: float, target: Volume, matrix: Array) -> Array:
    """Where a nodule's surroundings lie in another CT.

    Parameters
    ----------
    source : Volume
        The CT that shows the nodule, HU.
    ras : array, shape (3,)
        The nodule's middle there, RAS mm.
    diameter_mm : float
    target : Volume
        The other CT, HU.
    matrix : array, shape (4, 4)
        Takes RAS of ``source`` to RAS of ``target``, to within ``SHIFT_MM``.

    Returns
    -------
    ndarray, shape (3,)
        RAS mm in ``target``: the shift with the best normalised cross-correlation, or no shift if that is too low.
    """
    from scipy.signal import fftconvolve

    size, reach = 2 * round(HALF_MM / GRID_MM) + 1, round(SHIFT_MM / GRID_MM)
    template, offsets = _cube(source, ras, size, np.eye(4))
    wide, _ = _cube(target, ras, size + 2 * reach, matrix)
    radius = np.linalg.norm(offsets, axis=-1)
    weight = ((radius > diameter_mm / 2 + BESIDE_MM) & (radius < HALF_MM)).astype(np.float64)
    if not weight.any():
        return _moved(matrix, ras)
    weight /= weight.sum()
    template -= (weight * template).sum()

    def slid(kernel: Array, over: Array) -> Array:
        return np.asarray(fftconvolve(over, kernel[::-1, ::-1, ::-1], mode="valid"))

    spread = (weight * template**2).sum()
    variance = slid(weight, wide**2) - slid(weight, wide) ** 2
    correlation = slid(weight * template, wide) / np.sqrt(np.maximum(variance, 1.0) * max(spread, 1.0))
    shifts = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1) * GRID_MM] * 3, indexing="ij"), -1)[..., ::-1]
    far = np.linalg.norm(shifts, axis=-1) / SHIFT_MM
    best = np.unravel_index(np.argmax(np.where(far <= 1, correlation - FAR_COST * far**2, -1)), far.shape)
    shift = shifts[best] if correlation[best] >= ALIKE else np.zeros(3)
    return _moved(matrix, ras + shift)


def _cube(volume: Volume, ras: Array, size: int, matrix: Array) -> tuple[Array, Array]:
    """HU (S, A, R axes) of a cube around a place, moved by ``matrix``, and each voxel's offset (mm) from the place."""
    grid_to_ras = np.diag((GRID_MM, GRID_MM, GRID_MM, 1.0))
    grid_to_ras[:3, 3] = ras - (size - 1) / 2 * GRID_MM
    hu = sample_grid(volume, matrix @ grid_to_ras, (size,) * 3).astype(np.float64)
    along = (np.arange(size) - (size - 1) / 2) * GRID_MM
    offsets = np.stack(np.meshgrid(along, along, along, indexing="ij"), -1)
    return np.clip(hu, *SHOWN_HU) - SHOWN_HU[0], offsets


def _moved(matrix: Array, ras: Array) -> Array:
    return np.asarray(matrix[:3, :3] @ ras + matrix[:3, 3])
