"""The fit loop. It knows batches, a student and a step; it knows neither pictures nor teachers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from edgexfer.errors import TrainingError
from edgexfer.runs import METRICS_FILE, write_lines
from edgexfer.training.average import WeightAverage
from edgexfer.training.checkpoint import Checkpoint, State, copy_state, load_checkpoint, save_checkpoint
from edgexfer.training.compute import Compute, seed_epoch
from edgexfer.training.listener import Listener
from edgexfer.training.optim import (
    LayerPlan,
    build_optimizer,
    learning_rate,
    parameter_groups,
    set_learning_rate,
    training_mode,
)
from edgexfer.training.recipe import Settings
from edgexfer.training.scoring import Predictions

CHECKPOINT_SECONDS = 20.0
"""A checkpoint is written after the first epoch that ends this long after the one before."""

Batch = Mapping[str, torch.Tensor]
"""``inputs``, ``labels``, ``index``, one entry a picture; the loop adds ``progress``, the share of the steps done."""
Step = Callable[[nn.Module, Batch], dict[str, torch.Tensor]]
"""``(student, batch) -> {"loss": scalar, other parts to log}``."""


class Batches(Protocol):
    """Batches that can be gone through once an epoch."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order and augmentation of this epoch (from 0)."""


@dataclass(frozen=True)
class FitResult:
    """What a training came to.

    Attributes:
        best: State dict of the best epoch by validation.
        last: State dict of the last epoch.
        best_epoch: Number of the best epoch, from 1; 0 where nothing was better than the first weights.
        metrics: One mapping an epoch, as in ``metrics.jsonl``; that of epoch 0, where it counts, has no training loss.
        seconds: Time spent, interruptions excluded.
    """

    best: State
    last: State
    best_epoch: int
    metrics: list[dict[str, Any]]
    seconds: float


def fit(
    student: nn.Module,
    step: Step,
    batches: Batches,
    validate: Callable[[nn.Module], Predictions],
    settings: Settings,
    *,
    device: torch.device,
    folder: Path,
    resume_folder: Path,
    listener: Listener,
    layers: LayerPlan | None = None,
    companion: nn.Module | None = None,
    compute: Compute | None = None,
    count_start: bool = False,
) -> FitResult:
    """Trains ``student`` and keeps the best epoch by validation top-1 (ties: the lower loss, then the earlier one).

    Args:
        student: Trained in place; ends with the weights of the last epoch.
        step: Gives the loss of one batch.
        batches: Training batches.
        validate: Predictions of the student on the validation pictures.
        settings: Epochs, optimiser, schedule, patience, seed.
        device: Where batches are moved to; the student is there already.
        folder: Where ``metrics.jsonl`` grows.
        resume_folder: Where the checkpoint lies while the training runs; one found there is gone on from.
        listener: Hears how it goes.
        layers: Which layers learn when, and how fast; all alike if ``None``.
        companion: Trains along with the student, by the same optimiser, and is dropped at the end.
        compute: Arithmetic and memory format; plain float32 if ``None``.
        count_start: Whether the first weights count as epoch 0, so that a training that only loses keeps them.

    Raises:
        TrainingError: The loss became NaN or infinite, or the checkpoint does not fit.
    """
    layers, compute = layers or LayerPlan(), compute or Compute()
    compute.network(student)
    average = WeightAverage(student, settings.ema) if settings.ema > 0 else None
    optimizer = build_optimizer(student, settings.optimizer, settings.lr, settings.weight_decay, layers)
    if companion is not None:
        for group in parameter_groups(companion, settings.weight_decay):
            optimizer.add_param_group(group)
    state = load_checkpoint(resume_folder, settings.to_dict())
    if state is None:
        start = _start(validate(student), listener) if count_start else []
        state = Checkpoint(settings.to_dict(), 0, {}, {}, copy_state(student.state_dict()), 0, start, 0.0)
    else:
        student.load_state_dict(state.net)
        optimizer.load_state_dict(state.optimizer)
        if companion is not None:
            companion.load_state_dict(state.companion)
        if average is not None:
            average.load(state.average)
        listener.say(f"resumed after epoch {state.epochs_done} of {settings.epochs}")
    saved = time.perf_counter()
    while state.epochs_done < settings.epochs and not _out_of_patience(state, settings.patience):
        started = time.perf_counter()
        layers.thaw(student, state.epochs_done)
        metrics = _train_epoch(
            student, step, batches, optimizer, settings, state.epochs_done, device, listener, compute, average
        )
        kept = student if average is None else average.net
        scored = validate(kept)
        metrics |= {"val_top1": scored.top1, "val_loss": scored.loss}
        state = _advanced(state, kept, metrics, time.perf_counter() - started)
        write_lines(folder / METRICS_FILE, state.metrics)
        if time.perf_counter() - saved > CHECKPOINT_SECONDS:
            save_checkpoint(resume_folder, _whole(state, student, optimizer, companion, average))
            saved = time.perf_counter()
        listener.epoch(metrics)
    if state.epochs_done < settings.epochs:
        listener.say(f"stopped early: no better epoch than {state.best_epoch} in the last {settings.patience}")
    last = student if average is None else average.net
    return FitResult(state.best, copy_state(last.state_dict()), state.best_epoch, state.metrics, state.seconds)


