"""Checkpoints: the whole state of a training at the end of an epoch, enough to go on bit for bit.

The order of the pictures, their augmentation and dropout are functions of (seed, epoch, picture), so that the weights,
the optimiser, the best weights so far and the number of the epoch are all the state there is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from edgexfer.errors import TrainingError
from edgexfer.files import whole_file

CHECKPOINT_FILE = "checkpoint.pt"
_UNSAID = {"processes": 1, "sync_bn": False, "compile": False}
"""What holds where a checkpoint's settings say nothing of it."""
_NOT_ALWAYS_KEPT = (
    "model", "model_sha256", "weights", "mean", "std", "splits_fingerprint", "train_pictures_sha256", "teachers_order",
    "teachers_architecture",
)  # fmt: skip
"""What older checkpoints do not say, and is not compared there."""
_IN_WORDS = {
    "model_sha256": "the file of the network has changed",
    "splits_fingerprint": "the pictures have changed, or how they are split",
    "train_pictures_sha256": "the training pictures or their order have changed",
    "teachers_order": "the outputs of the teachers stand for other classes",
    "teachers_architecture": "the networks of the teachers, or the files of their code, have changed",
}
"""What digests that differ mean."""
_UNWRITTEN = ("PytorchStreamWriter", "inline_container")
"""What PyTorch says where it could not write all of a file, in an error without a kind of its own."""

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """The state after ``epochs_done`` epochs.

    Attributes:
        settings: The settings of the training and what it learns from; with others it cannot be gone on from here.
        epochs_done: Whole epochs trained.
        net: State dict of the student.
        optimizer: State dict of the optimiser.
        best: State dict of the best epoch so far.
        best_epoch: Its number, from 1; 0 for the first weights.
        metrics: One mapping an epoch.
        seconds: Time spent so far.
        companion: State dict of what trains along with the student, if anything does.
        average: The running average of the student's state dict, where one is kept.
    """

    settings: dict[str, Any]
    epochs_done: int
    net: State
    optimizer: dict[str, Any]
    best: State
    best_epoch: int
    metrics: list[dict[str, Any]]
    seconds: float
    companion: State = field(default_factory=dict)
    average: State = field(default_factory=dict)


@contextlib.contextmanager
def written_safely(path: Path) -> Iterator[None]:
    """Says what to do where the block cannot write ``path``, of a training that can be gone on with.

    On a full disk PyTorch and safetensors raise errors of their own, which are no ``OSError``.

    Raises:
        TrainingError: The disk is full, or cannot be written for another reason.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in _UNWRITTEN):
            raise
        raise TrainingError(
            f"cannot write {str(path)!r} ({_why(error)}); free space on its disk, then repeat the command with"
            " --resume, which goes on from the last checkpoint"
        ) from error


def _why(error: BaseException) -> str:
    while isinstance(error.__context__, RuntimeError):  # PyTorch fails once more as it closes the file
        error = error.__context__
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes the checkpoint over the one before, whole or not at all.

    Raises:
        TrainingError: It cannot be written; the one before is still there.
    """
    path = folder / CHECKPOINT_FILE
    with written_safely(path), whole_file(path) as part:
        torch.save(vars(checkpoint), part)


def load_checkpoint(folder: Path, settings: dict[str, Any]) -> Checkpoint | None:
    """Reads the checkpoint of an interrupted training; ``None`` where there is none.

    Args:
        folder: Where it lies.
        settings: Of the training that goes on, and what that learns from.

    Raises:
        TrainingError: It is damaged, or was made with other settings, another network or other pictures.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    try:
        checkpoint = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load raises many kinds; none of them may pass for a good checkpoint
        raise TrainingError(
            f"the checkpoint {str(path)!r} cannot be read ({type(error).__name__}); start again with --force"
        ) from error
    before, now = {**_UNSAID, **checkpoint.settings}, {**_UNSAID, **settings}
    unknown = [key for key in _NOT_ALWAYS_KEPT if key not in before]
    differing = [
        _IN_WORDS.get(key) or f"{key} was {before.get(key)!r}, now {now.get(key)!r}"
        for key in sorted({*before, *now}.difference(unknown))
        if before.get(key) != now.get(key)
    ]
    if differing:
        raise TrainingError(
            f"cannot resume {str(folder.parent)!r} with other settings or pictures: {'; '.join(differing)};"
            " repeat the first command on the same pictures, or start again with --force"
        )
    return checkpoint


def interrupted_settings(folder: Path) -> dict[str, Any] | None:
    """The settings of an interrupted training; ``None`` where there is none, or none that can be read."""
    try:
        value = torch.load(folder / CHECKPOINT_FILE, map_location="cpu", weights_only=True)
        return dict(value["settings"])
    except Exception:  # what is wrong with it is said when the training is gone on with
        return None


def save_weights(path: Path, state: State) -> None:
    """Writes a state dict as safetensors, whole or not at all.

    Raises:
        TrainingError: It cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with written_safely(path), whole_file(path) as part:
        save_file(tensors, part)


def copy_state(state: State) -> State:
    """An independent copy of a state dict on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
