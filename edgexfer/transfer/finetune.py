"""The strategies ``full`` and ``scratch``: every layer learns, from pretrained weights or from random ones.

From pretrained weights three things keep what is there from being destroyed by the first steps: the head is fitted on
frozen features first (Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution",
ICLR 2022: linear probing, then fine-tuning), early layers learn more slowly than late ones and start later (Howard and
Ruder, ACL 2018), and BatchNorm keeps its statistics where there are too few pictures to estimate better ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgexfer import nets
from edgexfer.runs import Run
from edgexfer.training import Extras, Job, Listener, hard_label_step, train
from edgexfer.training.optim import LayerPlan, batchnorms
from edgexfer.transfer.batchnorm import reestimate
from edgexfer.transfer.head import fit_students_head, head_scores, ready_student
from edgexfer.transfer.logistic import balanced_weights
from edgexfer.transfer.strategy import Strategy

GROUPS = 4
FEW_FOR_BATCHNORM = 2_000
"""Training pictures below which BatchNorm keeps its pretrained statistics."""


def finetune(job: Job, strategy: Strategy, out: Path, listener: Listener, *, record: Mapping[str, Any]) -> Run:
    """Trains every layer of the job's network on hard labels and leaves a run in ``out``.

    Args:
        job: What to train on.
        strategy: ``full``, which treats pretrained layers with care, or ``scratch``, which trains all alike.
        out: The run folder.
        listener: Hears how it goes.
        record: What the run's recipe says beside the settings.
    """
    step = hard_label_step(job.settings.label_smoothing, class_weights(job, strategy.balance))
    identity = {"strategy": strategy.to_dict()}
    finish = finish_with(job, strategy, listener)
    if strategy.name == "scratch":
        return train(job, step, out, listener, record=record, extras=Extras(identity=identity), finish=finish)
    student = ready_student(job)
    policy = settle_batchnorm(job, student, strategy.bn, listener)
    scores = {"bn_policy": policy, **head_scores(fit_students_head(job, student, listener, balance=strategy.balance))}
    plan = layer_plan(student, strategy, policy, job.settings.epochs)
    extras = Extras(layers=plan, count_start=True, identity=identity)
    return train(
        job, step, out, listener, record=record, extra_scores=scores, student=student, extras=extras, finish=finish
    )


_POLICY_WORDS = {
    "frozen": "pretrained statistics, scale and shift are kept (few pictures estimate them badly)",
    "adapt": "statistics are taken anew from these pictures, then kept with scale and shift",
    "train": "statistics, scale and shift are trained with the rest",
}


def class_weights(job: Job, balance: bool) -> torch.Tensor | None:
    """Weight of each class ``(K,)`` with ``--balance``, so that each has the same share of the loss; else ``None``."""
    if not balance:
        return None
    labels = job.splits.train.labels
    weights = np.ones(len(job.splits.classes), dtype=np.float32)
    weights[labels] = balanced_weights(labels)
    return torch.from_numpy(weights).to(job.device)


def layer_plan(student: nets.Normalized, strategy: Strategy, policy: str, epochs: int) -> LayerPlan:
    """Rates and starting epochs of the student's parameters, by groups of layers in the order of the network."""
    scales: dict[str, float] = {}
    thaws: dict[str, int | None] = {}
    groups = layer_groups(student)
    wait = 1 if strategy.gradual and epochs >= 2 * len(groups) else 0
    for below_the_head, group in enumerate(reversed(groups)):
        for name in group:
            scales[name] = strategy.layer_decay**below_the_head
            thaws[name] = max(0, below_the_head - 1) * wait
    if policy != "train":
        thaws |= batchnorm_frozen(student)
    return LayerPlan(scales, thaws)


def settle_batchnorm(job: Job, student: nets.Normalized, bn: str | None, listener: Listener) -> str:
    """The policy for BatchNorm, by the number of pictures where it is left open; carries ``adapt`` out at once."""
    policy = batchnorm_policy(job, bn)
    if batchnorms(student.modules()):
        listener.say(f"BatchNorm: {_POLICY_WORDS[policy]}")
    if policy == "adapt" and not _has_one_picture(job, listener):
        reestimate(student, job.plain_batches("train"), job.device)
    return policy


def batchnorm_policy(job: Job, bn: str | None) -> str:
    """The policy for BatchNorm that was asked for, or that the number of pictures suggests."""
    return bn or ("frozen" if len(job.splits.train) < FEW_FOR_BATCHNORM else "train")


def _has_one_picture(job: Job, listener: Listener) -> bool:
    """Whether there is a single training picture, which has no variance to estimate; then says so."""
    is_alone = len(job.splits.train) < 2
    if is_alone:
        listener.say("BatchNorm keeps its statistics: a single training picture is too few to take them from")
    return is_alone


def batchnorm_frozen(net: nn.Module) -> dict[str, int | None]:
    """Every parameter of every BatchNorm as one that never learns."""
    return {
        f"{path}.{name}": None
        for path, module in net.named_modules()
        if batchnorms([module])
        for name, _ in module.named_parameters(recurse=False)
    }


def layer_groups(student: nets.Normalized) -> list[list[str]]:
    """Names of the parameters in ``GROUPS`` groups of about as many layers, first to last; the head is one more."""
    head = {id(p) for p in nets.head_parameters(student.net)}
    layers = [
        [f"{path}.{name}" for name, p in module.named_parameters(recurse=False) if id(p) not in head]
        for path, module in student.named_modules()
    ]
    layers = [names for names in layers if names]
    parts = np.array_split(np.arange(len(layers)), min(GROUPS, len(layers)))
    groups = [[name for i in part for name in layers[i]] for part in parts]
    return [*groups, [name for name, p in student.named_parameters() if id(p) in head]]


def finish_with(
    job: Job, strategy: Strategy, listener: Listener
) -> Callable[[nets.Normalized], Mapping[str, Any]] | None:
    """The last work on a trained student: re-estimating its BatchNorm, where that was asked for."""
    return (lambda student: reestimated_if_better(job, student, listener)) if strategy.reestimate_bn else None


def reestimated_if_better(job: Job, student: nn.Module, listener: Listener) -> dict[str, Any]:
    """Re-estimates BatchNorm on the training pictures and keeps it only where validation gains, in place.

    Returns:
        What the run's scores say of it; empty for a network without BatchNorm, or with a single training picture.
    """
    if _has_one_picture(job, listener):
        return {}
    before = job.predictions(student, "val")
    kept = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    if not reestimate(student, job.plain_batches("train"), job.device):
        listener.say("--reestimate-bn: the network has no BatchNorm, so nothing changes")
        return {}
    after = job.predictions(student, "val")
    better = (after.top1, -after.loss) > (before.top1, -before.loss)
    if not better:
        student.load_state_dict(kept)
    listener.say(
        f"BatchNorm re-estimated: validation {before.top1:.2%} to {after.top1:.2%}, loss {before.loss:.4f} to"
        f" {after.loss:.4f}; {'kept' if better else 'not kept'}"
    )
    return {"reestimated_bn": {"before": before.top1, "after": after.top1, "kept": better}}
