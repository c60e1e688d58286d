"""Teachers: frozen networks whose outputs a student learns from.

A teacher is a plain value beside the student, never a submodule of it, so that ``student.train()`` cannot wake its
BatchNorm. It is fed the student's own view of each picture (same crop, same flip) at its own resolution, mean and std.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from edgexfer import nets
from edgexfer.distill.losses import ENSEMBLES, soft_targets
from edgexfer.distill.onnx_teacher import OnnxNetwork
from edgexfer.errors import RecipeError, TeacherError
from edgexfer.files import sha256_file
from edgexfer.preprocessing import Preprocessing, square
from edgexfer.runs import WEIGHTS_FILE, read_run, weights_sha256


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
        operations: Twice its multiply-adds at batch 1; ``None`` where they cannot be counted.
        weights_bytes: Size of its weight file.
        architecture: What its weights are in, see ``architecture_of``; empty where its file holds that, too.
    """

    name: str
    source: str
    sha256: str
    network: torch.nn.Module
    preprocessing: Preprocessing
    parameters: int
    operations: int | None
    weights_bytes: int
    architecture: str = ""

    @property
    def order(self) -> tuple[int, ...] | None:
        """Which of the network's outputs stands for each class; ``None`` where they are in the order of the classes."""
        return tuple(self.network.order.tolist()) if isinstance(self.network, InOrder) else None

    def network_of(self) -> nets.Network | None:
        """The bare network, whose layers can be read; ``None`` for a teacher that is no PyTorch network."""
        network = self.network.network if isinstance(self.network, InOrder) else self.network
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


class InOrder(torch.nn.Module):
    """A network whose outputs are put into the order of other class names; those without one are left out."""

    order: torch.Tensor

    def __init__(self, network: torch.nn.Module, order: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("order", torch.tensor(order))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits ``(N, K)`` in the order."""
        logits: torch.Tensor = self.network(pixels)
        return logits[:, self.order]


def from_run(folder: Path, classes: Sequence[str]) -> Teacher:
    """The teacher that a run folder holds, its outputs mapped by name onto ``classes``.

    Raises:
        TeacherError: It does not know every class of the data.
        EdgexferError: The run or its weights cannot be read.
    """
    run = read_run(folder)
    order = class_order(str(folder), run.classes, classes)
    net = nets.of_run(folder, run)
    return _frozen(run.model, str(folder), weights_sha256(folder), net, run.preprocessing, order, folder / WEIGHTS_FILE)


def class_order(teacher: str, known: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Which of a teacher's outputs stands for each class of the data, by name.

    Outputs for other classes are left out: a softmax over the rest is what the teacher thinks, given that the picture
    shows one of the data's classes.

    Raises:
        TeacherError: It lacks a class; those are listed.
    """
    missing = [name for name in classes if name not in known]
    if missing:
        surplus = [name for name in known if name not in classes]
        raise TeacherError(
            f"the teacher {teacher!r} does not know every class of the data: it lacks {_listed(missing)}"
            f" (it knows {_listed(surplus)} that the data has not); fine-tune it on this data first"
        )
    return [list(known).index(name) for name in classes]


def from_onnx(
    path: Path,
    known: Sequence[str],
    classes: Sequence[str],
    preprocessing: Preprocessing,
    *,
    parameters: int,
) -> Teacher:
    """The teacher that an ONNX file holds, its outputs mapped by name onto ``classes``.

    Args:
        path: The file.
        known: Names of its outputs, in their order.
        classes: Names of the data's classes.
        preprocessing: Mean, std and, where the file takes any, the size of its input.
        parameters: How many it has.

    Raises:
        TeacherError: The file cannot be run, has another number of outputs than names, or lacks a class.
    """
    network = OnnxNetwork(path, preprocessing.mean, preprocessing.std, preprocessing.input_size)
    if network.classes != len(known):
        raise TeacherError(
            f"the teacher {str(path)!r} has {network.classes} outputs, and {len(known)} class names were given for"
            " them; name every output, in their order"
        )
    order = class_order(str(path), known, classes)
    is_same = order == list(range(network.classes))
    return Teacher(
        name=path.name,
        source=str(path),
        sha256=sha256_file(path),
        network=(network if is_same else InOrder(network, order)).eval(),
        preprocessing=_at_size(preprocessing, network.input_size),
        parameters=parameters,
        operations=None,
        weights_bytes=path.stat().st_size,
    )


def _at_size(preprocessing: Preprocessing, size: tuple[int, int]) -> Preprocessing:
    """The rule for another input size: the shorter side is scaled to it, unless the rule is at that size already."""
    if preprocessing.input_size == size:
        return preprocessing
    if size[0] == size[1]:
        return square(size[0], mean=preprocessing.mean, std=preprocessing.std)
    return replace(preprocessing, input_size=size, resize=None, crop="none")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "none"


def from_weights(
    model: str,
    weights: Path,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    known: Sequence[str] | None = None,
) -> Teacher:
    """The teacher that a network's name and a weight file make.

    A weight file carries no class names: where they are not told as ``known``, its outputs are taken to be in the order
    of ``classes``, and whether that is right shows in ``check_teachers``.

    Raises:
        TeacherError: It lacks a class of the data.
    """
    known = classes if known is None else known
    net = nets.create(model, len(known), weights=str(weights), input_size=preprocessing.input_size)
    order = class_order(str(weights), known, classes)
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
    if list(order) != list(range(net.num_classes)):
        network = InOrder(network, order)
    return Teacher(
        name=name,
        source=source,
        sha256=sha256,
        network=network.eval().requires_grad_(False),
        preprocessing=preprocessing,
        parameters=nets.count_parameters(net),
        operations=nets.count_operations(net, preprocessing.input_size),
        weights_bytes=weights.stat().st_size,
        architecture=architecture_of(name),
    )


def architecture_of(model: str) -> str:
    """What tells networks with the same weights apart: a registered name, or the user's own code and function.

    The code counts by its content, wherever the file lies.
    """
    code = nets.source_sha256(model)
    return model if code is None else f"{code}:{model.rpartition(':')[2]}"
