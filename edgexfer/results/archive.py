"""A bundle that is one archive: the one way in which it is unpacked."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from pathlib import Path

from edgexfer.errors import DeviceError

BUNDLE_FILE = "bundle.json"
ARCHIVES = (".tar.gz", ".tgz", ".tar")


def bundle_folder(bundle: Path, place: Path) -> Path:
    """The folder of a bundle; of one that is packed, what it holds is unpacked into ``place``.

    Raises:
        DeviceError: It is packed, and damaged or no bundle.
    """
    if not (bundle.is_file() and bundle.name.lower().endswith(ARCHIVES)):
        return bundle
    unpack(bundle, place)
    found = sorted(path.parent for path in place.glob(f"*/{BUNDLE_FILE}"))
    if not found:
        raise DeviceError(f"{str(bundle)!r} is no bundle; make one with edgexfer bundle --tar")
    return found[0]


def unpack(archive: Path, place: Path) -> None:
    """Unpacks an archive; nothing of it gets outside ``place``.

    Raises:
        DeviceError: It is damaged.
    """
    try:
        with tarfile.open(archive) as packed:
            packed.extractall(place, filter="data")
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        why = str(error).partition("\n")[0].rstrip(":")
        raise DeviceError(f"{str(archive)!r} is damaged ({why}); make it again with edgexfer bundle --tar") from error
