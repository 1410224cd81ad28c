"""How far the grades answer to planted signs, and whether the maps find them: nodules that the grader never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from NoduleRiskLib.explain.evidence_maps import shown
from NoduleRiskLib.grades import CALCIFICATION_PATTERNS, GRADE_NAMES
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.evidence import STRIDE
from NoduleRiskLib.networks.manifest import AccountFit
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT

from ..data import planted_signs
from ..data.found_outlines import FoundOutlines
from ..data.look_alikes import INNOCENT
from ..data.planted_pairs import as_pairs, subject_of
from ..data.planting import MAY_FOLLOW, MOVES, TESTING, Plant, Planted, Subject

#: Nodules below are too small for most signs.
SMALLEST_MM = 8.0
#: How far (mm) from the outline a map is looked at.
NEAR_MM = 6.0
#: What is planted, and by which name of ``SIGNS`` the nodules are chosen.
TESTS: dict[str, tuple[str, Plant]] = {
    "5 to 8 spicules of 5 to 8 mm": (
        "spicules",
        partial(planted_signs.spicules, count=(5, 8), length_mm=(5.0, 8.0)),
    ),
    **{
        f"calcium, {name}": ("calcium", partial(planted_signs.calcium, pattern=CALCIFICATION_PATTERNS.index(name)))
        for name in ("non-central", "central", "popcorn", "solid")
    },
    **{
        f"ground glass, {kind}": ("ground glass", partial(planted_signs.ground_glass, kind=kind))
        for kind in ("half", "rim", "whole")
    },
    "two or three lobes": ("lobes", planted_signs.lobes),
    "margin blurred over 3 mm": ("blurred margin", partial(planted_signs.blurred_margin, width_mm=(3.0, 3.0))),
    "stretched 2 : 1": ("stretched", partial(planted_signs.stretched, ratio=(2.0, 2.0))),
    "scaled by 1.3": ("scaled", partial(planted_signs.scaled, times=(1.3, 1.3))),
    "contrast halved": ("low contrast", partial(planted_signs.low_contrast, share=(0.5, 0.5))),
    **{f"innocent: {name}": (name, plant) for name, plant in INNOCENT.items()},
}
#: Signs that are at a place, which a map can find; and the one by which malignancy's map is tested.
PLACED_TESTS = {
    test
    for test, (name, _) in TESTS.items()
    if name in ("spicules", "calcium", "ground glass", "lobes", "blurred margin")
}
RAISES_SUSPICION = "5 to 8 spicules of 5 to 8 mm"


def score(
    grader: NoduleViT,
    nodules: FoundOutlines,
    count: int,
    fold: int,
    batch: int = 8,
    account: AccountFit | None = None,
) -> pd.DataFrame:
    """One row for each sign in each of at most ``count`` nodules: changes, and how well the map finds the sign.

    Of a sign that raises the suspicion, how well malignancy's map finds it, too.

    Columns: ``sign``, ``nodule_id``, ``change_{move}`` for each of ``MOVES`` (grade units, diameter as a ratio,
    presence as a probability), ``named`` (the move that the sign is about), ``wanted``, ``pattern_right``,
    ``auc_map``, ``auc_change``, ``auc_ball``, ``auc_outline``, ``auc_hu`` and ``top_...`` likewise;
    ``suspicion_auc_map`` and so on.
    """
    rows: list[dict[str, object]] = []
    large = np.flatnonzero(nodules.table.diameter.to_numpy() >= SMALLEST_MM)
    for number, (test, (name, plant)) in enumerate(TESTS.items()):
        rng = np.random.default_rng([99, fold, number])
        chosen = []
        for index in rng.permutation(large):
            subject = subject_of(nodules, int(index))
            if subject is not None and planted_signs.fits(name, subject):
                planted = plant(subject, rng, TESTING)
                # Where no spicule found room, nothing was planted.
                if name in INNOCENT or any(abs(value) > 0.3 for value in planted.moves.values()):
                    chosen.append((str(nodules.table.nodule_id.iloc[index]), subject, planted))
            if len(chosen) == count:
                break
        for begin in range(0, len(chosen), batch):
            rows += _scored(grader, test, chosen[begin : begin + batch], account)
    return pd.DataFrame(rows)


@torch.inference_mode()
def _scored(
    grader: NoduleViT, test: str, chosen: Sequence[tuple[str, Subject, Planted]], account: AccountFit | None
) -> list[dict[str, object]]:
    pairs = as_pairs([(subject, planted) for _, subject, planted in chosen], grader.config.layout)
    before, after = grader(pairs.before), grader(pairs.after)
    touched = as_pairs(
        [(s, replace(p, pixels=p.touched.astype(np.float32) * 1000)) for _, s, p in chosen],
        grader.config.layout,
    ).after
    before_maps, after_maps = (_maps(grader, batch, account) for batch in (pairs.before, pairs.after))
    rows = []
    for i, (nodule_id, _, planted) in enumerate(chosen):
        change = (after.grades[i] - before.grades[i]).tolist()
        at = GRADE_NAMES.index("diameter")
        change[at] = float(after.grades[i, at] / before.grades[i, at])
        change.append(float(after.calcified[i] - before.calcified[i]))
        row: dict[str, object] = {"sign": test, "nodule_id": nodule_id}
        row |= {f"change_{name}": value for name, value in zip(MOVES, change, strict=True)}
        if planted.moves:
            named = "presence" if "presence" in planted.moves else next(iter(planted.moves))
            row |= {"named": named, "wanted": float(planted.moves[named]), "free": ",".join(planted.free)}
            if planted.pattern >= 0:
                row["pattern_right"] = int(after.pattern[i].argmax()) == planted.pattern
            valid = pairs.after.valid[i]
            if test in PLACED_TESTS and bool(pairs.before.valid[i].sum() == valid.sum()):
                shown_of = {"": "calcification" if named == "presence" else named}
                if test == RAISES_SUSPICION:
                    shown_of["suspicion_"] = "malignancy"
                for prefix, grade in shown_of.items():
                    at = GRADE_NAMES.index(grade)
                    found = _found(
                        after_maps[i][: int(valid.sum()), at],
                        before_maps[i][: int(valid.sum()), at],
                        touched.pixels[i][valid] > 500,
                        pairs.after.outline[i][valid],
                        pairs.after.pixels[i][valid],
                        pairs.after.offset_mm[i][valid],
                        grader.config.layout.pixel_mm,
                    )
                    row |= {f"{prefix}{name}": value for name, value in found.items()}
        rows.append(row)
    return rows


def _maps(grader: NoduleViT, batch: Batch, account: AccountFit | None) -> list[torch.Tensor]:
    """What is shown of each nodule's valid slices, before it is enlarged to their pixels; nothing without evidence."""
    counts = batch.valid.sum(1).tolist()
    if not grader.config.evidence:
        size = grader.config.layout.pixels // STRIDE
        return [torch.zeros(count, len(GRADE_NAMES), size, size) for count in counts]
    return list(shown(grader, grader.with_evidence(grader.channels(batch))[1], account).split(counts))


