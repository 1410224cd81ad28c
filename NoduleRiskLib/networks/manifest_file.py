"""``model.json`` read and written: every value checked for its type and range before anything is built from it.

Format 9, as ``to_json`` writes it::

    {
      "format": 9,
      "name": "lidc-native", "version": "0.3.0", "trained_on": "...",
      "networks": {"graders": 5, "segmentation": 1, "false_positive": 1},
      "grader": {"layout": {...}, "windows": [[low, high], ...], ...},
      "calibration": {"interval": {...}, "reference": {...}, "suspicion": [...], "strata_mm": [...],
                      "likely": 0.5, "repeatability": [[up_to_mm, diameter_percent, volume_percent], ...],
                      "account": {"intercept": -1.0, "terms": {"diameter": {"mean": 2.9, "deviation": 0.7,
                                                                            "coefficient": 0.8}, ...}} or null},
      "heatmap_faithfulness": {...} or null,
      "sha256": {"weights.safetensors": "...", "README.md": "..."},
      "sha256_of_settings": "..."
    }

Formats 2 to 8 are still read; their graders measure no calcium. Those of formats 2 to 7 read no surface features.
Nothing in formats 2 to 6 accounts for the suspicion, their graders have no evidence maps, and no signs were planted.
Nothing in formats 2 to 5 says how repeatable sizes are, and ``likely`` is 0.8. In formats 2 to 4 the counts are called
``folds``, ``locators`` and ``recognisers``, ``shape_features`` is called ``shape``, and nothing says how faithful the
heatmaps are.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from ..errors import NoduleRiskError
from ..grades import GRADE_NAMES, OTHER_GRADES
from ..imaging.slice_stack import PLANES, Layout
from .json_values import JsonValue, parse
from .manifest import (
    CARD,
    FORMAT,
    OLDEST,
    WEIGHTS,
    AccountFit,
    Calibration,
    GradeFaithfulness,
    HeatmapFaithfulness,
    Manifest,
    MeanFaithfulness,
    NetworkCounts,
    SignTest,
    TermFit,
)
from .model_config import Embedding, ModelConfig, Position

#: Networks of one kind: five are usual, one for each fold.
MOST_NETWORKS = 50
#: Pixels of one nodule's slices: 40 times those of the layout "native".
MOST_PIXELS = 1 << 23
#: What a crop may measure across: from the smallest nodule to a whole chest.
FIELD_MM = (5.0, 500.0)
_NETWORKS = ("graders", "segmentation", "false_positive")
#: What graders may do since some format: weights that were trained before say nothing about it.
_ADDED = ("evidence", "surface_features", "calcium_features")
_GRADER = ("layout", "windows", "outline", "transformer", "dim", "depth", "heads", "embedding", "position", "drop")
_LAYOUT = ("name", "planes", "slices", "pixels", "pixel_mm", "step_mm", "min_step_mm")
_OWN_HASH = "sha256_of_settings"


def read_manifest(data: bytes, file: Path) -> Manifest:
    """The content of ``model.json``, checked against its own hash.

    Parameters
    ----------
    data : bytes
    file : Path
        Where it was read, for the sentences.

    Raises
    ------
    NoduleRiskError
        If it is no JSON of this kind, its format is not known, it was altered, or a value is missing, unknown, of the
        wrong type or out of range.
    """
    refusal = f"{file} is not a model package's settings file: fetch the package again."
    root = parse(data, file, refusal)
    values = root.value
    if not isinstance(values, dict) or type(values.get("format")) is not int:
        raise NoduleRiskError(refusal)
    # Before anything else is read: a newer format may have moved it.
    if values["format"] > FORMAT:
        raise NoduleRiskError(
            f"The model package {file.parent} has format {values['format']}, this NoduleRisk reads up to {FORMAT}: "
            "update NoduleRisk."
        )
    if not isinstance(values.get(_OWN_HASH), str):
        raise NoduleRiskError(refusal)
    try:
        altered = values[_OWN_HASH] != settings_hash(values)
    except RecursionError as error:
        raise NoduleRiskError(refusal) from error
    if altered:
        raise altered_file(file)
    if values["format"] < OLDEST:
        raise NoduleRiskError(
            f"The model package {file.parent} has format {values['format']}, this NoduleRisk reads {OLDEST} to "
            f"{FORMAT}: take a newer package."
        )
    return _manifest(root)


def to_json(manifest: Manifest) -> bytes:
    """``model.json`` in today's format, with its own hash: the way back from ``read_manifest``."""
    values = asdict(replace(manifest, format=FORMAT))
    values["sha256"] = {WEIGHTS: values.pop("weights_sha256"), CARD: values.pop("card_sha256")}
    # The format first; and as JSON reads it back: tuples become lists.
    values = json.loads(json.dumps({"format": values.pop("format"), **values}))
    values[_OWN_HASH] = settings_hash(values)
    return (json.dumps(values, indent=1) + "\n").encode()


