"""The strategy ``classifier``: the feature extractor stays, everything above it is retrained.

The extractor runs once over V seeded views of each picture (over the plain picture if V is 1); what crosses the cut is
kept in memory, or in a mapped file beyond a limit, and the part above trains on it as often as it likes. Epoch e sees
view e mod V. Above the cut dropout and BatchNorm behave as in any training.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgexfer import nets
from edgexfer.data import eval_pixels
from edgexfer.data.augment import augment_batch, to_floats
from edgexfer.data.draws import shuffled
from edgexfer.data.index import cache_folder
from edgexfer.errors import NetworkError, TrainingError
from edgexfer.runs import RESUME_FOLDER, Run
from edgexfer.training import Job, Listener, Predictions, fit, hard_label_step
from edgexfer.training.checkpoint import copy_state
from edgexfer.training.fit import Batch, FitResult
from edgexfer.training.leave import leave_run
from edgexfer.training.optim import LayerPlan
from edgexfer.transfer.blocks import EMBEDDING, Cut, before_dense_layers, cut_at, places
from edgexfer.transfer.features import Extractor
from edgexfer.transfer.finetune import batchnorm_frozen, class_weights, finish_with, settle_batchnorm
from edgexfer.transfer.head import fit_students_head, head_scores, ready_student, repeats_for
from edgexfer.transfer.logistic import cross_validate

MEMORY_LIMIT_BYTES = 1 << 30
DISK_LIMIT_BYTES = 6 << 30
MOST_VIEWS = 8
BATCH = 64
MOST_PROBED = 2_000
"""Pictures that the probe by depth looks at, at most."""


@dataclass(frozen=True)
class Probe:
    """What a linear probe finds at one place.

    Attributes:
        place: Where.
        depth: Share of the body's parameters before it.
        top1: Cross-validated accuracy on training pictures.
    """

    place: str
    depth: float
    top1: float


def train_classifier(
    job: Job,
    out: Path,
    listener: Listener,
    *,
    record: Mapping[str, Any],
    cut: str | None = None,
    views: int | None = None,
    bn: str | None = None,
    balance: bool = False,
    reestimate_bn: bool = False,
    extra_scores: Mapping[str, Any] | None = None,
) -> Run:
    """Retrains what lies above the feature extractor and leaves a run in ``out``.

    Args:
        job: What to train on.
        out: The run folder.
        listener: Hears how it goes.
        record: What the run's recipe says beside the settings.
        cut: The block above which everything is retrained; found if ``None``: all dense layers, and in a network with a
            single one what lies behind the place with the best probe.
        views: Views of each picture to compute; by epochs and disk if ``None``.
        bn: BatchNorm policy above the cut, as for the strategy ``full``.
        balance: Whether every class counts the same.
        reestimate_bn: Whether BatchNorm is re-estimated at the end where validation gains.
        extra_scores: Further entries of the run's scores.

    Raises:
        NetworkError: The network cannot be cut, or not there.
        TrainingError: What crosses the cut does not fit on the disk.
    """
    out.mkdir(parents=True, exist_ok=True)
    if job.settings.mixup:
        listener.warn("--mixup does not reach what lies above the cut: the extractor saw each picture by itself")
    student = ready_student(job)
    policy = settle_batchnorm(job, student, bn, listener)
    scores = {**(extra_scores or {}), **head_scores(fit_students_head(job, student, listener, balance=balance))}
    parts, probes = choose_cut(job, student, cut, listener)
    above = nets.count_parameters(parts.suffix)
    total = nets.count_parameters(student.net)
    listener.say(f"retraining everything above {parts.place.name}: {above:,} of {total:,} parameters")
    parts.prefix.requires_grad_(False)
    parts.suffix.requires_grad_(True)
    train, val = _crossings(job, student, parts.prefix, views, listener)
    result = fit(
        parts.suffix,
        hard_label_step(job.settings.label_smoothing, class_weights(job, balance)),
        train,
        lambda net: _predict(net, val, job.splits.val.labels, job.device),
        job.settings,
        device=job.device,
        folder=out,
        resume_folder=out / RESUME_FOLDER,
        listener=listener,
        layers=LayerPlan() if policy == "train" else LayerPlan(thaws=batchnorm_frozen(parts.suffix)),
        count_start=True,
    )
    parts.prefix.requires_grad_(True)
    scores |= {"cut": parts.place.name, "trained_parameters": above, "views": train.views}
    if probes:
        scores["probe_by_depth"] = [vars(probe) for probe in probes]
    whole = _of_the_whole(result, parts.suffix, student)
    return leave_run(
        job, student, whole, out, listener, record=record, extra_scores=scores,
        finish=finish_with(job, reestimate_bn, listener),
    )  # fmt: skip


def choose_cut(job: Job, student: nets.Normalized, cut: str | None, listener: Listener) -> tuple[Cut, list[Probe]]:
    """Where to cut: where the user says, below the dense layers, or where the probe by depth is best."""
    net = student.net
    if cut is not None:
        return cut_at(net, cut), []
    dense = before_dense_layers(net)
    if dense is not None:
        return dense, []
    if not places(net):
        raise NetworkError(f"{job.model} has no place where it can be cut; use --strategy head or full")
    probes = probe_by_depth(job, student, listener)
    inner = [probe for probe in probes if probe.place != EMBEDDING]
    best = max(probes, key=lambda probe: probe.top1)
    chosen = inner[-1] if best.place == EMBEDDING else best
    told = ", ".join(f"{probe.place} {probe.top1:.1%}" for probe in probes)
    listener.say(f"linear probe by depth: {told}; features stay general up to {chosen.place}")
    return cut_at(net, chosen.place), probes


def probe_by_depth(job: Job, student: nets.Normalized, listener: Listener) -> list[Probe]:
    """Cross-validated accuracy of a linear head on the pooled features at each depth, and on the embedding, last."""
    extract = Extractor(student, job.preprocessing, job.device, with_depths=True)
    rows = extract(job.splits.train, job.stores["train"], listener)
    labels, classes = job.splits.train.labels, len(job.splits.classes)
    chosen = np.arange(len(labels))
    if len(chosen) > MOST_PROBED:
        chosen = np.sort(np.random.default_rng(job.settings.seed).permutation(len(labels))[:MOST_PROBED])
    names = [*(place.name for place in extract.depths), EMBEDDING]
    depths = [*(place.depth for place in extract.depths), 1.0]
    return [
        probe_at(name, depth, rows[name][chosen], labels[chosen], classes, job.settings.seed)
        for name, depth in zip(names, depths, strict=True)
    ]


def probe_at(
    name: str, depth: float, features: NDArray[np.float32], labels: NDArray[np.int64], classes: int, seed: int
) -> Probe:
    """The probe at one place: cross-validated accuracy of a linear head on its features ``(N, C)``."""
    repeats = repeats_for(len(labels))
    return Probe(name, depth, cross_validate(features, labels, classes, repeats=repeats, seed=seed).top1(labels))


class _Crossings:
    """Batches of what crosses the cut, ``{"inputs": (N, ...), "labels": (N,), "index": (N,)}``, shuffled by epoch."""

    def __init__(self, values: NDArray[np.float32], labels: NDArray[np.int64], batch_size: int, seed: int) -> None:
        self.values, self.views = values, len(values)
        self._labels, self._batch_size, self._seed, self._epoch = labels, batch_size, seed, 0

    def __len__(self) -> int:
        return len(self._starts())

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        order = shuffled(self._seed, self._epoch, len(self._labels))
        starts = self._starts()
        view = self.values[self._epoch % self.views]
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            part = order[start:end]
            yield {
                "inputs": torch.from_numpy(np.ascontiguousarray(view[part])),
                "labels": torch.from_numpy(self._labels[part]),
                "index": torch.from_numpy(part.copy()),
            }

    def _starts(self) -> list[int]:
        starts = list(range(0, len(self._labels), self._batch_size))
        if len(starts) > 1 and len(self._labels) - starts[-1] == 1:
            starts.pop()  # BatchNorm needs two: a lone last picture joins the batch before it
        return starts


def _crossings(
    job: Job, student: nets.Normalized, prefix: nn.Module, views: int | None, listener: Listener
) -> tuple[_Crossings, NDArray[np.float32]]:
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
        varied = None if wanted == 1 or job.settings.augment == "none" else view
        _fill(train[view], job, student, prefix, "train", varied, listener)
    return _Crossings(train, job.splits.train.labels, job.settings.batch_size, job.settings.seed), val[0]


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
            stream.truncate(size)
            _reserve(stream.fileno(), size)
            return np.memmap(stream, np.float32, "r+", shape=tuple(shape))
    except OSError as error:
        raise TrainingError(
            f"what crosses the cut takes {size / 2**30:.1f} GiB, which does not fit in {str(folder)!r}"
            f" ({error.strerror}); lower --views or --image-size, cut later, or set EDGEXFER_CACHE to another disk"
        ) from error


def _reserve(handle: int, size: int) -> None:
    """Makes the disk say now whether it has the room, where the system can."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)


