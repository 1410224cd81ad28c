"""What evidence adds to a grade, fitted again once the grader is trained: signs told from what only looks like them.

Training asks all of a grader at once, and what its evidence makes of fissures, interpolated slices and other grades'
signs is little beside the rest. Here only the last layer of a map and its response change, for the grades that need
it most; what they read is worked out once, so that a fit takes a minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.networks.evidence import BESIDE, FULL, PIXEL_AREA, EvidenceMaps, counted, thickness_mm
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT

from ..data.planted_pairs import Pairs
from .sign_losses import placed


class Weights(NamedTuple):
    """How much the change that a grade's own sign, other signs and look-alikes make in it count."""

    sign: float
    others: float
    look_alikes: float


#: What is fitted. Larger weights of the sign make it move the grade more, and look-alikes with it.
FITTED = {"spiculation": Weights(5.0, 1.0, 4.0), "margin": Weights(3.0, 2.0, 4.0)}
#: Beside them: of the readers' means, of a map that stays where the sign is, and as it was elsewhere.
READERS_WEIGHT, ON_SIGN_WEIGHT, ELSEWHERE_WEIGHT = 3.0, 0.6, 0.5
#: Nodules and pairs per step.
STEPS, BATCH, RATE = 800, 64, 5e-3


class Seen(NamedTuple):
    """What the maps' last layer reads of N nodules, at their P pixels that count, and what adds up beside it.

    features (P, width), half precision; owner (P,), whose pixel it is; thickness_mm (N,); nodule_mm3 (N,), the
    outline's volume; heads (N, 15), ``NoduleViT.by_heads``.
    """

    features: Tensor
    owner: Tensor
    thickness_mm: Tensor
    nodule_mm3: Tensor
    heads: Tensor

    def of(self, nodules: Tensor) -> tuple[Seen, Tensor]:
        """Some of the nodules, (n,), ascending; which of the pixels are theirs."""
        number = torch.full((len(self.heads),), -1)
        number[nodules] = torch.arange(len(nodules))
        pixels = (number[self.owner] >= 0).nonzero()[:, 0]
        own = Seen(self.features[pixels], number[self.owner[pixels]], *(part[nodules] for part in self[2:]))
        return own, pixels


