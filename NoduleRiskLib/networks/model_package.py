"""Model packages: a folder of weights, settings and a card, verified before anything in it is believed."""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import NoduleRiskError
from ..grades import GRADES

if TYPE_CHECKING:
    import torch

    from .false_positive_reduction import FalsePositiveNet
    from .model_config import ModelConfig
    from .nodule_vit import NoduleViT
    from .segmentation import SegmentationUNet

#: Raised whenever an older NoduleRisk could not read what is written.
FORMAT = 4
WEIGHTS, SETTINGS, CARD = "weights.safetensors", "model.json", "README.md"
SHIPPED = Path(__file__).parents[1] / "Models" / "lidc-native"


@dataclass(frozen=True)
class Calibration:
    """What turns a network's numbers into numbers with their doubt; fitted on out-of-fold predictions.

    Attributes
    ----------
    interval : dict of str to tuple of (low, high)
        By grade, for each stratum of the estimated diameter: what to add to the estimate for the ends of its 80 %
        interval, in grade units (diameter: log2 mm).
    reference : dict of str to tuple of float
        By grade: the 0th, 1st, ... 100th percentile of the readers' means over LIDC's reference nodules.
    suspicion : (intercept, slope)
        Logistic regression of "at least half of the readers give malignancy 4 or 5" on the malignancy estimate.
    strata_mm : tuple of float
        Where one stratum of ``interval`` ends and the next begins, mm, rising; none: there is one.
    """

    interval: dict[str, tuple[tuple[float, float], ...]]
    reference: dict[str, tuple[float, ...]]
    suspicion: tuple[float, float]
    strata_mm: tuple[float, ...] = ()

    def interval_at(self, grade_name: str, diameter_mm: float) -> tuple[float, float]:
        """What to add to that grade's estimate for a nodule whose estimated diameter (mm) is this."""
        return self.interval[grade_name][bisect_right(self.strata_mm, diameter_mm)]


class Networks(NamedTuple):
    """What a package holds: those of a kind are averaged. Packages made before there were recognisers have none."""

    graders: Sequence[NoduleViT]
    segmentation: Sequence[SegmentationUNet]
    false_positive: Sequence[FalsePositiveNet]


