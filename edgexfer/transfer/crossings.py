"""What crosses a cut: computed once by the frozen part, trained on as often as one likes by the part above.

Values are kept in memory, or in a mapped file beyond a limit, over V seeded views of each picture (the plain picture if
V is 1). Epoch e sees view e mod V.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgexfer import nets
from edgexfer.data.draws import shuffled
from edgexfer.data.index import cache_folder
from edgexfer.data.loader import cut_batches
from edgexfer.errors import TrainingError
from edgexfer.files import reserve
from edgexfer.training import Job, Listener, Predictions
from edgexfer.training.learner import Batch
from edgexfer.transfer.features import BATCH, Varied, view_pixels

MEMORY_LIMIT_BYTES = 1 << 30
DISK_LIMIT_BYTES = 6 << 30
MOST_VIEWS = 8


class Crossings:
    """Batches of what crosses the cut, ``{"inputs": (N, ...), "labels": (N,), "index": (N,)}``, shuffled by epoch."""

    def __init__(self, values: NDArray[np.float32], labels: NDArray[np.int64], batch_size: int, seed: int) -> None:
        self.values, self.views = values, len(values)
        self._labels, self._batch_size, self._seed, self._epoch = labels, batch_size, seed, 0

    def __len__(self) -> int:
        return len(self._parts(np.arange(len(self._labels))))

    def set_epoch(self, epoch: int) -> None:
        """Chooses the view and the order of the next iterations."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        view = self.values[self._epoch % self.views]
        for part in self._parts(shuffled(self._seed, self._epoch, len(self._labels))):
            yield {
                "inputs": torch.from_numpy(view[part]),
                "labels": torch.from_numpy(self._labels[part]),
                "index": torch.from_numpy(part.copy()),
            }

    def _parts(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return cut_batches(order, self._batch_size, least=2)


def compute_crossings(
    job: Job, student: nets.Normalized, prefix: nn.Module, views: int | None, listener: Listener
) -> tuple[Crossings, NDArray[np.float32]]:
    """Training batches and validation values of what crosses the cut; the prefix runs over everything once."""
    prefix.eval()
    student.eval()
    count = len(job.splits.train)
    val = _allocate((1, len(job.splits.val), *_shape(student, prefix, job)))
    one_view = count * int(np.prod(val.shape[2:])) * 4
    wanted = views or min(MOST_VIEWS, job.settings.epochs, max(1, DISK_LIMIT_BYTES // one_view))
    listener.say(f"what crosses the cut: {wanted} views of {count} pictures, {wanted * one_view / 2**20:,.0f} MiB")
    train = _allocate((wanted, count, *val.shape[2:]))
    _fill(val[0], job, student, prefix, "val", None, listener)
    for view in range(wanted):
        varied = None
        if wanted > 1 and job.settings.augment != "none":
            varied = Varied(job.settings.augment, job.splits.mirrors, job.settings.seed, view)
        _fill(train[view], job, student, prefix, "train", varied, listener)
    return Crossings(train, job.splits.train.labels, job.settings.batch_size, job.settings.seed), val[0]


def _shape(student: nets.Normalized, prefix: nn.Module, job: Job) -> tuple[int, ...]:
    with torch.no_grad():
        blank = torch.zeros(1, 3, *job.preprocessing.input_size, device=job.device)
        return tuple(int(n) for n in prefix(student.normalise(blank)).shape[1:])


def _allocate(shape: Sequence[int]) -> NDArray[np.float32]:
    """Zeros, in memory up to a limit and in a nameless file on the cache's disk beyond it."""
    size = int(np.prod(shape)) * 4
    if size <= MEMORY_LIMIT_BYTES:
        return np.zeros(shape, np.float32)
    folder = cache_folder() / "crossings"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            reserve(stream.fileno(), size)
            return np.memmap(stream, np.float32, "r+", shape=tuple(shape))
    except OSError as error:
        raise TrainingError(
            f"what crosses the cut takes {size / 2**30:.1f} GiB, which does not fit in {str(folder)!r}"
            f" ({error.strerror}); lower --views or --image-size, cut later, or set EDGEXFER_CACHE to another disk"
        ) from error


@torch.no_grad()
def _fill(
    values: NDArray[np.float32],
    job: Job,
    student: nets.Normalized,
    prefix: nn.Module,
    split: str,
    varied: Varied | None,
    listener: Listener,
) -> None:
    count = len(values)
    listener.begin(f"extractor, {split}" + ("" if varied is None else f", view {varied.number + 1}"), count)
    try:
        for start in range(0, count, BATCH):
            part = range(start, min(start + BATCH, count))
            pixels = view_pixels(job.stores[split], part, job.preprocessing, varied)
            values[start : part.stop] = prefix(student.normalise(pixels.to(job.device))).float().cpu().numpy()
            listener.advance(part.stop, "")
    finally:
        listener.end()


@torch.no_grad()
def predict_crossings(
    suffix: nn.Module, values: NDArray[np.float32], labels: NDArray[np.int64], device: torch.device
) -> Predictions:
    """What the part above the cut says of ``values (N, ...)``, in inference mode; its mode is restored afterwards."""
    was_training = suffix.training
    suffix.eval()
    parts = [
        suffix(torch.from_numpy(np.array(values[start : start + BATCH])).to(device)).float().cpu()
        for start in range(0, len(values), BATCH)
    ]
    suffix.train(was_training)
    return Predictions(torch.cat(parts).numpy(), labels)
