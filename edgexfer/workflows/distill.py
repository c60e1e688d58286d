"""From pictures and teachers to a student's run: ``edgexfer distill`` without a command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from edgexfer.data import Splits, with_unlabelled
from edgexfer.distill import (
    Objective,
    Teacher,
    Teachers,
    check_teachers,
    confidence,
    distill,
    hard_label_baseline,
    settle,
)
from edgexfer.distill.outputs import choose_views
from edgexfer.errors import RecipeError
from edgexfer.runs import BASELINE_FOLDER, PREDICTIONS_FILE, RESUME_FOLDER, Run, read_lines
from edgexfer.training import Job, Listener, Recipe
from edgexfer.training.checkpoint import interrupted_settings
from edgexfer.training.compiling import check_compiler
from edgexfer.training.compute import within_memory
from edgexfer.training.pictures import Decoded
from edgexfer.training.ranks import current_ranks
from edgexfer.workflows.baseline import about_baseline, baseline_recipe
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.gain import Gain, paired_gain
from edgexfer.workflows.remembered import warn_of_another_split
from edgexfer.workflows.room import Room, used_by
from edgexfer.workflows.teachers import at_hand, make_missing
from edgexfer.workflows.train import Start, Target, finished_run, folder_names, prepare_start

TEACHERS_FOLDER = "teachers"
ROUNDED_RATE = 0.1
"""Learning rate with int8's rounding beside the usual one for trained weights."""


@dataclass(frozen=True)
class Teaching:
    """How a student is taught; the defaults are what a user gets without options.

    Attributes:
        objective: What the student is to match; what is left open is chosen by the number of classes and by how sure
            the teachers are.
        ensemble: How several teachers speak with one voice.
        teacher_recipe: Wishes for the training of teachers given by name.
        allow_weak: Whether a teacher that is no better than guessing may teach.
        with_baseline: Whether the same student is also trained on hard labels alone, with as many steps.
        views: In how many ways each picture is shown, so that the teachers' outputs can be kept; 0 for another way in
            every epoch, with the teachers at work in all of them, as hints have it.
        unlabelled: A folder of further pictures, without labels, that the teachers label softly.
        names_file: Class names of a teacher that is a weight file or a foreign ONNX file, one a line.
        quantization_aware: Whether a student that is trained already goes on learning with int8's rounding.
        teachers_folder: Where teachers given by name are made, or found if they were made before; a folder in that of
            the students if ``None``.
    """

    objective: Objective = Objective()
    ensemble: str = "geometric"
    teacher_recipe: Recipe | None = None
    allow_weak: bool = False
    with_baseline: bool = False
    views: int | None = None
    unlabelled: Path | None = None
    names_file: Path | None = None
    quantization_aware: bool = False
    teachers_folder: Path | None = None


@dataclass(frozen=True)
class DistillResult:
    """The student's run, and the baseline's where one was asked for.

    Attributes:
        out: The student's run folder; the baseline's lies inside.
        student: Its run.
        baseline: The same student's without a teacher.
    """

    out: Path
    student: Run
    baseline: Run | None

    def gain(self) -> Gain | None:
        """What distilling bought over hard labels; ``None`` without a baseline."""
        if self.baseline is None:
            return None
        return paired_gain(
            read_lines(self.out / PREDICTIONS_FILE), read_lines(self.out / BASELINE_FOLDER / PREDICTIONS_FILE)
        )


@dataclass(frozen=True)
class Class:
    """Who is taught what by whom, ready for each student."""

    splits: Splits
    labelled: Splits
    members: tuple[Teacher, ...]
    record: dict[str, Any]
    pictures: Decoded


@within_memory()
def distill_data(
    data: DataChoice,
    students: Sequence[Start],
    teachers: Sequence[Start],
    recipe: Recipe,
    target: Target,
    listener: Listener,
    teaching: Teaching,
) -> list[DistillResult]:
    """Distils one student, or several from the same teachers and what is kept of their outputs.

    Args:
        data: What to learn from.
        students: Who learns.
        teachers: Each a run folder (as ``model``), or a network with its weights; a network's name alone is fine-tuned
            on the same data first.
        recipe: Wishes for the students' training.
        target: Where the run goes, or the runs of several students, each in a folder of its name; teachers made on the
            way lie in ``teachers/`` inside it.
        listener: Hears how it goes.
        teaching: How they are taught.

    Raises:
        RecipeError: Two students have one name, or what they are to do does not fit together.
    """
    _check_together(students, recipe, teaching)
    data.refuse_among_pictures(target.out)
    targets = _targets(students, target)
    used = used_by(data, students, teachers, (teaching.unlabelled, teaching.names_file))
    found = {number: _finished(place, teaching, listener, used) for number, place in enumerate(targets)}
    if all(found.values()):
        return [result for result in found.values() if result is not None]
    check_compiler(recipe)
    labelled = data.load(listener)
    for student in students:
        warn_of_another_split(student.weights, "student's starting point", data, labelled, listener)
    for teacher in teachers:
        place = teacher.model if Path(teacher.model).is_dir() else teacher.weights
        warn_of_another_split(place, "teacher", data, labelled, listener)
    extra = teaching.unlabelled
    splits = labelled if extra is None else with_unlabelled(labelled, extra, strict=data.strict)
    own = teaching.teacher_recipe or Recipe(workers=recipe.workers, device=recipe.device, seed=recipe.seed)
    folder = teaching.teachers_folder or target.out / TEACHERS_FOLDER
    room = Room.found(students, targets, folder, used)
    room.check(labelled, recipe)
    ready = at_hand(labelled, teachers, own, listener, teaching.names_file)
    room.make()
    members = make_missing(data, labelled, teachers, ready, own, folder, listener)
    splits, labelled = splits.untied(), labelled.untied()
    record = data.record("distill", list(target.argv))
    if extra is not None:
        record["unlabelled"] = {"path": str(extra.resolve()), "images": len(splits.train) - len(labelled.train)}
    taught = Class(splits, labelled, members, record, Decoded())
    return [
        found[number] or _distill_one(taught, student, recipe, place.out, listener, teaching)
        for number, (student, place) in enumerate(zip(students, targets, strict=True))
    ]


