"""A small whole model package, and what spoils it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.networks.false_positive_reduction import FalsePositiveNet
from NoduleRiskLib.networks.manifest_file import settings_hash
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.model_package import CARD, SETTINGS, WEIGHTS, Calibration, ModelPackage, Networks, save
from NoduleRiskLib.networks.nodule_vit import NoduleViT
from NoduleRiskLib.networks.segmentation import SegmentationUNet


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    return Calibration(
        interval={name: ((-0.5 - g / 10, 0.6 + g / 7), (-0.2, 0.3 + g)) for g, name in enumerate(GRADE_NAMES)},
        reference={name: tuple(np.linspace(1, 5, 21)) for name in GRADE_NAMES},
        suspicion=(-9.87, 2.34),
        strata_mm=(8.0,),
    )


@pytest.fixture(scope="session")
def networks(tiny: ModelConfig, trained: Callable[..., NoduleViT]) -> Networks:
    torch.manual_seed(0)
    return Networks([trained(tiny, seed) for seed in (1, 2)], [SegmentationUNet().eval()], [FalsePositiveNet().eval()])


@pytest.fixture(scope="session")
def kept(networks: Networks, calibration: Calibration, tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    path = tmp_path_factory.mktemp("package") / "toy"
    return save(path, "toy", "1.2", networks, calibration, "nothing at all", "# Toy\n\nµ for research.\n")


@pytest.fixture
def copy(kept: ModelPackage, tmp_path: Path) -> Path:
    """A package that a test may spoil."""
    return Path(shutil.copytree(kept.path, tmp_path / "toy"))


@pytest.fixture(scope="session")
def resettle() -> Callable[..., None]:
    """Change settings and sign them again, as another version of NoduleRisk would have written them."""

    def change(path: Path, **changes: Any) -> None:
        settings = {**json.loads((path / SETTINGS).read_text()), **changes}
        settings["sha256"] = {file: hashlib.sha256((path / file).read_bytes()).hexdigest() for file in (WEIGHTS, CARD)}
        settings["sha256_of_settings"] = settings_hash(settings)
        (path / SETTINGS).write_text(json.dumps(settings))

    return change
