"""Pictures: those left out are told, the others decoded once and, alone or with several processes, asked about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from edgexfer.data import LiveStore, Loader, PixelStore, Splits, View, build_store, room_for, share_store
from edgexfer.errors import TrainingError
from edgexfer.preprocessing import Preprocessing
from edgexfer.training.listener import Listener
from edgexfer.training.ranks import ALONE, Ranks
from edgexfer.training.scoring import Predictions, predict
from edgexfer.words import counted, people_size

EVAL_BATCH = 64
NAMED = 10
"""Pictures left out that are named, at most; the others are counted."""


def tell_of(splits: Splits, listener: Listener) -> None:
    """Says what is to be known of a data set: its notes, and the pictures that cannot be used."""
    for note in splits.notes:
        listener.say(note)
    warn_of_left_out(splits.skipped, listener)


def warn_of_left_out(skipped: Sequence[tuple[str, str]], listener: Listener) -> None:
    """Names the pictures that cannot be used, each with its reason and what to do."""
    for file, reason in skipped[:NAMED]:
        listener.warn(f"left out {file}: {reason}")
    if len(skipped) > NAMED:
        listener.warn(f"... and {counted(len(skipped) - NAMED, 'more picture')} left out")


class Decoded:
    """The pictures that were decoded last, a store for each split, for further trainings of the same command.

    No more than that is kept: a store that does not serve goes before another one is made.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[str, ...], PixelStore]] = {}
        self._told: list[tuple[Sequence[str], Sequence[tuple[str, str]]]] = []

    def tell_of(self, splits: Splits, listener: Listener) -> None:
        """Says what is to be known of a data set, the same only once."""
        about = (splits.notes, splits.skipped)
        if about not in self._told:
            self._told.append(about)
            tell_of(splits, listener)

    def store(self, view: View, preprocessing: Preprocessing, listener: Listener, ranks: Ranks = ALONE) -> PixelStore:
        """The pictures of a view, decoded unless the last ones of its name are the same by the same resize rule."""
        digests, store = self._kept.pop(view.name, ((), None))
        if store is None or digests != view.digests or not store.same_rule(preprocessing):
            del store
            store = decoded(view, preprocessing, listener, ranks)
        self._kept[view.name] = (view.digests, store)
        return store


def predict_view(
    net: nn.Module,
    view: View,
    store: PixelStore,
    preprocessing: Preprocessing,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> Predictions:
    """What ``net`` says of a view's pictures, in their order; several processes share the work, and all know it."""
    part = (ranks.rank, ranks.count)
    loader = Loader(store, view.labels, preprocessing, EVAL_BATCH, train=False, seed=0, mirrors=False, part=part)
    if not ranks.are_several:
        return predict(net, loader, device)
    batches = -(-len(view) // EVAL_BATCH)
    mine = list(ranks.gathered(predict(net, loader, device).logits if ranks.rank < batches else None))
    order = np.arange(len(view)) // EVAL_BATCH % ranks.count  # who said what
    logits = np.empty((len(view), next(part.shape[1] for part in mine if part is not None)), np.float32)
    for rank, said in enumerate(mine):
        if said is not None:
            logits[order == rank] = said
    return Predictions(logits, np.array(view.labels))


def decoded(view: View, preprocessing: Preprocessing, listener: Listener, ranks: Ranks = ALONE) -> PixelStore:
    """Decodes and resizes the pictures of a view once, also for all processes on a machine.

    Where they would not fit on the disk they are decoded whenever they are asked for, which is said.
    """
    room = room_for(view, preprocessing) if ranks.local_rank == 0 else None
    scarce = next((room for room in ranks.gathered(room) if room is not None and not room.is_enough), None)
    if scarce is not None:
        listener.warn(
            f"the {counted(len(view), 'picture')} of {view.name} would take about {people_size(scarce.needed_bytes)}"
            f" decoded, and {people_size(scarce.free_bytes)} are free in {str(scarce.folder)!r}: each is decoded again"
            " whenever it is needed, which is slower; free space, set EDGEXFER_CACHE to a folder on another disk, or"
            " pass --workers"
        )
        return LiveStore(view, preprocessing)
    listener.begin(f"decode {view.name}", len(view))
    try:
        if ranks.local_count > 1:
            return _decoded_for_all(view, preprocessing, listener, ranks)
        return build_store(view, preprocessing, progress=lambda done, _: listener.advance(done, ""))
    finally:
        listener.end()


def _decoded_for_all(view: View, preprocessing: Preprocessing, listener: Listener, ranks: Ranks) -> PixelStore:
    """The first process of a machine decodes into a file that the others map; it has no name any more after that."""
    shared = None
    if ranks.local_rank == 0:
        shared = share_store(view, preprocessing, progress=lambda done, _: listener.advance(done, ""))
    shared = ranks.gathered(shared)[ranks.rank - ranks.local_rank]
    if shared is None:
        raise TrainingError("the first process of this machine has decoded no pictures; start again")
    try:
        store = shared.open(preprocessing)
        ranks.wait()
    finally:
        if ranks.local_rank == 0:
            shared.path.unlink(missing_ok=True)
    return store
