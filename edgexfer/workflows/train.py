"""From pictures to a run: ``edgexfer finetune`` without a command line, and what it shares with distilling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgexfer.data import Splits
from edgexfer.errors import WouldOverwriteError
from edgexfer.files import refuse_overwrite, remove
from edgexfer.runs import RESUME_FOLDER, Run, is_run, read_run
from edgexfer.training import Job, Listener, Recipe, prepare
from edgexfer.transfer import Strategy, transfer
from edgexfer.workflows.data import DataChoice

CALIBRATION = ("val_ece", "val_nll", "test_ece", "test_nll")


@dataclass(frozen=True)
class Start:
    """Where a network starts from.

    Attributes:
        model: Name of the network, or ``path/to/net.py:build``.
        weights: ``none``, ``imagenet`` or the path of a weight file.
        mean: Of the input, where the weight file wants another one than the network's usual.
        std: Of the input, likewise.
    """

    model: str
    weights: str = "none"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Target:
    """Where a run goes.

    Attributes:
        out: The run folder.
        force: Whether what is there may be replaced.
        resume: Whether an interrupted training that is there is gone on from.
        argv: The command as it was typed, kept in the run.
    """

    out: Path
    force: bool = False
    resume: bool = False
    argv: tuple[str, ...] = ()

    def claim(self) -> Run | None:
        """Makes ``out`` ready to be written to; the run that is finished there, when resuming finds one.

        Raises:
            WouldOverwriteError: Something is there, and neither ``force`` nor ``resume`` covers it.
        """
        if self.resume and is_run(self.out):
            return read_run(self.out)
        if self.resume and (not self.out.exists() or self.out.is_dir()):
            return None
        if not self.force and (self.out / RESUME_FOLDER).is_dir():
            raise WouldOverwriteError(
                f"{str(self.out)!r} holds an interrupted training; pass --resume to go on, or --force to start again"
            )
        refuse_overwrite(self.out, self.force)
        remove(self.out)
        return None


def finetune_data(
    data: DataChoice, start: Start, recipe: Recipe, target: Target, listener: Listener, strategy: Strategy | None = None
) -> Run:
    """Fits one network to the data and leaves a run in ``target.out``.

    Args:
        data: What to learn from.
        start: The network and its first weights.
        recipe: Wishes for the training.
        target: Where the run goes.
        listener: Hears how it goes.
        strategy: How much of the network is retrained; ``full`` if ``None``, ``scratch`` from random weights.
    """
    finished = target.claim()
    if finished is not None:
        listener.say(f"{str(target.out)!r} is finished already")
        return finished
    strategy = strategy or Strategy("scratch" if start.weights == "none" else "full")
    if strategy.name == "scratch":
        start = replace(start, weights="none")
    job = prepare_start(data.load(), start, recipe, listener)
    return transfer(job, strategy, target.out, listener, record=data.record("finetune", list(target.argv)))


def prepare_start(
    splits: Splits, start: Start, recipe: Recipe, listener: Listener, *, has_soft_labels: bool = False
) -> Job:
    """A training of ``start`` on the splits, every choice made; see ``edgexfer.training.prepare``."""
    return prepare(
        splits,
        start.model,
        start.weights,
        recipe,
        listener,
        mean=start.mean,
        std=start.std,
        has_soft_labels=has_soft_labels,
    )


def run_summary(folder: Path, run: Run) -> dict[str, Any]:
    """What ``finetune --json`` and ``distill --json`` print of a run."""
    scores = run.scores
    summary = {"run": str(folder), "model": run.model}
    summary |= {key: scores[key] for key in ("val_top1", "test_top1", "parameters", "operations", "seconds")}
    summary["weights_bytes"] = scores["weights_bytes"]
    summary |= {key: scores[key] for key in CALIBRATION if key in scores}
    summary |= {key: scores[key] for key in ("teacher", "before") if key in scores}
    return summary
