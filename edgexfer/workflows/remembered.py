"""The data, and the network, that a run remembers: taken again as they were, and told of where they are not the same.

A run, and each file exported from it, remembers how its data was cut, so that pictures that it held out stay apart from
those that it learned from.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgexfer.data import Splits
from edgexfer.errors import DataError, FormatError
from edgexfer.export.metadata import ArtifactInfo, Cut
from edgexfer.nets import source_sha256
from edgexfer.runs import Run, is_run, read_run
from edgexfer.training import Listener
from edgexfer.workflows.data import RULES, DataChoice

_MAY_BE_KNOWN = "pictures held out now may be among those that it learned from, and scores on them too good"
_KINDS: Mapping[str, tuple[type, ...]] = {
    "source": (str,),
    **dict.fromkeys(("data_root", "group_by"), (str, type(None))),
    **dict.fromkeys(("val_split", "test_split"), (float, int)),
    "strict": (bool,),
    "seed": (int,),
}
"""What a run keeps of a choice."""


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
    return dataclasses.replace(data, **{name: choice[name] for name in RULES if name in choice})


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


def learned_from(known: Run | ArtifactInfo, data: DataChoice, listener: Listener) -> bool:
    """Whether a run, or that of an artifact, was made from ``data``: from that place, or the very same pictures."""
    if isinstance(known, Run) and is_of_the_same_source(known, data):
        return True
    with contextlib.suppress(DataError, FormatError):  # such as other classes, or a run that does not say
        cut = cut_of(known) if isinstance(known, Run) else known.cut
        if cut is not None:
            return dataclasses.replace(data, **cut.rules).load(listener).fingerprint == cut.fingerprint
    return False


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
