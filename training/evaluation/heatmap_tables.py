"""Tables and plots of what ``faithfulness`` measured of each nodule, and the summary that the package keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import wilcoxon

from NoduleRiskLib.explain.heatmaps import DEFAULT_SLICES
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.manifest import GradeFaithfulness, HeatmapFaithfulness, MeanFaithfulness

from .heatmap_scores import AREAS, CASCADE, NINE, SLICES, similarity
from .report_sections import markdown

Measured = Mapping[str, Mapping[str, Array]]
#: What is removed: slices, blocks of pixels with their outline, or blocks whose outline stays.
Kind = Literal["slices", "blocks", "image"]
#: "Better than the centred Gaussian" means: in both curves, at this level of p, paired by nodule.
LEVEL = 0.01
OPPONENT, ATTENTION, CHANCE = "centred Gaussian", "class attention", "random"


def curve_table(measured: Measured, kind: Kind, method: str) -> pd.DataFrame:
    """Deletion and insertion by grade: mean absolute change over the curve, against the controls.

    The p-values are two-sided Wilcoxon signed-rank tests over nodules, against the centred Gaussian.
    """
    areas = {way: _stacked(measured, f"{kind}/{way}").mean(-1) for way in (method, OPPONENT, CHANCE, ATTENTION)}
    rows = []
    for g, name in enumerate(GRADE_NAMES):
        row: dict[str, Any] = {"grade": name}
        for c, curve in enumerate(("deletion", "insertion")):
            row |= {f"{curve}: {way}": values[:, g, c].mean() for way, values in areas.items()}
            row[f"{curve}: p"] = _paired(areas[method][:, g, c], areas[OPPONENT][:, g, c])
        better = row[f"deletion: {method}"] > row[f"deletion: {OPPONENT}"]
        better &= row[f"insertion: {method}"] < row[f"insertion: {OPPONENT}"]
        row["beats the Gaussian"] = bool(better and max(row["deletion: p"], row["insertion: p"]) < LEVEL)
        rows.append(row)
    return pd.DataFrame(rows).set_index("grade")


def methods_table(measured: Measured, kind: Kind, cost: Mapping[str, float]) -> pd.DataFrame:
    """All methods of one kind: in how many grades they beat the Gaussian, and the pointing game."""
    names = [name.removeprefix(f"{kind}/") for name in _first(measured) if name.startswith(f"{kind}/")]
    rows = []
    for method in names:
        if method == OPPONENT:
            continue
        table = curve_table(measured, kind, method)
        row: dict[str, Any] = {"method": method}
        for curve, sign in (("deletion", 1), ("insertion", -1)):
            gain = sign * (table[f"{curve}: {method}"] - table[f"{curve}: {OPPONENT}"])
            row[f"{curve}: grades better"] = int((gain > 0).sum())
            row[f"{curve}: p < {LEVEL}"] = int(((gain > 0) & (table[f"{curve}: p"] < LEVEL)).sum())
        row[f"both, p < {LEVEL}"] = int(table["beats the Gaussian"].sum())
        if f"placed/{method}" in _first(measured):
            hit, share = _stacked(measured, f"placed/{method}").mean((0, 1))
            ball_hit, ball_share = _stacked(measured, f"placed/{OPPONENT}").mean(0)
            row |= {"pointing": hit, "minus Gaussian": hit - ball_hit}
            row |= {"share inside": share, "share minus Gaussian": share - ball_share}
        if method in cost:
            row["cost, forward passes"] = cost[method]
        rows.append(row)
    # Controls have no pointing game of their own, and only some methods were timed.
    return pd.DataFrame(rows).set_index("method").astype(object).fillna("")


def pointing_table(measured: Measured, methods: list[str]) -> pd.DataFrame:
    """Pointing game by grade with the point beside the nodule, each method and the Gaussian: share of hits."""
    columns = {way: _stacked(measured, f"placed/{way}")[:, :, 0].mean(0) for way in methods}
    columns[OPPONENT] = np.full(NINE, _stacked(measured, f"placed/{OPPONENT}")[:, 0].mean())
    return pd.DataFrame(columns, index=pd.Index(GRADE_NAMES, name="grade"))


def sanity_table(measured: Measured, default: str) -> pd.DataFrame:
    """By grade: similarity after weights were shuffled (beside random pairs of nodules) and after a small shift."""
    maps = _stacked(measured, "map").astype(np.float32)[:, :, None]
    pairs = [similarity(one, other) for one, other in zip(maps, np.roll(maps, 1, axis=0), strict=True)]
    columns = {f"SSIM shuffled down to {part}": _stacked(measured, f"shuffled/{part}").mean(0) for part in CASCADE}
    columns["SSIM of random pairs"] = np.mean(pairs, 0)
    last = _stacked(measured, f"shuffled/{CASCADE[-1]}")
    columns["p"] = np.array([_paired(last[:, g], np.array(pairs)[:, g]) for g in range(NINE)])
    columns["retest, 1 mm"] = _stacked(measured, f"retest/{default}").mean(0)
    columns["retest of the gradient"] = _stacked(measured, "retest/gradient").mean(0)
    columns["another fold"] = _stacked(measured, "other fold").mean(0)
    table = pd.DataFrame(columns, index=pd.Index(GRADE_NAMES, name="grade"))
    table.loc["mean"] = table.mean()
    return table


def grades_apart(measured: Measured) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rim shares by grade, paired against calcification's; mean rank correlation between the nine maps."""
    rim = _stacked(measured, "rim")
    core = rim[:, GRADE_NAMES.index("calcification")]
    rows = [
        {"grade": name, "share at the rim": rim[:, g].mean(), "minus calcification's": (rim[:, g] - core).mean()}
        | {"p": _paired(rim[:, g], core)}
        for g, name in enumerate(GRADE_NAMES)
    ]
    alike = _stacked(measured, "between grades").mean(0)
    return pd.DataFrame(rows).set_index("grade"), pd.DataFrame(
        alike, index=pd.Index(GRADE_NAMES, name="grade"), columns=list(GRADE_NAMES)
    )


