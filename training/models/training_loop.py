"""The one training loop: segmentation, false-positive reduction, slice filling and graders all train in it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from rich.console import Console
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from NoduleRiskLib.errors import NoduleRiskError

from ..checkpoints import Key, check_key, read_state, write_state
from .devices import Devices, OneProcess, average_over_devices, backward

Network = TypeVar("Network", bound=nn.Module)
#: The loss to minimise at a step of the epoch, and the losses to report (shape (tasks,)).
LossAt = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Schedule:
    """The learning rate at each step: it warms up, then falls along a cosine.

    Attributes
    ----------
    cycles : tuple of int
        Epochs of each cycle; every cycle starts anew (Loshchilov and Hutter 2017, "SGDR", arXiv 1608.03983).
    peak : float
    warm_up : int
        A linear warm-up takes one part in so many of a cycle.
    one_cycle : bool
        Warm up along a cosine over a tenth of all steps and fall only then, as torch's ``OneCycleLR`` does (Smith and
        Topin 2018, arXiv 1708.07120).
    """

    cycles: tuple[int, ...]
    peak: float
    warm_up: int = 12
    one_cycle: bool = False

    @property
    def epochs(self) -> int:
        """Of all cycles."""
        return sum(self.cycles)

    def rate(self, epoch: int, step: int, steps: int) -> float:
        """The learning rate at one step of an epoch of ``steps``."""
        if self.one_cycle:
            return self._one_cycle(epoch * steps + step, self.epochs * steps)
        at = epoch + step / steps
        for cycle in self.cycles:
            progress = at / cycle
            if progress < 1:
                break
            at -= cycle
        return self.peak * min(1.0, progress * self.warm_up + 0.02) * 0.5 * (1 + math.cos(math.pi * progress))

    def _one_cycle(self, step: int, steps: int) -> float:
        first, last, top = self.peak / 25, self.peak / 25 / 1e4, 0.1 * steps - 1
        low, progress = (first, 1 - step / top) if step <= top else (last, (step - top) / (steps - 1 - top))
        return low + (self.peak - low) / 2 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, eq=False)
class Recipe:
    """What one kind of network brings to the loop.

    Attributes
    ----------
    kind, name : str
        Of the network; its state is kept in ``{kind}-{name}.pt``.
    key : dict
        Everything that the weights depend on: settings, nodules, what training starts from.
    schedule : Schedule
    optimizer : Optimizer
        A parameter group may have ``lr_scale``, by which the learning rate is multiplied.
    seed : int
        Of torch's random numbers (dropout); each epoch derives its own.
    random : function
        epoch -> NumPy's generator for that epoch.
    begin : function
        (generator, losses of the epochs before) -> the number of steps and the ``LossAt`` of an epoch.
    batch : int
        Examples per step, for the reported speed.
    tasks : tuple of str
        Names of the losses that ``LossAt`` reports.
    weighting : Module
        What weighs the tasks' losses; it may learn, and is kept with the network.
    clip : float
        Largest norm of the gradients.
    average : float or None
        Decay of the moving average of the weights, which is then what is validated and returned.
    held_out : function or None
        (network, epoch) -> loss on validation nodules, infinite while it does not count yet. The weights of the epoch
        with the lowest one are returned; those of the last epoch where there is none.
    """

    kind: str
    name: str
    key: Key
    schedule: Schedule
    optimizer: torch.optim.Optimizer
    seed: int
    random: Callable[[int], np.random.Generator]
    begin: Callable[[np.random.Generator, Sequence[Sequence[float]]], tuple[int, LossAt]]
    batch: int
    tasks: tuple[str, ...] = ("loss",)
    weighting: nn.Module = field(default_factory=nn.Module)
    clip: float = math.inf
    average: float | None = None
    held_out: Callable[[nn.Module, int], float] | None = None


@dataclass
class Progress:
    """How far a run is: epochs that are done; of each the mean losses, seconds and examples per second; the best."""

    epoch: int = 0
    losses: list[list[float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    best: dict[str, Tensor] = field(default_factory=dict)


def train(network: Network, recipe: Recipe, folder: Path, console: Console, devices: Devices | None = None) -> Network:
    """Train a network, or go on after the last whole epoch of a run that was stopped.

    Parameters
    ----------
    network : Module
        Untrained, on its device; trained in place.
    recipe : Recipe
    folder : Path
        Where the state is kept after each epoch.
    console : Console
    devices : Fabric, optional
        What trains together; default: this process alone, on the CPU.

    Raises
    ------
    NoduleRiskError
        If the state in ``folder`` is corrupt or was made with other settings.
    """
    devices = devices or OneProcess()
    optimizer, weighting, schedule = recipe.optimizer, recipe.weighting, recipe.schedule
    average = ModelEmaV3(network, decay=recipe.average, use_warmup=True) if recipe.average else None
    modules: dict[str, Any] = {"model": network, "weighting": weighting, "optimizer": optimizer}
    if average:
        modules["average"] = average.module
    path = folder / f"{recipe.kind}-{recipe.name}.pt"
    progress = _resumed(path, recipe.key, modules, devices.device)
    left = range(progress.epoch, schedule.epochs)
    log = _tensorboard(folder / "tensorboard" / path.stem) if left and devices.is_global_zero else None

    for epoch in left:
        began = time.monotonic()
        torch.manual_seed(recipe.seed * 1000 + epoch)
        steps, loss_at = recipe.begin(recipe.random(epoch), progress.losses)
        summed = np.zeros(len(recipe.tasks))
        network.train()
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(epoch, step, steps) * group.get("lr_scale", 1.0)
            loss, reported = loss_at(step)
            optimizer.zero_grad()
            backward(devices, loss, network, weighting)
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            optimizer.step()
            if average:
                average.update(network)
            summed += reported.detach().cpu().numpy()
        rate = steps * recipe.batch / (time.monotonic() - began)
        average_over_devices(devices, [torch.from_numpy(summed)])
        progress.losses.append((summed / max(steps, 1)).tolist())

        validated = average.module if average else network
        held_out = math.inf
        if recipe.held_out:
            # Rounding differs between GPUs; which epoch is best must not.
            held_out = devices.broadcast(recipe.held_out(validated, epoch))
            if held_out < progress.best_loss:
                progress.best_loss = held_out
                progress.best = {name: value.clone() for name, value in validated.state_dict().items()}
        progress.epoch = epoch + 1
        progress.seconds.append(time.monotonic() - began)
        progress.rates.append(rate)

        validation = f", validation {held_out:.4f}" if recipe.held_out else ""
        console.print(
            f"{recipe.kind} {recipe.name}, epoch {epoch + 1}/{schedule.epochs}: "
            f"loss {np.mean(progress.losses[-1]):.4f}{validation}, {rate:.0f} per second"
        )
        if log:
            for name, value in zip(recipe.tasks, progress.losses[-1], strict=True):
                log.add_scalar(f"loss/{name}", value, epoch + 1)
            log.flush()
        if devices.is_global_zero:
            states = {name: one.state_dict() for name, one in modules.items()}
            write_state(path, {"key": recipe.key, **vars(progress), **states})
        # The other processes may read the state next.
        devices.barrier()

    if progress.best:
        network.load_state_dict(progress.best)
    elif average:
        network.load_state_dict(average.module.state_dict())
    return network.eval()


def read_progress(path: Path) -> Progress:
    """How a run went whose state is kept at ``path``; raises ``NoduleRiskError`` if that is missing or corrupt."""
    return _progress(path, read_state(path))


def _resumed(path: Path, key: Key, modules: Mapping[str, Any], device: torch.device) -> Progress:
    """How far the run at ``path`` is, its weights loaded into ``modules``; a new run where there is none."""
    if not path.is_file():
        return Progress()
    state = read_state(path, device)
    check_key(path, state.get("key", {}), key)
    for name, one in modules.items():
        one.load_state_dict(state[name])
    return _progress(path, state)


def _progress(path: Path, state: Mapping[str, Any]) -> Progress:
    if missing := {one.name for one in fields(Progress)} - set(state):
        raise NoduleRiskError(f"{path} lacks {', '.join(sorted(missing))}: remove it and run the command again.")
    return Progress(**{one.name: state[one.name] for one in fields(Progress)})


def _tensorboard(folder: Path) -> Any:
    """A log of the losses where TensorBoard is installed, otherwise ``None``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder)
