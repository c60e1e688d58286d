"""How a command talks on stderr: sentences, warnings, a progress bar on a terminal, plain lines in a pipe.

Of several processes that ``torchrun`` started, one talks.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

REDRAW_S = 0.1
PIPE_WIDTH = 160


class Talk:
    """A listener that draws on stderr, and keeps a plain copy in the run's ``log.txt``.

    Args:
        log: Where the copy goes, once that folder exists; ``None`` keeps none.
        quiet: Whether nothing is said, since another process does.
        replacing: Whether the folder may hold another run, which is replaced; the copy waits for a training to begin,
            or for the command to end well, so that it neither gets into that run's file nor vanishes with it.

    Attributes:
        quiet: As given.
    """

    def __init__(self, log: Path | None = None, *, quiet: bool = False, replacing: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)
        if not self.console.is_terminal:
            self.console.width = PIPE_WIDTH  # a pipe has no width of its own; tables are not to be cut there
        self._log = None if quiet else log
        self._waits = replacing
        self._pending: list[str] = []
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._drawn = 0.0

    def __enter__(self) -> Talk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._waits = self._waits and kind is not None
        self._keep()

    def say(self, text: str) -> None:
        """Prints a sentence."""
        self._print(escape(text), text)

    def warn(self, text: str) -> None:
        """Prints a sentence that should not be overlooked."""
        self._print(f"[yellow]Warning:[/yellow] {escape(text)}", f"Warning: {text}")

    def training(self, run: Path, epochs: int) -> None:
        """Needs no word of its own: what follows says it."""
        self._waits = False

    def begin(self, title: str, total: int) -> None:
        """Shows a bar, on a terminal only."""
        self.end()
        if not self.console.is_terminal or self.quiet:
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._bar = Progress(*columns, console=self.console, transient=True, auto_refresh=False)
        self._bar.start()
        self._task = self._bar.add_task(title, total=total, note="")

    def advance(self, done: int, note: str) -> None:
        """Moves the bar, at most ten times a second."""
        if self._bar is None or self._task is None or time.monotonic() - self._drawn < REDRAW_S:
            return
        self._drawn = time.monotonic()
        self._bar.update(self._task, completed=done, note=note, refresh=True)

    def end(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """Prints the line of an epoch."""
        self.say(
            f"epoch {metrics['epoch']:>3}  loss {metrics['train_loss']:.4f}  validation {metrics['val_top1']:.2%}"
            f"  {metrics['images_per_s']:,.0f} images/s  {metrics['seconds']:.1f} s"
            f"  waiting for data {metrics['waiting_share']:.0%}"
        )

    def _print(self, markup: str, plain: str) -> None:
        self.console.print(markup)
        self._pending.append(plain)
        if self._log is not None and self._log.parent.is_dir():
            self._keep()

    def _keep(self) -> None:
        """Writes what was said; a full disk must not end a training here, or take the place of the error it says."""
        if self._log is not None and self._pending and not self._waits and self._log.parent.is_dir():
            with contextlib.suppress(OSError):
                with self._log.open("a", encoding="utf-8") as stream:
                    stream.write("".join(f"{line}\n" for line in self._pending))
                self._pending.clear()


@contextlib.contextmanager
def talking_together(log: Path, *, replacing: bool = False) -> Iterator[Talk]:
    """The talk of a command that several processes may run together; they join first, and the writer's is heard."""
    from edgexfer.training.ranks import joined

    with joined() as ranks, Talk(log, quiet=not ranks.is_writer, replacing=replacing) as talk:
        yield talk
