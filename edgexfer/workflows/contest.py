"""The second stage of a search: students of several shapes learn from one teacher, and the best go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgexfer import nets
from edgexfer.data import Splits
from edgexfer.training import Listener, Recipe
from edgexfer.training.recipe import Facts, settle
from edgexfer.words import counted, people_time
from edgexfer.workflows.distill import TEACHERS_FOLDER, Teaching, distill_data
from edgexfer.workflows.halving import FINALISTS, Clock, rounds_of, seconds_of, share_of_time, survivors
from edgexfer.workflows.hushed import Hushed
from edgexfer.workflows.search_plan import SearchPlan
from edgexfer.workflows.shapes import Shape
from edgexfer.workflows.teachers import at_hand, make_missing
from edgexfer.workflows.trace import Trace
from edgexfer.workflows.train import Start, Target
from edgexfer.workflows.tried import dropped

RUNS = "runs"
EXPORT_S = 30.0
"""Seconds that exporting and measuring at the end take, about."""


@dataclass(frozen=True)
class Trained:
    """A student.

    Attributes:
        shape: Its shape.
        run: Its run folder.
        val_top1: What it scored on validation.
    """

    shape: Shape
    run: Path
    val_top1: float


class Contest:
    """Trainings of one search.

    Args:
        plan: What the search is about.
        splits: Its pictures.
        trace: What was tried so far; what comes to it is added.
        clock: The time that is left.
        listener: Hears how it goes.

    Attributes:
        splits: As given.
    """

    def __init__(self, plan: SearchPlan, splits: Splits, trace: Trace, clock: Clock, listener: Listener) -> None:
        self.splits = splits
        self._plan, self._trace, self._clock = plan, trace, clock
        self._listener, self._hushed = listener, Hushed(listener)
        self._epochs = plan.recipe.epochs or _usual_epochs(plan.recipe, splits)
        self._known: dict[Shape, float] = {}

    def rank(self, shapes: Sequence[Shape], after: Callable[[], None]) -> list[Shape]:
        """All shapes, the most promising first, as far as short trainings tell, or their sizes where there are none.

        Args:
            shapes: What fits.
            after: Called when a round has ended.
        """
        self._make_teachers()
        rounds = rounds_of(self._epochs)
        untold = len(rounds) == 1 and len(shapes) > FINALISTS  # then the largest are the most promising
        alive, behind = sorted(shapes, key=self._operations, reverse=untold), list[Shape]()
        for number, epochs in enumerate(rounds[:-1]):
            if len(alive) <= FINALISTS:
                break
            scores = self._round(alive, epochs, share_of_time(number, len(rounds)))
            best = survivors(scores, FINALISTS if number == len(rounds) - 2 else None)
            lost = sorted((s for s in scores if s not in best), key=lambda s: -scores[s])
            self._drop(
                {s: f"validation {scores[s]:.1%} after {counted(epochs, 'epoch')}, not among the best" for s in lost}
            )
            late = [s for s in alive if s not in scores]
            self._drop(dict.fromkeys(late, "no time left to try it"))
            alive, behind = best, [*late, *lost, *behind]
            after()
        return [*alive, *behind]

    def _round(self, shapes: Sequence[Shape], epochs: int, untouched: float) -> dict[Shape, float]:
        scores: dict[Shape, float] = {}
        for number, shape in enumerate(sorted(shapes, key=self._operations), 1):
            done = self._trace.find("train", shape=shape.name, epochs=epochs)
            expected = self._expected(shape, epochs)
            if done is None and scores and expected is not None and expected > self._clock.left(untouched):
                break  # the cheapest come first, so that what follows takes longer still
            done = done or self._train(shape, epochs, f"{number} of {len(shapes)}")
            scores[shape] = float(done["val_top1"])
        return scores

    def full(self, shape: Shape, *, needed: bool) -> Trained | None:
        """The whole training of a shape, or as much of it as the time allows.

        Args:
            shape: Who is trained.
            needed: Whether there is no other student yet, so that one has to come out.

        Returns:
            The student; ``None`` where there is no time for it and it is not needed.
        """
        epochs = self._planned(shape, needed=needed)
        if epochs is None:
            return None
        line = self._trace.find("train", shape=shape.name, epochs=epochs) or self._train(shape, epochs, "in full")
        return Trained(shape, self._folder(shape, epochs), float(line["val_top1"]))

    def _planned(self, shape: Shape, *, needed: bool) -> int | None:
        """The epochs of a full training: those planned before, unless the time that is allowed has grown since.

        ``None`` where there is no time for it and it is not needed.
        """
        before = self._trace.find("plan", shape=shape.name)
        planned = 0 if before is None else int(before["epochs"])
        if before is not None and (planned >= self._epochs or not self._clock.allows_more_than(before.get("hours"))):
            return planned
        affordable = self._affordable(shape)
        if affordable < self._epochs and not needed:
            if not planned and not dropped(self._trace, shape):
                self._drop({shape: "no time left to train it fully"})
            return planned or None
        trained = max((int(line["epochs"]) for line in self._trained(shape)), default=0)
        if trained >= max(1, affordable):
            self._listener.warn(f"{shape.name}: no time is left to train it longer than {counted(trained, 'epoch')}")
        epochs = max(1, affordable, trained, planned)
        if epochs > planned:
            self._trace.add([{"step": "plan", "shape": shape.name, "epochs": epochs, "hours": self._clock.hours}])
            if epochs < self._epochs:
                self._listener.warn(f"{shape.name}: the time allows {counted(epochs, 'epoch')} of {self._epochs}")
        return epochs

    def _affordable(self, shape: Shape) -> int:
        expected = self._expected(shape, self._epochs)
        left = self._clock.left() - EXPORT_S
        if expected is None or expected <= left:
            return self._epochs
        return int(self._epochs * max(0.0, left) / expected)

    def _train(self, shape: Shape, epochs: int, which: str) -> dict[str, Any]:
        self._listener.say(
            f"{shape.name}, {which}: {counted(epochs, 'epoch')} ({people_time(self._clock.spent)} so far)"
        )
        started = time.monotonic()
        folder = self._folder(shape, epochs)
        (result,) = distill_data(
            self._plan.data,
            [Start(shape.network)],
            self._plan.teachers,
            replace(self._plan.recipe, image_size=shape.image_size, epochs=epochs),
            Target(folder, resume=True, argv=self._plan.argv),
            self._hushed,
            Teaching(
                teacher_recipe=self._plan.teacher_recipe,
                names_file=self._plan.names_file,
                teachers_folder=self._trace.folder / TEACHERS_FOLDER,
            ),
        )
        line = {
            "step": "train",
            "shape": shape.name,
            "epochs": epochs,
            "val_top1": result.student.scores["val_top1"],
            "operations": self._operations(shape),
            "run": folder.name,
            "seconds": time.monotonic() - started,
        }
        self._trace.add([line])
        self._listener.say(
            f"{shape.name}, {which}: validation {line['val_top1']:.1%} in {people_time(line['seconds'])}"
        )
        return line

    def _expected(self, shape: Shape, epochs: int) -> float | None:
        lines = self._trained(shape) or self._trace.all("train")
        known = [(int(line["epochs"]), float(line["operations"]), float(line["seconds"])) for line in lines]
        return seconds_of(epochs, self._operations(shape), known)

    def _operations(self, shape: Shape) -> float:
        """Operations that one picture takes."""
        if shape not in self._known:
            size = (shape.image_size, shape.image_size)
            net = nets.create(shape.network, len(self.splits.classes), input_size=size)
            self._known[shape] = float(nets.count_operations(net, size))
        return self._known[shape]

    def _folder(self, shape: Shape, epochs: int) -> Path:
        return self._trace.folder / RUNS / f"{shape.name}-{epochs}"

    def _make_teachers(self) -> None:
        """Makes the teachers given by a network's name, once for all students."""
        plan, folder = self._plan, self._trace.folder / TEACHERS_FOLDER
        ready = at_hand(self.splits, plan.teachers, plan.teacher_recipe, self._hushed, plan.names_file)
        make_missing(plan.data, self.splits, plan.teachers, ready, plan.teacher_recipe, folder, self._listener)

    def _trained(self, shape: Shape) -> list[dict[str, Any]]:
        return [line for line in self._trace.all("train") if line["shape"] == shape.name]

    def _drop(self, reasons: Mapping[Shape, str]) -> None:
        """Keeps why shapes are not gone on with, where nothing or something else stands there."""
        lines = [
            {"step": "drop", "shape": shape.name, "reason": why}
            for shape, why in reasons.items()
            if dropped(self._trace, shape) != why
        ]
        if lines:
            self._trace.add(lines)


def _usual_epochs(recipe: Recipe, splits: Splits) -> int:
    """How long a student is trained where nobody says: as ``edgexfer distill`` does."""
    facts = Facts(len(splits.train), splits.image_size, 224, pretrained=False, has_soft_labels=True)
    return settle(recipe, facts)[0].epochs
