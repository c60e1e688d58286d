"""Which data a command works on, and how a run remembers it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.data import Splits, View, build_store, eval_pixels, load_splits
from edgexfer.data.named import named_sets
from edgexfer.data.scan import find_splits
from edgexfer.data.sources import DIGITS
from edgexfer.errors import DataError, FormatError
from edgexfer.export.metadata import Cut
from edgexfer.nets import source_sha256
from edgexfer.preprocessing import Preprocessing
from edgexfer.runs import Run, is_run, read_run
from edgexfer.training import Listener, Silent

_MAY_BE_KNOWN = "pictures held out now may be among those that it learned from, and scores on them too good"
_RULES = ("val_split", "test_split", "group_by", "seed")
"""What of a choice decides how the data is cut."""
_KINDS: Mapping[str, tuple[type, ...]] = {
    "source": (str,),
    **dict.fromkeys(("data_root", "group_by"), (str, type(None))),
    **dict.fromkeys(("val_split", "test_split"), (float, int)),
    "strict": (bool,),
    "seed": (int,),
}
"""What a run keeps of a choice."""


@dataclass(frozen=True)
class DataChoice:
    """What a user says of the data.

    Attributes:
        source: ``digits``, a folder, or a torchvision set by name.
        data_root: Where torchvision's sets lie.
        download: Whether a missing set may be downloaded.
        strict: Whether a single unreadable picture ends the run.
        val_split: Share of pictures held out for validation, where no folder says so.
        test_split: Share of pictures held out for the test, where no folder says so.
        group_by: Regular expression on file names; files with the same match stay on one side of a split.
        seed: Of the split.
        cut_as_said: Whether the last four are the user's word also where they are what they are without one.
    """

    source: str
    data_root: str | None = None
    download: bool = False
    strict: bool = False
    val_split: float = 0.15
    test_split: float = 0.15
    group_by: str | None = None
    seed: int = 0
    cut_as_said: bool = False

    @property
    def says_how_to_cut(self) -> bool:
        """Whether the user says how the data is cut, so that no run's way of it is to be taken."""
        return self.cut_as_said or self.rules != DataChoice(self.source).rules

    @property
    def rules(self) -> dict[str, Any]:
        """What decides how the data is cut."""
        return {name: getattr(self, name) for name in _RULES}

    def paths(self) -> list[Path]:
        """Where the pictures lie, as far as they lie in a folder that the user names."""
        is_folder = self.source not in (DIGITS, *named_sets())
        return [Path(name) for name in (self.source if is_folder else None, self.data_root) if name]

    def refuse_among_pictures(self, out: Path) -> None:
        """Refuses a place in the data's own folder where what is written would count as a class from then on.

        Raises:
            DataError: It is one.
        """
        if self.source in (DIGITS, *named_sets()):
            return
        root, place = Path(self.source).resolve(), out.resolve()
        if not root.is_dir() or root not in place.parents:
            return
        top, splits = place.relative_to(root).parts[0], find_splits(root).values()
        if not top.startswith(".") and (not splits or top in splits):
            raise DataError(
                f"{str(out)!r} lies among the pictures of {self.source!r}, where it would count as a class the next"
                " time; choose an --out elsewhere"
            )

    def load(self, listener: Listener | None = None) -> Splits:
        """The splits, see ``edgexfer.data.load_splits``; ``listener`` hears how far the looking through them is."""
        hears = Silent() if listener is None else listener

        def look(done: int, pictures: int) -> None:
            if done == 1:
                hears.begin("look at the pictures", pictures)
            hears.advance(done, "")

        try:
            return load_splits(**self._named(), progress=look)
        finally:
            hears.end()

    def _named(self) -> dict[str, Any]:
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "cut_as_said"}

    def record(self, command: str, argv: list[str]) -> dict[str, Any]:
        """How a run's recipe names the data and the command that was typed."""
        path = Path(self.source)
        place = str(path.resolve()) if path.is_dir() else None
        root = str(Path(self.data_root).resolve()) if self.data_root else None
        choice = {**self._named(), "data_root": root}
        del choice["download"]
        return {
            "command": command,
            "argv": argv,
            "data": self.source,
            "data_path": place,
            "data_root": root,
            "choice": choice,
        }


def remembered(run: Run, source: str | None = None, data_root: str | None = None) -> DataChoice:
    """The data that a run was made from, or the same rules applied to ``source``.

    Raises:
        FormatError: The run does not say, or says what cannot be read.
    """
    choice = _choice_of(run)
    if source is None:
        source = run.recipe.get("data_path") or run.recipe.get("data")
        _check_kinds({"source": source})
    choice["source"] = source
    if data_root:
        choice["data_root"] = data_root
    return DataChoice(**choice)


def _choice_of(run: Run) -> dict[str, Any]:
    """What a run's recipe keeps of the ``DataChoice`` that it was made with."""
    choice = run.recipe.get("choice")
    if not isinstance(choice, dict):
        raise FormatError(f"the run is damaged: in run.json the recipe's choice is {choice!r}; make it anew")
    _check_kinds(choice)
    return dict(choice)


def _check_kinds(choice: Mapping[str, Any]) -> None:
    odd = [
        f"the recipe's choice holds {key!r}: {str(value)[:40]!r}"
        for key, value in choice.items()
        if not isinstance(value, _KINDS.get(key, ()))
    ]
    if odd:
        raise FormatError(f"the run is damaged: in run.json {'; '.join(odd[:3])}; make it anew")


