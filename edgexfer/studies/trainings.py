"""Trainings that leave runs in a study's work folder, so that an interrupted seed goes on where it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer import nets
from edgexfer.data import Splits, View
from edgexfer.distill import Settled, Teachers, check_teachers, distill
from edgexfer.errors import EdgexferError
from edgexfer.runs import Run, is_run, read_run
from edgexfer.studies.networks import path_of
from edgexfer.studies.values import Lab
from edgexfer.training import Job, Recipe, Silent, hard_label_step, prepare, train
from edgexfer.transfer import STRATEGIES, Strategy
from edgexfer.workflows.data import take
from edgexfer.workflows.train import Start, Target, transfer_splits

RATE, BATCH = 3e-3, 32
PASSES = 25_000
"""Pictures that a network sees in a training, about; 8 to 60 times each."""
FAST_PASSES = 2_500
VIEWS = 4
"""Ways in which a student of a teacher, and the one it is compared with, sees each picture."""


def study_recipe(lab: Lab, images: int, side: int, **further: Any) -> Recipe:
    """What the studies of transfer and distillation train by: one rate for all, so that nothing else differs."""
    epochs = max(8, min(60, round((FAST_PASSES if lab.fast else PASSES) / images)))
    wishes: dict[str, Any] = {
        "image_size": side, "epochs": epochs, "batch_size": BATCH, "lr": RATE, "label_smoothing": 0.0,
        "patience": epochs, "augment": "light", "precision": "float32", "seed": lab.seed,
    }  # fmt: skip
    return Recipe(**{**wishes, **further})


def quiet_job(splits: Splits, network: str, recipe: Recipe, weights: str = "none") -> Job:
    """A training of one of the studies' networks, prepared without a word."""
    return prepare(splits, path_of(network), weights, recipe, Silent())


def kept(out: Path, make: Callable[[Path], Run]) -> Run:
    """The run in ``out``; made now where it is not finished, from where it was interrupted."""
    return read_run(out) if is_run(out) else make(out)


def hard_run(job: Job, out: Path) -> Run:
    """A training on hard labels, smoothed as the job's settings say."""
    return train(job, hard_label_step(job.settings.label_smoothing), out, Silent(), record={"command": "study"})


def soft_run(job: Job, teachers: Teachers, temperature: float, alpha: float, out: Path) -> Run:
    """A training on the teachers' outputs at a temperature, the soft term weighing ``alpha``."""
    job = dataclasses.replace(job, settings=dataclasses.replace(job.settings, views=VIEWS))
    checked = check_teachers(teachers, job, Silent(), allow_weak=True)
    objective = Settled("kd", temperature, alpha)
    return distill(
        job, checked.teachers, objective, out, Silent(), record={"command": "study"}, teacher_scores=checked.scores
    )


def check_starts(lab: Lab) -> None:
    """Makes each network that the user named, so that one that cannot be is refused before anything is measured.

    Raises:
        EdgexferError: A network cannot be built, or its weights cannot be had, read, or do not fit.
    """
    for start in lab.starts:
        nets.create(start.model, len(lab.splits.classes), weights=start.weights)


def labelled(starts: Sequence[Start]) -> dict[str, Start]:
    """The networks by what they are called, in their order; those that share a name are numbered: ``net (2)``."""
    names = [start.model.rpartition(":")[2] for start in starts]
    labels = [
        name if names.count(name) == 1 else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)
    ]
    return dict(zip(labels, starts, strict=True))


def by_strategy(
    splits: Splits,
    start: Start,
    recipe: Recipe,
    work: Path,
    done: Callable[[str], None],
    names: Sequence[str] = STRATEGIES,
) -> dict[str, dict[str, Any]]:
    """What each strategy of transfer scores, selected on validation and reported on test.

    Args:
        splits: What is transferred to.
        start: The network with its pretrained weights; ``scratch`` leaves those aside.
        recipe: Wishes for each training.
        work: Where the runs lie.
        done: Told of each that is finished.
        names: The strategies.

    Returns:
        By name ``{"val_top1", "test_top1", ...}``; ``{"refused": why}`` where a strategy does not fit the network.
    """
    found = {}
    for name in names:
        try:
            run = kept(
                work / name,
                lambda out, name=name: transfer_splits(  # type: ignore[misc]
                    splits, start, recipe, Strategy(name), Target(out), Silent(), {"command": "study"}
                ),
            )
        except EdgexferError as error:
            found[name] = {"refused": str(error)}
            done(f"{name} does not fit")
            continue
        found[name] = scores_of_run(run)
        done(f"{name} {run.scores['val_top1']:.1%}")
    return found


def scores_of_run(run: Run) -> dict[str, Any]:
    """What the studies keep of a run; without a test split, validation stands in for it."""
    keys = ("val_top1", "test_top1", "val_nll", "test_nll", "test_images", "parameters", "seconds")
    scores = {key: run.scores[key] for key in keys}
    for key in ("top1", "nll"):
        if scores[f"test_{key}"] is None:
            scores[f"test_{key}"] = scores[f"val_{key}"]
    return scores


def network_of(out: Path, job: Job) -> nets.Normalized:
    """The network of a finished run, in inference mode."""
    run = read_run(out)
    student = nets.Normalized(nets.of_run(out, run), run.preprocessing).to(job.device)
    student.eval()
    return student


def only(view: View, wanted: np.ndarray) -> View:
    """The pictures of a view where ``wanted (N,)`` is true."""
    return take(view, np.flatnonzero(wanted))


def without_class(splits: Splits, label: int) -> Splits:
    """The splits whose training and validation pictures lack a class; its name and the test pictures stay."""
    train, val = (only(view, view.labels != label) for view in (splits.train, splits.val))
    return dataclasses.replace(splits, train=train, val=val)


class Progress:
    """Counts finished trainings on a listener."""

    def __init__(self, lab: Lab, total: int) -> None:
        self._listener, self._done = lab.listener, 0
        self._listener.begin(f"seed {lab.seed}, trainings", total)

    def step(self, note: str) -> None:
        """One more is finished."""
        self._done += 1
        self._listener.advance(self._done, note)

    def end(self) -> None:
        """All are."""
        self._listener.end()


@contextmanager
def counting(lab: Lab, total: int) -> Iterator[Progress]:
    """Counts trainings while the block runs."""
    progress = Progress(lab, total)
    try:
        yield progress
    finally:
        progress.end()
