"""A training from pictures to a run: what fine-tuning and distilling have in common.

``prepare`` turns splits and a network's name into a ``Job``; ``train`` runs the fit loop with any step and leaves a run
folder behind. What is learned from (hard labels, a teacher) is the step's business.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgexfer import nets
from edgexfer.data import Loader, PixelStore, Splits, View, build_store
from edgexfer.errors import TrainingError
from edgexfer.files import sha256_file
from edgexfer.preprocessing import Preprocessing
from edgexfer.runs import (
    PREDICTIONS_FILE,
    RESUME_FOLDER,
    WEIGHTS_FILE,
    Run,
    utc_now,
    write_lines,
    write_run,
)
from edgexfer.training.checkpoint import save_weights
from edgexfer.training.compute import find_device
from edgexfer.training.fit import FitResult, Step, fit
from edgexfer.training.listener import Listener
from edgexfer.training.recipe import Facts, Recipe, Settings, settle
from edgexfer.training.scoring import Predictions, predict

LAST_WEIGHTS_FILE = "last.safetensors"
EVAL_BATCH = 64


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
    """

    splits: Splits
    model: str
    weights: str
    preprocessing: Preprocessing
    settings: Settings
    stores: Mapping[str, PixelStore]
    workers: int
    device: torch.device

    def new_student(self) -> nets.Normalized:
        """The network with its first weights, taking pixels from 0 to 1; the same at every call."""
        net = nets.create(
            self.model,
            len(self.splits.classes),
            weights=self.weights,
            input_size=self.preprocessing.input_size,
            seed=self.settings.seed,
        )
        return nets.Normalized(net, self.preprocessing).to(self.device)

    def train_batches(self) -> Loader:
        """Shuffled, augmented training batches."""
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
        )

    def predictions(self, student: nn.Module, split: str) -> Predictions:
        """What ``student`` says of the pictures of a split."""
        return predict_view(student, self.view(split), self.stores[split], self.preprocessing, self.device)

    def view(self, split: str) -> View:
        """The view of a split by its name."""
        return split_views(self.splits)[split]


def split_views(splits: Splits) -> dict[str, View]:
    """The views of a data set by name, those that it has."""
    views = {"train": splits.train, "val": splits.val}
    return views if splits.test is None else {**views, "test": splits.test}


def predict_view(
    net: nn.Module, view: View, store: PixelStore, preprocessing: Preprocessing, device: torch.device
) -> Predictions:
    """What ``net`` says of a view's pictures, in their order."""
    loader = Loader(store, view.labels, preprocessing, EVAL_BATCH, augment="none", train=False, seed=0, mirrors=False)
    return predict(net, loader, device)


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
) -> Job:
    """Makes every choice that is left open, says so, and decodes the pictures.

    Raises:
        EdgexferError: The network, its weights, the device or the pictures cannot be used.
    """
    device = find_device(recipe.device)
    usual = nets.preprocessing_for(model)
    facts = Facts(len(splits.train), splits.image_size, max(usual.input_size), weights != "none", has_soft_labels)
    settings, reasons = settle(recipe, facts)
    if recipe.image_size is None:
        fitting = nets.nearest_input_size(model, settings.image_size)
        if fitting != settings.image_size:
            settings = Settings(**{**settings.to_dict(), "image_size": fitting})
            reasons.append(f"image_size {fitting} (the nearest that {model} takes)")
    for note in splits.notes:
        listener.say(note)
    for file, reason in splits.skipped[:10]:
        listener.warn(f"left out {file}: {reason}")
    if len(splits.skipped) > 10:
        listener.warn(f"... and {len(splits.skipped) - 10} more pictures left out")
    counts = ", ".join(f"{len(view)} {name}" for name, view in split_views(splits).items())
    listener.say(f"{splits.source}: {len(splits.classes)} classes; pictures: {counts}")
    if reasons:
        listener.say("defaults: " + ", ".join(reasons))
    preprocessing = nets.preprocessing_for(model, settings.image_size, mean, std)
    nets.create(model, len(splits.classes), input_size=preprocessing.input_size, seed=settings.seed)  # refuse early
    stores = {name: decoded(view, preprocessing, listener) for name, view in split_views(splits).items()}
    return Job(splits, model, weights, preprocessing, settings, stores, recipe.workers, device)


def decoded(view: View, preprocessing: Preprocessing, listener: Listener) -> PixelStore:
    """Decodes and resizes the pictures of a view once."""
    listener.begin(f"decode {view.name}", len(view))
    try:
        return build_store(view, preprocessing, progress=lambda done, _: listener.advance(done, ""))
    finally:
        listener.end()