def _targets(students: Sequence[Start], target: Target) -> list[Target]:
    """Where each student's run goes."""
    if len(students) == 1:
        return [target]
    names = folder_names([student.model for student in students], "distil them in commands of their own")
    return [replace(target, out=target.out / name) for name in names]


def _finished(target: Target, teaching: Teaching, listener: Listener, used: Sequence[Path]) -> DistillResult | None:
    """What is there already of a resumed command, if nothing is missing."""
    run = target.claim(used)
    baseline = current_ranks().once(lambda: finished_run(target.out / BASELINE_FOLDER))
    if run is None or (teaching.with_baseline and baseline is None):
        return None
    listener.say(f"{str(target.out)!r} is finished already")
    return DistillResult(target.out, run, baseline)


def _distill_one(
    taught: Class, student: Start, recipe: Recipe, out: Path, listener: Listener, teaching: Teaching
) -> DistillResult:
    plain = prepare_start(taught.splits, student, recipe, listener, has_soft_labels=True, pictures=taught.pictures)
    if teaching.quantization_aware:
        plain = _rounding(plain, recipe, listener)
    run = plain.ranks.once(lambda: finished_run(out))
    if run is None:
        job = _with_views(plain, taught.members, teaching, out)
        voice = Teachers(taught.members, teaching.ensemble)
        checked = check_teachers(voice, job, listener, allow_weak=teaching.allow_weak)
        sure = job.ranks.once(lambda: confidence(checked.teachers, job))
        choice = settle(teaching.objective, len(job.splits.classes), sure)
        if choice.reasons:
            listener.say("chosen: " + ", ".join(choice.reasons))
        for warning in choice.warnings:
            listener.warn(warning)
        run = distill(
            job,
            checked.teachers,
            choice.objective,
            out,
            listener,
            record=taught.record,
            teacher_scores=checked.scores,
            rounds=teaching.quantization_aware,
        )
    baseline = None
    if teaching.with_baseline:
        record = {**taught.record, "command": "baseline"}
        wishes = baseline_recipe(recipe, plain.settings, taught.splits, taught.labelled)
        alone = prepare_start(taught.labelled, student, wishes, listener, pictures=taught.pictures)
        listener.say(about_baseline(plain.settings, alone.settings))
        baseline = hard_label_baseline(alone, out / BASELINE_FOLDER, listener, record=record)
    return DistillResult(out, run, baseline)


def _check_together(students: Sequence[Start], recipe: Recipe, teaching: Teaching) -> None:
    """Refuses ways to teach that do not go together.

    Raises:
        RecipeError: All mistakes found.
    """
    mistakes = _against_rounding(students, recipe, teaching) if teaching.quantization_aware else []
    if recipe.compile:
        others = (("--hint", teaching.objective.hints), ("--quantization-aware", teaching.quantization_aware))
        mistakes += [
            f"{name} and --compile do not go together; leave one of them out" for name, there in others if there
        ]
    if teaching.views and teaching.objective.hints:
        mistakes.append(
            "--views keeps the teachers' answers, and --hint needs their layers, which are not kept; leave --views out"
        )
    if mistakes:
        raise RecipeError.gathered(mistakes)


def _against_rounding(students: Sequence[Start], recipe: Recipe, teaching: Teaching) -> list[str]:
    """What cannot be learned with int8's rounding."""
    mistakes = [
        f"--quantization-aware goes on from a student that is trained already, and {student.model} has random weights;"
        " pass --student-weights RUN"
        for student in students
        if student.weights == "none"
    ]
    if teaching.objective.hints:
        mistakes.append("--quantization-aware and --hint do not go together; leave one of them out")
    if recipe.precision == "bfloat16":
        mistakes.append("--quantization-aware computes in float32; leave --precision bfloat16 out")
    if current_ranks().are_several:
        mistakes.append("--quantization-aware works in one process, whose ranges are everybody's; leave torchrun out")
    return mistakes


def _rounding(job: Job, recipe: Recipe, listener: Listener) -> Job:
    """The job in float32 on a device that can round, with a small learning rate where none was asked for.

    Rounding is learned by small corrections.
    """
    if job.device.type == "mps":
        listener.say("int8's rounding is computed on the CPU: PyTorch has no operators for it on MPS")
        job = replace(job, device=torch.device("cpu"))
    settings = replace(job.settings, precision="float32")
    if recipe.lr is None:
        settings = replace(settings, lr=settings.lr * ROUNDED_RATE)
        listener.say(f"with int8's rounding, lr {settings.lr:.2g} (a tenth of the usual)")
    return replace(job, settings=settings)


def _with_views(job: Job, members: Sequence[Teacher], teaching: Teaching, out: Path) -> Job:
    """The job with its number of views, that of the interrupted training in ``out`` where there is one.

    Hints need the teacher's layers, which are not kept, so they take none.
    """
    wanted = 0 if teaching.objective.hints else teaching.views

    def count() -> int:
        before = interrupted_settings(out / RESUME_FOLDER)
        if wanted is None and before is not None and isinstance(before.get("views"), int):
            return int(before["views"])
        return choose_views(job, members, wanted)

    return replace(job, settings=replace(job.settings, views=job.ranks.once(count)))
