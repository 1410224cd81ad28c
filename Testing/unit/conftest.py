"""What several unit tests share: scans painted from functions of RAS in every orientation, and networks of toy size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout, SliceStack
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.nodule_vit import NoduleViT
from NoduleRiskLib.similar import reference_set
from NoduleRiskLib.similar.pictures import encoded

Painter = Callable[..., Volume]

#: Off every grid, so that no test passes because something was zero or whole.
CENTRE = np.array([-37.3, 61.8, -204.6])
LUNG_HU, TISSUE_HU = -850.0, 40.0


def _frames() -> dict[str, Array]:
    """Name -> columns of ``ijk_to_ras`` (mm) along i, j and k."""
    spacing = np.diag([0.7, 0.8, 1.25])
    signs = list(product((1, -1), repeat=3))
    frames = {f"flip{''.join('-+'[s > 0] for s in sign)}": spacing * sign for sign in signs}
    for order, sign in zip(list(permutations(range(3)))[1:], signs[1:], strict=False):
        frames[f"axes{''.join(map(str, order))}"] = (spacing * sign)[:, order]
    tilt = np.array([[1, 0, 0], [0, 1, np.tan(np.radians(18))], [0, 0, 1]])
    frames["tilted gantry"] = tilt @ spacing * (-1, -1, 1)
    frames["tilted table"] = tilt.T @ spacing * (-1, -1, 1)
    frames["oblique"] = Rotation.from_euler("xyz", (20, -15, 35), degrees=True).as_matrix() @ spacing * (-1, -1, 1)
    frames["thick"] = np.diag([0.5, 0.9, 4.0])
    frames["thin"] = np.diag([-0.6, -0.6, 0.4])
    return frames


FRAMES = _frames()


@pytest.fixture(scope="session", autouse=True)
def no_reference_set() -> Iterator[None]:
    """No LIDC nodules to find, whether or not somebody made their file in this checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_set, "FILE", reference_set.FILE.with_name("not-there.zip"))
        reference_set.shipped.cache_clear()
        yield
    reference_set.shipped.cache_clear()


@pytest.fixture
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[reference_set.ReferenceSet]:
    """Seven made-up reference nodules of six patients, as the set that is used; each has a picture of its own."""
    path = tmp_path / "nodules.zip"
    pictures = {one.name: encoded(np.full((96, 96), 20 * n, np.uint8)) for n, (one, _) in enumerate(KNOWN)}
    reference_set.write_reference_set(path, KNOWN, pictures)
    monkeypatch.setattr(reference_set, "FILE", path)
    reference_set.shipped.cache_clear()
    found = reference_set.shipped()
    assert found is not None
    yield found
    reference_set.shipped.cache_clear()


def _known(name: str, step: float, malignancy: tuple[int, ...]) -> tuple[reference_set.SimilarNodule, str]:
    grades = {grade.name: 2.0 + step for grade in GRADES} | {"diameter": 5.0 * 2**step}
    grades["malignancy"] = sum(malignancy) / len(malignancy)
    return reference_set.SimilarNodule(name, grades, 0.1 * step, malignancy), f"1.2.{name.split('_')[0][1:]}"


#: The further down, the larger every grade but malignancy.
KNOWN = tuple(
    _known(name, 0.4 * step, readings)
    for step, (name, readings) in enumerate(
        {
            "P1_0": (1, 2, 2),
            "P2_0": (5, 5, 5),
            "P3_0": (3, 3, 4),
            "P4_0": (1, 1, 1),
            "P4_1": (2, 3, 4, 5),
            "P5_0": (2, 2, 3),
            "P6_0": (4, 4, 5),
        }.items()
    )
)


def beside(r: float, a: float, s: float) -> Array:
    """So many mm to the right, to the front and up of ``CENTRE``, in RAS."""
    return CENTRE + np.array([r, a, s])


@pytest.fixture(params=FRAMES)
def frame(request: pytest.FixtureRequest) -> Array:
    """One after the other, every way in which a scan may be stored."""
    return FRAMES[request.param]


@pytest.fixture(scope="session")
def frames() -> dict[str, Array]:
    return FRAMES


@pytest.fixture(scope="session")
def paint() -> Painter:
    """Make a scan whose voxels are ``function(points_ras)`` and which holds a box of ``half_mm`` around ``CENTRE``."""

    def painted(function: Callable[[Array], Array], frame: Array, half_mm: float | Array = 23.0) -> Volume:
        corners = np.array(list(product((-1, 1), repeat=3))) * half_mm
        reach = np.ceil(np.abs(corners @ np.linalg.inv(frame).T).max(0)).astype(int)
        matrix = np.eye(4)
        matrix[:3, :3] = frame
        # A third of a voxel: the centre lies on no voxel and half way between none.
        matrix[:3, 3] = CENTRE - frame @ (reach + 0.31)
        empty = Volume(np.zeros(2 * reach[::-1] + 2, np.float32), matrix)
        k, j, i = np.indices(empty.array.shape)
        return replace(empty, array=np.asarray(function(empty.to_ras(np.stack([i, j, k], -1))), np.float32))

    return painted


@pytest.fixture(scope="session")
def ball() -> Callable[..., Callable[[Array], Array]]:
    """A function of RAS: lung, with ellipsoids of soft tissue whose surface is one ``edge_mm`` wide."""

    def balls(*placed: tuple[Array, Array | float], edge_mm: float = 0.8) -> Callable[[Array], Array]:
        def hu(points_ras: Array) -> Array:
            depth = [
                (1 - np.linalg.norm((points_ras - centre) / half_axes, axis=-1)) * np.min(half_axes)
                for centre, half_axes in placed
            ]
            share = np.clip(0.5 + np.max(depth, axis=0) / edge_mm, 0, 1)
            return LUNG_HU + (TISSUE_HU - LUNG_HU) * share

        return hu

    return balls


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    return ModelConfig(Layout("tiny", slices=9, pixels=16, step_mm=2.0), dim=32, depth=2, heads=2)


@pytest.fixture(scope="session")
def trained() -> Callable[..., NoduleViT]:
    """A network in evaluation mode whose grades depend on everything, as after training: timm starts almost deaf."""

    def make(config: ModelConfig, seed: int = 0) -> NoduleViT:
        torch.manual_seed(seed)
        model = NoduleViT(config)
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            if name == "windows" or not value.is_floating_point():
                continue
            if value.dim() > 1:
                value.data = torch.randn_like(value) * (value.numel() / len(value)) ** -0.5
            else:
                value.data += 0.2 * torch.rand_like(value)
        model.target_mean.copy_(torch.tensor([3.0 if grade.logarithmic else 2.5 for grade in GRADES]))
        return model.eval()

    return make


@pytest.fixture(scope="session")
def stack(paint: Painter, ball: Callable[..., Callable[[Array], Array]], tiny: ModelConfig) -> SliceStack:
    """A nodule beside the middle of an oblique scan, cut for the tiny network; slices above and below it are absent."""
    nodule = ball((beside(2, -1, 1), 4.0))

    def hu(points_ras: Array) -> Array:
        # Without texture, lung would be what heatmaps compare with, and every map 0 there.
        return nodule(points_ras) + 60 * np.sin(points_ras * (0.9, 0.8, 0.7)).sum(-1)

    volume = paint(hu, FRAMES["oblique"], 12.0)
    found = cut(volume, CENTRE, tiny.layout, np.stack([CENTRE - 6, CENTRE + 6]))
    outline = (nodule(found.pixels_ras()) > -400) & found.valid[:, None, None]
    return replace(found, outline=outline.astype(np.float32))