def _found(
    after: torch.Tensor,
    before: torch.Tensor,
    touched: torch.Tensor,
    outline: torch.Tensor,
    hu: torch.Tensor,
    offset_mm: torch.Tensor,
    pixel_mm: float,
) -> dict[str, float]:
    """How well maps (n, h / 2, w / 2) find the touched pixels (n, h, w): AUC and strongest pixel."""
    pool: Callable[[torch.Tensor], torch.Tensor] = lambda one: functional.avg_pool2d(one.float()[None], STRIDE)[0]  # noqa: E731
    on, inside = (pool(touched) >= 0.5).numpy(), (pool(outline) > 0.5).numpy()
    mm = pixel_mm * STRIDE
    near = np.stack([distance_transform_edt(~one, mm) <= NEAR_MM if one.any() else one for one in inside])
    if not (on & near).any() or not (near & ~on).any():
        return {}
    size = on.shape[-1]
    at = (np.arange(size) - (size - 1) / 2) * mm
    away = np.sqrt(offset_mm.numpy()[:, None, None] ** 2 + at[:, None] ** 2 + at**2)
    candidates: dict[str, Array] = {
        "map": after.numpy(),
        "change": (after - before).numpy(),
        "ball": -away,
        "outline": pool(outline).numpy(),
        "hu": pool(hu).numpy(),
    }
    scores: dict[str, float] = {}
    loose = functional.max_pool2d(touched.float()[None], STRIDE)[0].numpy() > 0
    for name, values in candidates.items():
        auc = roc_auc_score(on[near], values[near])
        # A control may be strong or weak there: it gets the better of the two.
        scores[f"auc_{name}"] = max(auc, 1 - auc) if name in ("hu", "ball", "outline") else auc
        scores[f"top_{name}"] = float(loose[np.unravel_index(np.argmax(np.where(near, values, -np.inf)), near.shape)])
    return scores


