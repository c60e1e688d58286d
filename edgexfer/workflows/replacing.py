"""What ``--force`` may replace: what a training left behind, finished or not, and nothing that the command reads."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from edgexfer.errors import FormatError, WouldOverwriteError
from edgexfer.progress import PROGRESS_FILE
from edgexfer.runs import LOG_FILE, METRICS_FILE, PREDICTIONS_FILE, WEIGHTS_FILE, is_run, read_run
from edgexfer.training.checkpoint import CHECKPOINT_FILE
from edgexfer.training.compute import COMPUTE_FILE
from edgexfer.training.leave import LAST_WEIGHTS_FILE

_FILES = {
    CHECKPOINT_FILE,
    COMPUTE_FILE,
    LAST_WEIGHTS_FILE,
    LOG_FILE,
    METRICS_FILE,
    PREDICTIONS_FILE,
    PROGRESS_FILE,
    WEIGHTS_FILE,
}
_EVENTS = "events.out.tfevents."
"""How TensorBoard's files begin."""
_SHOWN = 3


def check_replaceable(out: Path, used: Iterable[Path], *, first: str | None = None) -> None:
    """Refuses to replace ``out``, which exists, by what the command makes.

    Args:
        out: What would be removed.
        used: What the command reads.
        first: Name of the run that a folder of many things is told by, where ``out`` may be such a one.

    Raises:
        WouldOverwriteError: ``out`` is, or holds, something of ``used`` or the folder that the command runs in; or it
            is neither a run, nor what an interrupted training left, nor a folder of the runs of one command.
    """
    check_unread(out, used)
    begun = None if first is None else out / first
    if begun is not None and begun.is_dir() and any(begun.iterdir()) and _was_left_by_training(begun):
        return
    if not _was_left_by_training(out):
        ours = "a run, finished or interrupted, or the runs of one command"
        ours = ours if first is None else f"what this command left before, told by the run {first!r} in it"
        raise WouldOverwriteError(
            f"{str(out)!r} is {_described(out)}; --force replaces {ours}, and nothing else: choose another --out, or"
            " remove it yourself"
        )


def check_unread(out: Path, used: Iterable[Path]) -> None:
    """Refuses to remove ``out`` where the command reads something of it, or runs in it.

    Args:
        out: What would be removed.
        used: What the command reads.

    Raises:
        WouldOverwriteError: ``out`` is, or holds, something of ``used`` or the folder that the command runs in.
    """
    place, here = out.resolve(), Path.cwd().resolve()
    if place in (here, *here.parents):
        raise WouldOverwriteError(
            f"{str(out)!r} is or holds the folder that this command runs in, and --force would remove it; choose"
            " another --out"
        )
    for path in read_within(out, used):
        is_it = "is" if path.resolve() == place else f"holds {str(path)!r},"
        raise WouldOverwriteError(
            f"{str(out)!r} {is_it} what this command reads, and --force would remove it; choose another --out"
        )


def read_within(folder: Path, used: Iterable[Path]) -> list[Path]:
    """What of ``used`` exists and is ``folder`` or lies in it."""
    place = folder.resolve()
    return [path for path in used if path.exists() and place in (path.resolve(), *path.resolve().parents)]


def _was_left_by_training(path: Path) -> bool:
    """Whether one command left all that is there: a run whatever it holds, else files of trainings alone."""
    if not path.is_dir():
        return False
    children = list(path.iterdir())
    return is_run(path) or (
        all(_was_left_by_training(child) if child.is_dir() else _is_ours(child.name) for child in children)
        and len({_command(child) for child in children if is_run(child)}) <= 1
    )


def _command(run: Path) -> tuple[str, ...]:
    """The command that left a run, without what it says of an earlier attempt; the path of a run that is damaged."""
    try:
        words = read_run(run).recipe.get("argv", ())
    except FormatError:
        words = (str(run),)
    return tuple(str(word) for word in words if word not in ("--resume", "--force"))


def _is_ours(name: str) -> bool:
    is_half_written = name.startswith(".") and name.endswith(".part")
    return name in _FILES or is_half_written or name.startswith(_EVENTS)


def _described(path: Path) -> str:
    if not path.exists():
        return "a link that leads nowhere"
    if not path.is_dir():
        return "a file"
    names = [repr(child.name) for child in islice(path.iterdir(), _SHOWN + 1)]
    return f"a folder that holds {', '.join(sorted(names[:_SHOWN]))}{' and more' if len(names) > _SHOWN else ''}"
