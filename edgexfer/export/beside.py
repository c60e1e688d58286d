"""What lies beside a float32 artifact: its int8 form and plan, or those of a file that it has replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgexfer.errors import FormatError, QuantizationError
from edgexfer.export.metadata import ArtifactInfo, read_info
from edgexfer.export.plan import read_plan
from edgexfer.export.request import Files
from edgexfer.files import sha256_file


def remove_strangers(
    files: Files, content: bytes, digest: str | None, say: Callable[[str], None], *, read: Sequence[Path | None] = ()
) -> None:
    """Removes the int8 file and the plan that an earlier export left, where they are of another float32 file.

    Those of other programs, and damaged ones, stay.

    Args:
        files: Everything that an export may write.
        content: The float32 file as it is now.
        digest: What its metadata says of it; ``None`` where it says nothing.
        say: Told what is removed.
        read: What the export itself reads, which stays.
    """
    gone = []
    parent, planned = _parent_of(files.int8), _planned_for(files.plan)
    if parent is not None and parent != hashlib.sha256(content).hexdigest():
        gone.append(files.int8)
    if planned is not None and planned != digest:
        gone.append(files.plan)
    gone = [path for path in gone if not any(is_same(path, one) for one in read)]
    for path in gone:
        path.unlink()
    if gone:
        names = " and ".join(path.name for path in gone)
        say(f"removed {names}, made of the {files.float32.name} that was here before")


def is_same(path: Path, other: Path | None) -> bool:
    """Whether two paths, the second perhaps not given, name one file."""
    return other is not None and path.resolve() == other.resolve()


def of_another(artifacts: Sequence[Path], infos: Sequence[ArtifactInfo]) -> list[str]:
    """A sentence for each int8 file that is named like a float32 one and was made of none of those that are given."""
    known: Mapping[str, Path] = {
        path.name: path for path, info in zip(artifacts, infos, strict=True) if info.precision == "float32"
    }
    made = {sha256_file(path) for path in known.values()}
    told = []
    for path, info in zip(artifacts, infos, strict=True):
        twin = known.get(path.name.replace(".int8.onnx", ".onnx"))
        if info.precision == "int8" and twin is not None and info.parent_sha256 not in made:
            told.append(
                f"{str(path)!r} was quantized from {info.parent_sha256[:12]}, not from {str(twin)!r}: make it anew with"
                " edgexfer export --int8 --force, or leave it out"
            )
    return told


def _parent_of(path: Path) -> str | None:
    try:
        info = read_info(path)
    except FormatError:  # missing, damaged or of another program
        return None
    return info.parent_sha256 if info.precision == "int8" else None


def _planned_for(path: Path) -> str | None:
    try:
        return read_plan(path).artifact_digest
    except (FormatError, QuantizationError):
        return None
