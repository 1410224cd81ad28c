"""Whether a weights file holds what its manifest promises: names, counts, finite numbers. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..errors import NoduleRiskError
from .json_values import JsonValue, parse
from .manifest import SETTINGS, WEIGHTS, Manifest
from .manifest_file import read_config

#: Key of the file's metadata under which stands, as JSON, the configuration that the graders were trained with.
GRADER = "grader"
#: Safetensors' names of the types that packages use, and NumPy's.
DTYPES = {"F16": "<f2", "F32": "<f4", "I64": "<i8"}
#: Before format 5.
_OLDER_KINDS = {"grader": "graders", "locator": "segmentation", "recogniser": "false_positive"}


def check_weights(data: bytes, manifest: Manifest, folder: Path) -> None:
    """Compare a weights file with its manifest.

    Parameters
    ----------
    data : bytes
        A safetensors file: eight bytes with the length of a JSON header, the header, the tensors.
    manifest : Manifest
    folder : Path
        The package, for the sentences.

    Raises
    ------
    NoduleRiskError
        If this is no safetensors file; if it holds other networks than the manifest counts, values that are not
        finite, or variances that are negative; if its graders were trained with another configuration.
    """
    size = int.from_bytes(data[:8], "little")
    start = 8 + size
    refusal = unfit(folder, f"{WEIGHTS} is not a safetensors file")
    if len(data) < 8 or start > len(data):
        raise refusal
    tensors = parse(data[8:start], folder / WEIGHTS, str(refusal)).entries()
    metadata = tensors.pop("__metadata__", None)
    _check_names([todays_name(name, manifest.format) for name in tensors], manifest, folder)
    for name, tensor in tensors.items():
        _check_values(name, tensor, memoryview(data)[start:], folder)
    # Older formats have no metadata.
    if manifest.format >= 5:
        trained_with = metadata.fields([GRADER])[GRADER].text(1, 100_000) if metadata else "{}"
        config = read_config(parse(trained_with.encode(), folder / WEIGHTS, str(refusal)), manifest.format)
        if config != manifest.grader:
            mine, theirs = asdict(manifest.grader), asdict(config)
            other = ", ".join(name for name in mine if mine[name] != theirs[name])
            raise unfit(folder, f"the graders were trained with another {other}")


def todays_name(name: str, form: int) -> str:
    """A tensor's name in format 5, ``graders.0.heads...``, from its name in format ``form``."""
    if form >= 5:
        return name
    kind, _, rest = name.partition(".")
    number, _, key = rest.partition(".")
    if key.startswith("shape."):
        key = key.replace("shape", "shape_features", 1)
    return ".".join((_OLDER_KINDS.get(kind, kind), number, key))


def unfit(folder: Path, why: str) -> NoduleRiskError:
    """What to raise for weights that the manifest does not describe."""
    return NoduleRiskError(
        f"The weights in {folder} do not fit its {SETTINGS}: the package was made by another version or edited ({why})"
        "; take a matching one."
    )


def _check_names(names: list[str], manifest: Manifest, folder: Path) -> None:
    found = {tuple(name.split(".")[:2]) for name in names}
    for kind, count in asdict(manifest.networks).items():
        own = {one for one in found if one[0] == kind}
        if own != {(kind, str(number)) for number in range(count)}:
            raise unfit(folder, f"{SETTINGS} counts {count} networks under {kind}, {WEIGHTS} holds {len(own)}")
        found -= own
    if found or any(name.count(".") < 2 for name in names):
        raise unfit(folder, f"{WEIGHTS} holds tensors of no known network")


def _check_values(name: str, tensor: JsonValue, data: memoryview, folder: Path) -> None:
    part = tensor.fields(("dtype", "shape", "data_offsets"))
    dtype = np.dtype(DTYPES[part["dtype"].choice(tuple(DTYPES))])
    shape = [length.whole(0, len(data)) for length in part["shape"].items(0, 8)]
    begin, end = (offset.whole(0, len(data)) for offset in part["data_offsets"].items(2, 2))
    if end - begin != dtype.itemsize * math.prod(shape):
        raise unfit(folder, f"{WEIGHTS} is not a safetensors file")
    values = np.frombuffer(data[begin:end], dtype)
    if not np.isfinite(values).all() or (name.endswith("running_var") and (values < 0).any()):
        raise NoduleRiskError(
            f"The weights in {folder} hold values that are not finite, or negative variances: fetch the package again."
        )
