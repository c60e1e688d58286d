"""What is kept under the cache folder to save time: listed, measured, cleared."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgexfer.data.index import cache_folder
from edgexfer.errors import FormatError, UnknownNameError
from edgexfer.files import read_json, remove
from edgexfer.words import counted

KINDS = {
    "teachers": "what teachers said of pictures",
    "features": "embeddings of pictures",
    "index": "what was found out about picture files",
    "pixels": "decoded pictures of a running training",
    "measured": "what was measured of this machine",
}
_OF_THE_MACHINE = "compute.json"
DAY_S = 86_400.0


@dataclass(frozen=True)
class Kept:
    """One thing in the cache.

    Attributes:
        kind: One of ``KINDS``, or the name of a folder that this version does not know.
        path: Where it lies.
        size_bytes: On the disk, holes not counted.
        changed_s: When it was last written to, in seconds since 1970.
        what: What it is, for a person.
    """

    kind: str
    path: Path
    size_bytes: int
    changed_s: float
    what: str

    def to_dict(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {**asdict(self), "path": str(self.path)}


def kept(kinds: Iterable[str] = ()) -> list[Kept]:
    """What is in the cache, by kind, the largest first; only some kinds, where any are named.

    Raises:
        UnknownNameError: A kind is none of ours, and nothing of it is there.
    """
    found, wanted = _everything(), set(kinds)
    known = dict.fromkeys([*KINDS, *(entry.kind for entry in found)])
    strangers = sorted(wanted - known.keys())
    if strangers:
        named = ", ".join(map(repr, strangers))
        raise UnknownNameError(f"nothing in the cache is of the kind {named}; allowed: {', '.join(known)}")
    return [entry for entry in found if not wanted or entry.kind in wanted]


def _everything() -> list[Kept]:
    root = cache_folder()
    if not root.is_dir():
        return []
    found = []
    for child in sorted(root.iterdir()):
        if child.is_dir():
            found += [_looked_at(child.name, path) for path in sorted(child.iterdir())]
        else:
            found.append(_looked_at("measured" if child.name == _OF_THE_MACHINE else "other", child))
    return sorted(found, key=lambda entry: (entry.kind, -entry.size_bytes, str(entry.path)))


def clear(kinds: Iterable[str] = (), older_than_days: float = 0.0) -> list[Kept]:
    """Removes what is kept, and says what that was.

    Args:
        kinds: Only these; all if empty.
        older_than_days: Only what was not written to for so long.

    Raises:
        UnknownNameError: A kind is none of ours, and nothing of it is there.
    """
    limit = time.time() - older_than_days * DAY_S
    gone = [entry for entry in kept(kinds) if not older_than_days or entry.changed_s < limit]
    for entry in gone:
        remove(entry.path)
    return gone


def _looked_at(kind: str, path: Path) -> Kept:
    size, changed = 0, 0.0
    for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
        with contextlib.suppress(OSError):  # it may vanish while it is looked at
            status = os.lstat(file)
            size += status.st_blocks * 512 if file.is_file() else 0
            changed = max(changed, status.st_mtime)
    return Kept(kind, path, size, changed, _about(kind, path))


def _about(kind: str, path: Path) -> str:
    if kind != "teachers":
        return KINDS.get(kind, "")
    try:
        about = read_json(path / "about.json", "cache of teacher outputs")
        names, views = about["names"], len(list(path.glob("view-*.bin")))
        size = f"{counted(views, 'view')} of {counted(about['images'], 'picture')}"
        return f"{names['teacher']}: {size} of {names['source']}"
    except (FormatError, KeyError, TypeError, ValueError):
        return "damaged; it is made anew when it is needed"
