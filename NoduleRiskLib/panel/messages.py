"""Errors as sentences for the user."""

from __future__ import annotations

import logging

from ..errors import NoduleRiskError
from .translation import tr as _


def sentence(error: BaseException) -> str:
    """An error as one sentence; a bug goes to the log as well."""
    if isinstance(error, NoduleRiskError):
        return str(error)
    logging.error("NoduleRisk", exc_info=error)
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return _("The assessment stopped ({error}); the error log has the details.").format(error=reason)
