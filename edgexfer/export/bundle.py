"""The bundle: everything a device needs, in one folder or one ``.tar.gz``, written whole or not at all."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgexfer.device import bundle_files
from edgexfer.errors import DeviceError
from edgexfer.export.metadata import ArtifactInfo, read_info
from edgexfer.files import FORMAT, refuse_overwrite, remove, sha256_file, write_json
from edgexfer.version import __version__

BUNDLE_FILE = "bundle.json"
TAR_SUFFIX = ".tar.gz"
EXECUTABLE = (".sh", "bench.py", "predict.py", "adapt.py")


def write_bundle(
    artifacts: Sequence[Path],
    out: Path,
    *,
    samples: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    files: Sequence[str],
    tar: bool = False,
    force: bool = False,
) -> Path:
    """Writes a bundle.

    Args:
        artifacts: ONNX files of ours, all of the same classes and input size.
        out: The folder, or the archive's name (``.tar.gz`` is added where it lacks).
        samples: Labelled pictures, uint8 ``(N, H, W, 3)``.
        labels: int64 ``(N,)``, positions in ``classes``.
        classes: Class names in the order of the outputs.
        files: Name of each sample, for messages.
        tar: Whether to write one archive instead of a folder.
        force: Whether to replace what is there.

    Returns:
        What was written.

    Raises:
        DeviceError: The artifacts or the samples do not fit together.
        WouldOverwriteError: ``out`` exists and ``force`` is off.
    """
    infos = _fitting(artifacts, samples, labels, classes)
    target = out.with_name(out.name + TAR_SUFFIX) if tar and not out.name.endswith(TAR_SUFFIX) else out
    refuse_overwrite(target, force)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as place:
        folder = Path(place) / target.name.removesuffix(TAR_SUFFIX)
        _fill(folder, artifacts, infos, samples, labels, classes, files)
        made = _packed(folder) if tar else folder
        remove(target)
        made.rename(target)
    return target


def _fitting(
    artifacts: Sequence[Path], samples: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> list[ArtifactInfo]:
    mistakes = []
    if not artifacts:
        raise DeviceError("a bundle needs at least one ONNX file")
    infos = [read_info(path) for path in artifacts]
    names = [path.name for path in artifacts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        mistakes.append(f"two files are called {', '.join(twice)}; rename one")
    for name, info in zip(names, infos, strict=True):
        if tuple(info.classes) != tuple(classes):
            mistakes.append(f"{name} knows other classes than the samples")
        if info.preprocessing != infos[0].preprocessing:
            mistakes.append(f"{name} is fed otherwise than {names[0]}; make a bundle of its own")
    height, width = infos[0].preprocessing.input_size
    if samples.dtype != np.uint8 or samples.shape[1:] != (height, width, 3) or len(samples) != len(labels):
        mistakes.append(
            f"samples are {samples.dtype} {samples.shape} with {len(labels)} labels;"
            f" expected uint8 (N, {height}, {width}, 3)"
        )
    if mistakes:
        raise DeviceError("; ".join(mistakes))
    return infos


def _fill(
    folder: Path,
    artifacts: Sequence[Path],
    infos: Sequence[ArtifactInfo],
    samples: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    files: Sequence[str],
) -> None:
    (folder / "models").mkdir(parents=True)
    for artifact in artifacts:
        shutil.copyfile(artifact, folder / "models" / artifact.name)
    np.save(folder / "samples.npy", np.ascontiguousarray(samples))
    np.save(folder / "labels.npy", np.asarray(labels, dtype=np.int64))
    for script in bundle_files():
        copied = folder / script.name
        shutil.copyfile(script, copied)
        copied.chmod(0o755 if script.name.endswith(EXECUTABLE) else 0o644)
    inside = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    value = {
        "format": FORMAT,
        "edgexfer_version": __version__,
        "classes": list(classes),
        "models": [
            {"file": f"models/{path.name}", "precision": info.precision, "network": info.model}
            for path, info in zip(artifacts, infos, strict=True)
        ],
        "samples": list(files),
        "files": {name: sha256_file(folder / name) for name in inside},
    }
    write_json(folder / BUNDLE_FILE, value)


def _packed(folder: Path) -> Path:
    """The folder as ``.tar.gz``; the same content gives the same bytes."""
    archive = folder.with_name(folder.name + TAR_SUFFIX)
    with archive.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path in sorted(folder.rglob("*")):
                tar.add(path, f"{folder.name}/{path.relative_to(folder)}", recursive=False, filter=_anonymous)
    return archive


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry
