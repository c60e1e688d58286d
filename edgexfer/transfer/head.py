"""The strategy ``head``: the body as it is, a new output layer fitted on its features.

The body runs once over the pictures; what is fitted is a convex problem (see ``logistic``), so there is no learning
rate, no epoch and no luck in it, and the result equals what the whole network says (checked before the run is written).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgexfer import nets
from edgexfer.errors import TrainingError
from edgexfer.runs import METRICS_FILE, Run, write_lines
from edgexfer.training import FitResult, Job, Listener, Predictions, Silent
from edgexfer.training.checkpoint import copy_state
from edgexfer.training.leave import leave_run
from edgexfer.transfer.blocks import EMBEDDING
from edgexfer.transfer.features import Extractor, Varied, stacked
from edgexfer.transfer.logistic import (
    L2_GRID,
    CrossValidation,
    LinearHead,
    balanced_weights,
    cross_validate,
    fit_head,
)
from edgexfer.transfer.measures import Interval, share_of
from edgexfer.transfer.strategy import Strategy

FULL_PATH_TOLERANCE = 1e-3
"""Largest difference allowed between the head on cached features and the whole network, of the largest logit."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FittedHead:
    """A head and what cross-validation said of it.

    Attributes:
        head: The linear layer.
        validation: How its strength was chosen; ``None`` where nothing could be held out.
        top1: Accuracy on held-out folds with its 95% interval; ``None`` likewise.
        train_loss: Mean cross-entropy in nats on the pictures it was fitted on, as they are.
        seconds: Time spent on cross-validation and the fit.
    """

    head: LinearHead
    validation: CrossValidation | None
    top1: Interval | None
    train_loss: float
    seconds: float


def fit_on_features(
    features: NDArray[np.float32],
    labels: Ints,
    classes: int,
    *,
    groups: Ints | None = None,
    views: int = 1,
    balance: bool = False,
    seed: int = 0,
    listener: Listener | None = None,
) -> FittedHead:
    """Chooses the strength by cross-validation and fits on everything.

    Args:
        features: ``(views N, D)``: the plain view of N pictures, then further views of the same N in the same order.
        labels: Of the N pictures.
        classes: ``K``.
        groups: Of the N pictures; those with the same number are held out together. Each alone if ``None``.
        views: How many views there are.
        balance: Whether every class counts the same, however many pictures it has.
        seed: Of the folds.
        listener: Hears how it goes.
    """
    started = time.perf_counter()
    count = len(labels)
    groups = np.arange(count) if groups is None else groups
    together, repeated = np.tile(groups, views), np.tile(labels, views)
    weights = balanced_weights(repeated) if balance else None
    validation, top1, l2 = None, None, 1.0
    if np.bincount(labels[np.unique(groups, return_index=True)[1]]).max() > 1:  # a class with two groups
        listener = listener or Silent()
        listener.begin("cross-validation", len(L2_GRID))
        try:
            validation = cross_validate(
                features, repeated, classes, groups=together, held_out=np.arange(views * count) < count,
                weights=weights, repeats=repeats_for(count), seed=seed,
                progress=lambda done, _: listener.advance(done, "strengths"),
            )  # fmt: skip
        finally:
            listener.end()
        l2, top1 = validation.l2, held_out_top1(validation, repeated)
    head = fit_head(features, repeated, classes, l2, weights)
    loss = Predictions(head.logits(features[:count]), labels).loss
    return FittedHead(head, validation, top1, loss, time.perf_counter() - started)


def repeats_for(count: int) -> int:
    """How often the folds are drawn anew: often where a single draw is much luck."""
    return 10 if count <= 100 else 4 if count <= 500 else 1


def held_out_top1(validation: CrossValidation, labels: Ints) -> Interval:
    """Accuracy of the held-out pictures; the interval counts each picture once, however often it was asked."""
    asked = (validation.predicted >= 0).any(axis=0)
    share = validation.top1(labels)
    return share_of(share * int(asked.sum()), int(asked.sum()))


def put_head(net: nets.Network, head: LinearHead) -> None:
    """Gives ``net`` the fitted head, in place.

    Raises:
        TrainingError: The shapes differ.
    """
    if not nets.head_parameters(net):
        nets.reset_head(net, head.weight.shape[1])
    layer = getattr(net, net.head_name)
    weight = torch.from_numpy(np.ascontiguousarray(head.weight.T)).to(layer.weight)
    if weight.numel() != layer.weight.numel() or len(weight) != len(layer.weight):
        raise TrainingError(f"a head of shape {head.weight.shape} does not fit {tuple(layer.weight.shape)}")
    with torch.no_grad():
        layer.weight.copy_(weight.view_as(layer.weight))
        layer.bias.copy_(torch.from_numpy(head.bias))


