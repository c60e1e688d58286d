"""What a training tells while it runs; the command line draws it, a library user may ignore it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class Listener(Protocol):
    """Hears what happens. Every method may be called often; none returns anything."""

    def say(self, text: str) -> None:
        """A sentence for the person, already final."""

    def warn(self, text: str) -> None:
        """A sentence that the person should not overlook."""

    def training(self, run: Path, epochs: int) -> None:
        """A training starts, or goes on, in the run folder ``run``; the epochs told from now on are its."""

    def begin(self, title: str, total: int) -> None:
        """A piece of work of ``total`` units starts."""

    def advance(self, done: int, note: str) -> None:
        """``done`` units of the current piece of work are done; ``note`` says how it goes."""

    def end(self) -> None:
        """The current piece of work has ended, well or not."""

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """An epoch has ended with these metrics, the line that ``metrics.jsonl`` got."""


class Silent:
    """A listener that keeps quiet."""

    def say(self, text: str) -> None:
        """Ignores it."""

    def warn(self, text: str) -> None:
        """Ignores it."""

    def training(self, run: Path, epochs: int) -> None:
        """Ignores it."""

    def begin(self, title: str, total: int) -> None:
        """Ignores it."""

    def advance(self, done: int, note: str) -> None:
        """Ignores it."""

    def end(self) -> None:
        """Ignores it."""

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """Ignores it."""


class Several:
    """Tells all of several listeners, in their order."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)

    def say(self, text: str) -> None:
        """Tells all."""
        for one in self._listeners:
            one.say(text)

    def warn(self, text: str) -> None:
        """Tells all."""
        for one in self._listeners:
            one.warn(text)

    def training(self, run: Path, epochs: int) -> None:
        """Tells all."""
        for one in self._listeners:
            one.training(run, epochs)

    def begin(self, title: str, total: int) -> None:
        """Tells all."""
        for one in self._listeners:
            one.begin(title, total)

    def advance(self, done: int, note: str) -> None:
        """Tells all."""
        for one in self._listeners:
            one.advance(done, note)

    def end(self) -> None:
        """Tells all."""
        for one in self._listeners:
            one.end()

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """Tells all."""
        for one in self._listeners:
            one.epoch(metrics)
