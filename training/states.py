"""The states that trainings go on from after a kill."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def keep_state(state: Mapping[str, Any], path: Path) -> None:
    """Write what ``torch.load`` with ``weights_only`` reads; a kill while writing leaves the state before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state), path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)
