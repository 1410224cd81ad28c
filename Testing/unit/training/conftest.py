"""The toy data, made once for all training tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import data_set, toy_stacks

from training.data.crops import Stacks


@pytest.fixture(scope="session")
def stacks() -> Stacks:
    """Stacks of toy nodules in memory."""
    torch.set_num_threads(1)
    return toy_stacks()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a toy data set."""
    return data_set(tmp_path_factory.mktemp("data"))
