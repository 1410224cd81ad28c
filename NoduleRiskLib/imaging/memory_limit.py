"""How much memory the voxels of one CT may take, and the sentence for a CT that would take more."""

from __future__ import annotations

import os

from ..errors import NoduleRiskError

#: Environment variable that raises (or lowers) the limit.
VARIABLE = "NODULERISK_MEMORY_LIMIT_GB"
#: 2,800 slices of 512 x 512 voxels in int16; a damaged header soon asks for more.
DEFAULT_GB = 1.5


def refuse_beyond_limit(name: str, voxels: int, bytes_each: int) -> None:
    """Refuse a CT before memory is taken for it.

    Parameters
    ----------
    name : str
        What the sentence calls the CT.
    voxels : int
        How many its headers promise.
    bytes_each : int
        Bytes of one voxel.

    Raises
    ------
    NoduleRiskError
        If the voxels would take more than the limit, or the limit itself is not a positive number.
    """
    text = os.environ.get(VARIABLE) or str(DEFAULT_GB)
    try:
        limit_gb = float(text)
    except ValueError:
        limit_gb = 0.0
    if not limit_gb > 0:
        raise NoduleRiskError(f"The environment variable {VARIABLE} is {text!r}: set it to a number of gigabytes.")
    needed_gb = voxels * bytes_each / 1e9
    if needed_gb > limit_gb:
        raise NoduleRiskError(
            f"{name} would take {needed_gb:.1f} GB of memory, more than the limit of {limit_gb:g} GB: if the CT really "
            f"is that large, set the environment variable {VARIABLE} to a higher number and try again."
        )
