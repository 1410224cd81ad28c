"""highdicom, which writes and reads DICOM objects: imported only where it is used."""

from __future__ import annotations

from typing import Any

from ..errors import NoduleRiskError


def highdicom() -> Any:
    """The package with its parts ``seg``, ``pm`` and ``sr``.

    Raises
    ------
    NoduleRiskError
        If it is not installed.
    """
    try:
        import highdicom
        import highdicom.pm
        import highdicom.seg
        import highdicom.sr
    except ImportError as error:
        raise NoduleRiskError(
            "DICOM objects need highdicom, which is not installed: run python -m pip install 'NoduleRisk[dicom]'."
        ) from error
    return highdicom
