"""Batches of a store's pictures: shuffled and augmented to train on, in order to evaluate."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from edgexfer.data.augment import AUGMENTS, augment_batch, to_floats
from edgexfer.data.draws import shuffled
from edgexfer.data.mixing import draw_mixing
from edgexfer.data.store import PixelStore, check_rule, eval_pixels
from edgexfer.errors import DataError
from edgexfer.preprocessing import Preprocessing

Batch = dict[str, torch.Tensor]


class Loader:
    """Gives batches ``{"inputs": float32 (N, 3, H, W) RGB 0..1, "labels": int64 (N,), "index": int64 (N,)}``.

    They also hold ``view``, the number of the view that their pictures are seen in, and, where pictures are mixed,
    ``partner_labels`` int64 ``(N,)`` and ``mix`` float32 ``(N,)`` (see ``mixing``). What a batch holds depends on the
    seed, the epoch and the pictures, and on nothing else: not on the number of workers, not on how often it was
    iterated. Mean and std are not applied.

    Args:
        store: Decoded pictures.
        labels: Class of each, ``(len(store),)``.
        preprocessing: Input size, crop and interpolation.
        batch_size: Pictures a batch. A lone last picture of a training epoch joins the batch before it, since
            BatchNorm needs two; fewer pictures than a batch make one batch.
        augment: One of ``AUGMENTS``; for training only.
        train: Shuffle and augment, or keep the order and only crop.
        seed: Of order and augmentation.
        mirrors: Whether a mirrored picture keeps its class.
        workers: Processes that prepare batches; 0 prepares them in this one.
        mixup: Share of the training pictures that are mixed with another one.
        views: Where the views, and not the epochs, decide how pictures are varied.

    Raises:
        DataError: An argument is out of range, or the store was built by another resize rule.
    """

    def __init__(
        self,
        store: PixelStore,
        labels: NDArray[np.int64],
        preprocessing: Preprocessing,
        batch_size: int,
        *,
        augment: str = "none",
        train: bool,
        seed: int,
        mirrors: bool,
        workers: int = 0,
        mixup: float = 0.0,
        views: Views | None = None,
    ) -> None:
        _check_arguments(len(store), len(labels), batch_size, augment, workers, mixup)
        check_rule(store, preprocessing)
        self.batch_size = batch_size
        self.workers = workers
        self.train = train
        self._seed = seed
        self._epoch = 0
        self._views = views
        self._batches = _Batches(
            store, labels, preprocessing, augment if train else "none", mirrors, mixup if train else 0.0
        )

    def __len__(self) -> int:
        return len(cut_batches(np.arange(len(self._batches.store)), self.batch_size, join_lone=self.train))

    @property
    def images(self) -> int:
        """Pictures an epoch."""
        return len(self._batches.store)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order and the augmentation of the next iterations; counted from 0."""
        self._epoch = epoch

    def batch(self, view: int, part: NDArray[np.int64]) -> Batch:
        """The pictures ``part`` as training shows them in a view."""
        return self._batches.make(self._seed if self._views is None else self._views.seed, view, part)

    def __iter__(self) -> Iterator[Batch]:
        order = np.arange(self.images, dtype=np.int64)
        if self.train:
            order = shuffled(self._seed, self._epoch, self.images)
        seed, view = (self._seed, self._epoch) if self.train else (0, 0)
        if self.train and self._views is not None:
            seed, view = self._views.seed, self._epoch % self._views.count
        jobs = [(seed, view, part) for part in cut_batches(order, self.batch_size, join_lone=self.train)]
        if self.workers == 0:
            return (self._batches.make(*job) for job in jobs)
        forks = "fork" in multiprocessing.get_all_start_methods()  # shares the store instead of copying it
        return iter(
            DataLoader(
                self._batches,
                batch_size=None,
                sampler=jobs,
                num_workers=min(self.workers, len(jobs)),
                multiprocessing_context="fork" if forks else None,
            )
        )


@dataclass(frozen=True)
class Views:
    """A limited number of ways in which each picture is seen, gone through in turn, epoch by epoch.

    Attributes:
        count: How many; epoch e shows view e modulo count.
        seed: Of the views, apart from the order in which pictures come.
    """

    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise DataError(f"views is {self.count}; at least 1 is needed")


class _Batches(Dataset[Batch]):
    """Makes batches, in this process or in a worker."""

    def __init__(
        self,
        store: PixelStore,
        labels: NDArray[np.int64],
        preprocessing: Preprocessing,
        augment: str,
        mirrors: bool,
        mixup: float,
    ) -> None:
        self.store = store
        self._labels = np.array(labels, dtype=np.int64)
        self._preprocessing = preprocessing
        self._augment = augment
        self._mirrors = mirrors
        self._mixup = mixup

    def __getitem__(self, job: tuple[int, int, NDArray[np.int64]]) -> Batch:
        return self.make(*job)

    def make(self, seed: int, view: int, part: NDArray[np.int64]) -> Batch:
        """The batch of the pictures ``part``."""
        batch = {
            "inputs": self._inputs(part, seed, view),
            "labels": torch.from_numpy(self._labels[part]),
            "index": torch.from_numpy(part.copy()),
            "view": torch.tensor(view),
        }
        if self._mixup > 0:
            mixing = draw_mixing(part, len(self.store), self._mixup, seed=seed, view=view)
            mix = torch.from_numpy(mixing.shares)
            mixed = np.flatnonzero(mixing.shares < 1)
            if len(mixed):
                others, share = self._inputs(mixing.partners[mixed], seed, view), mix[mixed, None, None, None]
                batch["inputs"][mixed] = batch["inputs"][mixed] * share + others * (1 - share)
            batch |= {"mix": mix, "partner_labels": torch.from_numpy(self._labels[mixing.partners])}
        return batch

    def _inputs(self, part: NDArray[np.int64], seed: int, view: int) -> torch.Tensor:
        if self._augment == "none":
            return to_floats(eval_pixels(self.store, part.tolist(), self._preprocessing).numpy())
        return augment_batch(
            [self.store[i] for i in part.tolist()],
            part,
            self._preprocessing,
            augment=self._augment,
            mirrors=self._mirrors,
            seed=seed,
            epoch=view,
        )


def cut_batches(order: NDArray[np.int64], batch_size: int, *, join_lone: bool) -> list[NDArray[np.int64]]:
    """An order of pictures in batches; a lone last picture may join the batch before it, since BatchNorm needs two."""
    starts = list(range(0, len(order), batch_size))
    if join_lone and len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    return [order[a:b] for a, b in zip(starts, [*starts[1:], len(order)], strict=True)]


def _check_arguments(pictures: int, labels: int, batch_size: int, augment: str, workers: int, mixup: float) -> None:
    if augment not in AUGMENTS:
        raise DataError(f"augment is {augment!r}; allowed: {', '.join(AUGMENTS)}")
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; it needs 1 at least")
    if workers < 0:
        raise DataError(f"workers is {workers}; allowed: 0 (none) and up")
    if not 0 <= mixup <= 1:
        raise DataError(f"mixup is {mixup}; it is a share of the pictures, from 0 to 1")
    if pictures != labels:
        raise DataError(f"{pictures} pictures but {labels} labels")
    if pictures == 0:
        raise DataError("there are no pictures to load")
