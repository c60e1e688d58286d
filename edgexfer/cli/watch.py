"""``edgexfer watch``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgexfer.cli.common import common_options, emit
from edgexfer.cli.curve import curve
from edgexfer.cli.talk import Talk
from edgexfer.errors import TrainingError
from edgexfer.progress import Progress
from edgexfer.words import people_time

if TYPE_CHECKING:
    from edgexfer.workflows.watch import Seen

HEIGHT = 5
WIDTH = 48


@click.command("watch", epilog="Example: edgexfer watch runs/student")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--interval", type=click.FloatRange(0.05), default=1.0, show_default=True, help="Seconds between two looks."
)
@common_options(seed=False, force=False)
def command(run: Path, interval: float, as_json: bool) -> None:
    """Show the training whose --out is RUN, until it ends; it need not have begun yet.

    Looking disturbs nothing: the training may run in another terminal, container or machine that shares the folder.
    """
    from edgexfer.workflows.watch import INTERRUPTED

    seen = _follow(run, interval, Talk())
    if seen.state == INTERRUPTED:
        raise TrainingError(_interrupted(seen))
    emit(seen.to_dict(), as_json, str(run))


def _follow(run: Path, interval: float, talk: Talk) -> Seen:
    """Shows what is seen, drawn over and over on a terminal and told line by line in a pipe; returns the last."""
    if talk.console.is_terminal:
        with Live(console=talk.console, auto_refresh=False) as live:
            for seen in _looks(run, interval):
                live.update(drawn(seen, talk.console), refresh=True)
        return seen
    state, epochs_done = None, -1
    for seen in _looks(run, interval):
        is_fresh = (seen.state, seen.run) != state
        if is_fresh or seen.epochs_done != epochs_done:
            for line in lines(seen, heading=is_fresh):
                talk.say(line)
        state, epochs_done = (seen.state, seen.run), seen.epochs_done
    return seen


def _looks(run: Path, interval: float) -> Iterator[Seen]:
    """What is seen, until there is nothing more to come."""
    from edgexfer.workflows.watch import FINISHED, INTERRUPTED, look

    pid = None
    while True:
        seen = look(run, pid)
        yield seen
        if seen.state in (FINISHED, INTERRUPTED):
            return
        pid = seen.progress.pid if seen.progress is not None else pid
        time.sleep(interval)


def lines(seen: Seen, *, heading: bool) -> Iterator[str]:
    """What is said in a pipe: a heading where the run or its state is another than before, and the last epoch."""
    if heading:
        best = f", best {seen.best['val_top1']:.2%} (epoch {seen.best['epoch']})" if seen.best else ""
        yield _heading(seen) + (best if seen.state == "finished" else "")
    if seen.epochs_done and seen.state == "running":
        last = seen.metrics[-1]
        yield "  ".join([f"epoch {_of(seen)}", *(f"{name} {value}" for name, value in _figures(seen, last))])


def drawn(seen: Seen, console: Console) -> Group:
    """What is drawn on a terminal."""
    parts: list[Any] = [Text(_heading(seen), style="bold", overflow="ellipsis", no_wrap=True)]
    if seen.progress is not None and seen.state == "running":
        parts.append(_bars(seen.progress))
    if seen.metrics:
        grid = Table.grid(padding=(0, 2))
        for name, value in _figures(seen, seen.metrics[-1]):
            grid.add_row(Text(name, style="dim"), Text(value))
        parts += [grid, *_curves(seen, console)]
    return Group(*parts)


def _bars(progress: Progress) -> Table:
    grid = Table.grid(padding=(0, 2))
    share = progress.step / progress.steps if progress.steps else 0
    epochs = ProgressBar(total=progress.epochs, completed=progress.epochs_done + share, width=30)
    grid.add_row(Text("epochs", style="dim"), epochs, Text(f"{progress.epochs_done} of {progress.epochs} done"))
    if progress.steps:
        steps = ProgressBar(total=progress.steps, completed=progress.step, width=30)
        speed = progress.note.partition(",")[0]
        words = ", ".join(filter(None, [f"step {progress.step} of {progress.steps}", speed]))
        grid.add_row(Text("epoch", style="dim"), steps, Text(words))
    return grid


def _curves(seen: Seen, console: Console) -> Iterator[Text]:
    """Validation accuracy by epoch, where there are two values and a terminal that can draw."""
    values = [float(line["val_top1"]) for line in seen.metrics]
    if len(values) < 2 or not console.encoding.startswith("utf"):
        return
    drawing = curve(values, max(1, min(WIDTH, console.width - 12)), HEIGHT)
    for place, line in enumerate(drawing):
        label = f"{max(values):.1%}" if place == 0 else f"{min(values):.1%}" if place == HEIGHT - 1 else ""
        yield Text.assemble((f"{label:>7} ", "dim"), (line, "cyan"))
    yield Text(f"{'':8}validation by epoch, {seen.metrics[0]['epoch']} to {seen.metrics[-1]['epoch']}", style="dim")


def _figures(seen: Seen, last: Any) -> Iterator[tuple[str, str]]:
    best = seen.best
    if "train_loss" in last:
        yield "loss", f"{last['train_loss']:.4f}"
    yield "validation", f"{last['val_top1']:.2%}"
    if best is not None:
        yield "best so far" if seen.state == "running" else "best", f"{best['val_top1']:.2%} (epoch {best['epoch']})"
    if "lr" in last:
        yield "learning rate", f"{last['lr']:.3g}"
    if "waiting_share" in last:
        yield "waiting for data", f"{last['waiting_share']:.0%}"
    left = seen.progress.left_s() if seen.progress is not None and seen.state == "running" else None
    if left is not None:
        yield "left", f"{people_time(left)} at most"


def _heading(seen: Seen) -> str:
    if seen.state == "running" and seen.progress is not None and seen.progress.state == "ending":
        return f"scoring the best weights of {seen.run}"
    words = {
        "waiting": f"waiting for a training to begin in {seen.run}",
        "running": f"training {seen.run}",
        "between": f"{', '.join(path.name for path in seen.finished)} finished; waiting for the next in {seen.run}",
        "finished": f"finished {seen.run}",
        "interrupted": f"interrupted after epoch {_of(seen)}: {seen.run}",
    }
    return words[seen.state] + (f", {seen.model}" if seen.model and seen.state == "finished" else "")


def _interrupted(seen: Seen) -> str:
    return (
        f"the training in {str(seen.run)!r} was interrupted after epoch {_of(seen)}; repeat its command with --resume"
    )


def _of(seen: Seen) -> str:
    return f"{seen.epochs_done}/{seen.progress.epochs}" if seen.progress is not None else str(seen.epochs_done)
