"""Model packages: a folder of weights, settings and a card, verified before anything in it is used."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import NoduleRiskError
from ..grades import GRADES
from .manifest import (
    CARD,
    FORMAT,
    SETTINGS,
    WEIGHTS,
    Calibration,
    HeatmapFaithfulness,
    Manifest,
    NetworkCounts,
)
from .manifest_file import altered_file, read_manifest, to_json
from .weights_file import GRADER, check_weights

__all__ = [
    "CARD",
    "FORMAT",
    "SETTINGS",
    "SHIPPED",
    "WEIGHTS",
    "Calibration",
    "HeatmapFaithfulness",
    "ModelPackage",
    "Networks",
    "load",
    "manifest_of",
    "save",
    "with_card",
]

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .false_positive_reduction import FalsePositiveNet
    from .model_config import ModelConfig
    from .nodule_vit import NoduleViT
    from .segmentation import SegmentationUNet

SHIPPED = Path(__file__).parents[1] / "Models" / "lidc-native"
#: Larger files are refused unread, in bytes: five ViT-Base in half precision have 0.9 GB.
MOST_BYTES = {WEIGHTS: 1 << 30, SETTINGS: 1 << 20, CARD: 1 << 22}


class Networks(NamedTuple):
    """What a package holds: those of a kind are averaged. Packages of format 2 have no ``false_positive``."""

    graders: Sequence[NoduleViT]
    segmentation: Sequence[SegmentationUNet]
    false_positive: Sequence[FalsePositiveNet]


@dataclass(frozen=True)
class ModelPackage:
    """A verified model package.

    Attributes
    ----------
    path : Path
    digest : str
        SHA-256 (hex) of ``model.json``, which itself holds those of the other files: the package's identity. It
        proves that the package is whole, not where it comes from.
    manifest : Manifest
        ``model.json`` as read.
    card : str
        The model card, Markdown.
    size : int
        Bytes of all files.
    """

    path: Path
    digest: str
    manifest: Manifest
    card: str
    size: int = field(compare=False, default=0)

    @property
    def name(self) -> str:
        """What the package is called."""
        return self.manifest.name

    @property
    def model_id(self) -> str:
        """Name and first twelve digits of the digest."""
        return f"{self.name}@{self.digest[:12]}"

    @property
    def config(self) -> ModelConfig:
        """The graders' configuration."""
        return self.manifest.grader

    @property
    def calibration(self) -> Calibration:
        """Intervals, reference percentiles and suspicion probability."""
        return self.manifest.calibration

    def networks(self, device: torch.device | str = "cpu") -> Networks:
        """All networks, in evaluation mode and full precision on ``device``.

        Raises
        ------
        NoduleRiskError
            If the weights were changed since the package was loaded, or do not fit the settings.
        """
        from .build import build

        return Networks(**build(self._weights(), self.manifest, self.path, device))

    def describe(self) -> dict[str, str]:
        """What people ask of a package, as name -> text."""
        manifest, layout, count = self.manifest, self.config.layout, self.manifest.networks
        measured = manifest.heatmap_faithfulness
        return {
            "name": self.name,
            "version": manifest.version,
            "SHA-256": self.digest,
            "folder": str(self.path),
            "size": f"{self.size / 1e6:.1f} MB",
            "networks": f"graders: {count.graders}, segmentation: {count.segmentation}, false-positive reduction: "
            f"{count.false_positive}; those of a kind are averaged",
            "layout": f"{layout.name}: {layout.pixels} x {layout.pixels} pixels of {layout.pixel_mm} mm",
            "trained on": manifest.trained_on,
            "heatmaps": f"faithfulness measured on {measured.nodules} nodules" if measured else "not measured",
            "account of the suspicion": "yes" if self.calibration.account else "no",
            "format": str(manifest.format),
        }

    def _weights(self) -> bytes:
        """The weights file, verified again: the bytes that are used are those that were hashed."""
        data = _read(self.path / WEIGHTS)
        if _hash(data) != self.manifest.weights_sha256:
            raise altered_file(self.path / WEIGHTS)
        return data


#: Manifests of the packages that this process has loaded, by ``model_id``: results name their package by it alone.
_loaded: dict[str, Manifest] = {}


def load(path: Path | str = SHIPPED) -> ModelPackage:
    """Read and verify a package; needs no torch.

    Raises
    ------
    NoduleRiskError
        If the folder or one of its files is missing or cannot be read, a file was altered or truncated, the format is
        not known, a setting is missing, unknown, of the wrong type or out of range, or the weights are not those that
        the settings describe.
    """
    path = Path(path)
    if not stat.S_ISDIR(_mode(path)):
        raise NoduleRiskError(
            f"There is no model package at {path}: name a folder that holds {SETTINGS} and {WEIGHTS}."
        )
    missing = [name for name in (SETTINGS, WEIGHTS, CARD) if not _mode(path / name)]
    if missing:
        raise NoduleRiskError(f"The model package {path} lacks {', '.join(missing)}: fetch it again.")
    settings = _read(path / SETTINGS)
    manifest = read_manifest(settings, path / SETTINGS)
    weights, card = _read(path / WEIGHTS), _read(path / CARD)
    for name, expected, data in ((WEIGHTS, manifest.weights_sha256, weights), (CARD, manifest.card_sha256, card)):
        if _hash(data) != expected:
            raise altered_file(path / name)
    check_weights(weights, manifest, path)
    try:
        text = card.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoduleRiskError(f"{path / CARD} is not UTF-8 text: fetch the package again.") from error
    package = ModelPackage(path, _hash(settings), manifest, text, len(settings) + len(weights) + len(card))
    _loaded[package.model_id] = manifest
    return package


