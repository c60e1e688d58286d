"""Teachers are scored before anyone learns from them: whether they may teach, how sure they are, what each is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from edgexfer.distill.teacher import Teachers
from edgexfer.distill.weighting import validation_weights
from edgexfer.errors import TeacherError
from edgexfer.training import Job, Listener, Predictions
from edgexfer.training.leave import majority_share
from edgexfer.training.pictures import decoded, predict_view

WEAK_GAIN = 0.25
"""A teacher is called weak that closes less than this share of the gap between guessing and perfection."""
CONFIDENCE_IMAGES = 512


@dataclass(frozen=True)
class Checked:
    """Teachers that may teach.

    Attributes:
        teachers: With their weights, where those are chosen on validation.
        scores: Predictions of the one voice by split name, on every split but the training one; their logits are the
            log-probabilities at temperature 1.
    """

    teachers: Teachers
    scores: Mapping[str, Predictions]


def check_teachers(teachers: Teachers, job: Job, listener: Listener, *, allow_weak: bool = False) -> Checked:
    """Scores the teachers at their own resolution before anyone learns from them.

    Raises:
        TeacherError: On validation, which has several classes, they do no better than guessing the most frequent one,
            and ``allow_weak`` is off.
    """
    logits = {split: _member_logits(teachers, job, split, listener) for split in job.stores if split != "train"}
    labels = {split: torch.from_numpy(job.view(split).labels) for split in logits}
    if teachers.ensemble == "weighted" and teachers.weights is None and len(teachers.members) > 1:
        weights = validation_weights(logits["val"], labels["val"])
        teachers = replace(teachers, weights=tuple(float(w) for w in weights))
        told = ", ".join(
            f"{member.name} {weight:.0%}" for member, weight in zip(teachers.members, weights, strict=True)
        )
        listener.say(f"weights of the teachers, chosen on validation: {told}")
    scored = {split: Predictions(teachers.voice(logits[split], 1.0).numpy(), labels[split].numpy()) for split in logits}
    _refuse_guessing(teachers, job, scored["val"].top1, listener, allow_weak)
    return Checked(teachers, scored)


def _refuse_guessing(teachers: Teachers, job: Job, found: float, listener: Listener, allow_weak: bool) -> None:
    guessing = majority_share(job.splits.val.labels)
    names = " + ".join(member.name for member in teachers.members)
    listener.say(f"teacher {names}: {found:.1%} on validation (always the most frequent class: {guessing:.1%})")
    if guessing == 1.0:
        listener.warn(
            f"every picture of validation is of one class, so whether the teacher {names} does better than guessing"
            " cannot be told; add pictures of the other classes to validation"
        )
    elif found <= guessing:
        problem = (
            f"the teacher {names} reaches {found:.1%} on validation, no better than always answering the most frequent"
            f" class ({guessing:.1%}); it has nothing to teach, or its classes stand in another order"
        )
        if not allow_weak:
            raise TeacherError(problem + "; train it longer, or pass --allow-weak-teacher to go on")
        listener.warn(problem)
    elif found < guessing + WEAK_GAIN * (1 - guessing):
        listener.warn(f"the teacher {names} is weak; a student rarely gains from such a one")


def _member_logits(teachers: Teachers, job: Job, split: str, listener: Listener) -> torch.Tensor:
    """What each member says of a split's pictures, prepared by its own rule: ``(M, N, K)``."""
    view, logits = job.view(split), []
    for member in teachers.members:
        store = job.stores[split]
        if not store.same_rule(member.preprocessing):
            store = decoded(view, member.preprocessing, listener, job.ranks)
        network = member.network.to(job.device)
        predictions = predict_view(network, view, store, member.preprocessing, job.device, job.ranks)
        logits.append(torch.from_numpy(predictions.logits))
    return torch.stack(logits)


def confidence(teachers: Teachers, job: Job) -> float:
    """How sure the teachers are: the mean probability, at temperature 1, of the class that they name.

    Taken on training pictures as the student sees them, those of the first epoch, ``CONFIDENCE_IMAGES`` or a few more.
    """
    for member in teachers.members:
        member.network.to(job.device)
    batches = job.train_batches(whole=True)
    batches.set_epoch(0)
    found: list[torch.Tensor] = []
    for batch in batches:
        found.append(teachers.log_probs(batch["inputs"].to(job.device), 1.0).max(dim=1).values.exp())
        if sum(map(len, found)) >= CONFIDENCE_IMAGES:
            break
    return float(torch.cat(found).mean())
