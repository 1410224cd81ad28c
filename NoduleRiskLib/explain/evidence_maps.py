"""The in-slice heatmaps of graders with evidence: the maps that were added up into the grades, as they are shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..grades import GRADE_NAMES, GRADES
from ..networks.evidence import FULL, LOWERED, OUTPUTS, counted
from ..networks.manifest import AccountFit
from ..networks.nodule_vit import Batch, Encoded, NoduleViT, encode

#: Calcification is shown as its presence.
_SHOWN = tuple("presence" if grade.name == "calcification" else grade.name for grade in GRADES)
_AT = [OUTPUTS.index(name) for name in _SHOWN]


@torch.no_grad()
def evidence_maps(
    graders: Sequence[NoduleViT],
    batch: Batch,
    account: AccountFit | None = None,
    encoded: Sequence[Encoded] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """What is laid over the CT, 0 to 1, mean over the graders: (9, N, h, w); and each grader's ``tokens``.

    N are the batch's valid slices. The maps of all nodules have one scale: where a sign is not seen, nothing is shown.
    Malignancy's map is what the other grades' maps do to the suspicion (``raises_suspicion``), its own where there is
    no ``account``. What the graders made of the slices for the grades (``encoded``) need not be worked out again.
    """
    outline, tokens = batch.outline[batch.valid], []
    # Added up one by one: those of all graders together would take most of the memory.
    mean = outline.new_zeros(len(outline), len(GRADE_NAMES), *outline.shape[-2:])
    for grader, one in zip(graders, encoded or encode(graders, batch), strict=True):
        strong = shown(grader, one.maps, account) * grader.evidence.near(outline)[:, None]
        enlarged = functional.interpolate(strong, outline.shape[-2:], mode="bilinear", align_corners=False)
        mean += enlarged / len(graders)
        tokens.append(grader.place(one.slices, batch))
    return mean.transpose(0, 1), tokens


def shown(grader: NoduleViT, maps: Tensor, account: AccountFit | None = None) -> Tensor:
    """From a grader's maps (N, 15, h, w) to what is shown of the nine grades, at least 0, 1 at full strength."""
    strong = counted(maps[:, _AT]).clamp(min=0) / FULL
    if account:
        weights = raises_suspicion(account, grader.target_std)
        strong[:, GRADE_NAMES.index("malignancy")] = torch.einsum("ngyx,g->nyx", strong, weights.to(strong))
    return strong.clamp(max=1)


def raises_suspicion(account: AccountFit, std: Tensor) -> Tensor:
    """How much each grade's evidence raises the suspicion, (9,), relative to that of the grade that raises it most.

    Evidence of ``std`` (9,) grade units; 0 where evidence lowers the suspicion, as calcium does.
    """
    log_odds = {
        name: term.coefficient / term.deviation * float(std[GRADE_NAMES.index(name)])
        for name, term in account.terms.items()
    }
    # Its term is of the share of readers who see calcium, which calcium raises, not of its code.
    lowered = set(LOWERED) - {"calcification"}
    raised = [max(log_odds.get(name, 0.0) * (-1 if name in lowered else 1), 0.0) for name in GRADE_NAMES]
    # Size is not at a place.
    raised[GRADE_NAMES.index("diameter")] = 0.0
    most = max(raised)
    return torch.tensor([one / most if most else 0.0 for one in raised])
