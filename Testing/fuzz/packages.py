"""Model packages as damage, other versions and bad will make them: all must be read, or refused with one sentence."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADES, OTHER_GRADES
from NoduleRiskLib.imaging.calcium_features import CALCIUM_FEATURES
from NoduleRiskLib.imaging.shape_features import SHAPE_FEATURES
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.surface_features import SURFACE_FEATURES
from NoduleRiskLib.networks.manifest import AccountFit, TermFit
from NoduleRiskLib.networks.manifest_file import settings_hash
from NoduleRiskLib.networks.model_package import CARD, SETTINGS, WEIGHTS, load, with_card
from NoduleRiskLib.networks.nodule_vit import Batch
from NoduleRiskLib.results.estimates import account, estimates
from NoduleRiskLib.results.nodule import Calcification

#: A small package of format 4; the one of today's format is made from it.
FORMAT_4 = Path(__file__).parents[1] / "unit" / "networks" / "data" / "format-4.tar.xz"
MOST_MEMORY = 2e9


class Files(dict[str, bytes]):
    """A package's files by name."""

    def __repr__(self) -> str:
        sizes = {name: len(data) for name, data in self.items()}
        return f"<Files of {sizes} bytes, {SETTINGS}: {self[SETTINGS][:3000]!r}>"


#: What stands where something else is expected.
HOSTILE: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 50, 51, 10**7, 10**18, -(10**18), 10**40),
    *(0.0, -0.0, 0.05, 0.7, 1e-300, 1e308, 64.0, float("nan"), float("inf"), -float("inf")),
    *("", " ", "5", "axial", "linear", "slot", "mm", "native", "\ud800", "\x1b[31m", "a\nb", "\u202e", "x" * 3000),
    *("hf-hub:timm/vit_tiny_patch16_224", "hf_hub:a/b", "local-dir:/etc", "https://example.org/vit", "../vit"),
    *("vit_tiny_patch16_224.augreg_in21k", "vit_giant_patch14_224", "vit_base_patch32_224", "resnet50", "no_such_vit"),
    *(
        "vit_medium_patch16_gap_240",
        "deit_tiny_distilled_patch16_224",
        "vit_relpos_small_patch16_224",
        "naflexvit_base",
    ),
    *(
        [],
        {},
        [[]],
        [0, 1],
        [1, 0],
        [[0, 1], [1, 2]],
        [None] * 101,
        {"format": 5},
        ["axial"] * 3,
        ["sagittal", "coronal"],
    ),
    *("F16", "F32", "BF16", "F64", "I64", "U8", "F8_E4M3", "C64"),
]
VALUES = st.one_of(
    st.sampled_from(HOSTILE),
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=()), max_size=20),
)
#: One change of a JSON tree: which place (modulo all there are), what is done there, and a value for it.
EDITS = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.sampled_from(["replace", "replace", "delete", "add", "rename", "scale", "swap"]),
        VALUES,
    ),
    min_size=1,
    max_size=3,
)
#: Settings of a grader that are in range: whether they are those of the weights, the shapes decide.
PLAUSIBLE = st.dictionaries(
    st.sampled_from(
        [
            "dim",
            "depth",
            "heads",
            "transformer",
            "embedding",
            "position",
            "outline",
            "shape_features",
            "surface_features",
            "calcium_features",
        ]
    ),
    st.integers(0, 100),
    max_size=4,
)
CHOICES: dict[str, list[Any]] = {
    "dim": [8, 16, 24, 64, 4096, None],
    "depth": [1, 2, 64, None],
    "heads": [1, 2, 4, 64, None],
    "transformer": [name for name in HOSTILE if isinstance(name, str) and re.fullmatch(r"\w*(vit|resnet)\w*", name)],
    "embedding": ["conv", "linear"],
    "position": ["mm", "slot"],
    "outline": [True, False],
    "shape_features": [True, False],
    "surface_features": [True, False],
    "calcium_features": [True, False],
}
#: One change of a file's bytes: where (as a share of its length), what, how many.
DAMAGE = st.tuples(
    st.floats(0, 1), st.sampled_from(["cut", "flip", "fill", "zero", "insert", "deep", "digits"]), st.integers(1, 5000)
)


