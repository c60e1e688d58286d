"""``edgexfer choose --search``: its options, and the table of what was tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgexfer.cli.common import command_line, percent
from edgexfer.cli.tables import show_table
from edgexfer.cli.talk import Talk
from edgexfer.cli.teaching import teacher_options, teachers_of

if TYPE_CHECKING:
    from edgexfer.results.choice import Budget
    from edgexfer.workflows.candidates import Wishes
    from edgexfer.workflows.data import DataChoice
    from edgexfer.workflows.measuring import Measuring
    from edgexfer.workflows.search import Searched
    from edgexfer.workflows.tried import Tried

F = TypeVar("F", bound=Callable[..., Any])


def search_options(function: F) -> F:
    """Options of a search."""
    for option in reversed(
        (
            click.option("--search", metavar="DATA", help="Distil further students on these pictures."),
            teacher_options(of_search=True),
            click.option(
                "--student",
                "students",
                multiple=True,
                help="Search: a network to try, such as tiny-darknet-0.5+relu; may be repeated.",
            ),
            click.option(
                "--image-size",
                "sizes",
                type=click.IntRange(8, 4096),
                multiple=True,
                help="Search: an input side to try, in pixels; may be repeated.",
            ),
            click.option("--epochs", type=click.IntRange(1), help="Search: of the last, full trainings."),
            click.option("--batch-size", type=click.IntRange(1), help="Search: pictures a step."),
            click.option("--workers", type=click.IntRange(0), default=0, help="Search: loader processes."),
            click.option("--device", default="auto", help="Search: where it trains: auto, cpu, cuda or mps."),
            click.option("--hours", type=click.FloatRange(0, min_open=True), help="Search: the time it may take."),
            click.option("--target", help="Search: the machine that int8 is for, as for edgexfer export."),
            click.option("--resume", is_flag=True, help="Search: go on with the one in --out."),
        )
    ):
        function = option(function)
    return function


@dataclass(frozen=True)
class Asked:
    """What the model may cost, and how that is measured."""

    budget: Budget
    wishes: Wishes
    measuring: Measuring


@dataclass(frozen=True)
class Wanted:
    """What was asked of a search."""

    teachers: tuple[str, ...]
    teacher_weights: tuple[str, ...]
    teacher_mean: tuple[float, float, float] | None
    teacher_std: tuple[float, float, float] | None
    teacher_classes: Path | None
    teacher_image_size: int | None
    students: tuple[str, ...]
    sizes: tuple[int, ...]
    epochs: int | None
    batch_size: int | None
    workers: int
    device: str
    hours: float | None
    target: str | None
    resume: bool


def take_search(options: dict[str, Any]) -> Wanted:
    """Takes a search's options out of ``options``."""
    return Wanted(**{key: options.pop(key) for key in Wanted.__dataclass_fields__})


def check_search(
    search: str | None, wanted: Wanted, paths: Sequence[Path], data: str | None, machine: str | None, out: Path | None
) -> None:
    """Refuses options that do not go together.

    Raises:
        click.UsageError: They do not.
    """
    if search is None:
        if not paths:
            raise click.UsageError("name what to choose from, or let it --search DATA --teacher RUN")
        given = [key for key in Wanted.__dataclass_fields__ if getattr(wanted, key) not in ((), None, 0, "auto", False)]
        if given:
            raise click.UsageError(f"these go with --search DATA: {', '.join(given)}")
        return
    if not wanted.teachers:
        raise click.UsageError("--search needs a --teacher; make one with edgexfer finetune")
    if out is None:
        raise click.UsageError("--search needs an --out folder")
    if data is not None or machine is not None:
        raise click.UsageError("--search scores on its own DATA and measures now; leave --data and --machine out")


def run_search(
    talk: Talk,
    wanted: Wanted,
    data: DataChoice,
    out: Path,
    asked: Asked,
    *,
    paths: Sequence[Path],
    seed: int,
    force: bool,
) -> Searched:
    """Searches, and shows what was tried whenever a stage has ended."""
    from edgexfer.training import Recipe
    from edgexfer.workflows.search import search
    from edgexfer.workflows.search_plan import SearchPlan

    plan = SearchPlan(
        data,
        tuple(teachers_of(vars(wanted))),
        asked.budget,
        asked.wishes,
        asked.measuring,
        wanted.students,
        wanted.sizes,
        Recipe(
            epochs=wanted.epochs,
            batch_size=wanted.batch_size,
            workers=wanted.workers,
            device=wanted.device,
            seed=seed,
        ),
        wanted.hours,
        wanted.target,
        tuple(paths),
        command_line(),
        wanted.teacher_classes,
        wanted.teacher_image_size,
    )
    return search(plan, out, talk, lambda tried: show_tried(talk, tried), resume=wanted.resume, force=force)


def show_tried(talk: Talk, tried: Sequence[Tried]) -> None:
    """Every shape with its latency, its trainings, and what became of it."""
    epochs = sorted({int(line["epochs"]) for one in tried for line in one.trainings})
    heads = ("network @ pixels", "float32", "int8", *(f"{count} epochs" for count in epochs), "")
    rows = []
    for one in tried:
        scores = {int(line["epochs"]): float(line["val_top1"]) for line in one.trainings}
        times = [_milliseconds(one.latency_s.get(precision)) for precision in ("float32", "int8")]
        rows.append((one.shape.name, *times, *(percent(scores.get(count)) for count in epochs), _state(one)))
    show_table(talk, "Tried so far (latency untrained, accuracy on validation)", heads, rows)


def _milliseconds(latency_s: float | None) -> str:
    return "-" if latency_s is None else f"{latency_s * 1000:.3g} ms"


def _state(one: Tried) -> str:
    if one.chosen:
        return "chosen"
    return one.reason or ("trained" if one.finals else "fits")
