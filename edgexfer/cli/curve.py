"""A small curve in a terminal, of Braille dots: two columns of four dots a character."""

from __future__ import annotations

from collections.abc import Sequence

DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))  # from the bottom up; left and right column
BLANK = 0x2800
APART = 6
"""Dots between two values, where there is room for so many."""


def curve(values: Sequence[float], width: int, height: int) -> list[str]:
    """Lines of text that draw ``values`` from left to right, the lowest at the bottom and the highest at the top.

    Args:
        values: At equal distances; straight lines between them.
        width: Characters a line, at most.
        height: Lines.

    Returns:
        ``height`` lines from the top down.
    """
    columns = min(2 * width, APART * (len(values) - 1) + 1) if values else 0
    low, high = min(values, default=0.0), max(values, default=0.0)
    cells = [[BLANK] * width for _ in range(height)]
    before = None
    for column in range(columns):
        value = _between(values, column * (len(values) - 1) / max(columns - 1, 1))
        level = round((value - low) / (high - low) * (4 * height - 1)) if high > low else 2 * height
        start = level if before is None or before == level else before + (1 if level > before else -1)
        for dot in range(min(start, level), max(start, level) + 1):
            cells[height - 1 - dot // 4][column // 2] |= DOTS[column % 2][dot % 4]
        before = level
    return ["".join(map(chr, line)).rstrip(chr(BLANK)) for line in cells]


def _between(values: Sequence[float], place: float) -> float:
    left = min(int(place), len(values) - 1)
    right = min(left + 1, len(values) - 1)
    return values[left] + (values[right] - values[left]) * (place - left)