def ready_student(job: Job) -> nets.Normalized:
    """The job's network with its first weights and a head that can be trained."""
    student = job.new_student()
    if not nets.head_parameters(student.net):
        nets.reset_head(student.net, len(job.splits.classes), job.settings.seed)
    return student


def fit_students_head(
    job: Job, student: nets.Normalized, listener: Listener, *, views: int = 1, balance: bool = False
) -> FittedHead:
    """Fits the head of ``student`` on the training pictures, in place, and says what came of it."""
    extract = Extractor(student, job.preprocessing, job.device, model=job.model)
    train = job.splits.train
    parts = [extract(train, job.stores["train"], listener)]
    for number in range(1, views):
        augment = job.settings.augment if job.settings.augment != "none" else "light"
        varied = Varied(augment, job.splits.mirrors, job.settings.seed, number)
        parts.append(extract(train, job.stores["train"], listener, varied))
    fitted = fit_on_features(
        stacked(parts), train.labels, len(job.splits.classes), groups=train.groups, views=views, balance=balance,
        seed=job.settings.seed, listener=listener,
    )  # fmt: skip
    put_head(student.net, fitted.head)
    if fitted.top1 is not None:
        listener.say(
            f"head fitted in {fitted.seconds:.1f} s: {fitted.top1.value:.1%} on held-out training pictures"
            f" (95% interval {fitted.top1.low:.1%} to {fitted.top1.high:.1%}), L2 {fitted.head.l2:.2g}"
        )
    return fitted


def train_head(job: Job, strategy: Strategy, out: Path, listener: Listener, *, record: Mapping[str, Any]) -> Run:
    """Fits a new head on the frozen body and leaves a run in ``out``.

    Args:
        job: What to train on.
        strategy: How many views of each picture are used, and whether classes are balanced.
        out: The run folder.
        listener: Hears how it goes.
        record: What the run's recipe says beside the settings.

    Raises:
        TrainingError: The head on cached features and the whole network disagree.
    """
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    student = ready_student(job)
    views = strategy.views or 1
    fitted = fit_students_head(job, student, listener, views=views, balance=strategy.balance)
    scored = job.predictions(student, "val")
    difference = _full_path_difference(job, student, fitted.head, scored, listener)
    seconds = time.perf_counter() - started
    metrics = {
        "epoch": 1,
        "train_loss": fitted.train_loss,
        "val_top1": scored.top1,
        "val_loss": scored.loss,
        "lr": 0.0,
        "seconds": seconds,
        "images_per_s": len(job.splits.train) / seconds,
        "waiting_share": 0.0,
    }
    write_lines(out / METRICS_FILE, [metrics])
    state = copy_state(student.state_dict())
    result = FitResult(state, state, 1, [metrics], seconds)
    scores = {**head_scores(fitted), "full_path_difference": difference}
    return leave_run(job, student, result, out, listener, record=record, extra_scores=scores)


def head_scores(fitted: FittedHead) -> dict[str, Any]:
    """What a run's scores say of a fitted head."""
    scores: dict[str, Any] = {"head_l2": fitted.head.l2, "head_seconds": fitted.seconds}
    if fitted.top1 is not None:
        scores |= {"cv_top1": fitted.top1.value, "cv_top1_interval": [fitted.top1.low, fitted.top1.high]}
    return scores


def _full_path_difference(
    job: Job, student: nets.Normalized, head: LinearHead, found: Predictions, listener: Listener
) -> float:
    """Largest difference between the head on cached features and the whole network, of the largest logit.

    Raises:
        TrainingError: It is more than rounding.
    """
    extract = Extractor(student, job.preprocessing, job.device, model=job.model)
    expected = head.logits(extract(job.splits.val, job.stores["val"], listener)[EMBEDDING])
    difference = float(np.abs(found.logits - expected).max() / max(float(np.abs(expected).max()), 1e-12))
    if difference > FULL_PATH_TOLERANCE:
        raise TrainingError(
            f"the head on cached features and the whole network differ by {difference:.2g} of the largest logit; the"
            " network behaves differently from call to call; use --strategy full"
        )
    return difference
