"""Leaves word of a training's progress where ``edgexfer watch`` finds it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgexfer.progress import ENDING, INTERRUPTED, Progress, born, write_progress
from edgexfer.training.listener import Listener, Several, Silent

EVERY_S = 1.0


@contextlib.contextmanager
def followed(run: Path, epochs: int, listener: Listener) -> Iterator[Listener]:
    """A listener that hears the same, and writes down how far the training of ``run`` is.

    Args:
        run: The run folder.
        epochs: How many the training has at most.
        listener: Hears how it goes; is told first that a training starts.
    """
    listener.training(run, epochs)
    told = _Written(run, epochs)
    try:
        yield Several((listener, told))
    except BaseException:
        told.write(state=INTERRUPTED)
        raise
    told.write(state=ENDING)


class _Written(Silent):
    """Writes down what moves the progress, at most once in ``EVERY_S``."""

    def __init__(self, run: Path, epochs: int) -> None:
        self._run = run
        self._ended, self._written = 0, 0.0
        now, pid = time.time(), os.getpid()
        self._progress = Progress(epochs, started=now, pid=pid, born=born(pid), host=socket.gethostname())
        self.write()

    def write(self, **changes: Any) -> None:
        """Writes the progress with these changes."""
        self._written = time.monotonic()
        self._progress = replace(self._progress, updated=time.time(), **changes)
        write_progress(self._run, self._progress)

    def begin(self, title: str, total: int) -> None:
        """In a fit loop it is an epoch that begins."""
        self._progress = replace(self._progress, step=0, steps=total)

    def advance(self, done: int, note: str) -> None:
        """A step is done."""
        if time.monotonic() - self._written >= EVERY_S:
            self.write(step=done, note=note)

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """The epoch is counted."""
        self._ended += 1
        mean = (time.time() - self._progress.started) / self._ended
        self.write(epochs_done=int(metrics["epoch"]), step=0, epoch_s=mean)
