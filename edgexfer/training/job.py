"""A training from pictures to a run: what fine-tuning and distilling have in common.

``prepare`` turns splits and a network's name into a ``Job``; ``train`` runs the fit loop with any step and leaves a run
folder behind. What is learned from (hard labels, a teacher) is the step's business.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgexfer import nets
from edgexfer.data import Loader, PixelStore, Splits, View, Views
from edgexfer.preprocessing import Preprocessing
from edgexfer.runs import RESUME_FOLDER, Run
from edgexfer.training.choose import choose_compute
from edgexfer.training.compiling import CompiledStep
from edgexfer.training.compute import Compute, find_device, seconds_a_step
from edgexfer.training.fit import fit
from edgexfer.training.followed import followed
from edgexfer.training.learner import Extras, Step
from edgexfer.training.leave import identity_of_weights, leave_run
from edgexfer.training.listener import Listener
from edgexfer.training.optim import refuse_single_pictures
from edgexfer.training.pictures import EVAL_BATCH, Decoded, predict_view
from edgexfer.training.ranks import ALONE, Ranks, current_ranks, shares
from edgexfer.training.recipe import Facts, Recipe, Settings, settle
from edgexfer.training.scoring import Predictions
from edgexfer.training.synced_batchnorm import synchronised
from edgexfer.words import counted, people_time


@dataclass(frozen=True)
class Job:
    """Everything that a training needs, ready to start.

    Attributes:
        splits: The data set.
        model: Name of the network.
        weights: Where its first weights come from: ``none``, ``imagenet`` or a path.
        preprocessing: What the network is fed.
        settings: Every choice made.
        stores: Decoded pictures by split name.
        workers: Loader processes.
        device: Where it computes.
        ranks: This process among those that train together.
    """

    splits: Splits
    model: str
    weights: str
    preprocessing: Preprocessing
    settings: Settings
    stores: Mapping[str, PixelStore]
    workers: int
    device: torch.device
    ranks: Ranks = ALONE

    @property
    def views(self) -> Views | None:
        """Where views, and not epochs, decide how pictures are varied; they are the same for every seed."""
        return Views(self.settings.views) if self.settings.views else None

    @property
    def identity(self) -> dict[str, Any]:
        """What the training learns from and begins with: the same where an interrupted one may be gone on from."""
        pictures = "\n".join(self.splits.train.digests)
        return {
            "model": Path(self.model).name,
            "model_sha256": nets.source_sha256(self.model),
            "weights": identity_of_weights(self.weights),
            "mean": list(self.preprocessing.mean),
            "std": list(self.preprocessing.std),
            "splits_fingerprint": self.splits.fingerprint,
            "train_pictures_sha256": hashlib.sha256(pictures.encode()).hexdigest(),
        }

    def new_student(self) -> nets.Normalized:
        """The network with its first weights, taking pixels from 0 to 1; the same at every call."""
        net = nets.create(
            self.model,
            len(self.splits.classes),
            weights=self.weights,
            input_size=self.preprocessing.input_size,
            seed=self.settings.seed,
        )
        student = nets.Normalized(net, self.preprocessing).to(self.device)
        return synchronised(student, self.device) if self.settings.sync_bn and self.ranks.are_several else student

    def train_batches(self, *, whole: bool = False) -> Loader:
        """Shuffled, augmented training batches; this process's part of them, unless they are to be ``whole``."""
        return Loader(
            self.stores["train"],
            self.splits.train.labels,
            self.preprocessing,
            self.settings.batch_size,
            augment=self.settings.augment,
            train=True,
            seed=self.settings.seed,
            mirrors=self.splits.mirrors,
            workers=self.workers,
            mixup=self.settings.mixup,
            views=self.views,
            part=(0, 1) if whole else (self.ranks.rank, self.ranks.count),
        )

    def plain_batches(self, split: str) -> Loader:
        """The pictures of a split in their order, without augmentation."""
        labels = self.view(split).labels
        return Loader(self.stores[split], labels, self.preprocessing, EVAL_BATCH, train=False, seed=0, mirrors=False)

    def predictions(self, student: nn.Module, split: str) -> Predictions:
        """What ``student`` says of the pictures of a split."""
        view, store = self.view(split), self.stores[split]
        return predict_view(student, view, store, self.preprocessing, self.device, self.ranks)

    def view(self, split: str) -> View:
        """The view of a split by its name."""
        return split_views(self.splits)[split]


def split_views(splits: Splits) -> dict[str, View]:
    """The views of a data set by name, those that it has."""
    views = {"train": splits.train, "val": splits.val}
    return views if splits.test is None else {**views, "test": splits.test}