@dataclass(frozen=True)
class ModelPackage:
    """A verified model package.

    Attributes
    ----------
    path : Path
    name : str
    digest : str
        SHA-256 (hex) of ``model.json``, which itself holds those of the other files: the package's identity.
    settings : dict
        ``model.json`` as read.
    card : str
        The model card, Markdown.
    """

    path: Path
    name: str
    digest: str
    settings: dict[str, Any]
    card: str

    @property
    def model_id(self) -> str:
        """Name and first twelve digits of the digest."""
        return f"{self.name}@{self.digest[:12]}"

    @property
    def config(self) -> ModelConfig:
        """The graders' configuration (imports torch)."""
        from .model_config import ModelConfig

        return ModelConfig.from_dict(self.settings["grader"])

    @property
    def calibration(self) -> Calibration:
        """Intervals, reference percentiles and suspicion probability."""
        values = self.settings["calibration"]
        return Calibration(
            {name: _pairs(pairs) for name, pairs in values["interval"].items()},
            {name: tuple(levels) for name, levels in values["reference"].items()},
            (values["suspicion"][0], values["suspicion"][1]),
            tuple(values.get("strata_mm", ())),
        )

    def networks(self, device: torch.device | str = "cpu") -> Networks:
        """All networks, in evaluation mode and full precision on ``device``.

        Raises
        ------
        NoduleRiskError
            If the weights do not fit the settings.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from .false_positive_reduction import FalsePositiveNet
        from .nodule_vit import NoduleViT
        from .segmentation import SegmentationUNet

        try:
            weights = {
                name: value.float() if value.is_floating_point() else value
                for name, value in load_file(self.path / WEIGHTS).items()
            }
            graders = [NoduleViT(self.config) for _ in range(self.settings["folds"])]
            segmentation = [SegmentationUNet() for _ in range(self.settings["locators"])]
            false_positive = [FalsePositiveNet() for _ in range(self.settings.get("recognisers", 0))]
            for kind, networks in (("grader", graders), ("locator", segmentation), ("recogniser", false_positive)):
                for fold, network in enumerate(networks):
                    network.load_state_dict(_under(weights, f"{kind}.{fold}."))
                    network.to(device).eval().requires_grad_(False)
        except (SafetensorError, RuntimeError, TypeError, KeyError, ValueError) as error:
            raise NoduleRiskError(
                f"The weights in {self.path} do not fit its {SETTINGS}: the package was made by another version; "
                "take a matching one."
            ) from error
        return Networks(graders, segmentation, false_positive)

    def describe(self) -> dict[str, str]:
        """What people ask of a package, as name -> text."""
        layout = self.settings["grader"]["layout"]
        size = sum((self.path / name).stat().st_size for name in (WEIGHTS, SETTINGS, CARD))
        return {
            "name": self.name,
            "version": str(self.settings["version"]),
            "SHA-256": self.digest,
            "folder": str(self.path),
            "size": f"{size / 1e6:.1f} MB",
            "networks": f"graders: {self.settings['folds']}, locators: {self.settings['locators']}, "
            f"recognisers: {self.settings.get('recognisers', 0)}; those of a kind are averaged",
            "layout": f"{layout['name']}: {layout['pixels']} x {layout['pixels']} pixels of {layout['pixel_mm']} mm",
            "trained on": str(self.settings["trained_on"]),
            "format": str(self.settings["format"]),
        }


def load(path: Path | str = SHIPPED) -> ModelPackage:
    """Read and verify a package; needs no torch.

    Raises
    ------
    NoduleRiskError
        If the folder or one of its files is missing, a file was altered or truncated, the settings are not
        JSON of this kind, or the format is newer than this version reads.
    """
    path = Path(path)
    if not path.is_dir():
        raise NoduleRiskError(
            f"There is no model package at {path}: name a folder that holds {SETTINGS} and {WEIGHTS}."
        )
    missing = [name for name in (SETTINGS, WEIGHTS, CARD) if not (path / name).is_file()]
    if missing:
        raise NoduleRiskError(f"The model package {path} lacks {', '.join(missing)}: fetch it again.")
    text = (path / SETTINGS).read_bytes()
    unreadable = f"{path / SETTINGS} is not a model package's settings file: fetch the package again."
    try:
        settings = json.loads(text)
        newest = int(settings["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise NoduleRiskError(unreadable) from error
    # Before anything else is read: a newer format may have moved it.
    if newest > FORMAT:
        raise NoduleRiskError(
            f"The model package {path} has format {newest}, this NoduleRisk reads up to {FORMAT}: update NoduleRisk."
        )
    try:
        hashes, own = settings["sha256"], settings["sha256_of_settings"]
        weights, card, name = hashes[WEIGHTS], hashes[CARD], str(settings["name"])
    except (KeyError, TypeError) as error:
        raise NoduleRiskError(unreadable) from error
    for file, expected, found in (
        (SETTINGS, own, _settings_hash(settings)),
        (WEIGHTS, weights, _file_hash(path / WEIGHTS)),
        (CARD, card, _file_hash(path / CARD)),
    ):
        if expected != found:
            raise NoduleRiskError(
                f"{path / file} was altered or is incomplete (its SHA-256 differs): fetch the package again."
            )
    return ModelPackage(
        path, name, hashlib.sha256(text).hexdigest(), settings, (path / CARD).read_text(encoding="utf-8")
    )


def save(
    path: Path,
    name: str,
    version: str,
    networks: Networks,
    calibration: Calibration,
    trained_on: str,
    card: str,
) -> ModelPackage:
    """Write a package (weights in half precision) and read it back verified.

    Raises
    ------
    ValueError
        If there is no grader, no locator, or a grade lacks its calibration.
    """
    from safetensors.torch import save as serialized

    if not networks.graders or not networks.segmentation:
        raise ValueError("a package holds at least one grader and one locator")
    for values in (calibration.interval, calibration.reference):
        if set(values) != {grade.name for grade in GRADES}:
            raise ValueError("every grade needs its interval and its reference percentiles")
    if any(len(pairs) != len(calibration.strata_mm) + 1 for pairs in calibration.interval.values()):
        raise ValueError("every stratum of diameter needs its interval")
    path.mkdir(parents=True, exist_ok=True)
    weights = {}
    for kind, some in zip(("grader", "locator", "recogniser"), networks, strict=True):
        for fold, network in enumerate(some):
            for key, value in network.state_dict().items():
                value = value.detach().cpu().contiguous()
                # The name that this layer has in format 4.
                key = re.sub(r"^shape_features\.", "shape.", key)
                weights[f"{kind}.{fold}.{key}"] = value.half() if value.is_floating_point() else value
    (path / WEIGHTS).write_bytes(serialized(weights))
    (path / CARD).write_text(card, encoding="utf-8")
    settings: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "folds": len(networks.graders),
        "locators": len(networks.segmentation),
        "recognisers": len(networks.false_positive),
        "trained_on": trained_on,
        "grader": networks.graders[0].config.to_dict(),
        "calibration": {
            "interval": calibration.interval,
            "reference": calibration.reference,
            "suspicion": calibration.suspicion,
            "strata_mm": calibration.strata_mm,
        },
        "sha256": {file: _file_hash(path / file) for file in (WEIGHTS, CARD)},
    }
    # As JSON reads it back: tuples become lists.
    return _sealed(path, json.loads(json.dumps(settings)))


def with_card(package: ModelPackage, card: str) -> ModelPackage:
    """The package with another model card, written in its place: a package of its own, so with another identity."""
    (package.path / CARD).write_text(card, encoding="utf-8")
    hashes = package.settings["sha256"] | {CARD: _file_hash(package.path / CARD)}
    return _sealed(package.path, package.settings | {"sha256": hashes})


def _sealed(path: Path, settings: dict[str, Any]) -> ModelPackage:
    settings["sha256_of_settings"] = _settings_hash(settings)
    (path / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    return load(path)


def _pairs(pairs: Any) -> tuple[tuple[float, float], ...]:
    """Intervals by stratum; up to format 2, before there were strata, a grade had one bare pair."""
    return tuple((pair[0], pair[1]) for pair in (pairs if isinstance(pairs[0], list) else [pairs]))


def _under(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        re.sub(r"^shape\.", "shape_features.", name.removeprefix(prefix)): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def _settings_hash(settings: dict[str, Any]) -> str:
    rest = {key: value for key, value in settings.items() if key != "sha256_of_settings"}
    return _hash([json.dumps(rest, sort_keys=True).encode()])


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return _hash(iter(lambda: file.read(1 << 20), b""))


def _hash(chunks: Iterable[bytes]) -> str:
    sha = hashlib.sha256()
    for chunk in chunks:
        sha.update(chunk)
    return sha.hexdigest()
