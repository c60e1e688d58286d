"""The page's building blocks: tables and figures, as plain values that the template lays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: The row's heading.
        cells: One for each further column: a ``Value``, text, or ready markup.
        note: Small print below the name.
        tag: A word beside the name (``teacher``, ``student``).
        colour: Position in the page's colours, or ``None``.
        is_quiet: Whether the row is set back.
        is_part: Whether the row belongs to the one above it.
    """

    name: str
    cells: Sequence[Any]
    note: Any = ""
    tag: str = ""
    colour: int | None = None
    is_quiet: bool = False
    is_part: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: What it shows; also read by screen readers.
        heads: Column headings; the first is that of the row names.
        rows: From top to bottom.
        words: Positions of columns that hold words and so stand left, from 1.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Row]
    words: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Key:
    """An entry of a figure's legend."""

    name: str
    colour: int


@dataclass(frozen=True)
class Figure:
    """A drawing with its words.

    Attributes:
        title: Heading.
        caption: What to see, and what it was drawn from.
        wide: The drawing; for every width when ``narrow`` is ``None``.
        narrow: The drawing for a phone.
        table: The same values in figures.
        keys: The legend.
    """

    title: str
    caption: Any
    wide: Markup
    narrow: Markup | None = None
    table: Table | None = None
    keys: Sequence[Key] = ()


@dataclass(frozen=True)
class Tile:
    """A large number with its meaning."""

    label: str
    value: Any
    note: Any