@cache
def originals() -> tuple[Files, Files]:
    """The files of two small whole packages, of format 4 and of today's."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(FORMAT_4, folder)
        path = Path(folder) / "toy"
        older = files_of(path)
        package = load(path)
        fit = AccountFit(-1.0, {grade.name: TermFit(2.0, 0.5, 0.3) for grade in OTHER_GRADES})
        with_card(package, "# Toy\n\nFor fuzzing.\n", calibration=replace(package.calibration, account=fit))
        return older, files_of(path)


def files_of(path: Path) -> Files:
    """The files of the package at ``path``."""
    return Files({name: (path / name).read_bytes() for name in (WEIGHTS, SETTINGS, CARD)})


@st.composite
def packages(draw: st.DrawFn) -> Files:
    """Files of a package with changes that were mostly signed again, so that reading goes on behind the hashes."""
    files = Files(originals()[draw(st.integers(0, 3)) > 0])
    values = json.loads(files[SETTINGS])
    # Of every second package one thing is wrong, of the others several.
    wrong = draw(
        st.lists(st.sampled_from(["settings", "settings", "grader", "header", "bytes"]), min_size=1, max_size=3)
    )
    if "settings" in wrong:
        values = edit(values, draw(EDITS))
    if "header" in wrong:
        files[WEIGHTS] = edit_header(files[WEIGHTS], draw(EDITS))
    if "grader" in wrong and isinstance(values, dict) and isinstance(values.get("grader"), dict):
        values["grader"] |= {key: CHOICES[key][i % len(CHOICES[key])] for key, i in draw(PLAUSIBLE).items()}
        files[WEIGHTS] = edit_header(files[WEIGHTS], [], values["grader"])
    if "bytes" in wrong:
        name = draw(st.sampled_from([WEIGHTS, WEIGHTS, CARD]))
        files[name] = damage(files[name], draw(DAMAGE))
    files[SETTINGS] = signed(values, files, draw(st.integers(0, 9)) != 5)
    if draw(st.integers(0, 9)) == 5:
        files[SETTINGS] = damage(files[SETTINGS], draw(DAMAGE))
    if draw(st.integers(0, 30)) == 15 and files[SETTINGS].startswith(b"{"):
        files[SETTINGS] = b'{"format": 5, "name": "toy", ' + files[SETTINGS][1:]
    return files


def edit(tree: Any, edits: list[tuple[int, str, Any]]) -> Any:
    """A JSON tree with changes at some of its places."""
    root = {"root": deepcopy(tree)}
    for place, action, value in edits:
        found = _places(root)
        holder, key = found[place % len(found)]
        if action == "replace":
            holder[key] = deepcopy(value)
        elif action == "delete" and holder is not root:
            del holder[key]
        elif action == "add" and isinstance(holder[key], dict):
            holder[key][str(value)[:40]] = deepcopy(value)
        elif action == "add" and isinstance(holder[key], list):
            holder[key].append(deepcopy(value))
        elif action == "rename" and isinstance(holder, dict) and holder is not root:
            holder[str(value)[:40]] = holder.pop(key)
        elif action == "scale" and type(holder[key]) in (int, float):
            holder[key] *= value if type(value) in (int, float) else 2
        elif action == "swap":
            other, at = found[(place * 7 + 3) % len(found)]
            holder[key], other[at] = deepcopy(other[at]), deepcopy(holder[key])
    return root["root"]


def edit_header(data: bytes, edits: list[tuple[int, str, Any]], grader: Any = None) -> bytes:
    """A safetensors file with changes in its header; with ``grader``, that is what it says of its graders."""
    size = int.from_bytes(data[:8], "little")
    header = edit(json.loads(data[8 : 8 + size]), edits)
    if grader is not None and isinstance(header, dict) and isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["grader"] = json.dumps(grader)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def damage(data: bytes, how: tuple[float, str, int]) -> bytes:
    """A file's bytes, cut, overwritten or with something in between."""
    share, action, count = how
    at = int(share * len(data))
    before, hit, after = data[:at], data[at : at + count], data[at + count :]
    return {
        "cut": before,
        "flip": before + bytes(byte ^ (1 << count % 8) for byte in hit[:1]) + hit[1:] + after,
        "fill": before + b"\xff" * len(hit) + after,
        "zero": before + b"\0" * len(hit) + after,
        "insert": before + b"{[\xc3(" * (count % 9) + hit + after,
        "deep": before + b"[" * (40 * count) + hit + after,
        "digits": before + b"9" * count + hit + after,
    }[action]


