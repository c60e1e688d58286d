"""The trace of a search: one line of JSON for each thing that was tried, written whole or not at all.

It is what an interrupted search goes on from: what stands in it is not done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgexfer.errors import RecipeError
from edgexfer.runs import read_lines, write_lines

TRACE_FILE = "trace.jsonl"


class Trace:
    """What was tried so far.

    Args:
        folder: Of the search.
        settings: What the search is about; it has to be the same when it is gone on with.

    Attributes:
        folder: As given.

    Raises:
        RecipeError: The trace that is there belongs to a search with other settings.
        FormatError: It is damaged.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self._path = folder / TRACE_FILE
        self._lines = read_lines(self._path)
        if not self._lines:
            self.add([{"step": "begin", "settings": dict(settings)}])
        before = self._lines[0].get("settings")
        if before != dict(settings):
            raise RecipeError(f"the search in {str(folder)!r} was begun otherwise: {_differences(before, settings)}")

    def add(self, lines: list[dict[str, Any]]) -> None:
        """Adds lines, all of them or none."""
        write_lines(self._path, [*self._lines, *lines])
        self._lines += lines

    def all(self, *steps: str) -> list[dict[str, Any]]:
        """Every line of these steps, in the order they were written."""
        return [line for line in self._lines if line.get("step") in steps]

    def find(self, step: str, **values: Any) -> dict[str, Any] | None:
        """The last line of a step with these values."""
        found = [line for line in self.all(step) if all(line.get(key) == value for key, value in values.items())]
        return found[-1] if found else None

    @property
    def seconds(self) -> float:
        """What everything took that was finished."""
        return sum(float(line.get("seconds", 0.0)) for line in self._lines)


def _differences(before: Any, settings: Mapping[str, Any]) -> str:
    old = before if isinstance(before, dict) else {}
    told = [f"{key} {old.get(key)!r} then, {value!r} now" for key, value in settings.items() if old.get(key) != value]
    return "; ".join(told) + "; repeat its command as it was, choose another --out, or pass --force to start again"
