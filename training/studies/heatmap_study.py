"""Whether the heatmaps are faithful: every method against controls, on nodules that the grader never saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from NoduleRiskLib.explain import heatmap_faithfulness
from NoduleRiskLib.explain.heatmaps import default_pixels
from NoduleRiskLib.explain.slice_attribution import SLICE_METHODS
from NoduleRiskLib.networks.model_package import load, with_card

from ..evaluation import faithfulness, heatmap_tables


def heatmaps(
    data: Path, out: Path, package: Path, nodules: int, folds: Sequence[int], keep: bool, console: Console
) -> str:
    """Measure, plot into ``out`` and return all tables (Markdown).

    Parameters
    ----------
    data, out, package : Path
    nodules : int
        Of each fold.
    folds : sequence of int
    keep : bool
        Whether to write what was measured into the package and its model card.
    console : Console
    """
    loaded = load(package)
    # Measurements of other weights are never mixed in.
    kept = out / "faithfulness" / loaded.manifest.weights_sha256[:12]
    grader = loaded.networks().graders[0]
    default = default_pixels(grader)
    measured = faithfulness.collect(data, kept, loaded, nodules, folds, console)
    heatmap_tables.plot_curves(
        out / "faithfulness-blocks.png", measured, "blocks", list(faithfulness.pixel_methods(grader))
    )
    heatmap_tables.plot_curves(out / "faithfulness-slices.png", measured, "slices", list(SLICE_METHODS))
    heatmap_tables.plot_heads(out / "faithfulness-heads.png", measured)
    if keep:
        command = f"python -m training faithfulness --nodules {nodules}"
        found = heatmap_tables.faithfulness(measured, default, command)
        with_card(loaded, heatmap_tables.on_card(loaded.card, heatmap_faithfulness.summary(found)), found)
    return heatmap_tables.report(measured, default, faithfulness.cost(data, loaded))
