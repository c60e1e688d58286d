"""Pictures that belong together: exact copies, near-duplicates, and what a rule on their names ties to one another.

The look of a picture is its 16 x 16 grey thumbnail ``t``, made of the network's own pixels; free of brightness and
contrast it is a unit vector ``z = (t - mean(t)) / |t - mean(t)|``, and two pictures are near-duplicates when
``|z1 - z2|`` is at most 0.15, or 0.10 for networks that see fewer than 64 pixels a side. Plain pictures have no look.
Where looks would tie more than a quarter of all pictures together (one fixed camera), only 0.05 counts, and after that
only exact copies. These are the workstation's rules.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np
from _edgexfer_environment import DeviceError
from PIL import Image

Array = np.ndarray[Any, Any]

THUMB = 16
LIMIT, LIMIT_TINY, LIMIT_ALIKE = 0.15, 0.10, 0.05
TINY = 64
DIRECTIONS = 12
BLOCK = 256
FEW = 8
PLAIN = 1.0  # grey levels of standard deviation


def thumbnail(pixels: Array) -> Array:
    """uint8 ``(H, W, 3)`` to the look of a picture, uint8 ``(256,)``."""
    small = Image.fromarray(pixels).convert("L").resize((THUMB, THUMB), Image.Resampling.BOX)
    return np.asarray(small, np.uint8).reshape(-1)


def group(digests: Sequence[bytes], thumbs: Array, side: int, ties: Sequence[object]) -> Array:
    """The number of each picture's group, ``(N,)``.

    Args:
        digests: Of each picture's content.
        thumbs: Looks ``(N, 256)``.
        side: The shorter side of what the network sees, in pixels.
        ties: A key for each picture: equal keys belong together. ``None`` for a picture on its own.
    """
    limit = LIMIT_TINY if side < TINY else LIMIT
    different = len(set(digests))
    for tightest in (limit, LIMIT_ALIKE, -1.0):
        union = _Union(len(digests))
        union.join_equal(digests)
        for one, other in near_duplicates(thumbs, tightest) if tightest > 0 else ():
            union.join(one, other)
        roots = union.roots()
        if tightest < 0 or _largest(roots, digests) <= max(FEW, different // 4):
            break
    union.join_equal([("alone", i) if key is None else ("tied", key) for i, key in enumerate(ties)])
    return union.roots()


def rule_ties(rule: Optional[str], names: Sequence[str]) -> List[Optional[str]]:
    """What a regular expression finds in each name: its first bracketed part, or the whole match; ``None`` for nothing.

    Raises:
        DeviceError: The rule is no regular expression, or finds nothing at all.
    """
    if rule is None:
        return [None] * len(names)
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise DeviceError(
            f"--group-by {rule!r} is no regular expression: {error}; for example 'burst_(\\d+)'"
        ) from None
    found = [pattern.search(name) for name in names]
    if names and not any(found):
        raise DeviceError(f"--group-by {rule!r} is found in none of the {len(names)} names, such as {names[0]!r}")
    return [None if m is None else m.group(1) if pattern.groups else m.group(0) for m in found]


def near_duplicates(thumbs: Array, limit: float) -> Iterator[Tuple[int, int]]:
    """Pairs of pictures whose looks are at most ``limit`` apart.

    None is missed: looks are first held against each other along their principal directions, where no distance is
    longer than the true one, sorted along the first of them.
    """
    if len(thumbs) < 2:
        return
    flat = thumbs.astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    candidates = np.flatnonzero(norm[:, 0] >= PLAIN * THUMB)
    looks = flat / np.maximum(norm, np.float32(1e-6))
    centred = looks - looks.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    seen = centred @ directions[:, : -DIRECTIONS - 1 : -1]
    order = candidates[np.argsort(seen[candidates, 0], kind="stable")]
    reach = np.searchsorted(seen[order, 0], seen[order, 0] + limit + 1e-5, side="right")
    for begin in range(0, len(order), BLOCK):
        rows = order[begin : begin + BLOCK]
        columns = order[begin : int(reach[begin : begin + len(rows)].max())]
        squares = (seen[rows] ** 2).sum(1)[:, None] + (seen[columns] ** 2).sum(1) - 2 * seen[rows] @ seen[columns].T
        near, far = np.nonzero(squares <= limit**2 + 1e-5)
        first, second = rows[near[near < far]], columns[far[near < far]]
        for part in range(0, len(first), 1 << 14):
            one, other = first[part : part + (1 << 14)], second[part : part + (1 << 14)]
            close = np.linalg.norm(looks[one] - looks[other], axis=1) <= limit
            yield from zip(one[close].tolist(), other[close].tolist())


def _largest(roots: Array, digests: Sequence[bytes]) -> int:
    """Different contents in the largest group."""
    contents = {digest: int(root) for digest, root in zip(digests, roots)}
    return int(np.bincount(np.array(list(contents.values()), np.int64)).max()) if contents else 0


class _Union:
    """Sets that merge (union-find); the root of a set is its first member."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def join(self, first: int, second: int) -> None:
        first, second = self._find(first), self._find(second)
        self._parent[max(first, second)] = min(first, second)

    def join_equal(self, keys: Iterable[object]) -> None:
        seen: Dict[object, int] = {}
        for position, key in enumerate(keys):
            self.join(seen.setdefault(key, position), position)

    def roots(self) -> Array:
        return np.array([self._find(i) for i in range(len(self._parent))], np.int64)

    def _find(self, member: int) -> int:
        while self._parent[member] != member:
            self._parent[member] = self._parent[self._parent[member]]
            member = self._parent[member]
        return member
