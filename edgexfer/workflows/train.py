"""From pictures to a run: ``edgexfer finetune`` without a command line, and what it shares with distilling."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgexfer.data import Splits
from edgexfer.errors import RecipeError, WouldOverwriteError
from edgexfer.files import printable, refuse_overwrite, remove
from edgexfer.runs import RESUME_FOLDER, Run, is_run, read_run
from edgexfer.training import Job, Listener, Recipe, prepare
from edgexfer.training.compiling import check_compiler
from edgexfer.training.compute import within_memory
from edgexfer.training.optim import LayerPlan, refuse_single_pictures
from edgexfer.training.pictures import Decoded
from edgexfer.training.ranks import ALONE, current_ranks
from edgexfer.transfer import AUTO, Strategy, transfer
from edgexfer.transfer.advise import advise
from edgexfer.transfer.blocks import cut_at
from edgexfer.transfer.finetune import batchnorm_policy
from edgexfer.transfer.probe import Probe
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.remembered import warn_of_another_split
from edgexfer.workflows.replacing import check_replaceable

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

    def paths(self) -> list[Path]:
        """Its files, as far as it has any: the user's own code, the weights."""
        code, colon, _ = self.model.rpartition(":")
        names = [code] if colon else []
        names += [self.weights] if self.weights not in ("none", "imagenet") else []
        return [Path(name) for name in names]


def finished_run(folder: Path) -> Run | None:
    """The run in a folder, if it is whole; a kill after its last file has left ``resume/``, which is removed then."""
    if not is_run(folder):
        return None
    run = read_run(folder)
    shutil.rmtree(folder / RESUME_FOLDER, ignore_errors=True)
    return run


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

    def claim(self, used: Iterable[Path] = ()) -> Run | None:
        """Checks that ``out`` may be written to; the run that is finished there, when resuming finds one.

        Of several processes the writer does it.

        Args:
            used: What the command reads, and must not replace.

        Raises:
            WouldOverwriteError: Something is there, and neither ``force`` nor ``resume`` covers it.
            RecipeError: A path of the command is not UTF-8, so that no run could remember it.
        """
        self._check_words()
        return current_ranks().once(lambda: self._claimed(used))

    def _claimed(self, used: Iterable[Path]) -> Run | None:
        if self._goes_on():
            return finished_run(self.out)
        if not self.force and (self.out / RESUME_FOLDER).is_dir() and finished_run(self.out) is None:
            raise WouldOverwriteError(
                f"{str(self.out)!r} holds an interrupted training; pass --resume to go on, or --force to start again"
            )
        refuse_overwrite(self.out, self.force)
        if self._is_there():
            check_replaceable(self.out, used)
        return None

    def _check_words(self) -> None:
        odd = [word for word in (str(self.out.absolute()), *self.argv) if printable(word) != word]
        if odd:
            raise RecipeError(
                f"{printable(odd[0])!r} is not UTF-8, so that run.json could not hold it; rename the file or folder"
            )

    def _goes_on(self) -> bool:
        return self.resume and (not self.out.exists() or self.out.is_dir())

    def _is_there(self) -> bool:
        return self.out.exists() or self.out.is_symlink()

    def replaces(self) -> bool:
        """Whether something is there that ``make_room`` would remove."""
        return current_ranks().once(lambda: self.force and self._is_there() and not self._goes_on())

    def make_room(self) -> None:
        """Removes what is there; called where ``replaces`` says so, when all that can be refused has been."""
        current_ranks().once(lambda: remove(self.out))


@within_memory()
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
    data.refuse_among_pictures(target.out)
    finished = target.claim([*data.paths(), *start.paths()])
    if finished is not None:
        listener.say(f"{str(target.out)!r} is finished already")
        return finished
    check_compiler(recipe)
    strategy = strategy or Strategy("scratch" if start.weights == "none" else "full")
    record = data.record("finetune", list(target.argv))
    splits = data.load(listener)
    warn_of_another_split(start.weights, "starting point", data, splits, listener)
    return transfer_splits(splits, start, recipe, strategy, target, listener, record)


def transfer_splits(
    splits: Splits,
    start: Start,
    recipe: Recipe,
    strategy: Strategy,
    target: Target,
    listener: Listener,
    record: Mapping[str, Any],
) -> Run:
    """Fits one network to the splits by a strategy; ``auto`` asks for advice first and keeps it in the run.

    What ``target`` replaces is removed just before the first file is written; the network has its weights by then.
    """
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
            return _transferred(job, strategy, target, listener, record, probes)
    if strategy.name == "scratch":
        start = replace(start, weights="none")
    elif start.weights == "none":
        listener.warn(f"strategy {strategy.name} on random weights: there is nothing to transfer; pass --weights")
    job = prepare_start(splits, start, recipe, listener)
    return _transferred(job, strategy, target, listener, record)


def _transferred(
    job: Job,
    strategy: Strategy,
    target: Target,
    listener: Listener,
    record: Mapping[str, Any],
    probes: Sequence[Probe] = (),
) -> Run:
    """Of several processes all train the whole network; what is trained on its features takes one, and they wait."""
    if target.replaces():
        _check_beforehand(job, strategy)
        target.make_room()
    if strategy.name not in ("head", "classifier") or not job.ranks.are_several:
        return transfer(job, strategy, target.out, listener, record=record, probes=probes)
    listener.say(f"strategy {strategy.name} works in one process; the others wait")
    alone = replace(job, ranks=ALONE)
    return job.ranks.once(lambda: transfer(alone, strategy, target.out, listener, record=record, probes=probes))


def _check_beforehand(job: Job, strategy: Strategy) -> None:
    """Meets the mistakes that would end the training before its first step."""
    student = job.new_student()
    if strategy.cut is not None:
        cut_at(student.net, strategy.cut)
    learns_whole = strategy.name == "scratch" or (
        strategy.name == "full" and batchnorm_policy(job, strategy.bn) == "train"
    )
    if learns_whole:
        refuse_single_pictures(student, job.settings.batch_size, LayerPlan() if strategy.name == "full" else None)


def prepare_start(
    splits: Splits,
    start: Start,
    recipe: Recipe,
    listener: Listener,
    *,
    has_soft_labels: bool = False,
    pictures: Decoded | None = None,
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
        pictures=pictures,
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
            " for each (none counts as one)"
        )
    return list(zip(names, list(weights) or [default] * len(names), strict=True))


def folder_name(model: str) -> str:
    """The name of a network as that of a folder: ``net.py-build`` for ``path/to/net.py:build``."""
    return Path(model).name.replace(":", "-")


def folder_names(models: Sequence[str], remedy: str) -> list[str]:
    """The names of students as those of folders that lie side by side.

    Raises:
        RecipeError: Two have one; the message ends in ``remedy``.
    """
    names = [folder_name(model) for model in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecipeError(f"several students are called {', '.join(twice)}; {remedy}")
    return names


def run_summary(folder: Path, run: Run) -> dict[str, Any]:
    """What ``finetune --json`` and ``distill --json`` print of a run."""
    scores = run.scores
    summary = {"run": str(folder), "model": run.model}
    summary |= {key: scores[key] for key in ("val_top1", "test_top1", "parameters", "operations", "seconds")}
    summary["weights_bytes"] = scores["weights_bytes"]
    summary |= {key: scores[key] for key in CALIBRATION if key in scores}
    summary |= {key: scores[key] for key in ("teacher", "before", "quantization_aware") if key in scores}
    return summary