def train(
    job: Job,
    step: Step,
    out: Path,
    listener: Listener,
    *,
    record: Mapping[str, Any],
    parents: Sequence[Mapping[str, Any]] = (),
    extra_scores: Mapping[str, Any] | None = None,
) -> Run:
    """Trains a new student of ``job`` with ``step`` and writes the run folder ``out``.

    An interrupted training in ``out`` is gone on from.

    Args:
        job: What to train on.
        step: Gives the loss of a batch.
        out: The run folder.
        listener: Hears how it goes.
        record: What the run's recipe says beside the settings (command, data, arguments).
        parents: What the run came from.
        extra_scores: Further entries of the run's scores.

    Returns:
        The run, as written.
    """
    out.mkdir(parents=True, exist_ok=True)
    student = job.new_student()
    batches = job.train_batches()
    estimate = _estimate_seconds(job, student, step, batches)
    listener.say(
        f"training {job.model} ({nets.count_parameters(student.net):,} parameters) for {job.settings.epochs} epochs"
        f" of {len(batches)} steps on {job.device}: about {people_time(estimate)}"
    )
    result = fit(
        student,
        step,
        batches,
        lambda net: job.predictions(net, "val"),
        job.settings,
        device=job.device,
        folder=out,
        resume_folder=out / RESUME_FOLDER,
        listener=listener,
    )
    return _finish(job, student, result, out, listener, record, parents, extra_scores or {})


def _finish(
    job: Job,
    student: nets.Normalized,
    result: FitResult,
    out: Path,
    listener: Listener,
    record: Mapping[str, Any],
    parents: Sequence[Mapping[str, Any]],
    extra_scores: Mapping[str, Any],
) -> Run:
    """Scores the best weights on validation and test, and writes everything that makes ``out`` a run."""
    save_weights(out / LAST_WEIGHTS_FILE, _net_state(result.last))
    student.load_state_dict(result.best)
    save_weights(out / WEIGHTS_FILE, student.net.state_dict())
    scored = {name: job.predictions(student, name) for name in split_views(job.splits) if name != "train"}
    write_lines(out / PREDICTIONS_FILE, _prediction_lines(job, scored))
    run = Run(
        model=job.model,
        model_sha256=nets.source_sha256(job.model),
        classes=job.splits.classes,
        preprocessing=job.preprocessing,
        splits_fingerprint=job.splits.fingerprint,
        seed=job.settings.seed,
        recipe={**record, "weights": job.weights, "settings": job.settings.to_dict(), "device": str(job.device)},
        parents=(*parents, *_weight_parents(job.weights)),
        scores={
            **scores_of(scored),
            "train_images": len(job.splits.train),
            "majority_share": majority_share(job.splits.val.labels),
            "best_epoch": result.best_epoch,
            "parameters": nets.count_parameters(student.net),
            "operations": nets.count_operations(student.net, job.preprocessing.input_size),
            "weights_bytes": (out / WEIGHTS_FILE).stat().st_size,
            "seconds": result.seconds,
            **extra_scores,
        },
        created=utc_now(),
    )
    write_run(out, run)
    shutil.rmtree(out / RESUME_FOLDER, ignore_errors=True)
    if "test" not in scored:
        listener.say("this data has no test split: the validation score is all there is, and it chose the epoch")
    return run


def _weight_parents(weights: str) -> list[dict[str, Any]]:
    """How the first weights of a training stand among the parents of its run; random ones do not."""
    if weights == "none":
        return []
    path = Path(weights)
    digest = sha256_file(path) if path.is_file() else None
    return [{"role": "weights", "name": path.name if digest else weights, "sha256": digest}]


def scores_of(scored: Mapping[str, Predictions]) -> dict[str, Any]:
    """The accuracy entries of a run's scores; ``None`` for a split that is not there."""
    scores: dict[str, Any] = {}
    for split in ("val", "test"):
        there = scored.get(split)
        scores[f"{split}_top1"] = None if there is None else there.top1
        scores[f"{split}_loss"] = None if there is None else there.loss
        scores[f"{split}_images"] = 0 if there is None else len(there.labels)
    return scores


def majority_share(labels: np.ndarray) -> float:
    """The accuracy of always answering the most frequent class."""
    return float(np.bincount(labels).max() / len(labels))


def people_time(seconds: float) -> str:
    """Seconds as a person says them: ``45 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _net_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The part of a ``Normalized``'s state dict that belongs to its network."""
    return {name.removeprefix("net."): tensor for name, tensor in state.items() if name.startswith("net.")}


def _prediction_lines(job: Job, scored: Mapping[str, Predictions]) -> list[dict[str, Any]]:
    return [
        {"file": file, "split": split, "label": int(label), "logits": [round(float(v), 5) for v in logits]}
        for split, predictions in scored.items()
        for file, label, logits in zip(job.view(split).files, predictions.labels, predictions.logits, strict=True)
    ]


def _estimate_seconds(job: Job, student: nn.Module, step: Step, batches: Loader) -> float:
    """Times two steps on a copy that is thrown away (the first one warms up)."""
    trial = job.new_student().train()
    batches.set_epoch(0)
    seconds = 0.0
    iterator = iter(batches)
    for _ in range(min(2, len(batches))):
        started = time.perf_counter()
        batch = {key: value.to(job.device) for key, value in next(iterator).items()}
        loss = step(trial, batch)["loss"]
        if not loss.requires_grad:
            raise TrainingError("the loss does not depend on any trainable parameter; nothing can be learned")
        loss.backward()  # type: ignore[no-untyped-call]
        seconds = time.perf_counter() - started
    return seconds * len(batches) * job.settings.epochs
