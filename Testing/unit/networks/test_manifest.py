"""What a damaged or hostile model.json would do if it were not read strictly: one sentence for each, no traceback."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES, OTHER_GRADES
from NoduleRiskLib.imaging.slice_stack import LAYOUTS
from NoduleRiskLib.networks.json_values import JsonValue
from NoduleRiskLib.networks.manifest import (
    FORMAT,
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
from NoduleRiskLib.networks.manifest_file import read_config, read_manifest, settings_hash, to_json
from NoduleRiskLib.networks.model_config import ModelConfig, paper_config

FILE = Path("toy") / "model.json"
FAITHFULNESS = HeatmapFaithfulness(
    "a command",
    "deeplift rescale",
    100,
    MeanFaithfulness(0.9, 0.2, 0.7, 0.8),
    {name: GradeFaithfulness(g % 2 == 0, 0.5 + g, 1.5, g / 10) for g, name in enumerate(GRADE_NAMES)},
    {"calcification": SignTest("calcium", 120, 0.97, 0.9, 0.93, True)},
)
MANIFEST = Manifest(
    name="toy",
    version="1.2",
    trained_on="nothing at all",
    networks=NetworkCounts(5, 1, 0),
    grader=ModelConfig(),
    calibration=Calibration(
        {name: ((-1.0, 0.5), (-0.5, 1.0 + g)) for g, name in enumerate(GRADE_NAMES)},
        {name: (1.0, 2.5, 2.5, 5.0) for name in GRADE_NAMES},
        (-12.0, 3.7),
        (8.0,),
        likely=0.7,
        repeatability=((6.0, 12.5, 31.0), (30.0, 9.0, 24.0)),
        account=AccountFit(-1.1, {one.name: TermFit(2.5, 0.7, 0.1 * g) for g, one in enumerate(OTHER_GRADES)}),
    ),
    heatmap_faithfulness=FAITHFULNESS,
    weights_sha256="0" * 64,
    card_sha256="f" * 64,
)
SETTINGS = json.loads(to_json(MANIFEST))


def signed(settings: dict[str, Any]) -> bytes:
    return json.dumps(settings | {"sha256_of_settings": settings_hash(settings)}).encode()


def edited(key: str, value: Any) -> bytes:
    """The settings, signed, with the value under ``grader.layout.pixels``, ``grader.windows.0`` ... replaced."""
    settings = deepcopy(SETTINGS)
    *path, last = key.split(".")
    at: Any = settings
    for part in path:
        at = at[int(part) if isinstance(at, list) else part]
    at[int(last) if isinstance(at, list) else last] = value
    return signed(settings)


NOTHING_MEASURED = replace(
    MANIFEST, heatmap_faithfulness=None, calibration=replace(MANIFEST.calibration, account=None, repeatability=())
)


@pytest.mark.parametrize("manifest", [MANIFEST, NOTHING_MEASURED], ids=["measured", "not"])
def test_nothing_gets_lost_in_the_file(manifest: Manifest) -> None:
    assert read_manifest(to_json(manifest), FILE) == manifest


#: What format 7 added, and where.
NEW_IN_7 = (("heatmap_faithfulness", "signs"), ("calibration", "account"))


def test_a_package_of_format_6_is_read_and_accounts_for_nothing() -> None:
    settings = deepcopy(SETTINGS) | {"format": 6}
    for part, name in NEW_IN_7:
        with pytest.raises(NoduleRiskError, match=rf'does not know, "{part}\.{name}"'):
            read_manifest(signed(settings), FILE)
        del settings[part][name]
    read = read_manifest(signed(settings), FILE)
    assert MANIFEST.heatmap_faithfulness is not None and MANIFEST.heatmap_faithfulness.signs
    assert read == replace(
        MANIFEST,
        format=6,
        calibration=replace(MANIFEST.calibration, account=None),
        heatmap_faithfulness=replace(MANIFEST.heatmap_faithfulness, signs={}),
    )


def test_a_package_of_format_5_is_read_and_knows_of_no_repeatability() -> None:
    settings = deepcopy(SETTINGS) | {"format": 5}
    for part, name in NEW_IN_7:
        del settings[part][name]
    for name in ("likely", "repeatability"):
        with pytest.raises(NoduleRiskError, match=rf'does not know, "calibration\.{name}"'):
            read_manifest(signed(settings), FILE)
        del settings["calibration"][name]
    read = read_manifest(signed(settings), FILE)
    assert read.format == 5
    assert read.calibration == replace(MANIFEST.calibration, likely=0.8, repeatability=(), account=None)
    assert read.calibration.repeatability_at(10.0) is None


@pytest.mark.parametrize(
    ("diameter_mm", "limits"),
    [(1.0, (12.5, 31.0)), (6.0, (12.5, 31.0)), (6.1, (9.0, 24.0)), (30.0, (9.0, 24.0)), (30.1, None)],
)
def test_repeatability_is_that_of_the_nodules_size(diameter_mm: float, limits: tuple[float, float] | None) -> None:
    assert MANIFEST.calibration.repeatability_at(diameter_mm) == limits


def test_configurations_survive_json(tiny: ModelConfig) -> None:
    for config in (ModelConfig(), paper_config(LAYOUTS["triplanar"]), tiny):
        values = json.loads(json.dumps(asdict(config)))
        assert read_config(JsonValue(values, FILE)) == config
    with pytest.raises(NoduleRiskError, match="unheard_of"):
        read_config(JsonValue({**values, "unheard_of": 1}, FILE))
    # What was written before there were shape features was made without them.
    for name in ("shape_features", "surface_features", "calcium_features", "evidence"):
        del values[name]
    assert tiny.shape_features
    assert read_config(JsonValue(values, FILE), form=4) == replace(tiny, shape_features=False)
    assert read_config(JsonValue({**values, "shape": True}, FILE), form=4) == tiny


WRONG = [
    ("name", 5, "name must be printable text"),
    ("name", "", "name must be printable text"),
    ("name", "a\x1b[31mred", "name must be printable text"),
    ("name", "\ud800", "name must be printable text"),
    ("name", "x" * 101, "of 1 to 100 characters"),
    ("version", None, "version must be printable text .* not null"),
    ("trained_on", ["LIDC"], "trained_on must be .* not a list of 1"),
    ("networks", 5, "networks must be an object with the keys graders, segmentation, false_positive, not 5"),
    ("networks.graders", 10**7, "networks.graders must be a whole number from 1 to 50, not 10000000"),
    ("networks.graders", 0, "networks.graders must be a whole number from 1 to 50"),
    ("networks.graders", -1, "networks.graders must be"),
    ("networks.graders", True, "networks.graders must be a whole number from 1 to 50, not true"),
    ("networks.graders", 5.0, "networks.graders must be"),
    ("networks.graders", "5", 'networks.graders must be .* not "5"'),
    ("networks.segmentation", 0, "networks.segmentation must be a whole number from 1"),
    ("networks.recognisers", 1, 'a key that this NoduleRisk does not know, "networks.recognisers"'),
    ("grader", None, "grader must be an object"),
    ("grader.layout", [], "grader.layout must be an object"),
    ("grader.layout.planes", [], r"grader.layout.planes must be a list of 1 to 3, not a list of 0"),
    ("grader.layout.planes", ["axial", "oblique"], r'grader.layout.planes\[1\] must be one of axial, .* not "oblique"'),
    ("grader.layout.planes", ["axial", "axial"], "grader.layout.planes must be different planes"),
    ("grader.layout.planes", "axial", "grader.layout.planes must be a list"),
    ("grader.layout.slices", 0, "grader.layout.slices must be a whole number from 1 to 512"),
    ("grader.layout.pixels", 10**6, "grader.layout.pixels must be a whole number from 8 to 256"),
    ("grader.layout.pixels", 64.5, "grader.layout.pixels must be"),
    ("grader.layout.pixel_mm", 0, "grader.layout.pixel_mm must be a number from 0.05 to 10, not 0"),
    ("grader.layout.pixel_mm", -0.7, "grader.layout.pixel_mm must be"),
    ("grader.layout.pixel_mm", 0.05, "grader.layout.pixel_mm must be such that 64 pixels are 5 to 500 mm wide"),
    ("grader.layout.pixel_mm", None, "grader.layout.pixel_mm must be"),
    ("grader.layout.step_mm", 0, "grader.layout.step_mm must be"),
    ("grader.layout.min_step_mm", -1, "grader.layout.min_step_mm must be"),
    ("grader.windows", [], "grader.windows must be a list of 1 to 16"),
    ("grader.windows", [[-1000, 400]] * 17, "grader.windows must be a list of 1 to 16"),
    ("grader.windows.0", [400, -1000], r"grader.windows\[0\] must be a low and a high end, in this order"),
    ("grader.windows.0", [400, 400], r"grader.windows\[0\] must be a low and a high end"),
    ("grader.windows.0", [400], r"grader.windows\[0\] must be a list of 2"),
    ("grader.windows.0", [-1e9, 0], r"grader.windows\[0\]\[0\] must be a number from -32768 to 32767"),
    ("grader.outline", 1, "grader.outline must be true or false, not 1"),
    ("grader.transformer", "hf-hub:someone/something", "grader.transformer must be the plain name of a timm"),
    ("grader.transformer", "local-dir:/etc", "grader.transformer must be the plain name of a timm"),
    ("grader.transformer", "vit_tiny_patch16_224.augreg_in21k", "grader.transformer must be the plain name"),
    ("grader.transformer", "../../vit", "grader.transformer must be the plain name"),
    ("grader.transformer", "", "grader.transformer must be the plain name"),
    ("grader.transformer", "v" * 81, "grader.transformer must be the plain name"),
    ("grader.transformer", {}, "grader.transformer must be .* not an object"),
    ("grader.dim", 10**6, "grader.dim must be a whole number from 8 to 4096"),
    ("grader.dim", 33, "grader.dim must be even"),
    ("grader.heads", 3, "grader.heads must be a divisor of grader.dim, 128"),
    ("grader.heads", 0, "grader.heads must be"),
    ("grader.depth", 10**4, "grader.depth must be a whole number from 1 to 64"),
    ("grader.embedding", "magic", 'grader.embedding must be one of conv, linear, not "magic"'),
    ("grader.position", ["mm"], "grader.position must be one of mm, slot"),
    ("grader.drop", 1, "grader.drop must be a number from 0 to 0.9"),
    ("grader.unheard_of", 1, '"grader.unheard_of"'),
    ("calibration", {}, "lacks the key calibration.interval"),
    ("calibration.interval.margin", [[-1, 1]], "calibration.interval.margin must be a list of 2, not a list of 1"),
    ("calibration.interval.margin", [-1, 1], r"calibration.interval.margin\[0\] must be a list of 2"),
    ("calibration.interval.margin", [[1, -1]] * 2, r"calibration.interval.margin\[0\] must be a low and a high end"),
    ("calibration.interval.margin", [[-1e9, 1]] * 2, "must be a number from -60 to 60"),
    ("calibration.interval.beauty", [[-1, 1]] * 2, "calibration.interval.beauty"),
    ("calibration.reference.margin", [], "calibration.reference.margin must be a list of 2 to 1001"),
    ("calibration.reference.margin", [5, 1], "calibration.reference.margin must be percentiles that never fall"),
    ("calibration.reference.margin", ["1", "5"], r"calibration.reference.margin\[0\] must be a number"),
    ("calibration.suspicion", [1], "calibration.suspicion must be a list of 2"),
    ("calibration.suspicion", [1000, 1], r"calibration.suspicion\[0\] must be a number from -100 to 100"),
    ("calibration.strata_mm", [8, 8], "calibration.strata_mm must be rising diameters"),
    ("calibration.strata_mm", 8, "calibration.strata_mm must be a list"),
    ("calibration.repeatability", None, "calibration.repeatability must be a list"),
    ("calibration.repeatability", [[6, 12]], r"calibration.repeatability\[0\] must be a list of 3"),
    (
        "calibration.repeatability",
        [[6, 12, -1]],
        r"calibration.repeatability\[0\]\[2\] must be a number from 0 to 1000",
    ),
    ("calibration.repeatability", [[6, "12", 1]], r"calibration.repeatability\[0\]\[1\] must be a number"),
    ("calibration.repeatability", [[8, 1, 1]] * 2, "calibration.repeatability must be rows of rising diameters"),
    ("calibration.account", [], "calibration.account must be an object with the keys intercept, terms"),
    ("calibration.account", {}, "lacks the key calibration.account.intercept"),
    ("calibration.account.intercept", "-1", "calibration.account.intercept must be a number from -100 to 100"),
    ("calibration.account.terms", [], "calibration.account.terms must be an object with the keys subtlety"),
    ("calibration.account.terms.malignancy", {}, 'does not know, "calibration.account.terms.malignancy"'),
    ("calibration.account.terms.margin", 0.1, "calibration.account.terms.margin must be an object"),
    ("calibration.account.terms.margin.mean", None, "terms.margin.mean must be a number"),
    ("calibration.account.terms.margin.deviation", 0, "terms.margin.deviation must be a number from 0.001 to 1000"),
    ("calibration.account.terms.margin.deviation", -1, "terms.margin.deviation must be a number"),
    ("calibration.account.terms.margin.coefficient", 101, "terms.margin.coefficient must be a number from -100 to 100"),
    ("calibration.account.terms.margin.weight", 1, 'does not know, "calibration.account.terms.margin.weight"'),
    ("heatmap_faithfulness.nodules", 0, "heatmap_faithfulness.nodules must be"),
    ("heatmap_faithfulness.overall.retest", 2, "heatmap_faithfulness.overall.retest must be a number from -1 to 1"),
    ("heatmap_faithfulness.grades.margin", {}, "lacks the key heatmap_faithfulness.grades.margin.beats_gaussian"),
    ("heatmap_faithfulness.grades.margin.pointing", 1.1, "pointing must be a number from 0 to 1"),
    ("heatmap_faithfulness.grades.margin.beats_gaussian", "yes", "beats_gaussian must be true or false"),
    ("heatmap_faithfulness.package", "toy@0123456789ab", '"heatmap_faithfulness.package"'),
    ("sha256", ["0" * 64], "sha256 must be an object"),
    ("sha256", {"weights.safetensors": "0" * 64}, "lacks the key sha256.README.md"),
    ("approved", True, 'does not know, "approved"'),
    ("\ud800\x1b\n" * 100, True, "does not know, "),
]


@pytest.mark.parametrize(("key", "value", "sentence"), WRONG, ids=lambda value: ascii(value)[:30])
def test_what_is_wrong_is_told_with_its_key(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(NoduleRiskError, match=sentence) as refused:
        read_manifest(edited(key, value), FILE)
    told = str(refused.value)
    assert told.isprintable() and told.encode() and str(FILE) in told and len(told) < 300
    assert told.endswith("take a matching one.")


def test_a_number_too_large_for_a_computer_is_told_with_its_key() -> None:
    data = edited("grader.layout.pixel_mm", float("inf")).replace(b"Infinity", b"1e400")
    with pytest.raises(
        NoduleRiskError, match=r"grader.layout.pixel_mm must be a number from .* not a number without end"
    ):
        read_manifest(data, FILE)


def keys(values: dict[str, Any], above: str = "") -> list[str]:
    return [
        name
        for key, value in values.items()
        for name in (above + key, *(keys(value, f"{above}{key}.") if isinstance(value, dict) else ()))
    ]


#: Not every grade has a sign with a place.
MAY_BE_ABSENT = (
    "grader.evidence",
    "grader.surface_features",
    "grader.calcium_features",
    "format",
    "sha256_of_settings",
    "heatmap_faithfulness.signs.calcification",
)


@pytest.mark.parametrize("key", [key for key in keys(SETTINGS) if key not in MAY_BE_ABSENT])
def test_every_key_is_needed(key: str) -> None:
    settings = deepcopy(SETTINGS)
    *path, last = key.split(".") if not key.startswith("sha256.") else ("sha256", key.removeprefix("sha256."))
    at = settings
    for part in path:
        at = at[part]
    del at[last]
    # Up to format 2 there were no strata; one bare pair stands for them.
    sentence = "must be a list" if key == "calibration.strata_mm" else f"lacks the key {key}"
    with pytest.raises(NoduleRiskError, match=sentence):
        read_manifest(signed(settings), FILE)


TEXT = to_json(MANIFEST).decode()
NOW = f'"format": {FORMAT}'


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"[" * 900 + b"]" * 900,
        TEXT.replace('"drop": 0.1', '"drop": NaN').encode(),
        TEXT.replace('"drop": 0.1', '"drop": -Infinity').encode(),
        TEXT.replace('"slices": 49', '"slices": ' + "4" * 5000).encode(),
        TEXT.replace(NOW, '"format": ' + "5" * 5000).encode(),
        TEXT.replace(NOW, '"format": "5"').encode(),
        TEXT.replace(NOW, '"format": true').encode(),
        TEXT.replace(NOW, '"format": 5.0').encode(),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-8-sig"),
        TEXT.replace("toy", "t\xf6y").encode("latin-1"),
        TEXT.encode() + b"\0",
        b"\xed\xa0\x80",
    ],
    ids=lambda data: ascii(data[:20]),
)
def test_what_is_no_json_of_this_kind_is_told_so(data: bytes) -> None:
    with pytest.raises(NoduleRiskError, match=r"is not a model package's settings file: fetch the package again\."):
        read_manifest(data, FILE)


def test_nesting_is_refused_and_not_the_end_of_the_interpreter() -> None:
    """Where it is just not too deep to be read, as well."""
    for depth in range(100, 1100, 50):
        deep = TEXT.replace('"version": "1.2"', '"version": ' + "[" * depth + "]" * depth).encode()
        with pytest.raises(NoduleRiskError):
            read_manifest(deep, FILE)


@pytest.mark.parametrize("twice", ["format", "name", "sha256_of_settings"])
def test_a_key_that_stands_twice_is_named(twice: str) -> None:
    """Whoever looks at the file reads the first one, and Python takes the last."""
    value = json.dumps(SETTINGS[twice])
    data = TEXT.replace("{", f'{{"{twice}": {value},', 1).encode()
    with pytest.raises(NoduleRiskError, match=f'has the key "{twice}" twice'):
        read_manifest(data, FILE)


def test_an_altered_setting_is_told_as_such_before_its_value_is_looked_at() -> None:
    with pytest.raises(NoduleRiskError, match="was altered or is incomplete"):
        read_manifest(TEXT.replace('"graders": 5', '"graders": "many"').encode(), FILE)


@pytest.mark.parametrize("form", [0, -3, 1])
def test_a_format_that_nothing_reads_any_more_is_told(form: int) -> None:
    with pytest.raises(NoduleRiskError, match=f"has format {form}, this NoduleRisk reads 2 to {FORMAT}: take"):
        read_manifest(edited("format", form), FILE)
