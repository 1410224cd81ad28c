"""NoduleViT: a timm vision transformer whose every token is one whole slice, shared by nine grade heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import timm
import torch
from torch import Tensor, nn

from ..grades import CALCIFICATION_PATTERNS, GRADES
from ..imaging.calcium_features import CALCIUM_FEATURES, calcium_features
from ..imaging.shape_features import SHAPE_FEATURES, shape_features
from ..imaging.slice_stack import PLANES, SliceStack
from ..imaging.surface_features import SURFACE_FEATURES, surface_features
from ..imaging.volume import Array
from .evidence import BESIDE, EvidenceMaps, thickness_mm
from .measured import CALCIUM_AT, CALCIUM_OUTPUTS, SURFACE_AT, Measured, halved
from .model_config import ModelConfig

#: Where calcification's patterns begin among the outputs (``NoduleViT.raw``): after the grades and its presence.
PATTERNS_FROM = len(GRADES) + 1
#: As many slices are encoded at once on a CPU: more leave its caches, fewer make matrices that are too small.
CPU_SLICES = 256


class Batch(NamedTuple):
    """Slice stacks as the model takes them: B nodules of S slices, h x w pixels.

    pixels (B, S, h, w) in HU; outline (B, S, h, w), 0 to 1; offset_mm (B, S); plane (B, S), index into the
    layout's planes; valid (B, S), bool; shape_features (B, 6), the outline's (``imaging.shape_features``);
    surface_features (B, 28), calcium_features (B, 13), the nodule's (``imaging``), or (B, 0) where nobody reads them.
    """

    pixels: Tensor
    outline: Tensor
    offset_mm: Tensor
    plane: Tensor
    valid: Tensor
    shape_features: Tensor
    surface_features: Tensor
    calcium_features: Tensor

    def to(self, device: torch.device | str) -> Batch:
        """The same on ``device``."""
        return Batch(*(tensor.to(device) for tensor in self))


class Prediction(NamedTuple):
    """What the heads say of B nodules.

    grades (B, 9), in grade units and the order of ``GRADES``; calcified (B), the share of readers expected to
    see calcification; pattern (B, 5), probability of each of ``CALCIFICATION_PATTERNS`` where calcified.
    """

    grades: Tensor
    calcified: Tensor
    pattern: Tensor


def collate(stacks: list[SliceStack], config: ModelConfig | None = None) -> Batch:
    """Slice stacks of one layout as a batch (CPU, float32).

    Parameters
    ----------
    stacks : list of SliceStack
    config : ModelConfig, optional
        Of the models that read it: what they do not read is not measured. Without: everything is.
    """
    kinds = {"pixels": torch.float32, "outline": torch.float32, "offset_mm": torch.float32, "plane": torch.int64}
    fields = {
        name: torch.stack([torch.as_tensor(getattr(stack, name)) for stack in stacks]).to(kind)
        for name, kind in (kinds | {"valid": torch.bool}).items()
    }
    seen = [(stack.layout.pixel_mm, *_first_plane(stack)) for stack in stacks]
    shape = [shape_features(outline, offset_mm, pixel_mm) for pixel_mm, _, outline, offset_mm in seen]
    surface, calcium = (
        [
            measure(pixels, outline, offset_mm, pixel_mm) if read else np.zeros(0, np.float32)
            for pixel_mm, pixels, outline, offset_mm in seen
        ]
        for measure, read in (
            (surface_features, config is None or config.surface_features),
            (calcium_features, config is None or config.calcium_features),
        )
    )
    measured = (torch.as_tensor(np.stack(one)) for one in (shape, surface, calcium))
    return Batch(*fields.values(), *measured)


def _first_plane(stack: SliceStack) -> tuple[Array, Array, Array]:
    """Pixels, outlines, offsets of the valid slices of the layout's first plane, which alone show all of the nodule."""
    here = stack.valid & (stack.plane == 0)
    return stack.pixels[here], stack.outline[here], stack.offset_mm[here]


