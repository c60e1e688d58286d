"""Who hears how far a long search has come."""

from __future__ import annotations

from typing import Protocol


class Bar(Protocol):
    """A progress bar."""

    def begin(self, title: str, total: int) -> None:
        """Shows the bar."""

    def advance(self, done: int, note: str) -> None:
        """Moves it."""

    def end(self) -> None:
        """Takes it away."""


class NoBar:
    """A bar that nobody sees."""

    def begin(self, title: str, total: int) -> None:
        """Does nothing."""

    def advance(self, done: int, note: str) -> None:
        """Does nothing."""

    def end(self) -> None:
        """Does nothing."""
