"""Listeners for work that is made of other work, which warns of the same again and again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgexfer.training import Listener


class Once:
    """Passes everything on, of warnings that are the same the first one.

    Args:
        listener: Who hears it.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._warned: set[str] = set()

    def say(self, text: str) -> None:
        """Passes it on."""
        self._listener.say(text)

    def warn(self, text: str) -> None:
        """Passes it on once."""
        if text not in self._warned:
            self._warned.add(text)
            self._listener.warn(text)

    def training(self, run: Path, epochs: int) -> None:
        """Passes it on."""
        self._listener.training(run, epochs)

    def begin(self, title: str, total: int) -> None:
        """Passes it on."""
        self._listener.begin(title, total)

    def advance(self, done: int, note: str) -> None:
        """Passes it on."""
        self._listener.advance(done, note)

    def end(self) -> None:
        """Passes it on."""
        self._listener.end()

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """Passes it on."""
        self._listener.epoch(metrics)


class Hushed(Once):
    """A listener for work inside other work: its bars are shown, its warnings told once, its sentences not at all."""

    def say(self, text: str) -> None:
        """Keeps it for itself."""

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """Keeps it for itself."""
