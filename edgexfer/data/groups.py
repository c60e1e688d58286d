"""Pictures that belong together: exact copies, near-duplicates, and what the user's own rule ties to one another.

The look of a picture is its 16 x 16 grey thumbnail ``t``; free of brightness and contrast it is a unit vector

    z = (t - mean(t)) / |t - mean(t)|

and two pictures are near-duplicates when ``|z1 - z2| <= 0.15``, a correlation of 0.989 or more; when ``<= 0.1`` (0.995)
if one of them has fewer than 64 pixels a side, since a thumbnail shows all there is of a tiny picture. Plain pictures
have no look and count by content alone.

So are found scaled, recompressed, brightened and slightly retouched copies; crops, mirror images and the next picture
of a burst are not, for which there is ``group_by``. The nearest *different* pictures of real sets lie at 0.26
(clothing) to 0.40 (flowers), of tiny ones at 0.11 (digits, MNIST) to 0.21 (CIFAR-10).

Pictures of one fixed camera can all look alike. Where near-duplicates would tie more than a quarter of all pictures
into one group, only the tighter limit 0.05 counts, and after that only exact copies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexfer.errors import DataError

GroupBy = str | Callable[[str], str]
LIMIT = 0.15
LIMIT_TINY = 0.10
LIMIT_ALIKE = 0.05
TINY = 64
_DIRECTIONS = 12
_BLOCK = 256
_MANY = 50_000
_FEW = 8
_PLAIN = 1.0  # grey levels of standard deviation

Group = NDArray[np.int64]


@dataclass(frozen=True)
class Grouping:
    """Which pictures belong together.

    Attributes:
        groups: Group number of each picture, ``(N,)``.
        alike: Whether so many pictures look alike that looks were not, or hardly, used.
    """

    groups: Group
    alike: bool = False


def group_pictures(
    digests: Sequence[str],
    thumbs: NDArray[np.uint8],
    sides: NDArray[np.int64],
    files: Sequence[str],
    group_by: GroupBy | None = None,
) -> Grouping:
    """Gives each picture the number of its group; pictures of one group have to stay on one side.

    Args:
        digests: Content digest of each picture.
        thumbs: Thumbnail of each picture, ``(N, 16, 16)``.
        sides: Pixels of each picture's shorter side, ``(N,)``.
        files: Relative name of each picture.
        group_by: A function of the relative name, or a regular expression searched in it: files with the same result
            (the first bracketed part, or the whole match) belong together; a file it does not find is on its own.

    Raises:
        DataError: ``group_by`` is not a valid regular expression, or finds nothing.
    """
    numbers = {digest: number for number, digest in enumerate(dict.fromkeys(digests))}
    content = np.array([numbers[d] for d in digests], dtype=np.int64)
    limits = np.where(sides < TINY, LIMIT_TINY, LIMIT).astype(np.float32)
    rule = None if group_by is None else rule_keys(group_by, files)
    for alike, tightest in enumerate((LIMIT, LIMIT_ALIKE)):
        looks = _join_looks(content, thumbs, np.minimum(limits, np.float32(tightest)))
        if _largest(looks, content) <= max(_FEW, len(numbers) // 4):
            return Grouping(_tied(looks, rule), alike=bool(alike))
    return Grouping(_tied(content, rule), alike=True)


def near_duplicates(thumbs: NDArray[np.uint8], limits: NDArray[np.float32]) -> Iterator[tuple[Group, Group]]:
    """Yields the pairs of near-duplicates, as two arrays of positions, some at a time.

    No pair is missed: ``z`` is first seen along its own principal directions, where no distance is longer than the true
    one. Pictures are sorted along the first and held against the window that follows, then along a dozen, then wholly.

    Args:
        thumbs: ``(N, 16, 16)``.
        limits: Greatest distance of each picture from another; of a pair, the smaller one counts.
    """
    looks, plain = _unit_looks(thumbs)
    if len(looks) < 2:
        return
    centred = looks - looks.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    seen = centred @ directions[:, : -_DIRECTIONS - 1 : -1]
    candidates = np.flatnonzero(~plain)
    order = candidates[np.argsort(seen[candidates, 0], kind="stable")]
    reach = np.searchsorted(seen[order, 0], seen[order, 0] + limits[order] + 1e-5, side="right")
    farthest = float(limits.max()) ** 2 + 1e-5
    for begin in range(0, len(order), _BLOCK):
        rows = order[begin : begin + _BLOCK]
        columns = order[begin : int(reach[begin : begin + len(rows)].max())]
        near_rows, near_columns = np.nonzero(_squared(seen[rows], seen[columns]) <= farthest)
        keep = near_rows < near_columns  # both count from ``begin``
        first, second = rows[near_rows[keep]], columns[near_columns[keep]]
        for part in range(0, len(first), _MANY):
            one, other = first[part : part + _MANY], second[part : part + _MANY]
            distance = np.linalg.norm(looks[one] - looks[other], axis=1)
            close = distance <= np.minimum(limits[one], limits[other])
            yield one[close], other[close]


def _unit_looks(thumbs: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """``z`` of each thumbnail, ``(N, 256)``, and which of them are plain."""
    flat = thumbs.reshape(len(thumbs), thumbs.shape[1] * thumbs.shape[2]).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    plain: NDArray[np.bool_] = norm[:, 0] < _PLAIN * np.sqrt(flat.shape[1])
    looks: NDArray[np.float32] = flat / np.maximum(norm, np.float32(1e-6))
    return looks, plain


def _squared(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distances of all pairs, ``(len(first), len(second))``."""
    squares: NDArray[np.float32] = (
        np.square(first).sum(1)[:, None] + np.square(second).sum(1)[None, :] - 2 * (first @ second.T)
    )
    return squares


def _join_looks(content: Group, thumbs: NDArray[np.uint8], limits: NDArray[np.float32]) -> Group:
    """Groups by content and look."""
    _, kept = np.unique(content, return_index=True)  # one of each content
    union = _Union(len(kept))
    for first, second in near_duplicates(thumbs[kept], limits[kept]):
        if len(first) > _MANY // 8:  # a thousand frames are one group long before every pair is joined
            roots = union.roots()
            apart = roots[first] != roots[second]
            first, second = first[apart], second[apart]
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            union.join(one, other)
    return union.roots()[content]


def _largest(looks: Group, content: Group) -> int:
    """Different contents in the largest group."""
    _, kept = np.unique(content, return_index=True)
    return int(np.bincount(looks[kept]).max(initial=0))


def _tied(groups: Group, rule: Sequence[object] | None) -> Group:
    """The groups, joined further by the user's rule."""
    if rule is None:
        return groups
    union = _Union(len(groups))
    union.join_equal(groups.tolist())
    union.join_equal(rule)
    return union.roots()


def rule_keys(rule: GroupBy, files: Sequence[str]) -> list[object]:
    """What the user's rule says of each file: those with equal keys belong together.

    Raises:
        DataError: The rule is not a valid regular expression, or finds nothing.
    """
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

    def roots(self) -> Group:
        return np.array([self._find(i) for i in range(len(self._parent))], dtype=np.int64)

    def _find(self, member: int) -> int:
        while self._parent[member] != member:
            self._parent[member] = self._parent[self._parent[member]]
            member = self._parent[member]
        return member
