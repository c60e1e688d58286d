"""A progress line on stderr: rewritten in place on a terminal, now and then a line of its own in a pipe."""

from __future__ import annotations

import sys
import time
from typing import Optional

TERMINAL_S = 0.2
PIPE_S = 10.0


class Progress:
    """Tells how far something is, how fast it goes and how long it will take.

    Args:
        what: ``"pictures"``.
        total: How many there are; ``None`` where nobody knows.
    """

    def __init__(self, what: str, total: Optional[int] = None) -> None:
        self._what, self._total = what, total
        self._terminal = sys.stderr.isatty()
        self._begun = self._told = time.monotonic()
        self._open = False

    def __call__(self, done: int, note: str = "") -> None:
        """Tells that ``done`` are done, if it is time to."""
        now = time.monotonic()
        if now - self._told < (TERMINAL_S if self._terminal else PIPE_S):
            return
        self._told = now
        text = self._line(done, now - self._begun) + (f", {note}" if note else "")
        sys.stderr.write(f"\r\x1b[K{text}" if self._terminal else text + "\n")
        sys.stderr.flush()
        self._open = self._terminal

    def end(self) -> None:
        """Takes the line away."""
        if self._open:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._open = False

    def _line(self, done: int, seconds: float) -> str:
        rate = done / seconds if seconds > 0 else 0.0
        of = f" of {self._total}" if self._total is not None else ""
        left = ""
        if self._total is not None and rate > 0:
            rest = (self._total - done) / rate
            left = f", {rest / 60:.0f} min left" if rest > 90 else f", {rest:.0f} s left"
        return f"{done}{of} {self._what}, {rate:.3g} a second{left}"
