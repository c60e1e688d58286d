"""Finds runs, artifacts and results under the paths that were named, and reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgexfer.errors import EdgexferError, FormatError
from edgexfer.files import read_json
from edgexfer.report import readers
from edgexfer.report.records import Found, FoundArtifact, FoundResult, FoundRun
from edgexfer.runs import RESUME_FOLDER, RUN_FILE

DEPTH = 5
MOST_ENTRIES = 50_000
PROOF_SUFFIX = ".proof.json"
RECOMMENDED = "recommended.json"
NOT_RESULTS = (RUN_FILE, "bundle.json", RECOMMENDED)
PASSED_OVER = ("node_modules", "__pycache__", RESUME_FOLDER)


@dataclass
class _Basket:
    """What has been found so far; the same thing met twice is kept once."""

    runs: dict[Path, None] = field(default_factory=dict)
    artifacts: dict[Path, None] = field(default_factory=dict)
    results: dict[Path, None] = field(default_factory=dict)
    archives: dict[Path, None] = field(default_factory=dict)
    recommended: dict[Path, None] = field(default_factory=dict)
    named: set[Path] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Path]:
        yield from (*self.runs, *self.artifacts, *self.results, *self.archives)


def gather(paths: Sequence[Path]) -> Found:
    """Reads everything that ``paths`` name or hold.

    Args:
        paths: Run folders, result files, ``.onnx`` files, bundles (folder or ``.tar.gz``), or folders with any of
            these inside, down to ``DEPTH`` levels.

    Returns:
        What was found. What was named itself must be readable; a damaged file that a folder happens to hold becomes a
        note on the page instead.

    Raises:
        FormatError: A path does not exist, is nothing that edgexfer makes or measures, is damaged, or holds nothing.
    """
    basket = _Basket()
    for path in paths:
        _add_named(basket, Path(os.path.abspath(path)))
    if not list(basket):
        names = ", ".join(repr(str(p)) for p in paths) or "no path"
        raise FormatError(
            f"found nothing of edgexfer in {names}: no run (a folder with {RUN_FILE}), no benchmark result (.json), no"
            " .onnx file and no bundle; name one, or make one with edgexfer quickstart"
        )
    return _read_all(basket)


def _add_named(basket: _Basket, path: Path) -> None:
    if not path.exists():
        raise FormatError(f"there is no {str(path)!r}; name a run, a result (.json), an .onnx file or a folder of them")
    if path.is_dir():
        if not (path / RUN_FILE).is_file() and (path / RESUME_FOLDER).is_dir():
            raise FormatError(f"the training in {str(path)!r} has not ended; repeat its command with --resume")
        if (path / RUN_FILE).is_file():
            basket.named.add(path)
        _walk(basket, path)
        return
    basket.named.add(path)
    if path.name == RUN_FILE:
        basket.named.add(path.parent)
        basket.runs.setdefault(path.parent)
    elif path.name.endswith(PROOF_SUFFIX) and (onnx := _proven(path)).is_file():
        basket.artifacts.setdefault(onnx)
    elif not _add_file(basket, path):
        raise FormatError(
            f"{str(path)!r} is nothing that edgexfer makes or measures; allowed: a run folder, a benchmark result"
            " (.json), an .onnx file, a bundle (folder or .tar.gz), or a folder of these"
        )


def _add_file(basket: _Basket, path: Path) -> bool:
    name = path.name.lower()
    if name.endswith(".onnx"):
        basket.artifacts.setdefault(path)
    elif name.endswith((".tar.gz", ".tgz")):
        basket.archives.setdefault(path)
    elif name.endswith(".json") and not name.endswith(PROOF_SUFFIX) and path.name not in NOT_RESULTS:
        basket.results.setdefault(path)
    else:
        return False
    return True


def _walk(basket: _Basket, top: Path) -> None:
    """Looks through a folder, each of those in it on its own, so that a data set hides none of the others."""
    _look_through(basket, top, 0)
    _, folders, _ = next(os.walk(top), (top, [], []))
    for name in _looked_into(folders):
        if not (top / name).is_symlink():
            _look_through(basket, top / name, DEPTH - 1)


def _look_through(basket: _Basket, top: Path, depth: int) -> None:
    """Takes what lies in a folder, down to ``depth`` levels below it, as long as the files are not too many to read."""
    entries = 0
    for place, folders, files in os.walk(top):
        here = Path(place)
        is_deep = len(here.relative_to(top).parts) >= depth
        folders[:] = [] if is_deep else _looked_into(folders)
        entries += len(files)
        if entries > MOST_ENTRIES:
            basket.notes.append(
                f"{str(top)!r} holds more than {MOST_ENTRIES:,} files; looked through the first ones only, so name what"
                " else of it is wanted"
            )
            return
        if RUN_FILE in files:
            basket.runs.setdefault(here)
        if RECOMMENDED in files:
            basket.recommended.setdefault(here / RECOMMENDED)
        for name in sorted(files):
            if not name.startswith("."):
                _add_file(basket, here / name)


def _looked_into(folders: Sequence[str]) -> list[str]:
    return sorted(name for name in folders if not name.startswith(".") and name not in PASSED_OVER)


def _read_all(basket: _Basket) -> Found:
    root = _common_root([*basket])
    label = _labeller(root)
    runs: list[FoundRun] = []
    artifacts: dict[str, FoundArtifact] = {}
    results: dict[str, FoundResult] = {}
    for folder in basket.runs:
        _attempt(basket, folder, lambda f=folder: runs.append(readers.read_found_run(f, label(f))))  # type: ignore[misc]
    for path in basket.artifacts:
        _attempt(basket, path, lambda p=path: _keep(artifacts, [readers.read_artifact(p, label(p))]))  # type: ignore[misc]
    for path in basket.archives:
        _attempt(basket, path, lambda p=path: _keep(artifacts, readers.read_archive(p, label(p))))  # type: ignore[misc]
    for path in basket.results:
        _attempt(basket, path, lambda p=path: _keep_result(basket, results, p, label(p)))  # type: ignore[misc]
    if not (runs or artifacts or results):
        reasons = "; ".join(basket.notes) or "no file in it is a benchmark result of edgexfer"
        raise FormatError(f"found nothing of edgexfer in {str(root)!r}: {reasons}")
    advice: list[Mapping[str, Any]] = []
    for path in basket.recommended:
        _attempt(basket, path, lambda p=path: advice.append(read_json(p, "recommendation")))  # type: ignore[misc]
    found = tuple(runs), tuple(artifacts.values()), tuple(results.values())
    return Found(root, *found, tuple(basket.notes), tuple(advice))


def _attempt(basket: _Basket, path: Path, read: Callable[[], None]) -> None:
    """Reads; a failure ends the report only when ``path`` itself was named."""
    try:
        read()
    except (EdgexferError, OSError) as error:
        if path in basket.named:
            raise
        basket.notes.append(str(error))


def _keep(kept: dict[str, FoundArtifact], found: Sequence[FoundArtifact]) -> None:
    """Keeps one copy of each content: the one with a proof beside it, else the first met."""
    for artifact in found:
        there = kept.get(artifact.sha256)
        if there is None or (there.proof is None and artifact.proof is not None):
            kept[artifact.sha256] = artifact


def _keep_result(basket: _Basket, kept: dict[str, FoundResult], path: Path, label: str) -> None:
    result = readers.read_result(path, label, strict=path in basket.named)
    if result is not None:
        kept.setdefault(json.dumps(result.value, sort_keys=True), result)


def _common_root(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds every path and is none of them."""
    return Path(os.path.commonpath([str(p.parent) for p in paths]))


def _labeller(root: Path) -> Callable[[Path], str]:
    return lambda path: path.relative_to(root).as_posix()


def _proven(proof: Path) -> Path:
    return proof.with_name(proof.name.removesuffix(PROOF_SUFFIX) + ".onnx")