def prepare(
    splits: Splits,
    model: str,
    weights: str,
    recipe: Recipe,
    listener: Listener,
    *,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    has_soft_labels: bool = False,
    pictures: Decoded | None = None,
) -> Job:
    """Makes every choice that is left open, says so, and decodes the pictures.

    Args:
        splits: The data set.
        model: Name of the network.
        weights: Where its first weights come from.
        recipe: Wishes for the training.
        listener: Hears what was chosen.
        mean: Of the input, where it is not the network's usual one.
        std: Likewise.
        has_soft_labels: Whether a teacher teaches.
        pictures: Those that trainings before have decoded, where there were any.

    Raises:
        EdgexferError: The network, its weights, the device or the pictures cannot be used.
    """
    ranks = current_ranks()
    device = find_device(recipe.device, ranks)
    usual, known = nets.preprocessing_for(model), nets.about(model)
    facts = Facts(
        len(splits.train),
        splits.image_size,
        max(usual.input_size),
        weights != "none",
        has_soft_labels,
        known.parameters,
        normalised=known.normalised,
        processes=ranks.count,
    )
    settings, reasons = settle(recipe, facts)
    if recipe.image_size is None:
        fitting = nets.nearest_input_size(model, settings.image_size)
        if fitting != settings.image_size:
            settings = Settings(**{**settings.to_dict(), "image_size": fitting})
            reasons.append(f"image_size {fitting} (the nearest that {model} takes)")
    pictures = pictures or Decoded()
    pictures.tell_of(splits, listener)
    counts = ", ".join(f"{len(view)} {name}" for name, view in split_views(splits).items())
    listener.say(f"{splits.source}: {len(splits.classes)} classes; pictures: {counts}")
    if reasons:
        listener.say("defaults: " + ", ".join(reasons))
    for sentence in shares(ranks, settings.batch_size, sync_bn=recipe.sync_bn):
        listener.say(sentence)
    preprocessing = nets.preprocessing_for(model, settings.image_size, mean, std)
    nets.create(model, len(splits.classes), input_size=preprocessing.input_size, seed=settings.seed)  # refuse early
    stores = {name: pictures.store(view, preprocessing, listener, ranks) for name, view in split_views(splits).items()}
    return Job(splits, model, weights, preprocessing, settings, stores, recipe.workers, device, ranks)


def train(
    job: Job,
    step: Step,
    out: Path,
    listener: Listener,
    *,
    record: Mapping[str, Any],
    parents: Sequence[Mapping[str, Any]] = (),
    extra_scores: Mapping[str, Any] | None = None,
    student: nets.Normalized | None = None,
    extras: Extras | None = None,
    finish: Callable[[nets.Normalized], Mapping[str, Any]] | None = None,
) -> Run:
    """Trains a new student of ``job`` with ``step`` and writes the run folder ``out``.

    An interrupted training in ``out`` is gone on from, where it is of the same network on the same pictures.

    Args:
        job: What to train on.
        step: Gives the loss of a batch.
        out: The run folder.
        listener: Hears how it goes.
        record: What the run's recipe says beside the settings (command, data, arguments).
        parents: What the run came from.
        extra_scores: Further entries of the run's scores.
        student: What to train, with its first weights; ``job.new_student()`` if ``None``. Its weights, too, have to be
            the same at every call, or an interrupted training could not be gone on from.
        extras: What sets the training apart from the plain one; its ``compute`` is ``choose_compute`` if ``None``.
        finish: Last work on the student with its best weights; gives further entries of the scores.

    Returns:
        The run, as written.
    """
    student = job.new_student() if student is None else student
    batches = job.train_batches()
    extras = extras or Extras()
    refuse_single_pictures(student, job.settings.batch_size, extras.layers)
    out.mkdir(parents=True, exist_ok=True)
    compute = extras.compute or choose_compute(job, student, lambda _: step, batches, out / RESUME_FOLDER, listener)
    estimate = _estimate_seconds(job, student, step, batches, compute)
    listener.say(
        f"training {job.model} ({nets.count_parameters(student.net):,} parameters) for"
        f" {counted(job.settings.epochs, 'epoch')} of {counted(len(batches), 'step')} on {job.device}:"
        f" about {people_time(estimate)}{', if it were not compiled' if job.settings.compile else ''}"
    )
    step = CompiledStep(step) if job.settings.compile else step
    with _progress_of(job, out, listener) as told:
        result = fit(
            student,
            step,
            batches,
            lambda net: job.predictions(net, "val"),
            job.settings,
            device=job.device,
            folder=out,
            resume_folder=out / RESUME_FOLDER,
            listener=told,
            extras=replace(extras, compute=compute, identity={**job.identity, **extras.identity}),
            ranks=job.ranks,
        )
    record = {**record, **compute.to_dict()}
    return leave_run(
        job, student, result, out, listener, record=record, parents=parents, extra_scores=extra_scores, finish=finish
    )


def _progress_of(job: Job, out: Path, listener: Listener) -> contextlib.AbstractContextManager[Listener]:
    """The listener, with the progress written down where it is the writer's."""
    if not job.ranks.is_writer:
        return contextlib.nullcontext(listener)
    return followed(out, job.settings.epochs, listener)


def _estimate_seconds(job: Job, student: nn.Module, step: Step, batches: Loader, compute: Compute) -> float:
    """Times two steps (the first one warms up)."""
    return seconds_a_step(student, step, batches, compute, job.device, steps=2) * len(batches) * job.settings.epochs
