"""What has to be known of every picture before it is assigned to a split: its digest, its look, whether it decodes.

Reading a big folder once takes minutes, so what was found is kept under ``$EDGEXFER_CACHE`` (``~/.cache/edgexfer``),
one file a folder, keyed by each picture's path, size and times. A damaged, old or unwritable cache is ignored.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from edgexfer.data.decode import UnusableImageError, decode, quiet
from edgexfer.files import printable, write_text

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int], None]
THUMB = 16
_VERSION = 1
_CHUNK = 16  # small pictures cost less than handing them to a thread


@dataclass(frozen=True)
class Entry:
    """What is known of one picture.

    Attributes:
        digest: SHA-256 of the file, in hexadecimal; empty where it could not be read.
        thumb: Its look, ``THUMB * THUMB`` bytes of grey, row by row; empty where it could not be decoded.
        size: Upright ``(H, W)``.
        frames: More than 1 for an animation, of which the first frame counts.
        problem: Why it cannot be used; empty where it can.
    """

    digest: str
    thumb: bytes
    size: tuple[int, int]
    frames: int = 1
    problem: str = ""


def index_files(root: Path, files: Sequence[str], progress: Progress | None = None) -> list[Entry]:
    """Looks at every picture of a folder, in threads, keeping what it found for the next time.

    Args:
        root: The folder.
        files: Paths below it.
        progress: Called with how many are done and how many there are.
    """
    cache = _cache_file(root)
    known = _read_cache(cache)
    entries: list[Entry] = []
    fresh: dict[str, Any] = {}
    for name, (key, entry) in zip(files, parallel(lambda f: _look(root, f, known), files), strict=True):
        entries.append(entry)
        if not entry.problem:
            fresh[printable(name)] = _pack(key, entry)
        if progress is not None:
            progress(len(entries), len(files))
    kept = {**_of_others(root, files, known), **fresh}
    if fresh and kept != known:
        _write_cache(cache, kept)
    return entries


def thumbnail(image: Image.Image) -> bytes:
    """A picture's look: ``THUMB`` x ``THUMB`` bytes of grey."""
    return image.convert("L").resize((THUMB, THUMB), Image.Resampling.BOX).tobytes()


def parallel(work: Callable[[T], R], items: Sequence[T]) -> Iterable[R]:
    """``work`` on each item in threads, in order, with a bounded number of results waiting."""
    threads = min(8, os.cpu_count() or 1)
    if threads == 1 or len(items) < 32:
        with quiet():
            yield from map(work, items)
        return
    with quiet(), ThreadPoolExecutor(threads) as pool:
        parts = (items[a : a + _CHUNK] for a in range(0, len(items), _CHUNK))
        waiting = deque(pool.submit(_each, work, part) for part in islice(parts, 3 * threads))
        try:
            while waiting:
                yield from waiting.popleft().result()
                waiting.extend(pool.submit(_each, work, part) for part in islice(parts, 1))
        finally:
            for future in waiting:
                future.cancel()


def _each(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [work(item) for item in items]


def cache_folder() -> Path:
    """Where derived things are kept: ``$EDGEXFER_CACHE``, else ``~/.cache/edgexfer``."""
    named = os.environ.get("EDGEXFER_CACHE")
    return Path(named) if named else Path(os.path.expanduser("~")) / ".cache" / "edgexfer"


def _look(root: Path, name: str, known: Mapping[str, Any]) -> tuple[list[int], Entry]:
    path = root / name
    try:
        status = path.stat()
        key = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        entry = _unpack(key, known.get(printable(name)))
        if entry is not None:
            return key, entry
        if not stat.S_ISREG(status.st_mode):
            return key, Entry("", b"", (0, 0), 1, "is not a regular file")
        content = path.read_bytes()
    except OSError as error:
        return [], Entry("", b"", (0, 0), 1, f"cannot be read ({error.strerror}); check its permissions and the disk")
    return key, look_at(content)


def look_at(content: bytes) -> Entry:
    """Looks at the content of one picture file; call inside ``quiet()``."""
    digest = hashlib.sha256(content).hexdigest()
    try:
        image, size, frames = decode(content, thumbnail=True)
    except UnusableImageError as error:
        return Entry(digest, b"", (0, 0), 1, str(error))
    return Entry(digest, thumbnail(image), size, frames)


def _of_others(root: Path, files: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of pictures that were not asked for, such as those of another split, and are still there."""
    asked = set(map(printable, files))
    return {
        name: entry for name, entry in known.items() if name not in asked and os.path.exists(os.path.join(root, name))
    }


def _cache_file(root: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:32]
    return cache_folder() / "index" / f"{name}.json"


def _read_cache(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        value = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict) and value.get("version") == _VERSION and isinstance(value.get("files"), dict):
            return dict(value["files"])
    return {}


def _write_cache(path: Path, files: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # a read-only home or a full disk costs time on the next run, nothing else
        write_text(path, json.dumps({"version": _VERSION, "files": files}, ensure_ascii=False))


def _pack(key: list[int], entry: Entry) -> list[Any]:
    return [key, entry.digest, base64.b85encode(entry.thumb).decode("ascii"), list(entry.size), entry.frames]


def _unpack(key: list[int], packed: Any) -> Entry | None:
    """The entry, if it is whole and of the file as it is now."""
    try:
        found, digest, thumb, (height, width), frames = packed
        entry = Entry(digest, base64.b85decode(thumb), (height, width), frames)
    except (TypeError, ValueError):
        return None
    numbers = all(isinstance(n, int) and n > 0 for n in (height, width, frames))
    whole = numbers and isinstance(digest, str) and len(digest) == 64 and len(entry.thumb) == THUMB * THUMB
    return entry if whole and found == key else None
