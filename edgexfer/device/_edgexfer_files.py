"""Files of a bundle: found, checked, and written whole or not at all. Standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from _edgexfer_environment import DeviceError

FORMAT = 1
BUNDLE_FILE = "bundle.json"


@dataclass(frozen=True)
class Bundle:
    """A bundle folder as ``bundle.json`` describes it.

    Attributes:
        folder: Where it lies.
        edgexfer_version: The version that wrote it.
        models: Paths of its ONNX files.
        samples: ``samples.npy`` and ``labels.npy``, or ``None`` where the bundle has none.
        files: SHA-256 of every file, by its name relative to the folder.
    """

    folder: str
    edgexfer_version: str
    models: Tuple[str, ...]
    samples: Optional[Tuple[str, str]]
    files: Mapping[str, str] = field(default_factory=dict)


def is_bundle(folder: str) -> bool:
    """Whether ``folder`` holds a ``bundle.json``."""
    return os.path.isfile(os.path.join(folder, BUNDLE_FILE))


def read_bundle(folder: str) -> Bundle:
    """Reads ``bundle.json``.

    Raises:
        DeviceError: It is missing, damaged, newer than these scripts, or names files that are not there.
    """
    path = os.path.join(folder, BUNDLE_FILE)
    value = read_json(path, "bundle")
    files = value.get("files")
    if not isinstance(files, dict) or not all(isinstance(v, str) for v in files.values()):
        raise DeviceError(f"{path!r} lists no files with their SHA-256; copy the whole bundle again")
    lost = sorted(name for name in files if not os.path.isfile(os.path.join(folder, name)))
    if lost:
        raise DeviceError(f"the bundle {folder!r} is incomplete, {', '.join(lost)} missing; copy it again as a whole")
    models = tuple(os.path.join(folder, name) for name in sorted(files, key=natural) if name.endswith(".onnx"))
    samples = (os.path.join(folder, "samples.npy"), os.path.join(folder, "labels.npy"))
    has_samples = "samples.npy" in files and "labels.npy" in files
    version = str(value.get("edgexfer_version", "unknown"))
    return Bundle(folder, version, models, samples if has_samples else None, files)


def bundle_of(model: str) -> Optional[Bundle]:
    """The bundle that a model file belongs to, or ``None``."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(model)))
    if not is_bundle(folder):
        return None
    bundle = read_bundle(folder)
    return bundle if os.path.abspath(model) in {os.path.abspath(m) for m in bundle.models} else None


def find_models(targets: Sequence[str], home: str) -> List[str]:
    """The ONNX files that ``targets`` name: files, bundle folders, or nothing for the folder of the scripts.

    Raises:
        DeviceError: A target is missing or holds no model, or two are the same file.
    """
    found: List[str] = []
    for target in targets or [home]:
        if os.path.isdir(target):
            found.extend(_models_in(target))
        elif os.path.isfile(target):
            found.append(target)
        else:
            raise DeviceError(f"there is no {target!r}; name an ONNX file or a bundle folder")
    twice = sorted({m for m in found if sum(os.path.realpath(m) == os.path.realpath(o) for o in found) > 1})
    if twice:
        raise DeviceError(f"named twice: {', '.join(twice)}")
    return found


def check_digest(bundle: Bundle, path: str, sha256: str) -> None:
    """Refuses a file of a bundle whose content changed since it was written.

    Raises:
        DeviceError: The SHA-256 is not the one in ``bundle.json``.
    """
    name = os.path.relpath(os.path.abspath(path), os.path.abspath(bundle.folder)).replace(os.sep, "/")
    expected = bundle.files.get(name)
    if expected is not None and expected != sha256:
        raise DeviceError(
            f"{path!r} is not the file that the bundle was written with (SHA-256 {sha256[:12]}..., expected"
            f" {expected[:12]}...); copy the bundle again"
        )


def read_json(path: str, what: str) -> Dict[str, Any]:
    """Reads a JSON object with a format number that these scripts know.

    Raises:
        DeviceError: The file is missing, damaged or of a newer format.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            value = json.load(stream)
    except OSError as error:
        raise DeviceError(f"cannot read the {what} {path!r}: {error.strerror}") from error
    except ValueError as error:
        raise DeviceError(f"the {what} {path!r} is damaged ({error}); copy it again") from error
    if not isinstance(value, dict):
        raise DeviceError(f"the {what} {path!r} is not one of edgexfer")
    check_format(value, what, path)
    return value


def check_format(value: Mapping[str, Any], what: str, where: str) -> None:
    """Refuses what a newer edgexfer wrote.

    Raises:
        DeviceError: The format number is missing or newer.
    """
    found = value.get("format")
    if not isinstance(found, int) or isinstance(found, bool):
        raise DeviceError(f"{where!r} is not a {what} of edgexfer: it carries no format number")
    if found > FORMAT:
        writer = value.get("edgexfer_version", "a newer edgexfer")
        raise DeviceError(
            f"the {what} {where!r} has format {found}, written by edgexfer {writer}; these scripts read up to"
            f" {FORMAT}: make the bundle again with that edgexfer"
        )


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[str]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and vanishes when it does not.

    Raises:
        DeviceError: The card is full or the folder is not writable.
    """
    folder = os.path.dirname(os.path.abspath(path))
    part = ""
    try:
        handle, part = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", suffix=".part", dir=folder)
        os.close(handle)
        yield part
        _sync(part)
        os.chmod(part, 0o644)
        os.replace(part, path)
        part = ""
    except OSError as error:
        remedy = "free some space or choose another --out"
        raise DeviceError(f"cannot write {path!r}: {error.strerror}; {remedy}") from error
    finally:
        if part:
            with contextlib.suppress(OSError):
                os.unlink(part)


def write_json(path: str, value: Mapping[str, Any]) -> None:
    """Writes JSON with sorted keys, whole or not at all.

    Raises:
        DeviceError: It cannot be written.
    """
    with whole_file(path) as part, open(part, "w", encoding="utf-8") as stream:
        stream.write(json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def check_target(path: str, force: bool) -> None:
    """Refuses a target before the work is done rather than after it.

    Raises:
        DeviceError: It exists and ``force`` is off, or its folder is not there or not writable.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise DeviceError(f"{path!r} is a folder; --out names a file")
    if not os.path.isdir(folder):
        raise DeviceError(f"the folder {folder!r} is not there; make it or choose another --out")
    if os.path.exists(path) and not force:
        raise DeviceError(f"{path!r} exists already; choose another --out or pass --force to replace it")
    if not os.access(folder, os.W_OK):
        raise DeviceError(f"no permission to write in {folder!r}; choose another --out")


def sha256_file(path: str) -> str:
    """The SHA-256 of a file's content, in hexadecimal, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def natural(name: str) -> List[Tuple[int, int, str]]:
    """A sort key that puts ``"2"`` before ``"10"``."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part) for part in parts if part]


def _models_in(folder: str) -> List[str]:
    if is_bundle(folder):
        models = list(read_bundle(folder).models)
    else:
        models = [os.path.join(folder, n) for n in sorted(os.listdir(folder), key=natural) if n.endswith(".onnx")]
    if not models:
        raise DeviceError(f"{folder!r} holds no ONNX file; name one, or a bundle folder")
    return models


def _sync(path: str) -> None:
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())
