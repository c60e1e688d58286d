"""What learns: a student with its optimiser and all else that changes in every step, and how one step is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from edgexfer.errors import TrainingError
from edgexfer.training.average import WeightAverage
from edgexfer.training.checkpoint import Checkpoint, copy_state
from edgexfer.training.compute import Compute
from edgexfer.training.optim import LayerPlan, build_optimizer, parameter_groups, set_learning_rate
from edgexfer.training.recipe import Settings

Batch = Mapping[str, torch.Tensor]
"""``inputs``, ``labels``, ``index``, one entry a picture; the loop adds ``progress``, the share of the steps done.

A part of a batch that several processes share has a ``weight``; see ``edgexfer.data.loader``.
"""
Step = Callable[[nn.Module, Batch], dict[str, torch.Tensor]]
"""``(student, batch) -> {"loss": scalar, other parts to log}``."""


@dataclass(frozen=True)
class Extras:
    """What sets a training apart from the plain one.

    Attributes:
        layers: Which layers learn when, and how fast; by default all alike.
        companion: Trains along with the student, by the same optimiser, and is dropped at the end.
        compute: Arithmetic and memory format; plain float32 if ``None``.
        count_start: Whether the first weights count as epoch 0, so that a training that only loses keeps them.
        identity: What has to be the same, beside the settings, for an interrupted training to be gone on from.
    """

    layers: LayerPlan = field(default_factory=LayerPlan)
    companion: nn.Module | None = None
    compute: Compute | None = None
    count_start: bool = False
    identity: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Learner:
    """All that changes in every step."""

    student: nn.Module
    optimizer: torch.optim.Optimizer
    compute: Compute
    companion: nn.Module | None
    average: WeightAverage | None

    @classmethod
    def of(cls, student: nn.Module, settings: Settings, extras: Extras) -> Learner:
        """The student with its optimiser, in the memory format that it computes in."""
        compute = extras.compute or Compute()
        compute.network(student)
        average = WeightAverage(student, settings.ema) if settings.ema > 0 else None
        optimizer = build_optimizer(student, settings.optimizer, settings.lr, settings.weight_decay, extras.layers)
        if extras.companion is not None:
            for group in parameter_groups(extras.companion, settings.weight_decay):
                optimizer.add_param_group(group)
        return cls(student, optimizer, compute, extras.companion, average)

    @property
    def kept(self) -> nn.Module:
        """What is validated and kept: the student, or the running average of its weights."""
        return self.student if self.average is None else self.average.net

    def caught(self, state: Checkpoint) -> Checkpoint:
        """``state`` with everything as it is now."""
        return replace(
            state,
            net=copy_state(self.student.state_dict()),
            optimizer=self.optimizer.state_dict(),
            companion={} if self.companion is None else copy_state(self.companion.state_dict()),
            average={} if self.average is None else copy_state(self.average.net.state_dict()),
        )

    def restore(self, state: Checkpoint) -> None:
        """Puts everything back to what ``caught`` kept, in place."""
        self.student.load_state_dict(state.net)
        self.optimizer.load_state_dict(state.optimizer)
        if self.companion is not None:
            self.companion.load_state_dict(state.companion)
        if self.average is not None:
            self.average.load(state.average)

    def take_step(
        self,
        step: Step,
        batch: Batch,
        number: int,
        progress: float,
        lr: float,
        epoch: int,
        device: torch.device,
    ) -> dict[str, torch.Tensor]:
        """Step ``number`` (from 0) of the training, ``progress`` of the way; returns what the step function reported.

        Raises:
            TrainingError: The loss is NaN or infinite.
        """
        set_learning_rate(self.optimizer, lr)
        here = self.compute.batch(batch, device)
        here["progress"] = torch.tensor(progress, device=device)
        with self.compute.autocast(device):
            parts = step(self.student, here)
        _refuse_nan(parts["loss"], epoch, lr)
        self.optimizer.zero_grad(set_to_none=True)
        loss = parts["loss"] if "weight" not in here else parts["loss"] * here["weight"]
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.average is not None:
            self.average.follow(self.student, number + 1)
        return parts


def _refuse_nan(loss: torch.Tensor, epoch: int, lr: float) -> None:
    if not bool(torch.isfinite(loss.detach())):
        raise TrainingError(
            f"the loss became {float(loss.detach())} in epoch {epoch + 1} at learning rate {lr:.2g};"
            " lower --lr, or start from other weights"
        )
