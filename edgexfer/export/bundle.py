"""The bundle: artifacts, labelled samples and the device's scripts, as one folder or one ``.tar.gz``.

It is written whole or not at all, and the same content gives the same bytes.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgexfer.device import bundle_files
from edgexfer.errors import DeviceError
from edgexfer.export.beside import of_another
from edgexfer.export.metadata import ArtifactInfo, read_info
from edgexfer.files import FORMAT, refuse_overwrite, remove, sha256_file, write_json
from edgexfer.preprocessing import Preprocessing
from edgexfer.version import __version__

BUNDLE_FILE = "bundle.json"
TAR_SUFFIX = ".tar.gz"


@dataclass(frozen=True)
class Samples:
    """Labelled pictures that go to the device.

    Attributes:
        pixels: uint8 ``(N, H, W, 3)``, as the artifacts take them.
        labels: int64 ``(N,)``, positions in ``classes``.
        classes: Class names in the order of the artifacts' outputs.
        files: The name of each picture, for messages.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    files: tuple[str, ...]


def write_bundle(
    artifacts: Sequence[Path],
    out: Path,
    *,
    samples: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
    files: Sequence[str],
    tar: bool = False,
    force: bool = False,
) -> Path:
    """Writes a bundle.

    Args:
        artifacts: ONNX files of ours, all with the same classes and fed with the same pictures.
        out: The folder; with ``tar`` the archive, ``.tar.gz`` is added where it lacks.
        samples: uint8 ``(N, H, W, 3)``, as the artifacts take them.
        labels: int64 ``(N,)``, positions in ``classes``.
        classes: Class names in the order of the artifacts' outputs.
        files: The name of each sample's picture.
        tar: Write one archive instead of a folder.
        force: Replace a bundle that is there.

    Returns:
        What was written.

    Raises:
        DeviceError: Artifacts and samples do not fit together, or ``out`` is something that no bundle may replace.
        FormatError: An artifact is damaged or not one of edgexfer.
        WouldOverwriteError: ``out`` exists and ``force`` is off.
    """
    given = Samples(samples, labels, tuple(classes), tuple(files))
    target = _target(out, tar, force)
    infos = _fitting(artifacts, given)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".part", dir=target.parent) as place:
        folder = Path(place) / target.name.removesuffix(TAR_SUFFIX)
        _fill(folder, artifacts, infos, given)
        _put(_packed(folder) if tar else folder, target, Path(place) / "replaced")
    return target


def _target(out: Path, tar: bool, force: bool) -> Path:
    """Where the bundle goes, once it is sure that nothing of another kind is replaced.

    Raises:
        DeviceError: The name does not suit, or another kind of file or folder is there.
        WouldOverwriteError: ``out`` exists and ``force`` is off.
    """
    target = out.absolute() if not out.name else out
    if tar and not target.name.endswith(TAR_SUFFIX):
        target = target.with_name(target.name + TAR_SUFFIX)
    if not tar and target.name.endswith(TAR_SUFFIX):
        raise DeviceError(f"{str(out)!r} is named like an archive; pass --tar to write one, or name a folder")
    refuse_overwrite(target, force)
    if tar and target.is_dir():
        raise DeviceError(f"{str(target)!r} is a folder, and an archive replaces only a file; choose another --out")
    if not tar and target.is_dir() and any(target.iterdir()) and not (target / BUNDLE_FILE).is_file():
        raise DeviceError(
            f"{str(target)!r} is a folder that holds no {BUNDLE_FILE}; --force replaces only a bundle or an empty"
            " folder: choose another --out"
        )
    return target


def _fitting(artifacts: Sequence[Path], given: Samples) -> list[ArtifactInfo]:
    """The artifacts' metadata, once they and the samples fit together; every mistake is told at once.

    Raises:
        DeviceError: They do not.
        FormatError: An artifact is damaged or not one of edgexfer.
    """
    if not artifacts:
        raise DeviceError("a bundle holds one artifact or more, and none is named; make one with edgexfer export")
    mistakes = [
        f"there is no artifact {str(path)!r}; make it with edgexfer export" for path in artifacts if not path.is_file()
    ]
    mistakes += [f"{str(p)!r} is not named like an artifact; rename it to *.onnx" for p in artifacts if _misnamed(p)]
    names = [path.name.casefold() for path in artifacts]
    twice = sorted({name for name in names if names.count(name) > 1})
    mistakes += [f"{names.count(name)} artifacts are called {name!r}; rename all but one" for name in twice]
    if mistakes:
        raise DeviceError("; ".join(mistakes))
    infos = [read_info(path) for path in artifacts]
    for path, info in zip(artifacts, infos, strict=True):
        mistakes += _strangers(path, info, artifacts[0], infos[0], given.classes)
    mistakes += of_another(artifacts, infos)
    mistakes += _misfits(given, infos[0].preprocessing.input_size)
    if mistakes:
        raise DeviceError("; ".join(mistakes))
    return infos