def settings_hash(values: dict[str, Any]) -> str:
    """SHA-256 (hex) of all settings but their own hash, whatever their order and spacing."""
    rest = {key: value for key, value in values.items() if key != _OWN_HASH}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def altered_file(file: Path) -> NoduleRiskError:
    """What to raise for a file whose SHA-256 differs."""
    return NoduleRiskError(f"{file} was altered or is incomplete (its SHA-256 differs): fetch the package again.")


def read_config(value: JsonValue, form: int = FORMAT) -> ModelConfig:
    """A grader's configuration in the words of format ``form``; ``dataclasses.asdict`` is the way back of today's."""
    part = value.fields((*_GRADER, "shape_features"), _ADDED) if form >= 5 else value.fields(_GRADER, ("shape",))
    # Up to format 3 the outline's shape features were not read.
    shape_features = part.get("shape") if form < 5 else part["shape_features"]
    evidence, surface, calcium = (name in part and part[name].flag() for name in _ADDED)
    outline, embedding = part["outline"].flag(), part["embedding"].choice(get_args(Embedding))
    if evidence and (not outline or embedding != "conv"):
        part["evidence"].refuse("false where the outline is not read or slices are embedded without convolutions")
    dim, depth, heads = (
        None if part[name].value is None else part[name].whole(low, high)
        for name, low, high in (("dim", 8, 4096), ("depth", 1, 64), ("heads", 1, 64))
    )
    if dim and dim % 2:
        part["dim"].refuse("even")
    if dim and heads and dim % heads:
        part["heads"].refuse(f"a divisor of {part['dim'].key}, {dim}")
    return ModelConfig(
        layout=_layout(part["layout"]),
        windows=tuple(_pair(window, -32768, 32767, apart=True) for window in part["windows"].items(1, 16)),
        outline=outline,
        transformer=part["transformer"].text(
            1, 80, "[a-z][a-z0-9_]*", "the plain name of a timm VisionTransformer, such as vit_tiny_patch16_224"
        ),
        dim=dim,
        depth=depth,
        heads=heads,
        embedding=embedding,
        position=part["position"].choice(get_args(Position)),
        shape_features=shape_features.flag() if shape_features else False,
        surface_features=surface,
        calcium_features=calcium,
        evidence=evidence,
        drop=part["drop"].number(0, 0.9),
    )


def read_faithfulness(value: JsonValue, form: int = FORMAT) -> HeatmapFaithfulness:
    """What was measured of a package's heatmaps; ``dataclasses.asdict`` is the way back."""
    later = ("signs",) if form >= 7 else ()
    part = value.fields(("command", "pixels", "nodules", "overall", "grades", *later))
    # Up to format 6 no signs were planted.
    planted = part["signs"].fields((), GRADE_NAMES) if "signs" in part else {}
    overall = part["overall"].fields(("pointing", "shuffled", "pairs", "retest"))
    grades = {}
    for name, one in part["grades"].fields(GRADE_NAMES).items():
        measured = one.fields(("beats_gaussian", "deletion", "insertion", "pointing"))
        grades[name] = GradeFaithfulness(
            measured["beats_gaussian"].flag(),
            measured["deletion"].number(0, 1000),
            measured["insertion"].number(0, 1000),
            measured["pointing"].number(0, 1),
        )
    return HeatmapFaithfulness(
        part["command"].text(),
        part["pixels"].text(1, 100),
        part["nodules"].whole(1, 1_000_000),
        MeanFaithfulness(*(overall[name].number(-1, 1) for name in ("pointing", "shuffled", "pairs", "retest"))),
        grades,
        {name: _sign_test(one) for name, one in planted.items()},
    )


def _sign_test(value: JsonValue) -> SignTest:
    part = value.fields(("sign", "nodules", "auc", "strongest", "ball", "passed"))
    return SignTest(
        part["sign"].text(1, 100),
        part["nodules"].whole(1, 1_000_000),
        part["auc"].number(0, 1),
        part["strongest"].number(0, 1),
        part["ball"].number(0, 1),
        part["passed"].flag(),
    )


def _manifest(root: JsonValue) -> Manifest:
    shared = ("format", "name", "version", "trained_on", "grader", "calibration", "sha256", _OWN_HASH)
    if root.value["format"] >= 5:
        part = root.fields((*shared, "networks", "heatmap_faithfulness"))
        count = part["networks"].fields(_NETWORKS)
        counts = NetworkCounts(*(count[name].whole(int(i < 2), MOST_NETWORKS) for i, name in enumerate(_NETWORKS)))
        measured = part["heatmap_faithfulness"]
        faithfulness = None if measured.value is None else read_faithfulness(measured, root.value["format"])
    else:
        part = root.fields((*shared, "folds", "locators"), ("recognisers",))
        false_positive = part["recognisers"].whole(0, MOST_NETWORKS) if "recognisers" in part else 0
        counts = NetworkCounts(
            part["folds"].whole(1, MOST_NETWORKS), part["locators"].whole(1, MOST_NETWORKS), false_positive
        )
        faithfulness = None
    hashes = part["sha256"].fields((WEIGHTS, CARD))
    return Manifest(
        name=part["name"].text(1, 100),
        version=part["version"].text(0, 100),
        trained_on=part["trained_on"].text(0),
        networks=counts,
        grader=read_config(part["grader"], root.value["format"]),
        calibration=_calibration(part["calibration"], root.value["format"]),
        heatmap_faithfulness=faithfulness,
        weights_sha256=_sha256(hashes[WEIGHTS]),
        card_sha256=_sha256(hashes[CARD]),
        format=root.value["format"],
    )


