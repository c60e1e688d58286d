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
from edgexfer.training.listener import Listener

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
    told = _Followed(run, epochs, listener)
    try:
        yield told
    except BaseException:
        told.write(state=INTERRUPTED)
        raise
    told.write(state=ENDING)


class _Followed:
    """Passes everything on; what moves the progress is written down, at most once in ``EVERY_S``."""

    def __init__(self, run: Path, epochs: int, listener: Listener) -> None:
        self._run, self._listener = run, listener
        self._ended, self._written = 0, 0.0
        now, pid = time.time(), os.getpid()
        self._progress = Progress(epochs, started=now, pid=pid, born=born(pid), host=socket.gethostname())
        self.write()

    def write(self, **changes: Any) -> None:
        """Writes the progress with these changes."""
        self._written = time.monotonic()
        self._progress = replace(self._progress, updated=time.time(), **changes)
        write_progress(self._run, self._progress)

    def training(self, run: Path, epochs: int) -> None:
        """Passes it on."""
        self._listener.training(run, epochs)

    def say(self, text: str) -> None:
        """Passes it on."""
        self._listener.say(text)

    def warn(self, text: str) -> None:
        """Passes it on."""
        self._listener.warn(text)

    def begin(self, title: str, total: int) -> None:
        """Passes it on; in a fit loop it is an epoch that begins."""
        self._progress = replace(self._progress, step=0, steps=total)
        self._listener.begin(title, total)

    def advance(self, done: int, note: str) -> None:
        """Passes it on."""
        self._listener.advance(done, note)
        if time.monotonic() - self._written >= EVERY_S:
            self.write(step=done, note=note)

    def end(self) -> None:
        """Passes it on."""
        self._listener.end()

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """Passes it on; the epoch is counted."""
        self._listener.epoch(metrics)
        self._ended += 1
        mean = (time.time() - self._progress.started) / self._ended
        self.write(epochs_done=int(metrics["epoch"]), step=0, epoch_s=mean)
