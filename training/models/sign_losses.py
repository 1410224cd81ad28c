"""Losses of differences: what must change, and what must not, when a sign is planted into a nodule."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.networks.evidence import FULL, STRIDE, EvidenceMaps
from NoduleRiskLib.networks.nodule_vit import NoduleViT

from ..data.planted_pairs import Pairs, joined
from ..data.planting import MOVES
from .precision import half_where_fast

#: A logit of presence counts like so many standard deviations of a grade.
PRESENCE_SCALE = 0.5
#: Of a wanted change and of one that is not wanted (all others of the pair together).
NAMED_WEIGHT, OTHERS_WEIGHT, PATTERN_WEIGHT = 3.0, 2.0, 1.0
NINE = len(GRADES)
#: These signs are at a place, where the map must rise to ``FULL``.
PLACED = ("spiculation", "lobulation", "texture", "margin", "calcification", "presence")
AT_PLACE = torch.tensor([name in PLACED for name in MOVES])
PLACE_WEIGHT, OTHER_PLACES = 0.5, 0.3
#: Of a map that must stay flat, beside its rise where the sign is: real lungs are full of what looks like spicules.
STAYS_WEIGHT = 3.0
#: Of all that evidence adds in a nodule where the readers saw no such sign.
CLEAN_WEIGHT = 1.0
#: A pixel was touched if it differs by more.
TOUCHED_HU = 60.0


def difference_loss(before: Tensor, after: Tensor, pairs: Pairs, std: Tensor) -> Tensor:
    """How far P pairs' changes are from the wanted ones.

    Parameters
    ----------
    before, after : Tensor, shape (P, 15)
        Head outputs (``NoduleViT.raw``) or what evidence adds to them.
    pairs : Pairs
    std : Tensor, shape (9,)
        Of the grades, by which wanted changes are divided.
    """
    change = _of_moves(after - before)
    scale = torch.cat([1 / std, std.new_tensor([PRESENCE_SCALE])])
    wanted = pairs.moves.to(change.device) * scale
    asked, named = torch.isfinite(wanted), pairs.named.to(change.device)
    each = functional.smooth_l1_loss(change, torch.nan_to_num(wanted), reduction="none", beta=0.5)
    loss = NAMED_WEIGHT * (each * named).sum() / len(change)
    loss = loss + OTHERS_WEIGHT * (each * (asked & ~named)).sum(1).mean() / asked.shape[1]
    pattern = pairs.pattern.to(change.device)
    if (pattern >= 0).any():
        loss = loss + PATTERN_WEIGHT * functional.cross_entropy(after[:, NINE + 1 :], pattern, ignore_index=-1)
    return loss


class Placed(NamedTuple):
    """The n slices of pairs that can be compared pixel by pixel, on the maps' pixels.

    owner (n,): of which pair; before, after (n,): where among the valid slices of ``joined``; touched, edge, near, bool
    (n, h / 2, w / 2): what the sign covers by half, what it covers at all, where evidence counts.
    """

    owner: Tensor
    before: Tensor
    after: Tensor
    touched: Tensor
    edge: Tensor
    near: Tensor


def place_loss(before: Tensor, after: Tensor, pairs: Pairs, slices: Placed) -> Tensor:
    """How far the maps are from rising where a sign was planted, and nowhere else.

    Where the readers saw no such sign in the nodule itself, its map must be flat but for what was planted; elsewhere it
    must not change.

    Parameters
    ----------
    before, after : Tensor, shape (n, 15, h / 2, w / 2)
        The maps (``EvidenceMaps``) of ``slices``.
    pairs : Pairs
    slices : Placed
    """
    device, count = before.device, len(MOVES)
    has_place = pairs.named & AT_PLACE.to(device)
    free = ~torch.isfinite(pairs.moves) | pairs.named & ~has_place

    def by_slice(one: Tensor) -> Tensor:
        return one.to(device)[slices.owner][..., None, None]

    named, flat = by_slice(has_place), by_slice(pairs.clean)
    on, near = slices.touched[:, None], slices.near[:, None]
    wanted = torch.where(named & on, FULL, 0.0)
    before, after = before[:, :count], after[:, :count]
    base = torch.where(flat, 0.0, before)
    planted = (after - base - wanted).square() / 2
    plain = before.square() / 2 * flat
    # Half-covered pixels may do as they like.
    off = near & ~slices.edge[:, None] | near & ~named & ~by_slice(free)
    rises = _by_move(planted, on & named, pairs, slices)
    stays = _by_move(planted, off, pairs, slices) + _by_move(plain, near & ~by_slice(free), pairs, slices)
    weight = torch.where(AT_PLACE, STAYS_WEIGHT, OTHER_PLACES).to(device)
    return (rises + stays * weight).sum()


def _by_move(each: Tensor, where: Tensor, pairs: Pairs, slices: Placed) -> Tensor:
    """For each move the mean over pairs of the mean over pixels ``where``, (10,); pairs without a pixel do not count.

    So every sign weighs as much as what must not be taken for it, however rare it is.
    """
    none = torch.zeros(len(pairs.moves), len(MOVES), device=each.device)
    pixels = none.index_add(0, slices.owner, where.flatten(2).sum(-1).to(none.dtype))
    summed = none.index_add(0, slices.owner, (each * where).flatten(2).sum(-1))
    held = pixels > 0
    return (summed / pixels.clamp(min=1)).sum(0) / held.sum(0).clamp(min=1)


def placed(pairs: Pairs) -> Placed:
    """The slices that can be compared pixel by pixel: of which pair, where among all."""
    slots = max(pairs.before.valid.shape[1], pairs.after.valid.shape[1])
    valid = torch.cat(
        [functional.pad(one.valid, (0, slots - one.valid.shape[1])) for one in (pairs.before, pairs.after)]
    )
    number = (valid.flatten().cumsum(0) - 1).view_as(valid)
    count = len(valid) // 2
    same = (valid[:count] == valid[count:]).all(1)
    # What was turned, stretched or moved as a whole differs everywhere.
    same &= torch.isfinite(pairs.moves).all(1) | (pairs.named & AT_PLACE.to(pairs.named.device)).any(1)
    width = min(pairs.before.valid.shape[1], pairs.after.valid.shape[1])
    at = same[:, None] & pairs.before.valid[:, :width]
    owner = at.nonzero()[:, 0]
    before, after = pairs.before, pairs.after
    moved = (after.pixels[:, :width][at] - before.pixels[:, :width][at]).abs() > TOUCHED_HU
    covered = functional.avg_pool2d(moved[:, None].float(), STRIDE)[:, 0]
    outline = torch.maximum(after.outline[:, :width][at], before.outline[:, :width][at])
    near = EvidenceMaps.near(outline)
    numbers = number[:count, :width][at], number[count:, :width][at]
    return Placed(owner, *numbers, (covered >= 0.5) & near, covered > 0, near)


def clean_loss(terms: Tensor, pairs: Pairs) -> Tensor:
    """How much evidence adds, terms (P, 15), where the readers saw no such sign in the nodule itself.

    A few pixels here and there are little beside a map, and a lot once they are added up.
    """
    clean = pairs.clean.to(terms.device)
    added = _of_moves(terms)
    each = functional.smooth_l1_loss(added, torch.zeros_like(added), reduction="none", beta=0.5)
    return (each * clean).sum() / clean.sum().clamp(min=1)


def _of_moves(outputs: Tensor) -> Tensor:
    """Of head outputs (P, 15) those of ``MOVES`` (P, 10), in standard deviations; presence counts like a grade."""
    return torch.cat([outputs[:, :NINE], outputs[:, NINE : NINE + 1] * PRESENCE_SCALE], 1)


class Answers(NamedTuple):
    """What a model says of P nodules and then of their twins.

    raw (2 P, 15): ``NoduleViT.raw``; terms (2 P, 15): what evidence adds in it; maps (N, 15, h / 2, w / 2) of all valid
    slices.
    """

    raw: Tensor
    terms: Tensor
    maps: Tensor


def answers(model: NoduleViT, pairs: Pairs) -> Answers:
    """What the model says of pairs, on its device."""
    device = model.target_std.device
    batch = joined(pairs).to(device)
    with half_where_fast(device):
        encoded, maps = model.with_evidence(model.channels(batch))
        tokens = model.place(encoded, batch)
        return Answers(model.raw(tokens, batch).float(), model.terms(tokens, batch), maps)


def pairs_loss(given: Answers, pairs: Pairs, std: Tensor, evidence_alone: bool = False) -> Tensor:
    """``difference_loss`` of what the model says of the pairs, plus ``clean_loss``, plus ``place_loss`` of its maps.

    With ``evidence_alone``, signs that are at a place must be answered by evidence without the heads' help.
    """
    outputs = given.raw
    if evidence_alone:
        at_place = AT_PLACE.to(std.device)
        outputs = torch.where(
            functional.pad(at_place, (0, outputs.shape[1] - len(MOVES)), value=True), given.terms, outputs
        )
    before, after = outputs.chunk(2)
    loss = difference_loss(before, after, pairs, std)
    loss = loss + CLEAN_WEIGHT * clean_loss(given.terms[: len(pairs.moves)], pairs)
    slices = placed(pairs)
    if len(slices.owner):
        both = given.maps[slices.before], given.maps[slices.after]
        loss = loss + PLACE_WEIGHT * place_loss(*both, pairs, slices)
    return loss
