"""What the heads are asked and how their answers are scored: a value, a side of the scale, or the readers' votes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

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


def read_labels(table: pd.DataFrame) -> Labels:
    """The labels of a table's nodules; internal structure is 1 where the table does not tell."""
    internal = table.get("mean_internal_structure", pd.Series(1.0, table.index))
    grades = np.column_stack([targets(table), internal])
    means = np.column_stack([table[list(GRADE_NAMES)], internal])
    middle = np.array([[BENIGN_BELOW, MALIGNANT_ABOVE]] * len(TASKS))
    # Half of the readers or more saw none.
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


def value_loss(said: Tensor, labels: Labels, task: int) -> Tensor:
    """Half mean squared error of the first number, standardised: the paper's equation 3."""
    return 0.5 * (said[:, 0] - labels.grades[:, task]).square().mean()


def side_loss(said: Tensor, labels: Labels, task: int) -> Tensor:
    """Cross-entropy of being above the middle of the scale, by the nodules that are on either side of it."""
    wanted = labels.above[:, task]
    known = torch.isfinite(wanted)
    loss = nn.functional.binary_cross_entropy_with_logits(said[:, 0], torch.nan_to_num(wanted), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)


def vote_loss(said: Tensor, labels: Labels, task: int) -> Tensor:
    """Cross-entropy of the readers' votes."""
    return -(labels.votes[:, task, : said.shape[1]] * said.log_softmax(-1)).sum(-1).mean()


def calcification_loss(said: Tensor, labels: Labels) -> Tensor:
    """Cross-entropy of the share of readers who saw calcification, and of their patterns; ``said`` (B, 7)."""
    presence = nn.functional.binary_cross_entropy_with_logits(said[:, 1], labels.calcified)
    pattern = -(labels.patterns * said[:, 2:].log_softmax(-1)).sum(-1)
    return presence + (pattern * labels.calcified).mean()


def _votes_mean(said: Tensor, grade: Grade) -> Tensor:
    return grade.low + said.softmax(-1) @ torch.arange(said.shape[1], device=said.device, dtype=said.dtype)


@dataclass(frozen=True)
class Answer:
    """One kind of answer.

    Attributes
    ----------
    loss : function
        (head's numbers (B, k), labels, index into ``TASKS``) -> loss.
    read : function or None
        (head's numbers, grade) -> (B,), the larger the higher the grade; ``None``: they are standardised values.
    width : function
        Numbers that a head gives for a grade; 0 leaves the head as ``NoduleViT`` makes it.
    in_grade_units : bool
        Whether ``read`` gives grades, whose error can be measured, or only an order.
    """

    loss: Callable[[Tensor, Labels, int], Tensor]
    read: Callable[[Tensor, Grade], Tensor] | None = None
    width: Callable[[Grade], int] = lambda grade: 0
    in_grade_units: bool = True


#: Diameter has no steps: whatever the others are asked, it is asked for its value.
ANSWERS = {
    "values": Answer(value_loss),
    "sides": Answer(side_loss, lambda said, grade: said[:, 0].sigmoid(), in_grade_units=False),
    "votes": Answer(vote_loss, _votes_mean, lambda grade: len(grade.words)),
}


def fit_heads(model: NoduleViT, answers: str, tasks: tuple[str, ...]) -> None:
    """Give the model the heads that these answers and tasks need, where its own do not fit."""
    width = {grade.name: ANSWERS[answers].width(grade) for grade in GRADES} | {INTERNAL: 0}
    dim, drop = model.vit.embed_dim, model.config.drop
    for name in tasks:
        if width[name] or name == INTERNAL:
            model.heads[name] = nn.Sequential(
                nn.Linear(dim, dim // 2), nn.GELU(), nn.Dropout(drop), nn.Linear(dim // 2, width[name] or 1)
            )


def losses(said: dict[str, Tensor], labels: Labels, answers: str, tasks: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """The loss of each task, shape (tasks,), and calcification's own (0 where it is not asked for its value)."""
    each = [
        (ANSWERS[answers].loss if name in GRADE and GRADE[name].words else value_loss)(
            said[name], labels, TASKS.index(name)
        )
        for name in tasks
    ]
    asked = answers == "values" and "calcification" in tasks
    return torch.stack(each), calcification_loss(said["calcification"], labels) if asked else each[0].new_zeros(())


def read(model: NoduleViT, said: dict[str, Tensor], answers: str) -> Tensor:
    """Nine grades of B nodules, (B, 9) in the order of ``GRADES``, NaN where there is no answer; diameter in mm."""
    columns = []
    for index, grade in enumerate(GRADES):
        kind = ANSWERS[answers].read if grade.words else None
        if grade.name not in said:
            column = torch.full_like(next(iter(said.values()))[:, 0], torch.nan)
        elif kind is not None:
            column = kind(said[grade.name], grade)
        else:
            value = said[grade.name][:, 0] * model.target_std[index] + model.target_mean[index]
            column = torch.exp2(value.clamp(max=10)) if grade.logarithmic else value
        columns.append(column)
    return torch.stack(columns, 1)