def manifest_of(model_id: str) -> Manifest | None:
    """The manifest of a package that this process has loaded, or that ships; ``None`` if it is neither."""
    if model_id not in _loaded:
        _load_shipped()
    return _loaded.get(model_id)


@cache
def _load_shipped() -> None:
    """Once; where no package ships, or a damaged one, there is nothing to be known of it."""
    try:
        load(SHIPPED)
    except NoduleRiskError:
        return


def save(
    path: Path,
    name: str,
    version: str,
    networks: Networks,
    calibration: Calibration,
    trained_on: str,
    card: str,
    heatmap_faithfulness: HeatmapFaithfulness | None = None,
) -> ModelPackage:
    """Write a package (weights in half precision) and read it back verified.

    Raises
    ------
    ValueError
        If there is no grader, no segmentation network, or a grade lacks its calibration.
    NoduleRiskError
        If a value is out of the range that ``load`` accepts.
    """
    if not networks.graders or not networks.segmentation:
        raise ValueError("a package holds at least one grader and one segmentation network")
    for values in (calibration.interval, calibration.reference):
        if set(values) != {grade.name for grade in GRADES}:
            raise ValueError("every grade needs its interval and its reference percentiles")
    if any(len(pairs) != len(calibration.strata_mm) + 1 for pairs in calibration.interval.values()):
        raise ValueError("every stratum of diameter needs its interval")
    states = {
        f"{kind}.{number}": network.state_dict()
        for kind, some in networks._asdict().items()
        for number, network in enumerate(some)
    }
    manifest = Manifest(
        name=name,
        version=version,
        trained_on=trained_on,
        networks=NetworkCounts(*map(len, networks)),
        grader=networks.graders[0].config,
        calibration=calibration,
        heatmap_faithfulness=heatmap_faithfulness,
        weights_sha256="",
        card_sha256="",
    )
    return _write(path, manifest, _serialized(states, manifest.grader), card)


def with_card(
    package: ModelPackage,
    card: str,
    heatmap_faithfulness: HeatmapFaithfulness | None = None,
    calibration: Calibration | None = None,
) -> ModelPackage:
    """The package with another model card, written in its place: a package of its own, so with another identity.

    A package of an older format becomes one of today's. With ``heatmap_faithfulness`` or ``calibration``, what was
    measured of its heatmaps or fitted to its estimates goes into it too; without, what it held before stays.
    """
    from .build import read_states

    weights = package._weights()
    # Since format 5 weights files are as today's.
    if package.manifest.format < 5:
        weights = _serialized(read_states(weights, package.manifest, package.path), package.config)
    manifest = replace(
        package.manifest,
        heatmap_faithfulness=heatmap_faithfulness or package.manifest.heatmap_faithfulness,
        calibration=calibration or package.calibration,
    )
    return _write(package.path, manifest, weights, card)


def _serialized(states: dict[str, dict[str, Tensor]], config: ModelConfig) -> bytes:
    """The weights file, floating-point values in half precision."""
    from safetensors.torch import save as serialized

    tensors = {
        f"{network}.{key}": (value.half() if value.is_floating_point() else value).detach().cpu().contiguous()
        for network, state in states.items()
        for key, value in state.items()
    }
    return serialized(tensors, {GRADER: json.dumps(asdict(config))})


def _write(path: Path, manifest: Manifest, weights: bytes, card: str) -> ModelPackage:
    """Write the three files and read them back; each is written beside its place and then renamed."""
    text = card.encode("utf-8")
    settings = to_json(replace(manifest, weights_sha256=_hash(weights), card_sha256=_hash(text)))
    # What could not be read back is not written.
    check_weights(weights, read_manifest(settings, path / SETTINGS), path)
    path.mkdir(parents=True, exist_ok=True)
    for name, data in ((WEIGHTS, weights), (CARD, text), (SETTINGS, settings)):
        part = path / f"{name}.part"
        part.write_bytes(data)
        os.replace(part, path / name)
    return load(path)


def _mode(path: Path) -> int:
    """What is at ``path``, as ``os.stat`` says; 0: nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return 0
    except OSError as error:
        raise _unreadable(path, error) from error


def _read(path: Path) -> bytes:
    """A file's bytes, refused if there are more than ``MOST_BYTES``."""
    most = MOST_BYTES[path.name]
    mode = _mode(path)
    # A pipe would be waited for, for ever.
    if mode and not stat.S_ISREG(mode):
        raise NoduleRiskError(f"{path} is not a file: fetch the package again.")
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > most:
        raise NoduleRiskError(
            f"{path} is larger than {most / 1e6:.0f} MB, the most that is read: take another package."
        )
    return data


def _unreadable(path: Path, error: OSError) -> NoduleRiskError:
    return NoduleRiskError(f"{path} cannot be read ({error.strerror}): mend that, or fetch the package again.")


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