def signed(values: Any, files: Files, sign: bool) -> bytes:
    """``model.json``, its hashes made to fit if ``sign``."""
    if sign and isinstance(values, dict):
        if isinstance(values.get("sha256"), dict):
            values["sha256"] |= {
                name: hashlib.sha256(files[name]).hexdigest() for name in (WEIGHTS, CARD) if name in values["sha256"]
            }
        values["sha256_of_settings"] = settings_hash(values)
    return json.dumps(values).encode()


def outcome(files: Files, folder: Path) -> str:
    """What comes of a package: "read", or "refused" with a sentence; whatever else comes is raised.

    One that is read grades a nodule and accounts for its suspicion.
    """
    for name, data in files.items():
        (folder / name).write_bytes(data)
    try:
        package = load(folder)
        assert all(text.isprintable() for text in package.describe().values())
        networks = package.networks()
    except NoduleRiskError as error:
        told = str(error)
        assert told.isprintable() and told.endswith(".") and len(told) < 600, told
        return "refused"
    assert [len(some) for some in networks] == [getattr(package.manifest.networks, kind) for kind in networks._fields]
    for network in (*networks.graders, *networks.segmentation, *networks.false_positive):
        assert all(value.isfinite().all() for value in network.state_dict().values())
    with torch.inference_mode():
        networks.graders[0](_nodule(package.config.layout))
    told = estimates(package.calibration, [grade.low for grade in GRADES], 8.0)
    why = account(package.calibration, told, Calcification(0.5, "central", 0.5))
    assert why is None or 0 <= why.probability <= 1
    return "read"


def run(count: int, derandomize: bool = False) -> Counter[str]:
    """So many packages, the same ones each time if ``derandomize``; how often each outcome came."""
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:

        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            derandomize=derandomize,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(packages())
        def one(files: Files) -> None:
            seen[outcome(files, Path(folder))] += 1

        one()
    return seen


def main(count: int) -> None:
    """Run ``count`` packages and print what came of them; a crash ends in its traceback, with the smallest example."""
    # The networks are small: more threads only wait for each other.
    torch.set_num_threads(1)
    begun, before = time.monotonic(), _memory()
    seen = run(count)
    memory = _memory()
    print(
        f"packages: {seen.total()} tried, {seen['read']} read, {seen['refused']} refused with a sentence; "
        f"{time.monotonic() - begun:.0f} s, at most {memory / 1e6:.0f} MB of memory"
    )
    # The process may have had its peak before: then the packages took less.
    if memory > max(MOST_MEMORY, before):
        sys.exit(f"More than {MOST_MEMORY / 1e6:.0f} MB of memory were taken.")


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) of a JSON tree, the outermost first; of long lists the first two and the last."""
    found = []
    waiting = [tree]
    while waiting:
        holder = waiting.pop(0)
        keys = list(holder) if isinstance(holder, dict) else [*range(len(holder))]
        for key in keys if isinstance(holder, dict) else dict.fromkeys([*keys[:2], *keys[-1:]]):
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    return found


def _nodule(layout: Layout) -> Batch:
    """A nodule of three slices for that layout."""
    places = layout.slices * len(layout.planes)
    shape = (1, places, layout.pixels, layout.pixels)
    valid = torch.zeros(1, places, dtype=torch.bool)
    valid[:, :3] = True
    offset, plane = torch.zeros(1, places), torch.zeros(1, places, dtype=torch.int64)
    features = (torch.zeros(1, len(names)) for names in (SHAPE_FEATURES, SURFACE_FEATURES, CALCIUM_FEATURES))
    return Batch(torch.full(shape, -100.0), torch.ones(shape), offset, plane, valid, *features)


def _memory() -> float:
    """The most that this process has taken so far, bytes; 0 where that is not known."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)
