"""``edgexfer choose``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgexfer.cli.common import common_options, data_choice_of, data_options, emit, percent
from edgexfer.cli.searching import Asked, check_search, run_search, search_options, take_search
from edgexfer.cli.tables import show_table
from edgexfer.cli.talk import Talk
from edgexfer.errors import DeviceError

if TYPE_CHECKING:
    from edgexfer.proportions import Difference
    from edgexfer.results.choice import Budget, Candidate, Choice
    from edgexfer.workflows.choose import Chosen
    from edgexfer.workflows.data import DataChoice

MEGABYTE = 1e6
MOST_LEFT_OUT = 12


@click.command("choose", epilog="Example: edgexfer choose exported/ measured/ --budget-ms 20")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--budget-ms", type=click.FloatRange(0, min_open=True), help="Most milliseconds a picture may take.")
@click.option("--budget-mb", type=click.FloatRange(0, min_open=True), help="Most megabytes the file may have.")
@click.option(
    "--budget-memory-mb", type=click.FloatRange(0, min_open=True), help="Most megabytes of memory the process may take."
)
@click.option(
    "--statistic",
    type=click.Choice(["p50", "p90"]),
    default="p50",
    show_default=True,
    help="Which latency the budget is about.",
)
@click.option("--threads", type=click.IntRange(1), help="Only measurements with so many threads; measured now: 1.")
@click.option("--machine", metavar="NAME", help="Host or name of the machine, where results of several were given.")
@click.option("--on", "host", metavar="HOST", help="Measure there now, through ssh.")
@click.option("--setup", is_flag=True, help="Run the bundle's setup.sh there before.")
@click.option("--ssh-config", type=click.Path(path_type=Path), help="In place of your own ssh configuration.")
@click.option(
    "--min-seconds", type=click.FloatRange(0), default=5.0, show_default=True, help="Least time a file, measured now."
)
@click.option("--data", help="Score all artifacts on these pictures, and not by what is recorded of each.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw accuracy against latency, a .svg or .png file.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for what is measured now, or of a search.  [default: here]"
)
@search_options
@data_options
@common_options()
def command(
    paths: tuple[Path, ...],
    data: str | None,
    plot: Path | None,
    out: Path | None,
    search: str | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Choose the most accurate model inside a budget, of all that was measured in PATHS.

    PATHS are benchmark results, artifacts, bundles, runs, or folders of them, joined by content. Without any result the
    artifacts are measured here. stdout is the path of the chosen file; exit code 1 if nothing fits.

    With --search DATA --teacher RUN it goes on: students of many shapes are timed untrained, and of those that fit the
    most promising are distilled until the budget is used as well as can be.
    """
    wanted = take_search(options)
    check_search(search, wanted, paths, data, options["machine"], out)
    asked = _take_asked(options, out)
    _check_plot(plot, force)
    source = data if search is None else search
    pictures = None if source is None else data_choice_of(source, options)
    with Talk(None if search is None or out is None else out / "log.txt", replacing=force) as talk:
        made = None
        if search is None or out is None or pictures is None:
            chosen = _choose(talk, paths, asked, pictures)
        else:
            made = run_search(talk, wanted, pictures, out, asked, paths=paths, seed=options["seed"], force=force)
            chosen = made.chosen
        show_choice(talk, chosen)
        if plot is not None:
            _draw(plot, chosen)
            talk.say(f"drawn: {plot}")
    choice = chosen.choice
    if choice.chosen is None:
        raise DeviceError(nothing_fits(choice, asked.wishes.statistic))
    value, path = (chosen.to_dict(), choice.chosen.path) if made is None else (made.to_dict(), made.artifact)
    emit(value, as_json, str(_from_here(path)))


