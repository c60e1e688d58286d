"""From pictures and teachers to a student's run: ``edgexfer distill`` without a command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgexfer import nets
from edgexfer.data import Splits
from edgexfer.distill import (
    Objective,
    Teacher,
    Teachers,
    check_teachers,
    confidence,
    distill,
    from_run,
    from_weights,
    hard_label_baseline,
    settle,
)
from edgexfer.distill.outputs import choose_views
from edgexfer.errors import RecipeError
from edgexfer.nets.weights import load_with_its_classes
from edgexfer.runs import Run, is_run, read_run
from edgexfer.training import Job, Listener, Recipe
from edgexfer.transfer import finetune
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start, Target, prepare_start

TEACHERS_FOLDER = "teachers"
BASELINE_FOLDER = "hard-label-baseline"


@dataclass(frozen=True)
class DistillResult:
    """The student's run, and the baseline's where one was asked for."""

    student: Run
    baseline: Run | None


def distill_data(
    data: DataChoice,
    student: Start,
    teachers: Sequence[Start],
    recipe: Recipe,
    target: Target,
    listener: Listener,
    *,
    objective: Objective,
    ensemble: str = "geometric",
    teacher_recipe: Recipe | None = None,
    allow_weak: bool = False,
    with_baseline: bool = False,
    views: int | None = None,
) -> DistillResult:
    """Distils a student from its teachers; a teacher given by name is fine-tuned on the same data first.

    Args:
        data: What to learn from.
        student: The student.
        teachers: Each a run folder (as ``model``), or a network with its weights.
        recipe: Wishes for the student's training.
        target: Where the run goes; teachers made on the way lie in ``teachers/`` inside it.
        listener: Hears how it goes.
        objective: What the student is to match; what is left open is chosen by the number of classes and by how sure
            the teachers are.
        ensemble: How several teachers speak with one voice.
        teacher_recipe: Wishes for the training of teachers given by name.
        allow_weak: Whether a teacher that is no better than guessing may teach.
        with_baseline: Whether the same student is also trained on hard labels alone.
        views: In how many ways each picture is shown, so that the teachers' outputs can be kept; 0 for another way in
            every epoch, with the teachers at work in all of them.
    """
    finished = target.claim()
    baseline_folder = target.out / BASELINE_FOLDER
    if finished is not None and not (with_baseline and not is_run(baseline_folder)):
        listener.say(f"{str(target.out)!r} is finished already")
        return DistillResult(finished, read_run(baseline_folder) if is_run(baseline_folder) else None)
    splits = data.load()
    quiet_recipe = teacher_recipe or Recipe(workers=recipe.workers, device=recipe.device, seed=recipe.seed)
    members = []
    for number, start in enumerate(teachers):
        folder = target.out / TEACHERS_FOLDER / f"{number}-{Path(start.model).name.replace(':', '-')}"
        members.append(_teacher(data, splits, start, quiet_recipe, folder, listener))
    record = data.record("distill", list(target.argv))
    plain = prepare_start(splits, student, recipe, listener, has_soft_labels=True)
    run = finished
    if run is None:
        voice = Teachers(tuple(members), ensemble)
        job = _with_views(plain, members, objective, views)
        checked = check_teachers(voice, job, listener, allow_weak=allow_weak)
        choice = settle(objective, len(splits.classes), confidence(checked.teachers, job))
        if choice.reasons:
            listener.say("chosen: " + ", ".join(choice.reasons))
        for warning in choice.warnings:
            listener.warn(warning)
        run = distill(
            job,
            checked.teachers,
            choice.objective,
            target.out,
            listener,
            record=record,
            teacher_scores=checked.scores,
        )
    baseline = None
    if with_baseline:
        listener.say("hard-label baseline: the same student, epochs and seed, without the teacher")
        baseline = hard_label_baseline(plain, baseline_folder, listener, record={**record, "command": "baseline"})
    return DistillResult(run, baseline)


def _with_views(job: Job, members: Sequence[Teacher], objective: Objective, wanted: int | None) -> Job:
    """The job with its number of views; hints need the teacher's layers, which are not kept, so they take none."""
    settings = job.settings
    count = choose_views(
        settings.epochs, len(job.splits.train), len(job.splits.classes), len(members), 0 if objective.hints else wanted
    )
    return replace(job, settings=replace(settings, views=count))


def _teacher(
    data: DataChoice, splits: Splits, start: Start, recipe: Recipe, folder: Path, listener: Listener
) -> Teacher:
    """A run as it is, a weight file that already fits the classes as it is, anything else fine-tuned first."""
    path = Path(start.model)
    if path.is_dir():
        return from_run(path, splits.classes)
    if start.model not in nets.names() and ":" not in start.model:
        nets.preprocessing_for(start.model)  # raises, naming the networks there are
    weights = Path(start.weights)
    if weights.is_file() and _classes_in(start) == len(splits.classes):
        listener.say(f"teacher {start.model}: {weights.name} fits the {len(splits.classes)} classes, used as it is")
        size = recipe.image_size
        return from_weights(
            start.model, weights, splits.classes, nets.preprocessing_for(start.model, size, start.mean, start.std)
        )
    if not is_run(folder):
        listener.say(f"teacher {start.model}: a network's name, so it is fine-tuned on this data first")
        job = prepare_start(splits, start, recipe, listener)
        finetune(job, folder, listener, record=data.record("finetune", []))
    return from_run(folder, splits.classes)


def _classes_in(start: Start) -> int:
    """How many classes the weight file of ``start`` was made for."""
    net = nets.build(start.model, 2, nets.preprocessing_for(start.model).input_size)
    load_with_its_classes(net, start.weights)
    return net.num_classes


def pair_teachers(names: Sequence[str], weights: Sequence[str]) -> list[Start]:
    """Pairs ``--teacher`` and ``--teacher-weights`` in their order.

    Raises:
        RecipeError: There are more weights than teachers, or some but not as many.
    """
    if weights and len(weights) != len(names):
        raise RecipeError(
            f"{len(names)} --teacher and {len(weights)} --teacher-weights were given; they pair in order, so give one"
            " for each (none, for a run folder)"
        )
    padded = list(weights) or ["none"] * len(names)
    return [Start(name, weight) for name, weight in zip(names, padded, strict=True)]
