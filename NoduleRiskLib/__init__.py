"""NoduleRiskLib: nine LIDC grades and a heatmap for each lung nodule that a point marks on a chest CT.

>>> from NoduleRiskLib import assess
>>> nodule, = assess("path/to/dicom", [(-56.2, -86.2, -115.0)])    # doctest: +SKIP
>>> nodule                                                         # doctest: +SKIP
<Assessment of '1' at R -56.2 A -86.2 S -115.0: 25.2 mm, malignancy 4.4 (3.7 to 5.0), suspicion 99 %>

Nothing heavy is imported before it is asked for, so that the 3D Slicer module can load without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assessor import Assessor, assess
    from .errors import NoduleRiskError
    from .imaging.points import Point
    from .imaging.reading import read as read_ct
    from .imaging.volume import Volume

__version__ = "0.2.0.dev0"
__all__ = ["Assessor", "NoduleRiskError", "Point", "Volume", "assess", "read_ct"]

#: The front door: where each name comes from, and what it is called there.
_DOOR = {
    "Assessor": ("assessor", "Assessor"),
    "assess": ("assessor", "assess"),
    "read_ct": ("imaging.reading", "read"),
    "Point": ("imaging.points", "Point"),
    "Volume": ("imaging.volume", "Volume"),
    "NoduleRiskError": ("errors", "NoduleRiskError"),
}


def __getattr__(name: str) -> Any:
    if name not in _DOOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, there = _DOOR[name]
    return getattr(import_module(f".{module}", __name__), there)


def __dir__() -> list[str]:
    return sorted({*globals(), *_DOOR})