@torch.no_grad()
def _fill(
    values: NDArray[np.float32],
    job: Job,
    student: nets.Normalized,
    prefix: nn.Module,
    split: str,
    view: int | None,
    listener: Listener,
) -> None:
    store, count = job.stores[split], len(values)
    listener.begin(f"extractor, {split}" + ("" if view is None else f", view {view + 1}"), count)
    try:
        for start in range(0, count, BATCH):
            part = np.arange(start, min(start + BATCH, count))
            if view is None:
                pixels = to_floats(eval_pixels(store, part.tolist(), job.preprocessing).numpy())
            else:
                pixels = augment_batch(
                    [store[int(i)] for i in part], part, job.preprocessing, augment=job.settings.augment,
                    mirrors=job.splits.mirrors, seed=job.settings.seed, epoch=view,
                )  # fmt: skip
            values[part] = prefix(student.normalise(pixels.to(job.device))).float().cpu().numpy()
            listener.advance(int(part[-1]) + 1, "")
    finally:
        listener.end()


@torch.no_grad()
def _predict(
    suffix: nn.Module, values: NDArray[np.float32], labels: NDArray[np.int64], device: torch.device
) -> Predictions:
    was_training = suffix.training
    suffix.eval()
    parts = [
        suffix(torch.from_numpy(np.array(values[start : start + BATCH])).to(device)).float().cpu()
        for start in range(0, len(values), BATCH)
    ]
    suffix.train(was_training)
    return Predictions(torch.cat(parts).numpy(), labels)


def _of_the_whole(result: FitResult, suffix: nn.Module, student: nets.Normalized) -> FitResult:
    """The same result with the weights of the whole student in place of the suffix's."""
    states = []
    for state in (result.last, result.best):
        suffix.load_state_dict(state)  # the suffix shares the student's layers
        states.append(copy_state(student.state_dict()))
    return FitResult(states[1], states[0], result.best_epoch, result.metrics, result.seconds)
