"""Whether the solid part that a threshold finds agrees with the texture that readers gave, at their own outlines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from NoduleRiskLib.imaging.outline import Outline, measure
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.solid_part import solid_part

from ..checkpoints import write_table
from ..data.crops import Nodule, nodule_table, read_nodule
from ..evaluation.report_sections import markdown

#: Mean textures from 1 (ground glass) to 5 (solid), as rows of the table.
TEXTURES = (1.0, 1.5, 2.5, 3.5, 4.5, 5.0)
#: Below this mean texture a nodule is not solid.
SOLID_TEXTURE = 4.5
#: Slices as the pipeline cuts them, wide enough for the largest nodules.
LAYOUT = Layout("outline", slices=65, pixels=96)


def solid_parts(data: Path, out: Path, limit: int | None = None) -> str:
    """Measure the reference nodules, write ``solid_parts.csv`` into ``out``, and give the tables (Markdown).

    Parameters
    ----------
    data, out : Path
    limit : int, optional
        Only so many nodules.
    """
    table = nodule_table(data)
    table = table[table.in_luna16_reference].head(limit if limit else len(table))
    rows = []
    for row in track(list(table.itertuples()), "Solid parts", transient=True):
        nodule = read_nodule(data, row.nodule_id)
        outline = agreed(nodule)
        if outline is None:
            continue
        part = solid_part(nodule.volume, outline)
        rows.append(
            {
                "nodule_id": row.nodule_id,
                "texture": row.mean_texture,
                "diameter_mm": outline.diameter_mm,
                "solid_diameter_mm": part.diameter_mm if part else 0.0,
                "solid_share": part.volume_mm3 / outline.volume_mm3 if part else 0.0,
            }
        )
    measured = pd.DataFrame(rows)
    write_table(out / "solid_parts.csv", measured)
    return (
        f"### Solid part and readers' texture, {len(measured)} nodules\n\n{markdown(agreement(measured))}\n"
        + markdown(by_texture(measured))
    )


def agreed(nodule: Nodule) -> Outline | None:
    """What at least half of the readers marked, on the CT's axial slices."""
    stack = cut(nodule.volume, np.zeros(3), LAYOUT, outline=nodule.share())
    return measure(stack, stack.outline)


def agreement(measured: pd.DataFrame) -> pd.DataFrame:
    """Spearman's r of the solid share with the texture, and how well it tells not solid from solid (AUC)."""
    rows = {}
    for name, some in {
        "all": measured,
        "6 mm or more": measured[measured.diameter_mm >= 6],
        "10 mm or more": measured[measured.diameter_mm >= 10],
    }.items():
        not_solid = some.texture < SOLID_TEXTURE
        rows[name] = {
            "nodules": len(some),
            "not solid": int(not_solid.sum()),
            "Spearman r": spearmanr(some.solid_share, some.texture).statistic,
            "AUC": roc_auc_score(not_solid, -some.solid_share) if 0 < not_solid.sum() < len(some) else np.nan,
        }
    return pd.DataFrame(rows).T.astype({"nodules": int, "not solid": int}).rename_axis("size")


def by_texture(measured: pd.DataFrame) -> pd.DataFrame:
    """For each range of textures, of nodules of 6 mm or more: without a solid part, and the median share that is."""
    large = measured[measured.diameter_mm >= 6]
    ranges = pd.cut(large.texture, TEXTURES, include_lowest=True)
    groups = large.groupby(ranges, observed=True)
    return pd.DataFrame(
        {
            "nodules": groups.size(),
            "nothing solid": groups.solid_share.agg(lambda share: (share == 0).mean()),
            "median solid share": groups.solid_share.median(),
            "median solid diameter": groups.solid_diameter_mm.median(),
        }
    ).rename_axis("texture")
