"""What a training leaves behind: a run folder with weights, scores and predictions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from edgexfer import nets
from edgexfer.data import View
from edgexfer.files import sha256_file
from edgexfer.runs import (
    PREDICTIONS_FILE,
    RESUME_FOLDER,
    RUN_FILE,
    WEIGHTS_FILE,
    Run,
    utc_now,
    write_lines,
    write_run,
)
from edgexfer.training.checkpoint import save_weights, written_safely
from edgexfer.training.fit import FitResult
from edgexfer.training.listener import Listener
from edgexfer.training.scoring import Predictions

if TYPE_CHECKING:
    from edgexfer.training.job import Job

LAST_WEIGHTS_FILE = "last.safetensors"


def leave_run(
    job: Job,
    student: nets.Normalized,
    result: FitResult,
    out: Path,
    listener: Listener,
    *,
    record: Mapping[str, Any],
    parents: Sequence[Mapping[str, Any]] = (),
    extra_scores: Mapping[str, Any] | None = None,
    finish: Callable[[nets.Normalized], Mapping[str, Any]] | None = None,
) -> Run:
    """Scores the best weights on validation and test, and writes everything that makes ``out`` a run.

    Of several processes all score, and one writes.

    Args:
        job: What it was trained on.
        student: The network; ends with the best weights.
        result: Best and last weights, and how they came about.
        out: The run folder.
        listener: Hears what is missing.
        record: What the run's recipe says beside the settings (command, data, arguments).
        parents: What the run came from.
        extra_scores: Further entries of the run's scores.
        finish: Last work on the student with its best weights; gives further entries of the scores.

    Raises:
        TrainingError: The disk is full; what the training can be gone on from is still there.
    """
    student.load_state_dict(result.best)
    finished = finish(student) if finish is not None else {}
    views = {name: view for name, view in (("val", job.splits.val), ("test", job.splits.test)) if view is not None}
    scored = {name: job.predictions(student, name) for name in views}
    if "test" not in scored:
        listener.say("this data has no test split: the validation score is all there is, and it chose the epoch")

    def write() -> Run:
        save_weights(out / LAST_WEIGHTS_FILE, _net_state(result.last))
        save_weights(out / WEIGHTS_FILE, student.net.state_dict())
        with written_safely(out / PREDICTIONS_FILE):
            write_lines(out / PREDICTIONS_FILE, _prediction_lines(views, scored))
        scores = {**(extra_scores or {}), **finished, "weights_bytes": (out / WEIGHTS_FILE).stat().st_size}
        run = _run_of(job, student, result, scored, record=record, parents=parents, scores=scores)
        with written_safely(out / RUN_FILE):
            write_run(out, run)
        shutil.rmtree(out / RESUME_FOLDER, ignore_errors=True)
        return run

    return job.ranks.once(write)


def _run_of(
    job: Job,
    student: nets.Normalized,
    result: FitResult,
    scored: Mapping[str, Predictions],
    *,
    record: Mapping[str, Any],
    parents: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any],
) -> Run:
    processes = {"processes": job.ranks.count} if job.ranks.are_several else {}
    device = {"device": str(job.device), **processes}
    return Run(
        model=job.model,
        model_sha256=nets.source_sha256(job.model),
        classes=job.splits.classes,
        preprocessing=job.preprocessing,
        splits_fingerprint=job.splits.fingerprint,
        seed=job.settings.seed,
        recipe={**record, "weights": job.weights, "settings": job.settings.to_dict(), **device},
        parents=(*parents, *_weight_parents(job.weights)),
        scores={
            **scores_of(scored),
            **calibration_scores(scored),
            "train_images": len(job.splits.train),
            "majority_share": majority_share(job.splits.val.labels),
            "best_epoch": result.best_epoch,
            "parameters": nets.count_parameters(student.net),
            "operations": nets.count_operations(student.net, job.preprocessing.input_size),
            "seconds": result.seconds,
            **scores,
        },
        created=utc_now(),
    )


def identity_of_weights(weights: str) -> str:
    """What tells the first weights of a training from others: the SHA-256 of their file, else their name."""
    return next((str(parent["sha256"] or parent["name"]) for parent in _weight_parents(weights)), "none")


def _weight_parents(weights: str) -> list[dict[str, Any]]:
    """How the first weights of a training stand among the parents of its run; random ones do not."""
    if weights == "none":
        return []
    path = Path(weights)
    path = path / WEIGHTS_FILE if path.is_dir() else path
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


def calibration_scores(scored: Mapping[str, Predictions]) -> dict[str, Any]:
    """How far the probabilities can be trusted: ECE and NLL by split; ``None`` for a split that is not there."""
    scores: dict[str, Any] = {}
    for split in ("val", "test"):
        there = scored.get(split)
        scores[f"{split}_ece"] = None if there is None else there.ece
        scores[f"{split}_nll"] = None if there is None else there.loss
    return scores


def majority_share(labels: np.ndarray) -> float:
    """The accuracy of always answering the most frequent class."""
    return float(np.bincount(labels).max() / len(labels))


def _net_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The part of a ``Normalized``'s state dict that belongs to its network."""
    return {name.removeprefix("net."): tensor for name, tensor in state.items() if name.startswith("net.")}


def _prediction_lines(views: Mapping[str, View], scored: Mapping[str, Predictions]) -> list[dict[str, Any]]:
    return [
        {"file": file, "split": split, "label": int(label), "logits": [round(float(v), 5) for v in logits]}
        for split, predictions in scored.items()
        for file, label, logits in zip(views[split].files, predictions.labels, predictions.logits, strict=True)
    ]
