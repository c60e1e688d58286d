"""``edgexfer distill``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgexfer.cli.common import (
    board_folder,
    command_line,
    common_options,
    data_choice_of,
    data_options,
    emit,
    recipe_of,
    tensorboard_option,
    training_options,
)
from edgexfer.cli.tables import show_students, show_swap
from edgexfer.cli.talk import talking_together
from edgexfer.cli.teaching import teacher_options, teachers_of

if TYPE_CHECKING:
    from edgexfer.training import Recipe
    from edgexfer.workflows.distill import DistillResult, Teaching
    from edgexfer.workflows.swap import Swap
    from edgexfer.workflows.train import Start

F = TypeVar("F", bound=Callable[..., Any])
OBJECTIVE_KEYS = ("loss", "temperature", "alpha", "standardise", "dkd_alpha", "dkd_beta", "hint_weight")


def objective_options(function: F) -> F:
    """Options of what the student is to match."""
    for option in reversed(
        (
            click.option(
                "--loss",
                type=click.Choice(["auto", "kd", "dkd", "dist"]),
                default="auto",
                show_default=True,
                help="What is matched: kd (Hinton), dkd, dist; auto picks by classes and teacher, and says why.",
            ),
            click.option("--temperature", type=float, help="Of both softmaxes; 4, or 2 with --standardise."),
            click.option("--alpha", type=float, help="Weight of the soft term, 0 to 1; 0.9, or 0.5 for dkd and dist."),
            click.option(
                "--standardise/--no-standardise",
                default=None,
                help="Standardise the logits before they are softened; by default where a sure teacher asks for it.",
            ),
            click.option("--dkd-alpha", type=float, default=1.0, show_default=True, help="Of dkd: target or not."),
            click.option("--dkd-beta", type=float, default=8.0, show_default=True, help="Of dkd: which of the others."),
            click.option(
                "--hint",
                "hints",
                multiple=True,
                metavar="STUDENT=TEACHER",
                help="A layer of the student also learns to predict a layer of the teacher; may be repeated.",
            ),
            click.option("--hint-weight", type=float, default=1.0, show_default=True, help="Of the hints' loss."),
        )
    ):
        function = option(function)
    return function


def objective_of(options: dict[str, Any]) -> Any:
    """Takes the objective's options out of ``options`` and makes an ``Objective`` of them."""
    from edgexfer.distill import Hint, Objective

    hints = tuple(Hint.parse(text) for text in options.pop("hints"))
    return Objective(**{key: options.pop(key) for key in OBJECTIVE_KEYS}, hints=hints)


@click.command(
    "distill",
    epilog="Example: edgexfer distill photos/ --teacher runs/teacher --student tiny-darknet --out runs/student",
)
@click.argument("data")
@teacher_options()
@click.option("--teacher-epochs", type=click.IntRange(1), help="Epochs of teachers given by name.")
@click.option(
    "--student",
    "students",
    required=True,
    multiple=True,
    help="The network that learns (see edgexfer models); several get a folder each in --out.",
)
@click.option(
    "--student-weights",
    multiple=True,
    help="imagenet, none (the default), a weight file or a run: one for all students, or one for each, in order.",
)
@click.option(
    "--activation",
    type=click.Choice(["relu"]),
    help="Put it in place of each LeakyReLU, Hardswish and SiLU of the students, which costs int8 nothing.",
)
@click.option(
    "--unlabelled",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of further pictures of the same kind, without labels.",
)
@objective_options
@click.option(
    "--ensemble",
    type=click.Choice(["geometric", "arithmetic", "weighted"]),
    default="geometric",
    show_default=True,
    help="How several teachers speak with one voice; weighted: a geometric mean, weights chosen on validation.",
)
@click.option(
    "--views",
    type=click.IntRange(0),
    help="Ways in which each picture is shown, to which the teachers' answers are kept; 0 keeps none. Default: as many"
    " as epochs, where the disk has room; none with --hint.",
)
@click.option("--allow-weak-teacher", is_flag=True, help="Go on with a teacher that is no better than guessing.")
@click.option(
    "--quantization-aware",
    is_flag=True,
    help="Go on teaching a trained student (--student-weights RUN) with int8's rounding, for a better int8 file.",
)
@click.option("--hard-label-baseline", is_flag=True, help="Also train the student without the teacher, to compare.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder to make.")
@tensorboard_option
@training_options
@data_options
@common_options()
def command(data: str, out: Path, force: bool, resume: bool, as_json: bool, **options: Any) -> None:
    """Teach a compact student on DATA with one teacher or several, and leave a run folder."""
    from edgexfer.training.board import with_board
    from edgexfer.workflows.distill import distill_data
    from edgexfer.workflows.swap import measure_swap
    from edgexfer.workflows.train import Target

    choice, recipe = data_choice_of(data, options), recipe_of(options)
    students, teachers = students_of(options), teachers_of(options)
    teaching = teaching_of(options, recipe)
    board = board_folder(options.pop("tensorboard"), out)
    with (
        talking_together(out / "log.txt", replacing=force) as talk,
        with_board(None if talk.quiet else board, out, talk) as listener,
    ):
        target = Target(out, force=force, resume=resume, argv=command_line())
        results = distill_data(choice, students, teachers, recipe, target, listener, teaching)
        if talk.quiet:  # another process says it
            return
        swaps = [measure_swap(result.student, begun.weights) for result, begun in zip(results, students, strict=True)]
        for result, swap in zip(results, swaps, strict=True):
            show_students(talk, result)
            if swap is not None:
                show_swap(talk, swap)
    summaries = [_summary(result, swap) for result, swap in zip(results, swaps, strict=True)]
    emit(summaries[0] if len(summaries) == 1 else summaries, as_json, "\n".join(str(r.out) for r in results))


def students_of(given: Mapping[str, Any]) -> list[Start]:
    """The students that the options name, one weight serving all of them or each its own.

    Raises:
        RecipeError: Names and weights do not pair.
    """
    from edgexfer import nets
    from edgexfer.workflows.train import Start, pair_weights

    names, weights = given["students"], given["student_weights"]
    begun = weights * (len(names) if len(weights) == 1 else 1)
    pairs = pair_weights("--student", names, "--student-weights", begun, "none")
    return [Start(nets.with_activation(name, given["activation"]), weight) for name, weight in pairs]


def teaching_of(options: dict[str, Any], recipe: Recipe) -> Teaching:
    """How is taught, as the options say; ``recipe`` is the students'."""
    from edgexfer.training import Recipe
    from edgexfer.workflows.distill import Teaching

    return Teaching(
        objective_of(options),
        options["ensemble"],
        Recipe(
            options["teacher_image_size"],
            options["teacher_epochs"],
            workers=recipe.workers,
            device=recipe.device,
            seed=recipe.seed,
        ),
        allow_weak=options["allow_weak_teacher"],
        with_baseline=options["hard_label_baseline"],
        views=options["views"],
        unlabelled=options["unlabelled"],
        names_file=options["teacher_classes"],
        quantization_aware=options["quantization_aware"],
    )


def _summary(result: DistillResult, swap: Swap | None) -> dict[str, Any]:
    from edgexfer.runs import BASELINE_FOLDER
    from edgexfer.workflows.train import run_summary

    summary = run_summary(result.out, result.student)
    if result.baseline is not None:
        summary["hard_label_baseline"] = run_summary(result.out / BASELINE_FOLDER, result.baseline)
    gain = result.gain()
    if gain is not None:
        summary["gain"] = gain.to_dict()
    if swap is not None:
        summary["activation"] = swap.to_dict()
    return summary
