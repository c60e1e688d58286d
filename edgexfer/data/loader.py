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

    Where several processes share the work, each gets its part of every training batch (and every so-manieth batch to
    evaluate). A training batch then also holds ``weight``, its number of pictures beside the mean over the processes,
    and of the whole batch ``whole_labels``, ``whole_partner_labels`` and ``whole_mix``.

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
        part: ``(number, count)`` of this process among those that share the work.

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
        part: tuple[int, int] = (0, 1),
    ) -> None:
        _check_arguments(len(store), len(labels), batch_size, augment, workers, mixup)
        if train and part[1] > 1:
            _check_parts(len(store), batch_size, part[1])
        check_rule(store, preprocessing)
        self.batch_size = batch_size
        self.workers = workers
        self.train = train
        self._seed = seed
        self._epoch = 0
        self._views = views
        self._part = part
        self._batches = _Batches(
            store, labels, preprocessing, augment if train else "none", mirrors, mixup if train else 0.0
        )

    def __len__(self) -> int:
        return len(self._cut(np.arange(self.images, dtype=np.int64)))

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
        jobs = [_Job(seed, view, *taken, self._part[1]) for taken in self._taken(order)]
        if self.workers == 0:
            return (self._batches[job] for job in jobs)
        forks = "fork" in multiprocessing.get_all_start_methods()  # shares the store instead of copying it
        return iter(
            DataLoader(
                self._batches,
                batch_size=None,
                sampler=jobs,
                num_workers=min(self.workers, len(jobs)),
                multiprocessing_context="fork" if forks else None,
                generator=torch.Generator(),  # its own: the one that everybody shares draws dropout
            )
        )

    def _cut(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return cut_batches(order, self.batch_size, least=2 * self._part[1] if self.train else 1)

    def _taken(self, order: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64] | None]]:
        """What this process takes of each batch, and the whole batch where that is more."""
        number, count = self._part
        batches = self._cut(order)
        if count == 1:
            return [(whole, None) for whole in batches]
        if not self.train:
            return [(whole, None) for whole in batches[number::count]]
        return [(np.array_split(whole, count)[number], whole) for whole in batches]


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


@dataclass(frozen=True)
class _Job:
    """One batch to be made: its own pictures, and the whole batch that they are a part of, if it has others."""

    seed: int
    view: int
    mine: NDArray[np.int64]
    whole: NDArray[np.int64] | None
    parts: int


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

    def __getitem__(self, job: _Job) -> Batch:
        batch = self.make(job.seed, job.view, job.mine)
        return batch if job.whole is None else batch | self._of_the_whole(job, job.whole)

    def _of_the_whole(self, job: _Job, whole: NDArray[np.int64]) -> Batch:
        """What a process has to know of a batch beyond its own pictures."""
        known = {"weight": torch.tensor(len(job.mine) * job.parts / len(whole))}
        known["whole_labels"] = torch.from_numpy(self._labels[whole])
        if self._mixup > 0:
            mixing = draw_mixing(whole, len(self.store), self._mixup, seed=job.seed, view=job.view)
            known["whole_mix"] = torch.from_numpy(mixing.shares)
            known["whole_partner_labels"] = torch.from_numpy(self._labels[mixing.partners])
        return known

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
            self.store.take(part.tolist()),
            part,
            self._preprocessing,
            augment=self._augment,
            mirrors=self._mirrors,
            seed=seed,
            epoch=view,
        )


def cut_batches(order: NDArray[np.int64], batch_size: int, *, least: int = 1) -> list[NDArray[np.int64]]:
    """An order of pictures in batches; fewer than ``least`` at the end join the batch before, if there is one."""
    starts = list(range(0, len(order), batch_size))
    if len(starts) > 1 and len(order) - starts[-1] < least:
        starts.pop()
    return [order[a:b] for a, b in zip(starts, [*starts[1:], len(order)], strict=True)]


def _check_parts(pictures: int, batch_size: int, count: int) -> None:
    if min(pictures, batch_size) < 2 * count:
        found = f"{pictures} pictures" if pictures < batch_size else f"a batch of {batch_size}"
        raise DataError(
            f"{found} cannot be shared by {count} processes, of which each needs two at least; start fewer processes,"
            " or pass a larger --batch-size"
        )


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
