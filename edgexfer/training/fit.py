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

from edgexfer.runs import METRICS_FILE, write_lines
from edgexfer.training.checkpoint import (
    Checkpoint,
    State,
    copy_state,
    load_checkpoint,
    save_checkpoint,
    written_safely,
)
from edgexfer.training.compute import seed_epoch
from edgexfer.training.learner import Batch, Extras, Learner, Step
from edgexfer.training.listener import Listener
from edgexfer.training.optim import learning_rate, training_mode
from edgexfer.training.ranks import ALONE, Ranks
from edgexfer.training.recipe import Settings
from edgexfer.training.scoring import Predictions
from edgexfer.training.shared_step import SharedStep, average_statistics

CHECKPOINT_SECONDS = 20.0
"""A checkpoint is written after the first epoch that ends this long after the one before."""


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
    extras: Extras | None = None,
    ranks: Ranks = ALONE,
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
        extras: What sets the training apart from the plain one.
        ranks: This process among those that train the student together; batches are its parts, and ``validate`` gives
            the same on all.

    Raises:
        TrainingError: The loss became NaN or infinite, the checkpoint does not fit, or the disk is full.
    """
    extras = extras or Extras()
    learner = Learner.of(student, settings, extras)
    state = _first_state(learner, validate, settings, extras, resume_folder, listener, ranks)
    step = SharedStep(step, learner) if ranks.are_several else step
    saved = time.perf_counter()
    while state.epochs_done < settings.epochs and not _out_of_patience(state, settings.patience):
        started = time.perf_counter()
        extras.layers.thaw(student, state.epochs_done)
        metrics = _train_epoch(learner, step, batches, settings, state.epochs_done, device, listener, ranks)
        scored = validate(learner.kept)
        metrics |= {"val_top1": scored.top1, "val_loss": scored.loss}
        state = _advanced(state, learner.kept, metrics, time.perf_counter() - started)
        if ranks.is_writer:
            with written_safely(folder / METRICS_FILE):
                write_lines(folder / METRICS_FILE, state.metrics)
        if ranks.is_writer and time.perf_counter() - saved > CHECKPOINT_SECONDS:
            save_checkpoint(resume_folder, learner.caught(state))
            saved = time.perf_counter()
        listener.epoch(metrics)
    if state.epochs_done < settings.epochs:
        listener.say(f"stopped early: no better epoch than {state.best_epoch} in the last {settings.patience}")
    last = copy_state(learner.kept.state_dict())
    return FitResult(state.best, last, state.best_epoch, state.metrics, state.seconds)


def _first_state(
    learner: Learner,
    validate: Callable[[nn.Module], Predictions],
    settings: Settings,
    extras: Extras,
    resume_folder: Path,
    listener: Listener,
    ranks: Ranks,
) -> Checkpoint:
    """Where the training begins: at the checkpoint, which is restored, or with the first weights."""
    identity = {**settings.to_dict(), **extras.identity, "processes": ranks.count}
    state = ranks.once(lambda: load_checkpoint(resume_folder, identity))
    if state is not None:
        learner.restore(state)
        listener.say(f"resumed after epoch {state.epochs_done} of {settings.epochs}")
        return state
    metrics = []
    if extras.count_start:
        scored = validate(learner.student)
        listener.say(f"before training: validation {scored.top1:.2%}")
        metrics = [{"epoch": 0, "val_top1": scored.top1, "val_loss": scored.loss}]
    return Checkpoint(identity, 0, {}, {}, copy_state(learner.student.state_dict()), 0, metrics, 0.0)


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


def _rank(metrics: Mapping[str, Any]) -> tuple[float, float]:
    return (metrics["val_top1"], -metrics["val_loss"] if math.isfinite(metrics["val_loss"]) else -math.inf)


def _out_of_patience(state: Checkpoint, patience: int) -> bool:
    return state.epochs_done - state.best_epoch >= patience and state.epochs_done > 0


def _train_epoch(
    learner: Learner,
    step: Step,
    batches: Batches,
    settings: Settings,
    epoch: int,
    device: torch.device,
    listener: Listener,
    ranks: Ranks,
) -> dict[str, Any]:
    """One pass over the training batches; returns the means of what the step reports, weighted by pictures."""
    training_mode(learner.student)
    seed_epoch(settings.seed, epoch, ranks.rank)
    batches.set_epoch(epoch)
    steps = settings.epochs * len(batches)
    sums: dict[str, float] = {}
    images, waiting, started = 0, 0.0, time.perf_counter()
    listener.begin(f"epoch {epoch + 1}/{settings.epochs}", len(batches))
    lr, asked = 0.0, time.perf_counter()
    try:
        for index, batch in enumerate(batches):
            waiting += time.perf_counter() - asked
            number = epoch * len(batches) + index
            lr = learning_rate(number, steps, settings.warmup_epochs * len(batches), settings.lr)
            parts = learner.take_step(step, batch, number, number / steps, lr, epoch, device)
            count = len(batch["labels"])
            images += count
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) * count
            left = (time.perf_counter() - started) / images * (len(batches) / (index + 1) * images - images)
            speed = ranks.count * images / (time.perf_counter() - started)
            listener.advance(index + 1, f"{speed:,.0f} images/s, {left:.0f} s left in this epoch")
            asked = time.perf_counter()
    finally:
        listener.end()
    seconds = time.perf_counter() - started
    if ranks.are_several:
        average_statistics(learner, ranks)
        counted, *totals = ranks.total([images, *sums.values()])
        images = round(counted)
        sums = dict(zip(sums, totals, strict=True))
    means = {"train_loss" if name == "loss" else name: total / images for name, total in sums.items()}
    return {
        "epoch": epoch + 1,
        **means,
        "lr": lr,
        "seconds": seconds,
        "images_per_s": images / seconds,
        "waiting_share": waiting / seconds,
    }