def heads_table(measured: Measured, seed: int = 0) -> pd.DataFrame:
    """How differently the grades use the heads of each block, beside heads shuffled for every nodule and grade.

    The spread is the mean total variation distance of a grade's mean profile over heads from that of all grades:
    0 where all grades use the heads alike, up to 1 where each has heads of its own.
    """
    heads = _stacked(measured, "heads")
    rng = np.random.default_rng(seed)
    rows = []
    for block in range(heads.shape[2]):
        profile = heads[:, :, block]
        profile = profile / np.maximum(profile.sum(-1, keepdims=True), 1e-12)
        by_chance = [_spread(rng.permuted(profile, axis=-1)) for _ in range(200)]
        favourites = profile.mean(0).argmax(-1)
        rows.append(
            {
                "block": block + 1,
                "spread": _spread(profile),
                "shuffled": np.mean(by_chance),
                "p": (1 + np.sum(np.array(by_chance) >= _spread(profile))) / (1 + len(by_chance)),
                "favourite heads": len(set(favourites)),
                "share of the favourite": profile.mean(0).max(-1).mean(),
            }
        )
    return pd.DataFrame(rows).set_index("block")


def faithfulness(measured: Measured, default: str, command: str) -> HeatmapFaithfulness:
    """For the package's manifest: by grade, whether the heatmap beats the centred Gaussian, and by how much."""
    table = curve_table(measured, "blocks", default)
    pointing = _stacked(measured, f"placed/{default}")[:, :, 0].mean(0)
    grades = {
        name: GradeFaithfulness(
            beats_gaussian=bool(row["beats the Gaussian"]),
            deletion=round(float(row[f"deletion: {default}"] / row[f"deletion: {OPPONENT}"]), 2),
            insertion=round(float(row[f"insertion: {default}"] / row[f"insertion: {OPPONENT}"]), 2),
            pointing=round(float(pointing[g]), 2),
        )
        for g, (name, row) in enumerate(table.iterrows())
    }
    sanity = sanity_table(measured, default).loc["mean"]
    overall = {
        "pointing": pointing.mean(),
        "shuffled": sanity[f"SSIM shuffled down to {CASCADE[-1]}"],
        "pairs": sanity["SSIM of random pairs"],
        "retest": sanity["retest, 1 mm"],
    }
    means = MeanFaithfulness(**{name: round(float(value), 3) for name, value in overall.items()})
    return HeatmapFaithfulness(command, default, len(measured), means, grades)


