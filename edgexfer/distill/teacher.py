"""Teachers: frozen networks whose outputs a student learns from.

A teacher is a plain value beside the student, never a submodule of it, so that ``student.train()`` cannot wake its
BatchNorm. It is fed the student's own view of each picture (same crop, same flip) at its own resolution, mean and std.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from edgexfer import nets
from edgexfer.distill.losses import ENSEMBLES, soft_targets
from edgexfer.distill.weighting import validation_weights
from edgexfer.errors import RecipeError, TeacherError
from edgexfer.files import sha256_file
from edgexfer.preprocessing import Preprocessing
from edgexfer.runs import WEIGHTS_FILE, read_run, weights_sha256
from edgexfer.training import Job, Listener, Predictions
from edgexfer.training.job import decoded, predict_view
from edgexfer.training.leave import majority_share

WEAK_GAIN = 0.25
"""A teacher is called weak that closes less than this share of the gap between guessing and perfection."""

CONFIDENCE_IMAGES = 512


@dataclass(frozen=True)
class Teacher:
    """One frozen network.

    Attributes:
        name: What it is called in tables: the name of its network.
        source: The run folder or weight file that it came from.
        sha256: SHA-256 of its weights.
        network: In inference mode, takes pixels from 0 to 1, gives logits in the order of the data's classes.
        preprocessing: What it is fed.
        parameters: How many it has.
        operations: Twice its multiply-adds at batch 1.
        weights_bytes: Size of its weight file.
    """

    name: str
    source: str
    sha256: str
    network: torch.nn.Module
    preprocessing: Preprocessing
    parameters: int
    operations: int
    weights_bytes: int

    def network_of(self) -> nets.Network | None:
        """The bare network, whose layers can be read; ``None`` for a teacher that is no PyTorch network."""
        network = self.network.network if isinstance(self.network, _InOrder) else self.network
        return network.net if isinstance(network, nets.Normalized) else None


@dataclass(frozen=True)
class Teachers:
    """One teacher or an ensemble that speaks with one voice.

    Attributes:
        members: At least one.
        ensemble: ``geometric``, ``arithmetic`` or ``weighted``.
        weights: Of the members, with a sum of 1; equal ones where left out. ``check_teachers`` chooses them for
            ``weighted``.
    """

    members: tuple[Teacher, ...]
    ensemble: str = "geometric"
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.ensemble not in ENSEMBLES:
            raise RecipeError(f"ensemble is {self.ensemble!r}; allowed: {', '.join(ENSEMBLES)}")
        if not self.members:
            raise TeacherError("no teacher was given; pass --teacher RUN or --teacher NETWORK")

    @torch.no_grad()
    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """What every member says of ``pixels (N, 3, H, W)`` from 0 to 1: ``(M, N, K)``."""
        return torch.stack([member.network(pixels).float() for member in self.members])

    def log_probs(self, pixels: torch.Tensor, temperature: float) -> torch.Tensor:
        """The softened log-probabilities ``(N, K)`` of the one voice."""
        return self.voice(self.logits(pixels), temperature)

    def voice(self, logits: torch.Tensor, temperature: float) -> torch.Tensor:
        """The softened log-probabilities ``(N, K)`` of the one voice, from the members' logits ``(M, N, K)``."""
        weights = None if self.weights is None else torch.tensor(self.weights, device=logits.device)
        return soft_targets(logits, temperature, self.ensemble, weights)

    def to_dict(self) -> dict[str, Any]:
        """How the members are put together, as a run's recipe holds it."""
        return {"ensemble": self.ensemble, **({} if self.weights is None else {"weights_of": list(self.weights)})}


class _InOrder(torch.nn.Module):
    """A network whose outputs are put into the order of other class names."""

    order: torch.Tensor

    def __init__(self, network: torch.nn.Module, order: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("order", torch.tensor(order))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(pixels)
        return logits[:, self.order]


def from_run(folder: Path, classes: Sequence[str]) -> Teacher:
    """The teacher that a run folder holds, its outputs mapped by name onto ``classes``.

    Raises:
        TeacherError: It knows other classes than the data has.
        EdgexferError: The run or its weights cannot be read.
    """
    run = read_run(folder)
    missing = [name for name in classes if name not in run.classes]
    surplus = [name for name in run.classes if name not in classes]
    if missing or surplus:
        raise TeacherError(
            f"the teacher {str(folder)!r} knows other classes than the data:"
            f" it lacks {missing or 'none'} and has {surplus or 'none'} too many; fine-tune it on this data first"
        )
    net = nets.create(
        run.model,
        len(run.classes),
        weights=str(folder / WEIGHTS_FILE),
        input_size=run.preprocessing.input_size,
    )
    order = [run.classes.index(name) for name in classes]
    return _frozen(run.model, str(folder), weights_sha256(folder), net, run.preprocessing, order, folder / WEIGHTS_FILE)


def from_weights(model: str, weights: Path, classes: Sequence[str], preprocessing: Preprocessing) -> Teacher:
    """The teacher that a network's name and a weight file make, its outputs taken to be in the order of ``classes``.

    A weight file carries no class names: whether the order is right shows in ``check_teachers``.
    """
    net = nets.create(model, len(classes), weights=str(weights), input_size=preprocessing.input_size)
    order = list(range(len(classes)))
    return _frozen(model, str(weights), sha256_file(weights), net, preprocessing, order, weights)


def _frozen(
    name: str,
    source: str,
    sha256: str,
    net: nets.Network,
    preprocessing: Preprocessing,
    order: Sequence[int],
    weights: Path,
) -> Teacher:
    network: torch.nn.Module = nets.Normalized(net, preprocessing)
    if list(order) != list(range(len(order))):
        network = _InOrder(network, order)
    return Teacher(
        name=name,
        source=source,
        sha256=sha256,
        network=network.eval().requires_grad_(False),
        preprocessing=preprocessing,
        parameters=nets.count_parameters(net),
        operations=nets.count_operations(net, preprocessing.input_size),
        weights_bytes=weights.stat().st_size,
    )


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
        TeacherError: On validation they do no better than guessing the most frequent class, and ``allow_weak`` is off.
    """
    logits = {split: _member_logits(teachers, job, split, listener) for split in job.stores if split != "train"}
    labels = {split: torch.from_numpy(job.view(split).labels) for split in logits}
    if teachers.ensemble == "weighted" and teachers.weights is None:
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
    if found <= guessing:
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
            store = decoded(view, member.preprocessing, listener)
        predictions = predict_view(member.network.to(job.device), view, store, member.preprocessing, job.device)
        logits.append(torch.from_numpy(predictions.logits))
    return torch.stack(logits)


def confidence(teachers: Teachers, job: Job) -> float:
    """How sure the teachers are: the mean probability, at temperature 1, of the class that they name.

    Taken on training pictures as the student sees them, those of the first epoch, ``CONFIDENCE_IMAGES`` or a few more.
    """
    for member in teachers.members:
        member.network.to(job.device)
    batches = job.train_batches()
    batches.set_epoch(0)
    found: list[torch.Tensor] = []
    for batch in batches:
        found.append(teachers.log_probs(batch["inputs"].to(job.device), 1.0).max(dim=1).values.exp())
        if sum(map(len, found)) >= CONFIDENCE_IMAGES:
            break
    return float(torch.cat(found).mean())