class SliceEncoder(nn.Module):
    """One slice to one token: three convolution stages, then a pooling that learns where to look.

    (N, C, h, w) -> (N, dim).
    """

    def __init__(self, channels: int, dim: int, width: int = 24, glances: int = 4) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for i, wide in enumerate((width, 2 * width, 4 * width)):
            before = channels if i == 0 else wide // 2
            stages += [_convolution(before, wide, stride=2), _convolution(wide, wide)]
        self.stages = nn.Sequential(*stages)
        self.widths = (width, 2 * width, 4 * width)
        self.where = nn.Conv2d(wide, glances, 1)
        self.token = nn.Linear(wide * glances, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, dim)."""
        return self.pooled(self.features(x)[-1])

    def features(self, x: Tensor) -> list[Tensor]:
        """What each stage makes of (N, C, h, w): (N, width, h / 2, w / 2), then half as large and twice as deep."""
        seen = []
        for at in range(0, len(self.stages), 2):
            x = self.stages[at + 1](self.stages[at](x))
            seen.append(x)
        return seen

    def pooled(self, x: Tensor) -> Tensor:
        """The last stage (N, 4 width, h / 8, w / 8) -> (N, dim)."""
        weights = self.where(x).flatten(2).softmax(-1)
        token: Tensor = self.token((weights @ x.flatten(2).transpose(1, 2)).flatten(1))
        return token


class NoduleViT(nn.Module):
    """Slice tokens -> transformer blocks -> class token -> nine heads.

    Absent slices are masked out of the attention: their pixels change nothing.

    Parameters
    ----------
    config : ModelConfig
    pretrained : bool
        Fetch timm's weights for ``config.transformer`` from the hub; patch and position embeddings are
        resized to whole slices. Needs the transformer's own ``dim``, ``depth`` and ``heads``.
    weights_file : str, optional
        The same from a locally saved timm state.
    """

    target_mean: Tensor
    target_std: Tensor
    windows: Tensor

    def __init__(self, config: ModelConfig, pretrained: bool = False, weights_file: str | None = None) -> None:
        super().__init__()
        self.config = config
        layout = config.layout
        size = {"embed_dim": config.dim, "depth": config.depth, "num_heads": config.heads}
        rows = math.ceil(layout.slices * len(layout.planes) / layout.columns)
        self.vit = timm.create_model(
            config.transformer,
            pretrained=pretrained or weights_file is not None,
            # Older timm takes every file for Google's .npz unless told otherwise.
            pretrained_cfg_overlay={"file": weights_file, "custom_load": False} if weights_file else None,
            img_size=(rows * layout.pixels, layout.columns * layout.pixels),
            patch_size=layout.pixels,
            in_chans=config.channels,
            num_classes=0,
            proj_drop_rate=config.drop,
            **{name: value for name, value in size.items() if value is not None},
        )
        dim = self.vit.embed_dim
        if config.embedding == "conv":
            # On a CPU its convolutions take a fifth less time in this format.
            self.vit.patch_embed = SliceEncoder(config.channels, dim).to(memory_format=torch.channels_last)
        if config.position == "mm":
            self.vit.pos_embed = None
            self.plane = nn.Embedding(len(PLANES), dim)
            self.offset = nn.Linear(dim, dim)
        if config.shape_features:
            self.shape_features = nn.Linear(len(SHAPE_FEATURES), dim)
            # Starts at zero, so that training starts, or goes on, from the slices alone.
            nn.init.zeros_(self.shape_features.weight)
            nn.init.zeros_(self.shape_features.bias)
        if config.surface_features:
            self.surface = Measured(len(SURFACE_FEATURES), len(SURFACE_AT))
        if config.calcium_features:
            self.calcium = Measured(len(CALCIUM_FEATURES), CALCIUM_OUTPUTS)
        if config.evidence:
            self.evidence = EvidenceMaps(BESIDE + config.channels, self.vit.patch_embed.widths)
        self.heads = nn.ModuleDict(
            {
                grade.name: nn.Sequential(
                    nn.Linear(dim, dim // 2),
                    nn.GELU(),
                    nn.Dropout(config.drop),
                    nn.Linear(dim // 2, 2 + len(CALCIFICATION_PATTERNS) if grade.name == "calcification" else 1),
                )
                for grade in GRADES
            }
        )
        self.register_buffer("target_mean", torch.zeros(len(GRADES)))
        self.register_buffer("target_std", torch.ones(len(GRADES)))
        self.register_buffer("windows", torch.tensor(config.windows), persistent=False)

    def forward(self, batch: Batch) -> Prediction:
        """Grades of B nodules in grade units (diameter in mm)."""
        return self.read(self.raw(self.tokens(batch), batch))

    def channels(self, batch: Batch) -> Tensor:
        """The valid slices as the networks see them, (N, C, h, w): ``scaled``."""
        hu = batch.pixels[batch.valid]
        return self.scaled(hu, batch.outline[batch.valid], hu[self.beside(batch)])

    def beside(self, batch: Batch) -> Tensor:
        """Which of the N valid slices lie before and after each of them, (2, N); (0, N) if nobody looks at them."""
        return neighbours(batch) if self.config.evidence else batch.plane.new_zeros(0, int(batch.valid.sum()))

    def scaled(self, hu: Tensor, outline: Tensor, beside: Tensor) -> Tensor:
        """HU windows scaled to -1..1, then the outline: (N, C, h, w), from slices (N, h, w) and their outlines.

        Before them, for evidence alone, the first window of the slices ``beside``, (2, N, h, w) or none: a vessel goes
        on in them.
        """
        more = len(beside)
        channels = hu.new_empty(len(hu), more + self.config.channels, *hu.shape[1:])
        for at, one in enumerate(beside):
            _windowed(one, self.windows[:1], channels[:, at : at + 1])
        _windowed(hu, self.windows, channels[:, more : more + len(self.windows)])
        if self.config.outline:
            channels[:, -1] = outline
        return channels

    def tokens(self, batch: Batch) -> Tensor:
        """What each slice gives, its token with its position: (B, S, ``embed``'s width); zeros where there is none."""
        return self.place(self.embed(self.channels(batch)), batch)

    def place(self, encoded: Tensor, batch: Batch) -> Tensor:
        """Encoded valid slices (N, E) at their places, (B, S, E), position added to the token."""
        tokens = encoded.new_zeros(*batch.valid.shape, encoded.shape[-1])
        tokens[batch.valid] = encoded
        if self.config.position == "slot":
            prefix = self.vit.num_prefix_tokens
            where = self.vit.pos_embed[:, prefix : prefix + tokens.shape[1]]
        else:
            where = self.offset(waves(batch.offset_mm, self.vit.embed_dim)) + self.plane(batch.plane)
        if not self.config.evidence:
            return tokens + where
        token, sums = tokens.split([self.vit.embed_dim, tokens.shape[-1] - self.vit.embed_dim], -1)
        thickness = thickness_mm(batch.offset_mm, batch.valid)[:, None, None]
        return torch.cat([token + where, sums * thickness], -1)

    def embed(self, channels: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, E): the patch embedding of one whole slice, then the evidence that it adds, if any."""
        if self.config.evidence:
            return self.with_evidence(channels)[0]
        if self.config.embedding == "linear":
            # A convolution whose kernel is the whole slice, as a product of matrices: a fifth of the time.
            patch = self.vit.patch_embed.proj
            return nn.functional.linear(channels.flatten(1), patch.weight.flatten(1), patch.bias)
        embedded: Tensor = self.vit.patch_embed(channels)
        return embedded

    def with_evidence(self, channels: Tensor) -> tuple[Tensor, Tensor]:
        """``embed`` (N, E), and the evidence's maps (N, 15, h / 2, w / 2) that are added up in it."""
        stages, outline = self.vit.patch_embed.features(channels[:, BESIDE:]), channels[:, -1]
        maps = self.evidence(channels, stages)
        added = self.evidence.added_up(maps, outline)
        return torch.cat([self.vit.patch_embed.pooled(stages[-1]), added], 1), maps

    def raw(self, tokens: Tensor, batch: Batch) -> Tensor:
        """What heads, measures and evidence say, (B, 9 + 6), from what the slices give (B, S, E).

        The heads' own numbers, of some the mean of them and of what the surface says; then the evidence is added. Where
        calcium is measured, it says half of calcification and presence, and all of the patterns.

        The first nine are standardised grades (diameter: log2 mm), then calcification's presence (logit) and
        its patterns (logits).
        """
        raw = self.by_heads(tokens, batch)
        if self.config.surface_features:
            raw = halved(raw, SURFACE_AT, self.surface(batch.surface_features))
        if self.config.evidence:
            raw = raw + self.terms(tokens, batch)
        if self.config.calcium_features:
            calcium = self.calcium(batch.calcium_features).to(raw.dtype)
            raw = halved(raw, CALCIUM_AT, calcium[:, : len(CALCIUM_AT)])
            raw = torch.cat([raw[:, :PATTERNS_FROM], calcium[:, len(CALCIUM_AT) :]], 1)
        return raw

    def by_heads(self, tokens: Tensor, batch: Batch) -> Tensor:
        """What the heads alone say, in the order of ``raw``, (B, 15), from what the slices give (B, S, E)."""
        summary = self.summary(tokens, batch)
        heads = [self.heads[grade.name](summary) for grade in GRADES]
        return torch.cat([head[:, :1] for head in heads] + [head[:, 1:] for head in heads], 1)

    def terms(self, tokens: Tensor, batch: Batch) -> Tensor:
        """What the evidence of all slices adds to ``raw``, (B, 15), from what the slices give (B, S, E)."""
        return self.evidence.terms(tokens[..., self.vit.embed_dim :], batch.valid)

    def summary(self, tokens: Tensor, batch: Batch) -> Tensor:
        """What all heads read, (B, dim), from what the slices give (B, S, E): class token plus shape features."""
        summary: Tensor = self.vit.norm(self.attended(tokens, batch))[:, 0]
        return summary + self.shape_features(batch.shape_features) if self.config.shape_features else summary

    def attended(self, tokens: Tensor, batch: Batch) -> Tensor:
        """What the blocks make of the slices' tokens (B, S, E): (B, 1 + F, dim).

        The class token first, then the F places where any of the B nodules has a slice.
        """
        filled = batch.valid.any(0)
        tokens, valid = tokens[:, filled, : self.vit.embed_dim], batch.valid[:, filled]
        start = self.vit.cls_token.expand(tokens.shape[0], -1, -1)
        if self.config.position == "slot":
            start = start + self.vit.pos_embed[:, :1]
        x = torch.cat([start, tokens], 1)
        seen = torch.cat([valid.new_ones(tokens.shape[0], 1), valid], 1)
        for block in self.vit.blocks:
            x = block(x, attn_mask=seen[:, None, None, :])
        return x

    def read(self, raw: Tensor) -> Prediction:
        """Standardised head outputs (B, 15) in grade units."""
        nine = len(GRADES)
        values = raw[:, :nine] * self.target_std + self.target_mean
        logarithmic = torch.tensor([grade.logarithmic for grade in GRADES], device=raw.device)
        grades = torch.where(logarithmic, torch.exp2(values.clamp(max=10)), values)
        return Prediction(grades, raw[:, nine].sigmoid(), raw[:, PATTERNS_FROM:].softmax(-1))


class Encoded(NamedTuple):
    """What one grader makes of N valid slices before it looks at them together.

    Attributes
    ----------
    slices : Tensor, shape (N, E)
        ``embed``.
    maps : Tensor, shape (N, 15, h / 2, w / 2)
        The evidence's maps; (N, 0) of a grader without evidence.
    """

    slices: Tensor
    maps: Tensor


def encode(graders: Sequence[NoduleViT], batch: Batch) -> list[Encoded]:
    """What each grader makes of a batch's valid slices, most of the work; all read the same channels."""
    hu, outline = batch.pixels[batch.valid], batch.outline[batch.valid]
    piece = CPU_SLICES if hu.device.type == "cpu" else max(len(hu), 1)
    parts = zip(hu.split(piece), outline.split(piece), graders[0].beside(batch).split(piece, 1), strict=True)
    pieces = (graders[0].scaled(own, drawn, hu[near]) for own, drawn, near in parts)
    each = zip(*([_encoded(grader, channels) for grader in graders] for channels in pieces), strict=True)
    return [Encoded(*map(torch.cat, zip(*of_one, strict=True))) for of_one in each]


def _encoded(grader: NoduleViT, channels: Tensor) -> Encoded:
    if grader.config.evidence:
        return Encoded(*grader.with_evidence(channels))
    return Encoded(grader.embed(channels), channels.new_empty(len(channels), 0))


def average(graders: Sequence[NoduleViT], batch: Batch, encoded: Sequence[Encoded] | None = None) -> Prediction:
    """The mean of the graders' predictions; ``encoded`` as ``encode`` gives it."""
    each = [
        grader.read(grader.raw(grader.place(one.slices, batch), batch))
        for grader, one in zip(graders, encoded or encode(graders, batch), strict=True)
    ]
    return Prediction(*(torch.stack(values).mean(0) for values in zip(*each, strict=True)))


def _windowed(hu: Tensor, windows: Tensor, out: Tensor) -> None:
    """Slices (N, h, w) in each window scaled to -1..1, into (N, windows, h, w): what costs time is new memory."""
    low, high = windows[:, 0, None, None], windows[:, 1, None, None]
    torch.addcmul((high + low) / (low - high), hu[:, None], 2 / (high - low), out=out).clamp_(-1, 1)


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def neighbours(batch: Batch) -> Tensor:
    """Which of the N valid slices lie before and after each of them in its plane, (2, N); itself where none does."""
    number = (batch.valid.flatten().cumsum(0) - 1).view_as(batch.valid)
    found = []
    for step in (1, -1):
        other = number.roll(step, 1)
        same = batch.valid.roll(step, 1) & (batch.plane.roll(step, 1) == batch.plane)
        same[:, 0 if step == 1 else -1] = False
        found.append(torch.where(same, other, number)[batch.valid])
    return torch.stack(found)


def waves(offset_mm: Tensor, dim: int) -> Tensor:
    """Sines and cosines of an offset, wavelengths 4 to 200 mm in geometric steps: (B, S) -> (B, S, dim)."""
    wavelength = torch.logspace(math.log10(4.0), math.log10(200.0), dim // 2, device=offset_mm.device)
    angle = offset_mm[..., None] * (2 * math.pi / wavelength)
    return torch.cat([angle.sin(), angle.cos()], -1)
