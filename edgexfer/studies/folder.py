"""What a study leaves in its folder, and what it may replace there: what a study left, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Any

from edgexfer.errors import FormatError, WouldOverwriteError
from edgexfer.files import read_json, remove
from edgexfer.workflows.replacing import read_within

STUDY_FILE, PAGE_FILE = "study.json", "study.html"
SEEDS_FOLDER, WORK_FOLDER = "seeds", "work"
IDENTITY_FILE = "identity.json"


def check_folder(out: Path, seeds: Sequence[int], *, force: bool, used: Iterable[Path]) -> None:
    """Refuses a folder in which a study would remove or write over what no study left, or what it reads.

    Args:
        out: The study's folder.
        seeds: Those that are measured.
        force: Whether all seeds that are there are replaced.
        used: What the command reads.

    Raises:
        WouldOverwriteError: Something there is another's, or holds something of ``used`` or the folder that the
            command runs in.
    """
    used = [*used, Path.cwd()]
    for path, is_own in _replaced(out, seeds, force):
        if not is_own(path):
            raise WouldOverwriteError(
                f"{str(path)!r} was not left by a study; a study replaces what a study left, and nothing else: choose"
                " another --out, or remove it yourself"
            )
        for held in read_within(path, used):
            raise WouldOverwriteError(
                f"{str(path)!r} would be replaced, and {str(held)!r} in it is what this command reads or runs in;"
                " choose another --out"
            )


def make_room(out: Path) -> None:
    """Removes a study; called when all that can be refused has been."""
    for name in (SEEDS_FOLDER, WORK_FOLDER, STUDY_FILE, PAGE_FILE):
        remove(out / name)


def _replaced(out: Path, seeds: Sequence[int], force: bool) -> list[tuple[Path, Callable[[Path], bool]]]:
    """What is there of all that a study replaces, each with what tells whether a study left it."""
    needed = {f"{seed}" for seed in seeds}
    paths: list[tuple[Path, Callable[[Path], bool]]] = [
        *((path, _is_work) for path in _within(out / WORK_FOLDER, None if force else needed)),
        *((path, _is_seed) for path in _within(out / SEEDS_FOLDER, None if force else set())),
        (out / STUDY_FILE, _is_study),
        (out / PAGE_FILE, lambda page: _is_study(page.with_name(STUDY_FILE))),
    ]
    return [(path, is_own) for path, is_own in paths if path.exists() or path.is_symlink()]


def _within(folder: Path, names: Container[str] | None) -> list[Path]:
    """What lies in a folder by these names, or by any; itself, where it is none."""
    if not folder.is_dir():
        return [folder]
    return [path for path in sorted(folder.iterdir()) if names is None or path.name in names]


def _is_seed(path: Path) -> bool:
    return _is_half_written(path) or (path.suffix == ".json" and path.stem.isdecimal() and _has_identity(path))


def _is_work(path: Path) -> bool:
    """Whether it is a seed's folder for runs; one that is empty holds nothing that could be lost."""
    if not (path.is_dir() and path.name.isdecimal()):
        return False
    return _has_identity(path / IDENTITY_FILE) or all(_is_half_written(child) for child in path.iterdir())


def _is_study(path: Path) -> bool:
    return isinstance(_content(path).get("study"), str)


def _has_identity(path: Path) -> bool:
    identity = _content(path).get("identity")
    return isinstance(identity, dict) and "study" in identity


def _is_half_written(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".part")


def _content(path: Path) -> dict[str, Any]:
    """What a JSON file of ours holds; nothing where it is none."""
    try:
        return read_json(path, "study")
    except FormatError:
        return {}