def load_remembered(run: Run, source: str | None, data_root: str | None, listener: Listener | None = None) -> Splits:
    """The splits that a run was made from, checked to be the same pictures in the same splits.

    Args:
        run: The run.
        source: Other data to take, cut by the same rules; a warning says where it is not the very same.
        data_root: Where torchvision's sets lie now.
        listener: Hears the warning, and how far it is.

    Raises:
        DataError: The pictures are gone or have changed, or hold other classes than the run knows.
    """
    try:
        splits = remembered(run, source, data_root).load(listener)
    except DataError as error:
        if source is not None:
            raise
        raise DataError(f"the data that the run was made from cannot be read: {error}; pass --data DATA") from error
    missing = sorted(set(splits.classes) ^ set(run.classes))
    if missing:
        raise DataError(f"the data and the run know different classes; only one of them has: {', '.join(missing)}")
    if splits.fingerprint != run.splits_fingerprint and source is None:
        raise DataError(
            f"the data that the run was made from, {splits.source!r}, has changed since (pictures added, removed or"
            f" replaced): {_MAY_BE_KNOWN}; put the pictures back as they were, or pass --data DATA to take these as"
            " they are"
        )
    if listener is not None:
        warn_of_known_pictures(run.splits_fingerprint, splits, listener)
    return splits


def warn_of_known_pictures(fingerprint: str, splits: Splits, listener: Listener, who: str = "the run") -> None:
    """Warns where splits are not those of the fingerprint that a run, or whoever is named, was made from."""
    if splits.fingerprint != fingerprint:
        listener.warn(f"{splits.source!r} is not, or not split as, the data that {who} was made from: {_MAY_BE_KNOWN}")


def split_as_learned(run: Run, data: DataChoice) -> DataChoice:
    """``data``, of a run's own source, cut as the run cut it; as it says itself, where it says anything of it."""
    if data.says_how_to_cut:
        return data
    choice = _choice_of(run)
    return dataclasses.replace(data, **{name: choice[name] for name in _RULES if name in choice})


def cut_of(run: Run) -> Cut:
    """How a run's data was cut, for what is exported of it."""
    return Cut(**remembered(run).rules, fingerprint=run.splits_fingerprint)


def load_as_cut(cut: Cut | None, data: DataChoice, listener: Listener) -> Splits:
    """``data``, cut as an artifact's run cut it where it is the same pictures and does not say how; else as it says."""
    if cut is None or data.says_how_to_cut or cut.rules == data.rules:
        return data.load(listener)
    with contextlib.suppress(DataError):  # such as a pattern that other pictures' names do not match
        splits = dataclasses.replace(data, **cut.rules).load(listener)
        if splits.fingerprint == cut.fingerprint:
            return splits
    return data.load(listener)


def is_of_the_same_source(run: Run, data: DataChoice) -> bool:
    """Whether a run was made from the folder, or the set, that ``data`` names; split in whatever way."""
    named = data.record("", [])
    if named["data_path"] is not None:
        return bool(run.recipe.get("data_path") == named["data_path"])
    return bool(run.recipe.get("data") == data.source)


def warn_of_changed_network(run: Run, listener: Listener) -> None:
    """Warns where the user's own network file is not the one that a run's weights learned in."""
    if run.model_sha256 is not None and run.model_sha256 != source_sha256(run.model):
        listener.warn(
            f"{run.model!r} has changed since the run learned with it: what its weights give now is another network,"
            " unless the change is one of form alone"
        )


def warn_of_another_split(start: str, role: str, data: DataChoice, splits: Splits, listener: Listener) -> None:
    """Warns where what a training starts or learns from knows the same data by another split.

    Args:
        start: A run folder or a weight file; one that is not of a run says nothing of its data.
        role: What it is, in words.
        data: The data of the training.
        splits: The same, loaded.
        listener: Hears the warning.
    """
    path = Path(start)
    folder = path if path.is_dir() else path.parent
    if not path.exists() or not is_run(folder):
        return
    try:
        run = read_run(folder)
    except FormatError:  # another program's run.json beside the weights, or a damaged one
        return
    if is_of_the_same_source(run, data) and run.splits_fingerprint != splits.fingerprint:
        listener.warn(
            f"the {role} {start!r} learned from {data.source!r} too, but from other pictures of it or another split:"
            f" {_MAY_BE_KNOWN}; pass the --seed, --val-split, --test-split and --group-by that it was made with,"
            " or make it anew"
        )


def held_out(splits: Splits) -> View:
    """The view that figures are reported on: test where there is one, else validation."""
    return splits.val if splits.test is None else splits.test


def spread_sample(view: View, count: int) -> View:
    """At most ``count`` pictures of a view, evenly over its classes and always the same ones."""
    if len(view) <= count:
        return view
    rank = np.zeros(len(view), dtype=np.int64)
    for label in np.unique(view.labels):
        members = np.flatnonzero(view.labels == label)
        rank[members] = np.arange(len(members))
    chosen = np.sort(np.lexsort((view.labels, rank))[:count])
    return take(view, chosen)


def take(view: View, indices: np.ndarray) -> View:
    """The pictures of ``view`` at ``indices``, in that order."""
    read, tie = view.read, view.tie
    return dataclasses.replace(
        view,
        files=tuple(view.files[i] for i in indices),
        labels=view.labels[indices],
        digests=tuple(view.digests[i] for i in indices),
        tie=None if tie is None else lambda: tie()[indices],
        read=lambda i: read(int(indices[i])),
    )


def in_batches(view: View, preprocessing: Preprocessing, size: int = 32) -> Iterator[np.ndarray]:
    """The input pixels of a view, uint8 ``(n, H, W, 3)``, decoded as they are asked for."""
    for start in range(0, len(view), size):
        part = take(view, np.arange(start, min(start + size, len(view))))
        yield eval_pixels(build_store(part, preprocessing), range(len(part)), preprocessing).numpy()
