"""Batches of a store's pictures: shuffled and augmented to train on, in order to evaluate."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from edgexfer.data.augment import AUGMENTS, augment_batch, to_floats
from edgexfer.data.draws import shuffled
from edgexfer.data.store import PixelStore, check_rule, eval_pixels
from edgexfer.errors import DataError
from edgexfer.preprocessing import Preprocessing

Batch = dict[str, torch.Tensor]


class Loader:
    """Gives batches ``{"inputs": float32 (N, 3, H, W) RGB 0..1, "labels": int64 (N,), "index": int64 (N,)}``.

    What a batch holds depends on the seed, the epoch and the pictures, and on nothing else: not on the number of
    workers, not on how often it was iterated. Mean and std are not applied.

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
    ) -> None:
        _check_arguments(len(store), len(labels), batch_size, augment, workers)
        check_rule(store, preprocessing)
        self.batch_size = batch_size
        self.workers = workers
        self.train = train
        self._seed = seed
        self._epoch = 0
        self._batches = _Batches(store, labels, preprocessing, augment if train else "none", mirrors, train)

    def __len__(self) -> int:
        return len(_cut(np.arange(len(self._batches.store)), self.batch_size, join_lone=self.train))

    @property
    def images(self) -> int:
        """Pictures an epoch."""
        return len(self._batches.store)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order and the augmentation of the next iterations; counted from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        order = np.arange(self.images, dtype=np.int64)
        if self.train:
            order = shuffled(self._seed, self._epoch, self.images)
        jobs = [(self._seed, self._epoch, part) for part in _cut(order, self.batch_size, join_lone=self.train)]
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


class _Batches(Dataset[Batch]):
    """Makes batches, in this process or in a worker."""

    def __init__(
        self,
        store: PixelStore,
        labels: NDArray[np.int64],
        preprocessing: Preprocessing,
        augment: str,
        mirrors: bool,
        train: bool,
    ) -> None:
        self.store = store
        self._labels = np.array(labels, dtype=np.int64)
        self._preprocessing = preprocessing
        self._augment = augment
        self._mirrors = mirrors
        self._train = train

    def __getitem__(self, job: tuple[int, int, NDArray[np.int64]]) -> Batch:
        return self.make(*job)

    def make(self, seed: int, epoch: int, part: NDArray[np.int64]) -> Batch:
        """The batch of the pictures ``part``."""
        if self._augment == "none":
            inputs = to_floats(eval_pixels(self.store, part.tolist(), self._preprocessing).numpy())
        else:
            inputs = augment_batch(
                [self.store[i] for i in part.tolist()],
                part,
                self._preprocessing,
                augment=self._augment,
                mirrors=self._mirrors,
                seed=seed,
                epoch=epoch,
            )
        return {
            "inputs": inputs,
            "labels": torch.from_numpy(self._labels[part]),
            "index": torch.from_numpy(part.copy()),
        }


def _cut(order: NDArray[np.int64], batch_size: int, *, join_lone: bool) -> list[NDArray[np.int64]]:
    starts = list(range(0, len(order), batch_size))
    if join_lone and len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    return [order[a:b] for a, b in zip(starts, [*starts[1:], len(order)], strict=True)]


def _check_arguments(pictures: int, labels: int, batch_size: int, augment: str, workers: int) -> None:
    if augment not in AUGMENTS:
        raise DataError(f"augment is {augment!r}; allowed: {', '.join(AUGMENTS)}")
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; it needs 1 at least")
    if workers < 0:
        raise DataError(f"workers is {workers}; allowed: 0 (none) and up")
    if pictures != labels:
        raise DataError(f"{pictures} pictures but {labels} labels")
    if pictures == 0:
        raise DataError("there are no pictures to load")
