"""How much each grade's loss counts in the sum that is minimised: one rule per name in ``WEIGHTINGS``.

Every rule is a ``torchjd.scalarization.Scalarizer``: losses of the tasks (shape (tasks,)) in, one loss out. Rules that
depend on past epochs have ``step``, called at the end of each, and ``reset``; rules that learn have a state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchjd.scalarization import DWA, UW, Scalarizer, Sum

from NoduleRiskLib.imaging.volume import Array


class DynamicTaskPriority(Scalarizer):
    """More for the tasks that still go worst: the focal loss of each task's performance in the last epoch.

    A loss is read as a negative log-likelihood, so performance is ``exp(-loss)``: 0 at worst, 1 at best. The weights
    ``-(1 - performance) ** gamma * log(performance)`` are scaled to a sum of as many as there are tasks (ours: the
    learning rate then means the same under every rule); all ones in the first epoch.

    References
    ----------
    Guo, Haque, Huang, Yeung and Fei-Fei 2018, "Dynamic task prioritization for multitask learning",
    doi 10.1007/978-3-030-01270-0_17.
    """

    def __init__(self, gamma: float = 1.0) -> None:
        super().__init__()
        self.gamma = gamma
        self._last: Tensor | None = None
        self._seen: list[Tensor] = []

    def forward(self, values: Tensor, /) -> Tensor:
        """Losses of the tasks, (tasks,), to one loss."""
        self._seen.append(values.detach())
        return (self.weights(values) * values).sum()

    def weights(self, values: Tensor) -> Tensor:
        """Of the tasks, (tasks,)."""
        if self._last is None:
            return torch.ones_like(values)
        focal = (1 - torch.exp(-self._last)) ** self.gamma * self._last
        return focal * len(focal) / focal.sum()

    def step(self) -> None:
        """End an epoch: its mean losses weigh the next one."""
        self._last = torch.stack(self._seen).mean(0)
        self._seen = []

    def reset(self) -> None:
        """Forget all epochs."""
        self._last = None
        self._seen = []


class GradNorm(Scalarizer):
    """Weights that even out how hard the tasks pull at the last layer that they share.

    At each step every weight moves so that the norm of its task's weighted gradient comes nearer to the mean norm
    times ``speed ** alpha``, where speed is the task's loss over its first one, relative to the mean of all tasks.

    Parameters
    ----------
    tasks : int
    shared : Parameter
        The weights of that layer.
    alpha : float
        How much slower tasks are favoured; the paper's 1.5.
    rate : float
        Step of the weights. Ours is relative to the mean norm, so that it does not depend on the scale of the losses.

    References
    ----------
    Chen, Badrinarayanan, Lee and Rabinovich 2018, "GradNorm: gradient normalization for adaptive loss balancing in
    deep multitask networks", algorithm 1, arXiv 1711.02257.
    """

    weights: Tensor
    first: Tensor

    def __init__(self, tasks: int, shared: nn.Parameter, alpha: float = 1.5, rate: float = 0.025) -> None:
        super().__init__()
        self.alpha, self.rate = alpha, rate
        # In a tuple, so that the layer does not become a part of this module.
        self.shared = (shared,)
        self.register_buffer("weights", torch.ones(tasks))
        self.register_buffer("first", torch.zeros(tasks))

    def forward(self, values: Tensor, /) -> Tensor:
        """Losses of the tasks, (tasks,), to one loss; the weights move afterwards."""
        losses = values.detach()
        if not self.first.any():
            self.first.copy_(losses)
        used = self.weights.clone()
        pulls = [torch.autograd.grad(value, self.shared, retain_graph=True)[0].norm() for value in values]
        norms = torch.stack(pulls)
        speed = losses / self.first
        wanted = (used * norms).mean() * (speed / speed.mean()) ** self.alpha
        moved = used - self.rate * torch.sign(used * norms - wanted) * norms / norms.mean()
        moved = moved.clamp(min=1e-3)
        self.weights.copy_(moved * len(moved) / moved.sum())
        return (used * values).sum()


Weighting = Literal["equal", "dwa", "gradnorm", "dtp", "uncertainty"]
#: Name -> the rule for so many tasks that share a last layer. Equal weights, dynamic weight average (Liu et al. 2019,
#: doi 10.1109/CVPR.2019.00197) and uncertainty weighting (Kendall et al. 2018, doi 10.1109/CVPR.2018.00781) are
#: torchjd's.
WEIGHTINGS: dict[Weighting, Callable[[int, nn.Parameter], Scalarizer]] = {
    "equal": lambda tasks, shared: Sum(),
    "dwa": lambda tasks, shared: DWA(temperature=2.0),
    "gradnorm": GradNorm,
    "dtp": lambda tasks, shared: DynamicTaskPriority(),
    "uncertainty": lambda tasks, shared: UW(tasks),
}


def recall(weighting: Scalarizer, losses: Sequence[Sequence[float] | Array], device: str = "cpu") -> None:
    """Bring a rule that depends on past epochs to where it stands after these mean losses (each shape (tasks,)).

    Called at the start of every epoch, so that a run that was stopped goes on exactly as it would have.
    """
    if isinstance(weighting, DWA | DynamicTaskPriority):
        weighting.reset()
        for mean in losses[-2:]:
            weighting(torch.as_tensor(mean, dtype=torch.float32, device=device))
            weighting.step()
