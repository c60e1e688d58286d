"""Embeddings kept on the card: a file of records that only ever grows, so that a kill at any moment loses nothing.

``<folder>/<first 16 of the model's SHA-256>-<first 8 of that of the maker>.embeddings``: 4096 bytes of header (JSON),
then records of one size, each ``digest (32) | thumbnail (256) | crc32 (4) | embedding (4 D)``. The digest is the
SHA-256 of the picture file. A record that a power cut tore is noticed by its checksum and made again. The maker is the
runtime, its version and the processor: after an upgrade another file is begun, and the old one stays, since its
pictures may be gone. ``<folder>/pictures.jsonl`` remembers the digest of each file by name, size and times, so that
unchanged pictures are not even read again.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import io
import json
import os
import time
import zlib
from typing import Any, Dict, Optional, Tuple

import _edgexfer_files as files
import numpy as np
from _edgexfer_environment import DeviceError, say
from _edgexfer_groups import THUMB

HEADER = 4096
SYNC_S = 2.0  # a power cut costs what was learned since, a kill nothing
SPARE = 1 << 20

Array = np.ndarray[Any, Any]
Stat = Tuple[int, int, int]


class Store:
    """The embeddings of one model.

    Attributes:
        folder: Where it lies.
        dim: D.
    """

    def __init__(self, folder: str, sha256: str, dim: int, made_by: str) -> None:
        """Opens the store of a model, or begins it.

        Args:
            folder: Made where it is not there.
            sha256: Of the model.
            dim: D.
            made_by: Runtime, version and processor; those that another one made are not mixed in, and stay.

        Raises:
            DeviceError: The folder cannot be used, or another process uses it.
        """
        self.folder, self.dim = folder, dim
        self._table: Optional[Array] = None
        self._row = np.dtype(
            [("digest", "u1", 32), ("thumb", "u1", THUMB * THUMB), ("crc", "<u4"), ("embedding", "<f4", dim)]
        )
        self._header = {"format": files.FORMAT, "artifact_sha256": sha256, "dim": dim, "made_by": made_by}
        maker = hashlib.sha256(made_by.encode()).hexdigest()
        self.path = os.path.join(folder, f"{sha256[:16]}-{maker[:8]}.embeddings")
        self._names_path = os.path.join(folder, "pictures.jsonl")
        try:
            os.makedirs(folder, exist_ok=True)
            self._stream = io.FileIO(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+")
            self._lock()
            self._rows = self._read()
            self._names = io.FileIO(self._names_path, "a")
            self._known = self._read_names()
        except OSError as error:
            raise full_or(error, self.path) from error
        self._synced = time.monotonic()

    def __contains__(self, digest: Optional[bytes]) -> bool:
        return digest in self._rows

    def made_by_others(self) -> Dict[str, str]:
        """Stores of the same model that another runtime made: their files, and who made them."""
        found: Dict[str, str] = {}
        for path in sorted(glob.glob(os.path.join(glob.escape(self.folder), "*.embeddings"))):
            with open(path, "rb") as stream:
                header = _header(stream.read(HEADER)) or {}
            if path != self.path and header.get("artifact_sha256") == self._header["artifact_sha256"]:
                found[path] = str(header.get("made_by"))
        return found

    def close(self) -> None:
        """Writes out what is not, and lets go."""
        self._names.close()
        self._stream.close()

    def known(self, path: str) -> Optional[bytes]:
        """The SHA-256 of a picture file as it was seen before, if its size and times are still the same."""
        known = self._known.get(os.path.abspath(path))
        return known[1] if known is not None and known[0] == stat_of(path) else None

    def remember(self, path: str, stat: Stat, digest: bytes) -> None:
        """Keeps the SHA-256 of a picture file.

        Raises:
            DeviceError: It cannot be written.
        """
        full = os.path.abspath(path)
        if self._known.get(full) != (stat, digest):
            self._write(self._names, json.dumps([full, *stat, digest.hex()]).encode() + b"\n")
            self._known[full] = (stat, digest)

    def add(self, digest: bytes, thumb: Array, embedding: Array) -> None:
        """Keeps an embedding ``(D,)`` and its picture's look ``(256,)``.

        Raises:
            DeviceError: It cannot be written; everything before is kept.
        """
        row = np.zeros((), self._row)
        row["digest"], row["thumb"] = np.frombuffer(digest, np.uint8), thumb
        row["embedding"] = embedding
        row["crc"] = _checksum(row)
        self._write(self._stream, row.tobytes())
        self._rows[digest] = len(self)
        self._count += 1
        if time.monotonic() - self._synced > SYNC_S:
            os.fsync(self._stream.fileno())
            self._synced = time.monotonic()

    def __len__(self) -> int:
        return self._count

    def table(self) -> Array:
        """All records, mapped from the file: fields ``digest``, ``thumb`` and ``embedding``."""
        if self._table is None or len(self._table) != len(self):  # one mapping: each has pages of its own
            empty = np.zeros(0, self._row)
            self._table = np.memmap(self.path, self._row, "r", HEADER, (len(self),)) if len(self) else empty
        return self._table

    def row_of(self, digest: bytes) -> int:
        """The number of a picture's record."""
        return self._rows[digest]

    def check_room(self, pictures: int) -> None:
        """Refuses to begin what will not fit on the card.

        Raises:
            DeviceError: It will not fit.
        """
        room = os.statvfs(self.folder)
        free, needed = room.f_bavail * room.f_frsize, pictures * (self._row.itemsize + 200) + SPARE
        if needed > free:
            raise DeviceError(
                f"the card is too full: the embeddings of {pictures} pictures need {needed / 1e6:.1f} MB in"
                f" {self.folder!r}, {free / 1e6:.1f} MB are free; free some space or name another place with --cache"
            )

    def _write(self, stream: io.FileIO, content: bytes) -> None:
        """Appends ``content`` whole or not at all."""
        end = stream.seek(0, os.SEEK_END)
        try:
            if stream.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.truncate(stream.fileno(), end)
            raise full_or(error, self.path, len(self)) from error

    def _lock(self) -> None:
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DeviceError(
                f"another adapt.py is using {self.path!r}; wait for it, or name another place with --cache"
            ) from error

    def _read(self) -> Dict[bytes, int]:
        """The records that are whole, by digest; a torn end is cut off, what is no store of ours emptied."""
        header = self._stream.read(HEADER)
        found = _header(header)
        if found != self._header:
            if header:
                say(f"note: {self.path} is damaged or of another version; beginning anew")
            os.truncate(self._stream.fileno(), 0)
            begun = json.dumps(self._header, sort_keys=True).encode()
            os.pwrite(self._stream.fileno(), begun.ljust(HEADER, b"\n"), 0)
        size = os.fstat(self._stream.fileno()).st_size
        self._count = (size - HEADER) // self._row.itemsize
        if size > HEADER + self._count * self._row.itemsize:
            os.truncate(self._stream.fileno(), HEADER + self._count * self._row.itemsize)
        return {row["digest"].tobytes(): i for i, row in enumerate(self.table()) if _checksum(row) == row["crc"]}

    def _read_names(self) -> Dict[str, Tuple[Stat, bytes]]:
        known: Dict[str, Tuple[Stat, bytes]] = {}
        with open(self._names_path, "rb") as stream:
            for line in stream:
                try:
                    name, size, changed, status, digest = json.loads(line)
                    known[str(name)] = ((int(size), int(changed), int(status)), bytes.fromhex(digest))
                except (ValueError, TypeError):  # the last line of a power cut
                    continue
        return known


def stat_of(path: str) -> Stat:
    """Size and times of a file, in bytes and nanoseconds: while they stay, so does its content.

    Raises:
        DeviceError: It cannot be read.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise DeviceError(f"{path!r} cannot be read: {error.strerror}") from error
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def full_or(error: OSError, path: str, kept: Optional[int] = None) -> DeviceError:
    """What to say of a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        saved = f"; {kept} embeddings are kept, free some space and run the same command again" if kept else ""
        return DeviceError(f"the card is full while writing {path!r}{saved or '; free some space'}")
    return DeviceError(f"cannot write {path!r}: {error.strerror}; name another place with --cache")


def _checksum(row: Any) -> int:
    return zlib.crc32(
        row["embedding"].tobytes(), zlib.crc32(row["thumb"].tobytes(), zlib.crc32(row["digest"].tobytes()))
    )


def _header(content: bytes) -> Optional[Dict[str, Any]]:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
