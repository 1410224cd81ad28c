"""What the heads are trained to give and the losses of it: a value, a side of the scale, or the readers' votes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from NoduleRiskLib.grades import BENIGN_BELOW, CALCIFICATION_PATTERNS, GRADE_NAMES, GRADES, MALIGNANT_ABOVE, Grade
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.nodule_vit import NoduleViT

from ..data.crops import targets
from ..data.lidc import reader_grades

#: LIDC's tenth characteristic (1 soft tissue, 2 fluid, 3 fat, 4 air): 1 nearly always.
INTERNAL = "internal_structure"
TASKS = (*GRADE_NAMES, INTERNAL)
GRADE = {grade.name: grade for grade in GRADES}


@dataclass(frozen=True, eq=False)
class Labels:
    """What N nodules' readers gave, float32.

    Attributes
    ----------
    grades (N, 10)
        Mean of each of ``TASKS``, diameter as log2 mm; standardised once ``standardised`` was called.
    above (N, 10)
        1 above the middle of the scale, 0 below, NaN within (2.75 to 3.25); calcification: absent (mean above 5.5).
    votes (N, 10, 6)
        Share of readers who gave each step of a scale, first step first.
    calcified (N), patterns (N, 5)
        Share of readers who saw calcification, and which pattern those saw.
    """

    grades: Tensor
    above: Tensor
    votes: Tensor
    calcified: Tensor
    patterns: Tensor

    def __getitem__(self, rows: Array) -> Labels:
        return Labels(self.grades[rows], self.above[rows], self.votes[rows], self.calcified[rows], self.patterns[rows])

    def to(self, device: str) -> Labels:
        """The same on ``device``."""
        return Labels(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def standardised(self, mean: Tensor, std: Tensor) -> Labels:
        """With grades as multiples of ``std`` from ``mean``, each of shape (10,)."""
        return replace(self, grades=(self.grades - mean) / std)

    def zoomed(self, zoom: Array, std: Tensor) -> Labels:
        """Of nodules that were enlarged so much (shape (N,)): only their diameters, divided by ``std``, change."""
        grades = self.grades.clone()
        for task, name in enumerate(TASKS):
            if name in GRADE and GRADE[name].logarithmic:
                grades[:, task] += torch.as_tensor(np.log2(zoom)).float() / std[task]
        return replace(self, grades=grades)


def read_labels(table: pd.DataFrame) -> Labels:
    """The labels of a table's nodules; internal structure is 1 where the table has none."""
    internal = table.get("mean_internal_structure", pd.Series(1.0, table.index))
    grades = np.column_stack([targets(table), internal])
    means = np.column_stack([table[list(GRADE_NAMES)], internal])
    middle = np.array([[BENIGN_BELOW, MALIGNANT_ABOVE]] * len(TASKS))
    # Above it, half of the readers or more saw none.
    middle[GRADE_NAMES.index("calcification")] = 5.5
    above = np.where(means > middle[:, 1], 1.0, np.where(means < middle[:, 0], 0.0, np.nan))
    patterns = table[[f"pattern_{code + 1}" for code in range(len(CALCIFICATION_PATTERNS))]]
    parts = (grades, above, _votes(table), table.calcified, patterns)
    return Labels(*(torch.as_tensor(np.asarray(part, np.float32)) for part in parts))


def _votes(table: pd.DataFrame) -> Array:
    given = reader_grades()
    votes = np.zeros((len(table), len(TASKS), 6), np.float32)
    for n, ids in enumerate(table.annotation_ids):
        own = given.loc[[int(one) for one in ids.split(";")]]
        for name, codes in own.items():
            steps = codes.to_numpy() - int(GRADE[str(name)].low)
            votes[n, TASKS.index(str(name))] = np.bincount(steps, minlength=6) / len(steps)
    return votes


def value_loss(output: Tensor, labels: Labels, task: int) -> Tensor:
    """Half mean squared error of the first number, standardised: the paper's equation 3."""
    return 0.5 * (output[:, 0] - labels.grades[:, task]).square().mean()


def side_loss(output: Tensor, labels: Labels, task: int) -> Tensor:
    """Cross-entropy of being above the middle of the scale, over the nodules that are on either side of it."""
    wanted = labels.above[:, task]
    known = torch.isfinite(wanted)
    loss = nn.functional.binary_cross_entropy_with_logits(output[:, 0], torch.nan_to_num(wanted), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)


