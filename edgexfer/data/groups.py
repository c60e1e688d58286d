"""Pictures that belong together: exact copies, near-duplicates, and what the user's own rule ties to one another.

Two pictures are near-duplicates when both hold (``t`` is the 16 x 16 grey thumbnail):

* their 64-bit difference hashes, the signs of horizontal steps of ``t`` shrunk to 8 rows of 9, differ in at most
  ``MAX_HASH_BITS`` bits;
* ``rms(t1 - t2) <= MAX_RELATIVE_RMS * std(t1)``: the pixels agree, measured against the picture's own contrast, so
  that plain or tiny pictures (a digit on white) do not count as copies for having the same few edges.

It finds scaled, recompressed and slightly retouched copies; it does not find crops, mirror images, or the next picture
of a burst, for which there is ``group_by``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgexfer.errors import DataError

GroupBy = str | Callable[[str], str]
MAX_HASH_BITS = 6
MAX_RELATIVE_RMS = 0.08
_BLOCK = 128
_MANY = 50_000


def group_pictures(
    digests: Sequence[str], thumbs: NDArray[np.uint8], files: Sequence[str], group_by: GroupBy | None = None
) -> NDArray[np.int64]:
    """Gives each picture the number of its group, ``(N,)``; pictures of one group have to stay on one side.

    Args:
        digests: Content digest of each picture.
        thumbs: Thumbnail of each picture, ``(N, 16, 16)``.
        files: Relative name of each picture.
        group_by: A function of the relative name, or a regular expression searched in it: files with the same result
            (the first bracketed part, or the whole match) belong together; a file it does not find is on its own.

    Raises:
        DataError: ``group_by`` is not a valid regular expression.
    """
    union = _Union(len(digests))
    union.join_equal(digests)
    if group_by is not None:
        union.join_equal(_rule_keys(group_by, files))
    for first, second in near_duplicates(thumbs):
        if len(first) > _MANY // 8:  # a still camera's thousand frames are one group long before every pair is joined
            roots = union.roots()
            apart = roots[first] != roots[second]
            first, second = first[apart], second[apart]
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            union.join(one, other)
    return union.roots()


def near_duplicates(thumbs: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yields the pairs of near-duplicates, as two arrays of positions, some at a time.

    Every pair whose mean grey is close enough to qualify is compared: the pictures are sorted by it, and each is held
    against the window of those that follow closely.
    """
    flat = thumbs.reshape(len(thumbs), -1).astype(np.float32)
    mean, std = flat.mean(1), flat.std(1)
    hashes = difference_hashes(thumbs)
    order = np.argsort(mean, kind="stable")
    # |mean(a) - mean(b)| <= rms(a - b) <= MAX_RELATIVE_RMS * std, so the window misses nothing
    reach = np.searchsorted(mean[order], mean[order] + MAX_RELATIVE_RMS * std[order] + 1e-3, side="right")
    for begin in range(0, len(order), _BLOCK):
        rows = order[begin : begin + _BLOCK]
        columns = order[begin : max(int(reach[begin : begin + _BLOCK].max()), begin + len(rows))]
        bits = _bit_count(hashes[rows, None] ^ hashes[None, columns])
        near_rows, near_columns = np.nonzero(bits <= MAX_HASH_BITS)
        keep = near_rows < near_columns  # both count from ``begin``
        first, second = rows[near_rows[keep]], columns[near_columns[keep]]
        for part in range(0, len(first), _MANY):
            one, other = first[part : part + _MANY], second[part : part + _MANY]
            close = np.sqrt(np.square(flat[one] - flat[other]).mean(1)) <= MAX_RELATIVE_RMS * std[one]
            yield one[close], other[close]


def difference_hashes(thumbs: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """64-bit difference hashes ``(N,)`` of thumbnails ``(N, 16, 16)``."""
    rows = thumbs.reshape(len(thumbs), 8, 2, 16).astype(np.float32).mean(2)
    edges = np.linspace(0, 16, 10)
    columns = np.stack([_between(rows, a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)], axis=-1)
    signs = (columns[..., 1:] > columns[..., :-1]).reshape(len(thumbs), 64)
    packed: NDArray[np.uint64] = np.packbits(signs, axis=1).view(np.uint64).reshape(-1)
    return packed


def _between(rows: NDArray[np.float32], start: float, end: float) -> NDArray[np.float32]:
    """Mean of the columns from ``start`` to ``end``, fractions of a column weighted."""
    column = np.arange(rows.shape[-1])
    weight = np.clip(np.minimum(column + 1, end) - np.maximum(column, start), 0, None).astype(np.float32)
    mean: NDArray[np.float32] = rows @ (weight / weight.sum())
    return mean


def _bit_count(values: NDArray[np.uint64]) -> NDArray[np.uint8]:
    if hasattr(np, "bitwise_count"):
        counts: NDArray[np.uint8] = np.bitwise_count(values)
        return counts
    table = np.array([bin(n).count("1") for n in range(256)], dtype=np.uint8)  # numpy before 2
    counted: NDArray[np.uint8] = table[values[..., None].view(np.uint8)].sum(-1, dtype=np.uint8)
    return counted


def _rule_keys(rule: GroupBy, files: Sequence[str]) -> list[object]:
    if callable(rule):
        return [("rule", rule(name)) for name in files]
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise DataError(
            f"group_by {rule!r} is not a regular expression: {error}; for example 'patient_(\\d+)'"
        ) from None
    found = [pattern.search(name) for name in files]
    if not any(found):
        raise DataError(f"group_by {rule!r} is found in none of the {len(files)} file names, such as {files[0]!r}")
    return [("rule", m.group(1) if pattern.groups else m.group(0)) if m else ("alone", i) for i, m in enumerate(found)]


class _Union:
    """Sets that merge (union-find); the root of a set is its first member."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def join(self, first: int, second: int) -> None:
        first, second = self._find(first), self._find(second)
        self._parent[max(first, second)] = min(first, second)

    def join_equal(self, keys: Sequence[object]) -> None:
        seen: dict[object, int] = {}
        for position, key in enumerate(keys):
            self.join(seen.setdefault(key, position), position)

    def roots(self) -> NDArray[np.int64]:
        return np.array([self._find(i) for i in range(len(self._parent))], dtype=np.int64)

    def _find(self, member: int) -> int:
        while self._parent[member] != member:
            self._parent[member] = self._parent[self._parent[member]]
            member = self._parent[member]
        return member
