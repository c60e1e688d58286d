"""``edgexfer watch``: where a running training stands, read from its run folder without disturbing it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgexfer.errors import EdgexferError, FormatError
from edgexfer.progress import Progress, is_there, read_progress
from edgexfer.runs import BASELINE_FOLDER, METRICS_FILE, RESUME_FOLDER, is_run, read_lines, read_run

WAITING, RUNNING, BETWEEN, FINISHED, INTERRUPTED = "waiting", "running", "between", "finished", "interrupted"
DEPTH = 3
ASIDE = ("teachers", BASELINE_FOLDER)
"""Folders inside a run that hold what was trained for it, not what was asked for."""


@dataclass(frozen=True)
class Seen:
    """What a look at a folder found.

    Attributes:
        state: ``waiting`` (nothing there yet), ``running``, ``between`` (one training has ended, the next has not
            begun), ``finished`` or ``interrupted``.
        run: The run folder that is trained, or was last; a teacher's, while it is made on the way.
        progress: How far it is; ``None`` where it tells nothing.
        metrics: One mapping an epoch.
        finished: Run folders that are there whole.
        model: The network, once the run says it.
    """

    state: str
    run: Path
    progress: Progress | None = None
    metrics: Sequence[Mapping[str, Any]] = ()
    finished: tuple[Path, ...] = ()
    model: str = ""

    @property
    def epochs_done(self) -> int:
        """Epochs that were trained."""
        return max((int(line["epoch"]) for line in self.metrics), default=0)

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The best epoch so far by validation."""
        return max(self.metrics, key=lambda line: (line["val_top1"], -line["val_loss"]), default=None)

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints at the end."""
        best = self.best
        return {
            "run": str(self.run),
            "state": self.state,
            "epochs": self.progress.epochs if self.progress else self.epochs_done,
            "epochs_done": self.epochs_done,
            "best_epoch": best["epoch"] if best else None,
            "val_top1": best["val_top1"] if best else None,
            "finished": [str(path) for path in self.finished],
        }


def look(folder: Path, pid: int | None = None) -> Seen:
    """Looks at a run folder, or at one that holds the runs of several students.

    Args:
        folder: The ``--out`` of the training.
        pid: The process that was seen training in it before; it tells a pause between two trainings from the end.

    Raises:
        FormatError: ``folder`` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise FormatError(f"{str(folder)!r} is a file; name the run folder, what --out of the training says")
    places = list(_run_folders(folder))
    told = [(place, progress) for place in places if (progress := read_progress(place)) is not None]
    finished = tuple(place for place in places if is_run(place) and not (place / RESUME_FOLDER).is_dir())
    alive = [(place, progress) for place, progress in told if progress.is_alive()]
    if alive:
        return _seen(RUNNING, *max(alive, key=lambda one: one[1].updated), finished)
    if folder in finished:
        return _seen(FINISHED, folder, None, finished)
    if told:
        return _seen(INTERRUPTED, *max(told, key=lambda one: one[1].updated), finished)
    wanted = [place for place in finished if not set(place.relative_to(folder).parts) & set(ASIDE)]
    if finished and pid is not None and not is_there(pid):
        return _seen(FINISHED if wanted else INTERRUPTED, (wanted or finished)[-1], None, finished)
    if wanted and pid is None:
        return _seen(FINISHED, wanted[-1], None, finished)
    return Seen(BETWEEN if finished else WAITING, folder, finished=finished)


def _seen(state: str, run: Path, progress: Progress | None, finished: tuple[Path, ...]) -> Seen:
    try:
        lines = [line for line in read_lines(run / METRICS_FILE) if {"epoch", "val_top1", "val_loss"} <= line.keys()]
    except (EdgexferError, OSError):
        lines = []
    seen = Seen(state, run, progress, lines, finished, _model(run))
    if progress is not None:  # a resumed training counts from the epochs before
        seen = replace(seen, progress=replace(progress, epochs_done=max(progress.epochs_done, seen.epochs_done)))
    return seen


def _model(run: Path) -> str:
    try:
        return read_run(run).model if is_run(run) else ""
    except EdgexferError:
        return ""


def _run_folders(folder: Path) -> Iterator[Path]:
    """``folder`` and those inside that are, or become, a run."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        is_deep = len(here.relative_to(folder).parts) >= DEPTH
        if RESUME_FOLDER in folders or "run.json" in files or METRICS_FILE in files:
            yield here
        folders[:] = [] if is_deep else sorted(f for f in folders if f != RESUME_FOLDER and not f.startswith("."))