def vote_loss(output: Tensor, labels: Labels, task: int) -> Tensor:
    """Cross-entropy of the readers' votes."""
    return -(labels.votes[:, task, : output.shape[1]] * output.log_softmax(-1)).sum(-1).mean()


def calcification_loss(output: Tensor, labels: Labels) -> Tensor:
    """Cross-entropy of the share of readers who saw calcification, and of their patterns; ``output`` (B, 7)."""
    presence = nn.functional.binary_cross_entropy_with_logits(output[:, 1], labels.calcified)
    pattern = -(labels.patterns * output[:, 2:].log_softmax(-1)).sum(-1)
    return presence + (pattern * labels.calcified).mean()


def _votes_mean(output: Tensor, grade: Grade) -> Tensor:
    return grade.low + output.softmax(-1) @ torch.arange(output.shape[1], device=output.device, dtype=output.dtype)


@dataclass(frozen=True)
class Target:
    """One kind of target.

    Attributes
    ----------
    loss : function
        (a head's output (B, k), labels, index into ``TASKS``) -> loss.
    read : function or None
        (a head's output, grade) -> (B,), the larger the higher the grade; ``None``: it is a standardised value.
    width : function
        Numbers that a head gives for a grade; 0 leaves the head as ``NoduleViT`` makes it.
    in_grade_units : bool
        Whether ``read`` gives grades, whose error can be measured, or only an order.
    """

    loss: Callable[[Tensor, Labels, int], Tensor]
    read: Callable[[Tensor, Grade], Tensor] | None = None
    width: Callable[[Grade], int] = lambda grade: 0
    in_grade_units: bool = True


Targets = Literal["values", "sides", "votes"]
#: Diameter has no steps: it is always trained for its value.
TARGETS: dict[Targets, Target] = {
    "values": Target(value_loss),
    "sides": Target(side_loss, lambda output, grade: output[:, 0].sigmoid(), in_grade_units=False),
    "votes": Target(vote_loss, _votes_mean, lambda grade: len(grade.words)),
}


def fit_heads(model: NoduleViT, targets: Targets, tasks: tuple[str, ...]) -> None:
    """Give the model the heads that these targets and tasks need, where its own do not fit."""
    width = {grade.name: TARGETS[targets].width(grade) for grade in GRADES} | {INTERNAL: 0}
    dim, drop = model.vit.embed_dim, model.config.drop
    for name in tasks:
        if width[name] or name == INTERNAL:
            model.heads[name] = nn.Sequential(
                nn.Linear(dim, dim // 2), nn.GELU(), nn.Dropout(drop), nn.Linear(dim // 2, width[name] or 1)
            )


def losses(
    outputs: dict[str, Tensor], labels: Labels, targets: Targets, tasks: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """The loss of each task, shape (tasks,), and calcification's own (0 unless values are the targets)."""
    each = [
        (TARGETS[targets].loss if name in GRADE and GRADE[name].words else value_loss)(
            outputs[name], labels, TASKS.index(name)
        )
        for name in tasks
    ]
    presence = targets == "values" and "calcification" in tasks
    own = calcification_loss(outputs["calcification"], labels) if presence else each[0].new_zeros(())
    return torch.stack(each), own


def of_task(raw: Tensor, name: str) -> Tensor:
    """Of all outputs (B, 15) those of one head, (B, 1), or (B, 7) calcification's: its value, presence and patterns."""
    at = GRADE_NAMES.index(name)
    return torch.cat([raw[:, [at]], raw[:, len(GRADES) :]], 1) if name == "calcification" else raw[:, [at]]


def read(model: NoduleViT, outputs: dict[str, Tensor], targets: Targets) -> Tensor:
    """Nine grades of B nodules, (B, 9) in the order of ``GRADES``, NaN where a grade has no head; diameter in mm."""
    columns = []
    for index, grade in enumerate(GRADES):
        kind = TARGETS[targets].read if grade.words else None
        if grade.name not in outputs:
            column = torch.full_like(next(iter(outputs.values()))[:, 0], torch.nan)
        elif kind is not None:
            column = kind(outputs[grade.name], grade)
        else:
            value = outputs[grade.name][:, 0] * model.target_std[index] + model.target_mean[index]
            column = torch.exp2(value.clamp(max=10)) if grade.logarithmic else value
        columns.append(column)
    return torch.stack(columns, 1)
