"""Files that are written whole or not at all, and JSON that carries its format number."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgexfer.errors import FormatError, WouldOverwriteError

FORMAT = 1


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and vanishes when it does not.

    The content is flushed to the disk before the rename, so that a crash or a full disk leaves either the old file
    or the new one, never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes ``content`` to ``path``, whole or not at all."""
    with whole_file(path) as part:
        part.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Writes ``content`` as UTF-8 to ``path``, whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes ``value`` as indented UTF-8 JSON with sorted keys, whole or not at all."""
    write_text(path, to_json(value) + "\n")


def to_json(value: Any) -> str:
    """``value`` as JSON with sorted keys; NaN and infinities are refused, since other readers choke on them."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Reads a JSON object that carries ``"format"``.

    Args:
        path: The file.
        what: What the file is, for messages (``"run"``).

    Raises:
        FormatError: The file is missing, damaged, not an object, or of a newer format.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"cannot read the {what} {str(path)!r}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the {what} {str(path)!r} is not valid JSON ({error}); make it anew") from error
    if not isinstance(value, dict):
        raise FormatError(f"the {what} {str(path)!r} holds {type(value).__name__} where an object is expected")
    check_format(value, what, str(path))
    return value


def check_format(value: Mapping[str, Any], what: str, where: str) -> None:
    """Refuses a value of a newer format than this version reads.

    Raises:
        FormatError: ``value["format"]`` is missing or newer.
    """
    found = value.get("format")
    if not isinstance(found, int) or isinstance(found, bool):
        raise FormatError(f"{where!r} is not a {what} of edgexfer: it carries no format number")
    if found > FORMAT:
        writer = value.get("edgexfer_version", "a newer edgexfer")
        raise FormatError(
            f"the {what} {where!r} has format {found}, written by edgexfer {writer}; this version reads up to"
            f" {FORMAT}: upgrade with pip install -U edgexfer"
        )


def refuse_overwrite(path: Path, force: bool) -> None:
    """Refuses a target that exists, unless ``force``.

    Raises:
        WouldOverwriteError: ``path`` exists and ``force`` is off.
    """
    if not force and (path.exists() or path.is_symlink()):
        raise WouldOverwriteError(f"{str(path)!r} exists already; choose another --out or pass --force to replace it")


def remove(path: Path) -> None:
    """Removes a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def reserve(handle: int, size_bytes: int) -> None:
    """Makes an empty file as long as that, of zeros that are really there, so that it can be mapped.

    A full disk is then an error here, and not a crash when the mapping is written to.

    Raises:
        OSError: The disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size_bytes)
        return
    block = bytes(1 << 20)
    for start in range(0, size_bytes, len(block)):
        os.write(handle, block[: size_bytes - start])


def printable(name: str) -> str:
    """A file name that every UTF-8 file can hold: undecodable bytes are written out in hexadecimal."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Makes a rename inside ``folder`` survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