def _whole(
    state: Checkpoint,
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    companion: nn.Module | None,
    average: WeightAverage | None,
) -> Checkpoint:
    """The state with all that changes in every step."""
    return replace(
        state,
        net=copy_state(student.state_dict()),
        optimizer=optimizer.state_dict(),
        companion={} if companion is None else copy_state(companion.state_dict()),
        average={} if average is None else copy_state(average.net.state_dict()),
    )


def _advanced(state: Checkpoint, student: nn.Module, metrics: dict[str, Any], seconds: float) -> Checkpoint:
    """The state one epoch later; the best weights follow when this epoch is the best so far."""
    best = next((line for line in state.metrics if line["epoch"] == state.best_epoch), None)
    is_best = best is None or _rank(metrics) > _rank(best)
    return replace(
        state,
        epochs_done=state.epochs_done + 1,
        best=copy_state(student.state_dict()) if is_best else state.best,
        best_epoch=state.epochs_done + 1 if is_best else state.best_epoch,
        metrics=[*state.metrics, metrics],
        seconds=state.seconds + seconds,
    )


def _start(scored: Predictions, listener: Listener) -> list[dict[str, Any]]:
    """The line of epoch 0: what the first weights score."""
    listener.say(f"before training: validation {scored.top1:.2%}")
    return [{"epoch": 0, "val_top1": scored.top1, "val_loss": scored.loss}]


def _rank(metrics: Mapping[str, Any]) -> tuple[float, float]:
    return (metrics["val_top1"], -metrics["val_loss"] if math.isfinite(metrics["val_loss"]) else -math.inf)


def _out_of_patience(state: Checkpoint, patience: int) -> bool:
    return state.epochs_done - state.best_epoch >= patience and state.epochs_done > 0


def _train_epoch(
    student: nn.Module,
    step: Step,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    epoch: int,
    device: torch.device,
    listener: Listener,
    compute: Compute,
    average: WeightAverage | None,
) -> dict[str, Any]:
    """One pass over the training batches; returns the means of what the step reports, weighted by pictures."""
    training_mode(student)
    seed_epoch(settings.seed, epoch)
    batches.set_epoch(epoch)
    steps, warmup = settings.epochs * len(batches), settings.warmup_epochs * len(batches)
    sums: dict[str, float] = {}
    images, waiting, started = 0, 0.0, time.perf_counter()
    listener.begin(f"epoch {epoch + 1}/{settings.epochs}", len(batches))
    lr, asked = 0.0, time.perf_counter()
    try:
        for index, batch in enumerate(batches):
            waiting += time.perf_counter() - asked
            lr = learning_rate(epoch * len(batches) + index, steps, warmup, settings.lr)
            set_learning_rate(optimizer, lr)
            here = compute.batch(batch, device)
            here["progress"] = torch.tensor((epoch * len(batches) + index) / steps, device=device)
            with compute.autocast(device):
                parts = step(student, here)
            _refuse_nan(parts["loss"], epoch, lr)
            optimizer.zero_grad(set_to_none=True)
            parts["loss"].backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if average is not None:
                average.follow(student, epoch * len(batches) + index + 1)
            count = len(batch["labels"])
            images += count
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) * count
            left = (time.perf_counter() - started) / images * (len(batches) / (index + 1) * images - images)
            speed = images / (time.perf_counter() - started)
            listener.advance(index + 1, f"{speed:,.0f} images/s, {left:.0f} s left in this epoch")
            asked = time.perf_counter()
    finally:
        listener.end()
    seconds = time.perf_counter() - started
    means = {"train_loss" if name == "loss" else name: total / images for name, total in sums.items()}
    return {
        "epoch": epoch + 1,
        **means,
        "lr": lr,
        "seconds": seconds,
        "images_per_s": images / seconds,
        "waiting_share": waiting / seconds,
    }


def _refuse_nan(loss: torch.Tensor, epoch: int, lr: float) -> None:
    if not bool(torch.isfinite(loss.detach())):
        raise TrainingError(
            f"the loss became {float(loss.detach())} in epoch {epoch + 1} at learning rate {lr:.2g};"
            " lower --lr, or start from other weights"
        )