def _misnamed(path: Path) -> bool:
    return not path.name.endswith(".onnx")


def _strangers(path: Path, info: ArtifactInfo, first: Path, rule: ArtifactInfo, classes: tuple[str, ...]) -> list[str]:
    """Why an artifact cannot share the samples with the first one."""
    mistakes = []
    if info.classes != classes:
        mistakes.append(
            f"{str(path)!r} knows the classes {_listed(info.classes)}, the samples have {_listed(classes)};"
            " all artifacts of a bundle have the same classes in the same order: make another bundle for it"
        )
    for key in ("input_size", "resize", "crop", "interpolation"):
        mine, theirs = _rule(info.preprocessing, key), _rule(rule.preprocessing, key)
        if mine != theirs:
            mistakes.append(
                f"{str(path)!r} has {key} {mine}, {str(first)!r} has {theirs}; all artifacts of a bundle take the same"
                " pictures: make another bundle for it"
            )
    return mistakes


def _rule(preprocessing: Preprocessing, key: str) -> object:
    value = preprocessing.to_dict()[key]
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else value


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(classes[:5]) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")


def _misfits(given: Samples, size: tuple[int, int]) -> list[str]:
    """What is wrong with the samples."""
    mistakes = []
    if given.pixels.dtype != np.uint8 or given.pixels.shape[1:] != (*size, 3) or not len(given.pixels):
        mistakes.append(
            f"the samples are {given.pixels.dtype} {given.pixels.shape}; expected uint8 (N, {size[0]}, {size[1]}, 3)"
            " with one picture or more"
        )
    if given.labels.dtype.kind not in "iu" or given.labels.shape != given.pixels.shape[:1]:
        mistakes.append(
            f"the labels are {given.labels.dtype} {given.labels.shape}; expected int64 ({len(given.pixels)},)"
        )
    elif given.labels.size and not 0 <= given.labels.min() <= given.labels.max() < len(given.classes):
        mistakes.append(
            f"the labels go from {given.labels.min()} to {given.labels.max()}; allowed: 0 to {len(given.classes) - 1}"
        )
    if len(given.files) != len(given.pixels):
        mistakes.append(f"{len(given.files)} file names for {len(given.pixels)} samples; give one name a sample")
    return mistakes


def _fill(folder: Path, artifacts: Sequence[Path], infos: Sequence[ArtifactInfo], given: Samples) -> None:
    (folder / "models").mkdir(parents=True)
    for artifact in artifacts:
        shutil.copyfile(artifact, folder / "models" / artifact.name)
    np.save(folder / "samples.npy", np.ascontiguousarray(given.pixels))
    np.save(folder / "labels.npy", given.labels.astype(np.int64))
    for source in bundle_files():
        shutil.copyfile(source, folder / source.name)
        if source.read_bytes().startswith(b"#!"):
            (folder / source.name).chmod(0o755)
    inside = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    digests = {name: sha256_file(folder / name) for name in inside}
    models = [
        {"file": f"models/{path.name}", "network": info.model, "precision": info.precision}
        for path, info in zip(artifacts, infos, strict=True)
    ]
    value = {
        "format": FORMAT,
        "edgexfer_version": __version__,
        "classes": list(given.classes),
        "models": [{**model, "sha256": digests[model["file"]]} for model in models],
        "samples": list(given.files),
        "files": digests,
    }
    write_json(folder / BUNDLE_FILE, value)


def _put(made: Path, target: Path, aside: Path) -> None:
    """Moves ``made`` to ``target``; what was there comes back where that fails."""
    there = target.exists() or target.is_symlink()
    if there:
        target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        if there:
            aside.rename(target)
        raise
    remove(aside)


def _packed(folder: Path) -> Path:
    """The folder as ``.tar.gz``: sorted, without times and owners, so that the same content gives the same bytes."""
    archive = folder.with_name(folder.name + TAR_SUFFIX)
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in [folder, *sorted(folder.rglob("*"))]:
            name = path.relative_to(folder.parent).as_posix()
            tar.add(path, name, recursive=False, filter=_anonymous)
    return archive


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry
