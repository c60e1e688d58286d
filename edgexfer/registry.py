"""A named table of builders: networks, losses, data sets."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Generic, TypeVar

from edgexfer.errors import UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps names to values; refuses duplicates; an unknown name is answered with the nearest known ones.

    Args:
        kind: What the entries are, in the singular, for messages (``"network"``).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, value: T) -> None:
        """Adds ``value`` under ``name``.

        Raises:
            ValueError: ``name`` is taken.
        """
        if name in self._entries:
            raise ValueError(f"the {self.kind} {name!r} is registered already")
        self._entries[name] = value

    def __getitem__(self, name: str) -> T:
        """The value under ``name``.

        Raises:
            UnknownNameError: Nothing goes by that name; the message lists what does.
        """
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(self._unknown(name)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._entries, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
        return f"no {self.kind} is called {name!r}; {hint}known: {', '.join(self._entries)}"