def on_card(card: str, line: str) -> str:
    """The model card (Markdown) with the heatmaps' line before its scores, in place of an older one."""
    others = [part for part in card.rstrip().split("\n\n") if not part.startswith("Heatmaps (")]
    at = next((i for i, part in enumerate(others) if part.startswith("**Scores.**")), len(others))
    return "\n\n".join([*others[:at], line, *others[at:]]) + "\n"


def plot_curves(path: Path, measured: Measured, kind: Kind, methods: list[str]) -> None:
    """Two rows of nine small plots: deletion and insertion."""
    shares = SLICES if kind == "slices" else AREAS
    figure = Figure(figsize=(18, 5), layout="constrained")
    axes = figure.subplots(2, NINE, sharex=True)
    for way in dict.fromkeys([*methods, OPPONENT, ATTENTION, CHANCE]):
        mean = _stacked(measured, f"{kind}/{way}").mean(0)
        dashed = "-" if way in methods else "--"
        for g in range(NINE):
            for c in range(2):
                axes[c, g].plot(shares, mean[g, c], dashed, label=way, marker=".")
    for g, name in enumerate(GRADE_NAMES):
        axes[0, g].set_title(name)
        axes[1, g].set_xlabel("share of slices" if kind == "slices" else "nodule areas")
    axes[0, 0].set_ylabel("removed: change\n(higher is better)")
    axes[1, 0].set_ylabel("only this kept: change\n(lower is better)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=9)
    FigureCanvasAgg(figure).print_png(str(path))


def plot_heads(path: Path, measured: Measured) -> None:
    """Relevance of each head (blocks side by side) for each grade."""
    heads = _stacked(measured, "heads")
    profile = heads / np.maximum(heads.sum((2, 3), keepdims=True), 1e-12)
    mean = profile.mean(0)
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(mean.reshape(NINE, -1), cmap="viridis", vmin=0)
    axes.set_yticks(range(NINE), GRADE_NAMES)
    axes.set_xticks(
        range(mean[0].size), [f"{b + 1}.{h + 1}" for b in range(mean.shape[1]) for h in range(mean.shape[2])]
    )
    axes.set_xlabel("block.head")
    figure.colorbar(image, label="share of relevance")
    FigureCanvasAgg(figure).print_png(str(path))


def report(measured: Measured, default: str, cost: Mapping[str, float]) -> str:
    """All tables, Markdown."""
    first = _first(measured)
    shifted = sum(f"placed/{default}" in one for one in measured.values())
    pixels = [name.removeprefix("placed/") for name in first if name.startswith("placed/")]
    rim, alike = grades_apart(measured)
    parts = [
        f"{len(measured)} nodules out of fold; {shifted} of them stay in the field with the point put beside them.",
        "### Pixels: blocks filled with local lung, which also removes their outline; mean over the curve",
        markdown(curve_table(measured, "blocks", default)),
        "### Pixels: filled blocks keep their outline",
        markdown(curve_table(measured, "image", default)),
        "### Slices: slices masked out",
        markdown(curve_table(measured, "slices", DEFAULT_SLICES)),
        "### All pixel methods",
        markdown(methods_table(measured, "blocks", cost)),
        "### Pixel methods, filled blocks keep their outline",
        markdown(methods_table(measured, "image", cost)),
        "### All slice methods",
        markdown(methods_table(measured, "slices", cost)),
        "### Pointing game, the point 8 to 15 mm beside the nodule",
        markdown(pointing_table(measured, [way for way in pixels if way != OPPONENT])),
        "### Sanity: shuffled weights, repeatability, another fold",
        markdown(sanity_table(measured, default)),
        "### How the nine maps differ: share at the rim",
        markdown(rim),
        "### How the nine maps differ: rank correlation between grades",
        markdown(alike, 2),
        "### Attention heads by grade",
        markdown(heads_table(measured)),
    ]
    return "\n\n".join(parts) + "\n"


def _first(measured: Measured) -> Mapping[str, Array]:
    # A nodule that did not fit into the field has fewer measurements.
    return max(measured.values(), key=len)


def _stacked(measured: Measured, name: str) -> Array:
    return np.stack([one[name] for one in measured.values() if name in one])


def _paired(ours: Array, theirs: Array) -> float:
    difference = ours - theirs
    return float(wilcoxon(difference).pvalue) if difference.any() else 1.0


def _spread(profile: Array) -> float:
    """Profiles (nodules, 9, heads)."""
    mean = profile.mean(0)
    return float(np.abs(mean - mean.mean(0)).sum(-1).mean() / 2)