class _Row(nn.Module):
    """One grade's part of the maps' last layer and of the response, and how much its head counts beside them."""

    def __init__(self, model: NoduleViT, at: int) -> None:
        super().__init__()
        assert model.evidence.maps.bias is not None
        self.at = at
        self.weight = nn.Parameter(model.evidence.maps.weight[at, :, 0, 0].clone())
        self.bias = nn.Parameter(model.evidence.maps.bias[at].clone())
        self.response = deepcopy(model.evidence.response).requires_grad_(True)
        self.scale, self.offset = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))

    def forward(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """The standardised grade (N,) and the map's pixels (P,)."""
        pixels = seen.features.float() @ self.weight + self.bias
        evidence = torch.zeros_like(seen.heads)
        added = torch.zeros_like(seen.thickness_mm).index_add(0, seen.owner, counted(pixels))
        evidence[:, self.at] = added * seen.thickness_mm * PIXEL_AREA
        term = self.response(evidence, seen.nodule_mm3)[:, self.at]
        return seen.heads[:, self.at] * self.scale + self.offset + term, pixels

    @torch.no_grad()
    def put_into(self, model: NoduleViT) -> None:
        """Make it the model's."""
        assert model.evidence.maps.bias is not None
        model.evidence.maps.weight[self.at, :, 0, 0] = self.weight
        model.evidence.maps.bias[self.at] = self.bias
        for own, new in zip(model.evidence.response.parameters(), self.response.parameters(), strict=True):
            own[self.at] = new[self.at]
        last = list(model.heads[GRADE_NAMES[self.at]].children())[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(self.scale)
        last.bias.mul_(self.scale).add_(self.offset)


def fit_evidence(model: NoduleViT, batches: Iterable[Batch], grades: Tensor, pairs: Sequence[Pairs], seed: int) -> None:
    """Fit what evidence adds to the ``FITTED`` grades, in place.

    Parameters
    ----------
    model : NoduleViT
        With evidence, trained, on the CPU.
    batches : iterable of Batch
        The nodules that it was trained on.
    grades : Tensor, shape (N, 9)
        What the readers said of them, standardised.
    pairs : sequence of Pairs
        Of the same nodules, unturned.
    seed : int
    """
    model.eval().requires_grad_(False)
    nodules = joined([look(model, batch)[0] for batch in batches])
    before = joined([look(model, one.before)[0] for one in pairs])
    looks = [(look(model, one.after), one) for one in pairs]
    after = joined([seen for (seen, _), _ in looks])
    touched = torch.cat([_touched(one, near) for (_, near), one in looks])
    for name, weights in FITTED.items():
        at = GRADE_NAMES.index(name)
        moves = torch.cat([one.moves[:, at] for one in pairs]) / model.target_std[at]
        named = torch.cat([one.named[:, at] for one in pairs])
        innocent = ~torch.cat([one.named.any(1) for one in pairs])
        each = torch.where(named, weights.sign, torch.where(innocent, weights.look_alikes, weights.others))
        # What a sign leaves free does not count.
        each, wanted = each * torch.isfinite(moves), torch.nan_to_num(moves)
        _fit(_Row(model, at), nodules, grades[:, at], before, after, wanted, each, named, touched, seed).put_into(model)


def _fit(
    row: _Row,
    nodules: Seen,
    grades: Tensor,
    before: Seen,
    after: Seen,
    wanted: Tensor,
    weights: Tensor,
    named: Tensor,
    touched: Tensor,
    seed: int,
) -> _Row:
    """Train the row: readers' grades (N,); changes that are wanted of pairs (M,), and how much each counts."""
    as_it_was = deepcopy(row).requires_grad_(False)
    rng = np.random.default_rng([seed, 19])
    optimizer = torch.optim.Adam(row.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)

    def drawn(count: int) -> Tensor:
        return torch.as_tensor(np.sort(rng.choice(count, min(BATCH, count), replace=False)))

    for _ in range(STEPS):
        some, chosen = drawn(len(grades)), drawn(len(wanted))
        given, _ = row(nodules.of(some)[0])
        old, _ = row(before.of(chosen)[0])
        own, pixels = after.of(chosen)
        new, shown = row(own)
        was = as_it_was(own)[1]
        changes = functional.smooth_l1_loss(new - old, wanted[chosen], reduction="none", beta=0.3)
        on = touched[pixels] & named[chosen][own.owner]
        lost = (was.clamp(max=FULL) - shown).clamp(min=0).square() * on
        moved = (counted(shown) - counted(was)).square() * ~on
        loss = (
            READERS_WEIGHT * functional.smooth_l1_loss(given, grades[some], beta=0.25)
            + (weights[chosen] * changes).mean()
            + ON_SIGN_WEIGHT * lost.sum() / on.sum().clamp(min=1)
            + ELSEWHERE_WEIGHT * moved.mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return row


@torch.no_grad()
def look(model: NoduleViT, batch: Batch) -> tuple[Seen, Tensor]:
    """What evidence's last layer reads of a batch; which pixels of its valid slices count, (N, h / 2, w / 2)."""
    channels = model.channels(batch)
    features = model.evidence.features(channels, model.vit.patch_embed.features(channels[:, BESIDE:]))
    outline = batch.outline[batch.valid]
    near = EvidenceMaps.near(outline)
    owner = torch.arange(len(batch.valid))[:, None].expand_as(batch.valid)[batch.valid]
    tokens = model.tokens(batch)
    seen = Seen(
        features.permute(0, 2, 3, 1)[near].half(),
        owner[near.nonzero()[:, 0]],
        thickness_mm(batch.offset_mm, batch.valid),
        # What each slice covers, times thickness, comes last.
        tokens[..., -1].sum(1) * PIXEL_AREA,
        model.by_heads(tokens, batch),
    )
    return seen, near


def joined(parts: Sequence[Seen]) -> Seen:
    """The nodules of all parts after each other."""
    first = np.cumsum([0, *(len(part.heads) for part in parts)])
    owners = [part.owner + int(begin) for part, begin in zip(parts, first, strict=False)]
    rest = (torch.cat([part[at] for part in parts]) for at in range(2, len(Seen._fields)))
    return Seen(torch.cat([part.features for part in parts]), torch.cat(owners), *rest)


def _touched(pairs: Pairs, near: Tensor) -> Tensor:
    """Which of the pixels that count in the twins, near (N, h / 2, w / 2), the sign covers by half: (P,)."""
    slices = placed(pairs)
    covered = torch.zeros_like(near)
    covered[slices.after - int(pairs.before.valid.sum())] = slices.touched
    return covered[near]
