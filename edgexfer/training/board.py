"""A listener that writes each epoch's figures for TensorBoard, one folder a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgexfer.errors import TrainingError
from edgexfer.training.listener import Listener, Several, Silent

TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "soft_loss": "loss/soft term",
    "hard_loss": "loss/hard term",
    "val_top1": "accuracy/validation",
    "lr": "training/learning rate",
    "images_per_s": "training/images a second",
    "waiting_share": "training/share of time waiting for data",
    "seconds": "training/seconds an epoch",
}
"""How TensorBoard groups what an epoch tells; anything else is called by its own name below ``training/``."""


@contextlib.contextmanager
def with_board(board: Path | None, out: Path, listener: Listener) -> Iterator[Listener]:
    """``listener`` and, where there is a ``board``, one that writes there.

    Args:
        board: Where the runs' folders of events go; ``None`` for no board.
        out: The run folder; runs are called by their path from the folder that holds it.
        listener: Hears everything.

    Raises:
        TrainingError: TensorBoard is not installed.
    """
    if board is None:
        yield listener
        return
    told = Board(board, out.absolute().parent)
    listener.say(f"TensorBoard: tensorboard --logdir {board}")
    try:
        yield Several((listener, told))
    finally:
        told.close()


class Board(Silent):
    """Writes scalars by epoch; a resumed training goes on where it was, what it repeats is replaced.

    Args:
        folder: Where the folders of events go.
        root: What the runs' names are relative to.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise TrainingError(
                "--tensorboard needs the package tensorboard, which is not there; install it with"
                " pip install 'edgexfer[tensorboard]'"
            ) from error
        self._make: Any = SummaryWriter
        self._folder, self._root = folder, root
        self._run: Path | None = None
        self._writer: Any = None

    def training(self, run: Path, epochs: int) -> None:
        """Another run's figures follow."""
        self.close()
        self._run = run

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """Writes an epoch's figures."""
        step = int(metrics["epoch"])
        if self._writer is None:
            name = os.path.relpath(self._run.absolute(), self._root) if self._run is not None else "run"
            self._writer = self._make(str(self._folder / name), purge_step=step)
        for key, value in metrics.items():
            if key != "epoch" and isinstance(value, int | float) and not isinstance(value, bool):
                self._writer.add_scalar(TAGS.get(key, f"training/{key}"), float(value), step)
        self._writer.flush()

    def close(self) -> None:
        """Ends the run's file of events."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
