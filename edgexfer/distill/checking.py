"""Teachers are scored before anyone learns from them: whether they may teach, how sure they are, what each is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from edgexfer.distill.teacher import Teacher, Teachers
from edgexfer.distill.weighting import validation_weights
from edgexfer.errors import TeacherError
from edgexfer.proportions import paired_difference
from edgexfer.training import Job, Listener, Predictions
from edgexfer.training.leave import majority_share
from edgexfer.training.pictures import decoded, predict_view

WEAK_GAIN = 0.25
"""A teacher is called weak that closes less than this share of the gap between guessing and perfection."""
FAR_BELOW = 0.1
"""By so much lower an accuracy on the student's pixels than at the teacher's own resolution is warned about."""
SEEN = "seen"
CONFIDENCE_IMAGES = 512


@dataclass(frozen=True)
class Checked:
    """Teachers that may teach.

    Attributes:
        teachers: With their weights, where those are chosen on validation.
        scores: Predictions of the one voice by split name, on every split but the training one; their logits are the
            log-probabilities at temperature 1. Under ``SEEN`` those on the student's pixels of validation, where they
            are not the teachers' own.
    """

    teachers: Teachers
    scores: Mapping[str, Predictions]


def check_teachers(teachers: Teachers, job: Job, listener: Listener, *, allow_weak: bool = False) -> Checked:
    """Scores the teachers before anyone learns from them: at their own resolution, and on what they will see.

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
    if not all(_sees_its_own(member, job) for member in teachers.members):
        scored[SEEN] = Predictions(teachers.voice(_seen_logits(teachers, job), 1.0).numpy(), labels["val"].numpy())
        _tell_of_seen(teachers, job, scored["val"], scored[SEEN], listener)
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


def _sees_its_own(member: Teacher, job: Job) -> bool:
    """Whether the student's pixels are those that the teacher's own rule gives."""
    same = job.stores["val"].same_rule(member.preprocessing)
    return same and member.preprocessing.input_size == job.preprocessing.input_size


def _seen_logits(teachers: Teachers, job: Job) -> torch.Tensor:
    """What each member says of validation's pictures as the student sees them: ``(M, N, K)``."""
    said = [job.predictions(member.network.to(job.device), "val").logits for member in teachers.members]
    return torch.stack([torch.from_numpy(logits) for logits in said])


def _tell_of_seen(teachers: Teachers, job: Job, own: Predictions, seen: Predictions, listener: Listener) -> None:
    """Says how right the teachers are on the student's pixels, and warns where that is far below what they can do."""
    names = " + ".join(member.name for member in teachers.members)
    height, width = job.preprocessing.input_size
    listener.say(f"teacher {names}: {seen.top1:.1%} on validation as the student sees it, at {height} x {width} pixels")
    lost = paired_difference(*((said.logits.argmax(axis=1) == said.labels).tolist() for said in (own, seen)))
    if lost.value >= FAR_BELOW and lost.shown:
        side = max(max(member.preprocessing.input_size) for member in teachers.members)
        listener.warn(
            f"the teacher {names} is right on {own.top1:.1%} of validation at its own {side} pixels, and on"
            f" {seen.top1:.1%} at the student's {height} x {width}, where it teaches; pass an --image-size nearer to"
            f" {side}"
        )


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
