"""Settings of one training run of the graders, and the untrained network that they describe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.nodule_vit import NoduleViT

from .baselines import BACKBONES, Backbone
from .loss_weighting import Weighting
from .targets_and_losses import Targets, fit_heads


@dataclass(frozen=True)
class GraderSettings:
    """Settings of one training run of the graders.

    Attributes
    ----------
    config : ModelConfig
    backbone : Backbone
        What makes one summary of a nodule's slices.
    targets : Targets
        What the heads are trained to give.
    tasks : tuple of str
        Whose losses count, of ``targets_and_losses.TASKS``: one of them is single-task learning.
    weighting : Weighting
        How the tasks' losses are weighted.
    weak_share : float
        Share of the nodules of an epoch that are drawn from those of one or two readers.
    cycles : tuple of int
        Epochs of each cycle of the learning rate.
    twins : int
        Nodules with a planted sign: each is planted once and augmented anew whenever it is drawn.
    planted : int
        Pairs of a nodule and its twin with a planted sign beside each batch.
    planted_weight : float
        Of their loss.
    lessons : int
        Steps for which evidence alone is first taught by planted pairs; 0: nothing is planted, then or later.
    batch, learning_rate, weight_decay, seed
        As usual; a batch counts nodules.
    validation_share : float
        Share of the training patients that choose the epoch instead of training.
    calcification_weight : float
        Of the losses of presence and pattern beside the grades' own.
    start : Path or None
        A model package of the same five folds: each grader starts from the package's grader of its fold.
    pretrained : bool
        Whether the backbone first learns to fill in hidden slices (``pretraining``).
    """

    config: ModelConfig = field(default_factory=lambda: ModelConfig(evidence=True))
    backbone: Backbone = "transformer"
    targets: Targets = "values"
    tasks: tuple[str, ...] = GRADE_NAMES
    weighting: Weighting = "dwa"
    weak_share: float = 0.0
    cycles: tuple[int, ...] = (40, 30)
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    validation_share: float = 0.1
    calcification_weight: float = 0.25
    twins: int = 4000
    planted: int = 16
    planted_weight: float = 0.5
    lessons: int = 2000
    seed: int = 0
    start: Path | None = None
    pretrained: bool = False

    @property
    def planting(self) -> bool:
        """Whether signs are planted: only graders with evidence are taught by them."""
        return bool(self.lessons) and self.config.evidence

    @property
    def epochs(self) -> int:
        """Of all cycles."""
        return sum(self.cycles)


def fine_tuning(start: Path) -> GraderSettings:
    """A run with small steps from a package's graders, which must be of the same folds.

    For new outlines, and for inputs of the heads and evidence that were added since the package was made.
    """
    return GraderSettings(start=start, cycles=(40,), learning_rate=5e-4)


def build(settings: GraderSettings) -> NoduleViT:
    """The untrained network."""
    model = BACKBONES[settings.backbone](settings.config)
    fit_heads(model, settings.targets, settings.tasks)
    return model