def _from_here(path: Path) -> Path:
    """``path`` as one would type it in the working folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _choose(talk: Talk, paths: Sequence[Path], asked: Asked, pictures: DataChoice | None) -> Chosen:
    from edgexfer.workflows.choose import choose_from

    return choose_from(paths, asked.budget, asked.wishes, talk, measuring=asked.measuring, data=pictures)


def _check_plot(plot: Path | None, force: bool) -> None:
    if plot is not None:
        from edgexfer.files import refuse_overwrite
        from edgexfer.report.front import check_kind

        check_kind(plot)
        refuse_overwrite(plot, force)


def _take_asked(options: dict[str, Any], out: Path | None) -> Asked:
    """Takes budget, wishes and where to measure out of ``options``.

    Raises:
        click.UsageError: They do not go together.
    """
    from edgexfer.results import Budget
    from edgexfer.workflows.candidates import Wishes
    from edgexfer.workflows.measuring import Measuring

    limits = [options.pop(f"budget_{key}") for key in ("ms", "mb", "memory_mb")]
    host, setup, config = options.pop("host"), options.pop("setup"), options.pop("ssh_config")
    machine, threads = options.pop("machine"), options.pop("threads")
    if limits == [None, None, None]:
        raise click.UsageError("name a budget: --budget-ms, --budget-mb or --budget-memory-mb")
    if host is None and (setup or config is not None):
        raise click.UsageError("--setup and --ssh-config go with --on")
    if host is not None and machine is not None:
        raise click.UsageError("--on measures on one machine now; leave --machine out")
    seconds, size, memory = limits
    budget = Budget(
        None if seconds is None else seconds / 1000,
        None if size is None else round(size * MEGABYTE),
        None if memory is None else round(memory * MEGABYTE),
    )
    wishes = Wishes(options.pop("statistic"), threads, machine, with_memory=memory is not None)
    measuring = Measuring(
        host, out or Path(), str(threads or 1), options.pop("min_seconds"), setup=setup, ssh_config=config
    )
    return Asked(budget, wishes, measuring)


def show_choice(talk: Talk, chosen: Chosen) -> None:
    """The front as a table, and in sentences what was chosen, what is as good, and what more would cost."""
    choice, gathered, statistic = chosen.choice, chosen.gathered, chosen.wishes.statistic
    for sentence in gathered.left_out[:MOST_LEFT_OUT]:
        talk.say(f"left out: {sentence}")
    if len(gathered.left_out) > MOST_LEFT_OUT:
        talk.say(f"left out: {len(gathered.left_out) - MOST_LEFT_OUT} more; --json lists them")
    count = len(gathered.candidates)
    talk.say(f"{count} measurement{'s' * (count != 1)} on {gathered.machine}; {gathered.source}")
    rows = [_row(candidate, choice) for candidate in choice.front]
    heads = ("on the front", "precision", "threads", statistic, "size", "memory", "top-1", "")
    show_table(talk, "Not beaten in accuracy and cost", heads, rows)
    for sentence in sentences(chosen):
        talk.say(sentence)


def _row(candidate: Candidate, choice: Choice) -> tuple[str, ...]:
    over = choice.budget.overrun(candidate)
    state = "fits" if not over else f"over: {_over(over)}"
    return (
        candidate.name,
        candidate.precision,
        "-" if candidate.threads is None else str(candidate.threads),
        _cost("latency_s", candidate.latency_s),
        _cost("size_bytes", candidate.size_bytes),
        "-" if candidate.memory_bytes is None else _cost("memory_bytes", candidate.memory_bytes),
        percent(candidate.top1),
        "chosen" if candidate is choice.chosen else state,
    )


def sentences(chosen: Chosen) -> list[str]:
    """What a person should know of a choice."""
    choice = chosen.choice
    best = choice.chosen
    if best is None:
        return []
    told = [f"chosen: {best.name} ({best.precision}), {percent(best.top1)} at {_costs(best, choice.budget)}"]
    if chosen.test is not None:
        told.append(f"on {chosen.test.images:,} test pictures it scores {percent(chosen.test.top1)}")
    limit = choice.budget.latency_s
    if limit is not None and best.interval_s is not None and best.interval_s[1] > limit:
        low, high = (_cost("latency_s", value) for value in best.interval_s)
        told.append(f"it fits narrowly: its median lies from {low} to {high} (95%)")
    told += [f"it was {note}" for note in best.notes]
    if choice.alike is not None:
        other, lost = choice.alike.candidate, choice.alike.difference
        told.append(
            f"{other.name} ({other.precision}) at {_costs(other, choice.budget)} may be as good: it loses"
            f" {_points(lost)}, which {best.accuracy.images:,} pictures cannot tell from chance"
        )
    if choice.next_step is None:
        told.append("nothing that was measured is more accurate")
    elif choice.gain is not None:
        step = choice.next_step
        counted = step.accuracy.images and best.accuracy.images
        told.append(
            f"the next step up, {step.name} ({step.precision}), costs {_costs(step, choice.budget)}, over budget:"
            f" {_over(choice.budget.overrun(step))}; it gains {_points(choice.gain)}"
            + ("" if choice.gain.shown or not counted else ", which may be chance")
        )
    return told


def nothing_fits(choice: Choice, statistic: str) -> str:
    """Why there is no answer, by how much, and what comes nearest."""
    from edgexfer.results.choice import AXES

    nearest, budget = choice.nearest, choice.budget
    limits = ", ".join(f"{AXES[axis]} {_cost(axis, getattr(budget, axis))}" for axis in AXES if getattr(budget, axis))
    if nearest is None:
        return f"nothing fits {limits}"
    return (
        f"nothing fits {limits} ({statistic}): nearest comes {nearest.name} ({nearest.precision}) at"
        f" {_costs(nearest, budget)}, {percent(nearest.top1)}, over budget: {_over(budget.overrun(nearest))}; allow"
        " more, or let --search DATA --teacher RUN look for a smaller one"
    )


def _over(overrun: dict[str, float]) -> str:
    from edgexfer.results.choice import words_of_overrun

    return words_of_overrun(overrun)


def _costs(candidate: Candidate, budget: Budget) -> str:
    return ", ".join(_cost(axis, getattr(candidate, axis)) for axis in budget.axes)


def _cost(axis: str, value: float) -> str:
    from edgexfer.report.values import duration
    from edgexfer.words import people_size

    return duration(value) if axis == "latency_s" else people_size(value)


def _points(difference: Difference) -> str:
    points = f"{100 * abs(difference.value):.1f} points"
    if difference.low <= -1 and difference.high >= 1:
        return points
    ends = sorted(100 * value * (-1 if difference.value < 0 else 1) for value in (difference.low, difference.high))
    return f"{points} [{ends[0]:+.1f}, {ends[1]:+.1f}]"


def _draw(path: Path, chosen: Chosen) -> None:
    from edgexfer.report.front import write_front
    from edgexfer.report.scatter import Point

    candidates = chosen.gathered.candidates
    points = [Point(c.name, c.latency_s, c.top1, i, c.precision == "int8") for i, c in enumerate(candidates)]
    best = chosen.choice.chosen
    write_front(
        path,
        points,
        title=f"Accuracy against latency on {chosen.gathered.machine}",
        statistic={"p50": "median", "p90": "p90"}[chosen.wishes.statistic],
        budget_s=chosen.choice.budget.latency_s,
        chosen=None if best is None else candidates.index(best),
    )