#: By grade: its sign, and what is asked of its map: AUC, and share of nodules whose strongest pixel is on the sign.
MAP_TARGETS = {
    "calcification": ("calcium", 0.95, 0.85),
    "texture": ("ground glass", 0.90, 0.0),
    "spiculation": ("spicules", 0.90, 0.60),
    "lobulation": ("lobes", 0.80, 0.0),
    "margin": ("blurred margin", 0.80, 0.0),
    "malignancy": ("spicules", 0.90, 0.60),
}
CONTROLS = ("map", "change", "ball", "outline", "hu")


def changes(scores: pd.DataFrame) -> pd.DataFrame:
    """By sign: nodules, share that moved the right way, mean change of the named grade and of the others."""
    return pd.DataFrame([_of_sign(str(sign), some) for sign, some in scores.groupby("sign", sort=False)]).set_index(
        "sign"
    )


def _of_sign(sign: str, some: pd.DataFrame) -> dict[str, object]:
    scale = [name for name in GRADE_NAMES if name != "diameter"]
    row: dict[str, object] = {"sign": sign, "nodules": len(some), "grade": "", "right way": "", "mean change": ""}
    if sign.startswith("innocent"):
        others = [*scale, "presence"]
    else:
        named = str(some.named.iloc[0])
        change, middle = some[f"change_{named}"], 1.0 if named == "diameter" else 0.0
        row |= {"grade": named, "mean change": change.mean()}
        row["right way"] = ((change > middle) == (some.wanted.iloc[0] > 0)).mean()
        free = {*MAY_FOLLOW, *str(some.free.iloc[0]).split(","), named}
        # Presence and mean code say the same.
        free |= {"calcification", "presence"} if named == "presence" else set()
        others = [name for name in scale if name not in free]
    moved = {name: float(some[f"change_{name}"].abs().mean()) for name in others}
    most = max(moved, key=lambda name: moved[name])
    row |= {"others, mean change": np.mean(list(moved.values())), "most": most, "by": moved[most]}
    right = some.get("pattern_right", pd.Series(dtype=float)).dropna()
    row["pattern right"] = float(right.astype(float).mean()) if len(right) else ""
    return row


def maps(scores: pd.DataFrame) -> pd.DataFrame:
    """By grade, all kinds of its sign together: AUC of its pixels, share of strongest pixels on it; beside controls."""
    rows = []
    for grade, (sign, _, _) in MAP_TARGETS.items():
        some = scores[scores.sign.map({test: name for test, (name, _) in TESTS.items()}) == sign]
        prefix = "suspicion_" if grade == "malignancy" else ""
        if f"{prefix}auc_map" not in some or not some[f"{prefix}auc_map"].notna().any():
            continue
        row: dict[str, object] = {"grade": grade, "sign": sign, "nodules": int(some[f"{prefix}auc_map"].notna().sum())}
        row |= {f"AUC, {one}": some[f"{prefix}auc_{one}"].mean() for one in CONTROLS}
        row |= {f"strongest, {one}": some[f"{prefix}top_{one}"].mean() for one in CONTROLS}
        rows.append(row)
    return pd.DataFrame(rows).set_index("grade") if rows else pd.DataFrame()