def _layout(value: JsonValue) -> Layout:
    part = value.fields(_LAYOUT)
    planes = tuple(plane.choice(tuple(PLANES)) for plane in part["planes"].items(1, len(PLANES)))
    if len(set(planes)) < len(planes):
        part["planes"].refuse("different planes")
    slices, pixels = part["slices"].whole(1, 512), part["pixels"].whole(8, 256)
    if len(planes) * slices * pixels**2 > MOST_PIXELS:
        part["slices"].refuse(f"so few that all slices of a nodule have no more than {MOST_PIXELS} pixels")
    pixel_mm = part["pixel_mm"].number(0.05, 10)
    if not FIELD_MM[0] <= pixels * pixel_mm <= FIELD_MM[1]:
        part["pixel_mm"].refuse(f"such that {pixels} pixels are {FIELD_MM[0]:g} to {FIELD_MM[1]:g} mm wide")
    return Layout(
        name=part["name"].text(1, 100),
        planes=planes,
        slices=slices,
        pixels=pixels,
        pixel_mm=pixel_mm,
        step_mm=None if part["step_mm"].value is None else part["step_mm"].number(0.05, 20),
        min_step_mm=part["min_step_mm"].number(0, 20),
    )


def _calibration(value: JsonValue, written: int) -> Calibration:
    # Up to format 2 there were no strata, and a grade had one bare pair.
    needed = ("interval", "reference", "suspicion")
    since_6 = ("likely", "repeatability") if written >= 6 else ()
    since_7 = ("account",) if written >= 7 else ()
    part = value.fields((*needed, *since_6, *since_7), ("strata_mm",))
    strata = tuple(one.number(0.1, 1000) for one in part["strata_mm"].items(0, 20)) if "strata_mm" in part else ()
    if not _rising(strata, apart=True):
        part["strata_mm"].refuse("rising diameters")
    interval = {}
    for name, one in part["interval"].fields(GRADE_NAMES).items():
        bare = (
            "strata_mm" not in part and isinstance(one.value, list) and not isinstance((one.value or [None])[0], list)
        )
        pairs = [one] if bare else one.items(len(strata) + 1, len(strata) + 1)
        interval[name] = tuple(_pair(pair, -60, 60) for pair in pairs)
    reference = {}
    for name, one in part["reference"].fields(GRADE_NAMES).items():
        reference[name] = tuple(level.number(0, 1000) for level in one.items(2, 1001))
        if not _rising(reference[name]):
            one.refuse("percentiles that never fall")
    intercept, slope = (one.number(-100, 100) for one in part["suspicion"].items(2, 2))
    found = Calibration(interval, reference, (intercept, slope), strata)
    if since_6:
        likely, repeatability = part["likely"].number(0, 1), _repeatability(part["repeatability"])
        found = replace(found, likely=likely, repeatability=repeatability)
    return replace(found, account=_account(part["account"])) if since_7 else found


def _account(value: JsonValue) -> AccountFit | None:
    if value.value is None:
        return None
    part = value.fields(("intercept", "terms"))
    terms = {}
    for name, one in part["terms"].fields([grade.name for grade in OTHER_GRADES]).items():
        term = one.fields(("mean", "deviation", "coefficient"))
        # Of a grade that hardly varies nothing could be told.
        deviation = term["deviation"].number(0.001, 1000)
        terms[name] = TermFit(term["mean"].number(-1000, 1000), deviation, term["coefficient"].number(-100, 100))
    return AccountFit(part["intercept"].number(-100, 100), terms)


def _repeatability(value: JsonValue) -> tuple[tuple[float, float, float], ...]:
    rows = []
    for row in value.items(0, 20):
        up_to_mm, diameter_percent, volume_percent = row.items(3, 3)
        rows.append((up_to_mm.number(0.1, 1000), diameter_percent.number(0, 1000), volume_percent.number(0, 1000)))
    if not _rising(tuple(up_to_mm for up_to_mm, *_ in rows), apart=True):
        value.refuse("rows of rising diameters")
    return tuple(rows)


def _pair(value: JsonValue, lowest: float, highest: float, apart: bool = False) -> tuple[float, float]:
    low, high = (one.number(lowest, highest) for one in value.items(2, 2))
    if not _rising((low, high), apart):
        value.refuse("a low and a high end, in this order")
    return low, high


def _rising(values: tuple[float, ...], apart: bool = False) -> bool:
    return all(a < b or (a == b and not apart) for a, b in pairwise(values))


def _sha256(value: JsonValue) -> str:
    return value.text(64, 64, "[0-9a-f]{64}", "a SHA-256 of 64 hexadecimal digits")
