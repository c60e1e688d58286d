"""From pictures to a run: ``edgexfer finetune`` without a command line, and what it shares with distilling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgexfer.data import Splits
from edgexfer.errors import RecipeError, WouldOverwriteError
from edgexfer.files import refuse_overwrite, remove
from edgexfer.runs import RESUME_FOLDER, Run, is_run, read_run
from edgexfer.training import Job, Listener, Recipe, prepare
from edgexfer.training.ranks import ALONE, current_ranks
from edgexfer.transfer import AUTO, Strategy, transfer
from edgexfer.transfer.advise import advise
from edgexfer.transfer.probe import Probe
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

        Of several processes the writer does it.

        Raises:
            WouldOverwriteError: Something is there, and neither ``force`` nor ``resume`` covers it.
        """
        return current_ranks().once(self._claimed)

    def _claimed(self) -> Run | None:
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
    return transfer_splits(
        data.load(), start, recipe, strategy, target.out, listener, data.record("finetune", list(target.argv))
    )


def transfer_splits(
    splits: Splits,
    start: Start,
    recipe: Recipe,
    strategy: Strategy,
    out: Path,
    listener: Listener,
    record: Mapping[str, Any],
) -> Run:
    """Fits one network to the splits by a strategy; ``auto`` asks for advice first and keeps it in the run."""
    if strategy.name == AUTO and start.weights == "none":
        listener.say("strategy auto: the first weights are random, so the network learns from scratch")
        strategy = strategy.settled("scratch")
    if strategy.name == AUTO:
        job = prepare_start(splits, start, recipe, listener)
        advice = job.ranks.once(lambda: advise(replace(job, ranks=ALONE), listener))
        for reason in advice.reasons:
            listener.say(f"advice: {reason}")
        record = {**record, "advice": advice.to_dict()}
        strategy = strategy.settled(advice.strategy)
        if strategy.name != "scratch":
            probes = advice.measured.probe_by_depth
            return _transferred(job, strategy, out, listener, record, probes)
    if strategy.name == "scratch":
        start = replace(start, weights="none")
    elif start.weights == "none":
        listener.warn(f"strategy {strategy.name} on random weights: there is nothing to transfer; pass --weights")
    return _transferred(prepare_start(splits, start, recipe, listener), strategy, out, listener, record)


def _transferred(
    job: Job, strategy: Strategy, out: Path, listener: Listener, record: Mapping[str, Any], probes: Sequence[Probe] = ()
) -> Run:
    """Of several processes all train the whole network; what is trained on its features takes one, and they wait."""
    if strategy.name not in ("head", "classifier") or not job.ranks.are_several:
        return transfer(job, strategy, out, listener, record=record, probes=probes)
    listener.say(f"strategy {strategy.name} works in one process; the others wait")
    alone = replace(job, ranks=ALONE)
    return job.ranks.once(lambda: transfer(alone, strategy, out, listener, record=record, probes=probes))


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


def pair_weights(
    option: str, names: Sequence[str], weights_option: str, weights: Sequence[str], default: str
) -> list[tuple[str, str]]:
    """Pairs names and their weights in order; ``default`` for all where no weights are given.

    Raises:
        RecipeError: There are some weights, but not as many as names.
    """
    if weights and len(weights) != len(names):
        raise RecipeError(
            f"{len(names)} {option} and {len(weights)} {weights_option} were given; they pair in order, so give one"
            " for each (none, for a run folder)"
        )
    return list(zip(names, list(weights) or [default] * len(names), strict=True))


def run_summary(folder: Path, run: Run) -> dict[str, Any]:
    """What ``finetune --json`` and ``distill --json`` print of a run."""
    scores = run.scores
    summary = {"run": str(folder), "model": run.model}
    summary |= {key: scores[key] for key in ("val_top1", "test_top1", "parameters", "operations", "seconds")}
    summary["weights_bytes"] = scores["weights_bytes"]
    summary |= {key: scores[key] for key in CALIBRATION if key in scores}
    summary |= {key: scores[key] for key in ("teacher", "before", "quantization_aware") if key in scores}
    return summary
