"""How far a running training is: a small file beside its checkpoint, for whoever watches.

It is written about once a second, never waited for on the disk, and goes with the checkpoint when the run is finished.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgexfer.files import FORMAT
from edgexfer.runs import RESUME_FOLDER

PROGRESS_FILE = "progress.json"
TRAINING, ENDING, INTERRUPTED = "training", "ending", "interrupted"
SILENCE_S = 300.0
"""A training on another machine that has told nothing for this long is taken for interrupted."""


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    Attributes:
        epochs: How many it will be at most.
        epochs_done: How many there were, those of earlier sessions included.
        step: Steps done in the epoch that runs.
        steps: Steps of an epoch.
        note: What the training says of its speed.
        epoch_s: Mean seconds of the epochs of this session, validation included; ``None`` before the first one ended.
        state: ``training``, ``ending`` (scored and written) or ``interrupted``.
        started: When this session began, in seconds since 1970.
        updated: When this was written, likewise.
        pid: The process.
        born: When the process began, as the system counts; tells it from a later one of the same number.
        host: The machine that it runs on.
    """

    epochs: int
    epochs_done: int = 0
    step: int = 0
    steps: int = 0
    note: str = ""
    epoch_s: float | None = None
    state: str = TRAINING
    started: float = 0.0
    updated: float = 0.0
    pid: int = 0
    born: int | None = None
    host: str = ""

    def left_s(self) -> float | None:
        """Seconds to the last epoch, if none is saved by stopping early; ``None`` where nothing is known yet."""
        share = self.step / self.steps if self.steps else 0.0
        if self.epoch_s is not None:
            return max(0.0, self.epochs - self.epochs_done - share) * self.epoch_s
        if not share or self.updated <= self.started:
            return None
        return (self.updated - self.started) * ((self.epochs - self.epochs_done) / share - 1)

    def is_alive(self, now: float | None = None) -> bool:
        """Whether the training goes on, as far as can be told from here."""
        if self.state == INTERRUPTED:
            return False
        if self.host != socket.gethostname():
            return (time.time() if now is None else now) - self.updated < SILENCE_S
        return is_there(self.pid) and (self.born is None or self.born == born(self.pid))


def is_there(pid: int) -> bool:
    """Whether a process of that number runs on this machine, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def born(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine started; ``None`` where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def progress_file(run: Path) -> Path:
    """Where the progress of the training of a run folder stands."""
    return run / RESUME_FOLDER / PROGRESS_FILE


def write_progress(run: Path, progress: Progress) -> None:
    """Replaces the file; a disk that is full, or a folder that vanished, is no reason to end a training."""
    path = progress_file(run)
    part = path.with_name(f".{PROGRESS_FILE}.part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"format": FORMAT, **asdict(progress)}, sort_keys=True) + "\n", encoding="utf-8")
        part.replace(path)


def read_progress(run: Path) -> Progress | None:
    """The progress of a run folder; ``None`` where there is none, or it cannot be read."""
    try:
        value: Any = json.loads(progress_file(run).read_text(encoding="utf-8"))
        known = {key: value[key] for key in Progress.__dataclass_fields__}
        found = Progress(**known)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    numbers = (found.epochs, found.epochs_done, found.step, found.steps, found.started, found.updated, found.pid)
    return found if all(isinstance(n, int | float) for n in numbers) else None
