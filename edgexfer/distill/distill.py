"""Distilling: the student of a job learns from its teachers' outputs and from the hard labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgexfer.distill.checking import SEEN
from edgexfer.distill.hinted import HintRegressors
from edgexfer.distill.losses import dist_loss, dkd_loss, kd_loss, soft_targets, standardise, target_classes
from edgexfer.distill.losses.standardise import GAIN
from edgexfer.distill.objective import Settled
from edgexfer.distill.outputs import Outputs, open_outputs
from edgexfer.distill.rounded import Rounded
from edgexfer.distill.teacher import Teachers
from edgexfer.distill.trial import kind_of, teachers_in
from edgexfer.runs import METRICS_FILE, RESUME_FOLDER, Run, read_lines
from edgexfer.training import Extras, Job, Listener, Predictions, Step, hard_label_step, hard_loss, train
from edgexfer.training.choose import choose_compute
from edgexfer.training.compute import Compute
from edgexfer.training.job import split_views
from edgexfer.training.learner import Batch
from edgexfer.training.leave import calibration_scores, scores_of
from edgexfer.training.optim import refuse_single_pictures
from edgexfer.training.ranks import ALONE, Ranks
from edgexfer.training.shared_step import whole_batch

DKD_WARMUP = 1 / 12
"""Share of the training over which dkd's soft term rises to its weight: 20 of 240 epochs in the paper."""

OBSERVED_BATCHES = 8
"""Training batches that set the first ranges of a student that learns with rounding."""

_BEFORE = ("val_top1", "val_ece", "val_nll")


def soft_loss(
    objective: Settled, student_logits: torch.Tensor, teacher_log_probs: torch.Tensor, batch: Batch
) -> torch.Tensor:
    """The soft term of an objective, unweighted.

    Args:
        objective: Which loss, at which temperature.
        student_logits: ``(N, K)``.
        teacher_log_probs: ``(N, K)``, softened by the objective's temperature (by any, where it standardises).
        batch: The labels, for the losses that need a target; ``progress`` for those that warm up.
    """
    temperature, gain = objective.temperature, 1.0
    if objective.standardise:
        student_logits = standardise(student_logits)
        teacher_log_probs = soft_targets(standardise(teacher_log_probs)[None], temperature)
        gain = GAIN
    if objective.loss == "kd":
        return gain * kd_loss(student_logits, teacher_log_probs, temperature)
    if objective.loss == "dist":
        return gain * dist_loss(student_logits, teacher_log_probs, temperature)
    targets = target_classes(teacher_log_probs, batch)
    weights = {"alpha": objective.dkd_alpha, "beta": objective.dkd_beta}
    warmth = (batch["progress"] / DKD_WARMUP).clamp(max=1.0) if "progress" in batch else 1.0
    return gain * warmth * dkd_loss(student_logits, teacher_log_probs, targets, temperature, **weights)


def distill_step(
    outputs: Outputs,
    objective: Settled,
    regressors: HintRegressors | None = None,
    ranks: Ranks = ALONE,
    *,
    label_smoothing: float = 0.0,
) -> Step:
    """The step of distillation; the teachers see, or have seen, the very pixels that the student sees.

    Of several processes each computes its own pictures; dist, which relates pictures, is computed on all of the batch.
    ``label_smoothing`` is of the hard term.
    """

    def step(student: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        parts: dict[str, torch.Tensor] = {}
        if regressors is None:
            logits = student(batch["inputs"])
            teacher_log_probs = outputs.teachers.voice(outputs.logits(batch), objective.temperature)
        else:
            logits, teacher_logits, parts["hint_loss"] = regressors.compare(student, outputs.teachers, batch["inputs"])
            teacher_log_probs = soft_targets(teacher_logits[None], objective.temperature)
        matched = (logits, teacher_log_probs)
        if objective.loss == "dist":
            matched = (whole_batch(logits, batch, ranks), whole_batch(teacher_log_probs, batch, ranks))
        parts["soft_loss"] = soft_loss(objective, *matched, batch)
        parts["hard_loss"] = hard_loss(logits, batch, label_smoothing=label_smoothing)
        parts["loss"] = objective.alpha * parts["soft_loss"] + (1 - objective.alpha) * parts["hard_loss"]
        if "hint_loss" in parts:
            parts["loss"] = parts["loss"] + objective.hint_weight * parts["hint_loss"]
        return parts

    return step


def distill(
    job: Job,
    teachers: Teachers,
    objective: Settled,
    out: Path,
    listener: Listener,
    *,
    record: Mapping[str, Any],
    teacher_scores: Mapping[str, Predictions],
    rounds: bool = False,
) -> Run:
    """Trains the student of ``job`` with its teachers and leaves a run in ``out``.

    Args:
        job: What to train on.
        teachers: Checked by ``check_teachers``.
        objective: What is matched, and how.
        out: The run folder.
        listener: Hears how it goes.
        record: What the run's recipe says beside the settings.
        teacher_scores: What ``check_teachers`` returned; stored beside the student's own scores.
        rounds: Whether the student computes with int8's rounding while it learns, see ``rounded``. It is validated
            with it, too; the run's scores are those without, and those with it lie in ``quantization_aware``.

    Raises:
        RecipeError: A hint names a layer that is not there, or the teachers have no layers to give.
    """
    regressors = HintRegressors.build(job, teachers, objective.hints) if objective.hints else None
    for member in teachers.members:
        member.network.to(job.device)
    smoothing = job.settings.label_smoothing
    are_live = regressors is not None or job.views is None

    def step_in(compute: Compute) -> Step:
        asked = Outputs(teachers_in(compute, teachers, len(job.splits.classes), are_live=are_live))
        return distill_step(asked, objective, regressors, job.ranks, label_smoothing=smoothing)

    rounded = rounded_student(job) if rounds else None
    student = job.new_student() if rounded is None else rounded
    refuse_single_pictures(student, job.settings.batch_size)
    batches = job.train_batches()
    taught = kind_of(objective, teachers, are_live=are_live)
    compute = choose_compute(job, student, step_in, batches, out / RESUME_FOLDER, listener, taught=taught)
    for member in teachers.members:
        compute.network(member.network)
    outputs = Outputs(teachers) if regressors is not None else open_outputs(teachers, job, compute, listener)
    parents = [
        {"role": "teacher", "name": member.name, "source": member.source, "sha256": member.sha256}
        for member in teachers.members
    ]
    chosen = {**objective.to_dict(), **teachers.to_dict()}
    identity = {**chosen, "teachers": [member.sha256 for member in teachers.members]}
    identity["teachers_order"] = [member.order for member in teachers.members]
    identity["teachers_architecture"] = [member.architecture for member in teachers.members]
    identity |= {"rounds": True} if rounds else {}
    return train(
        job,
        distill_step(outputs, objective, regressors, job.ranks, label_smoothing=smoothing),
        out,
        listener,
        record={**record, **chosen},
        parents=parents,
        extra_scores={"teacher": describe_teachers(teachers, teacher_scores), "before": before_training(job)},
        student=student,
        extras=Extras(companion=regressors, compute=compute, identity=identity, count_start=rounds),
        finish=None if rounded is None else lambda _: _unrounded(job, rounded, out),
    )


def rounded_student(job: Job) -> Rounded:
    """The job's student with int8's rounding, its ranges from the first training batches; the same at every call.

    Raises:
        TrainingError: The network cannot be followed layer by layer.
    """
    student = Rounded(job.new_student().net, job.preprocessing).to(job.device)
    batches = job.train_batches(whole=True)
    batches.set_epoch(0)
    student.observe(batch["inputs"].to(job.device) for batch in islice(batches, OBSERVED_BATCHES))
    return student


def _unrounded(job: Job, student: Rounded, out: Path) -> dict[str, Any]:
    """Switches the rounding off for good; gives the scores that the student has with it, and had in epoch 0."""
    found = {name: job.predictions(student, name).top1 for name in split_views(job.splits) if name != "train"}
    student.rounds = False
    scores = {f"{name}_top1": found.get(name) for name in ("val", "test")}
    before = read_lines(out / METRICS_FILE)[0]
    return {"quantization_aware": {**scores, "val_top1_before": before["val_top1"]}}


def before_training(job: Job) -> dict[str, Any]:
    """What the student scores on validation with its first weights."""
    found = {"val": job.predictions(job.new_student(), "val")}
    return {key: value for key, value in {**scores_of(found), **calibration_scores(found)}.items() if key in _BEFORE}


def hard_label_baseline(job: Job, out: Path, listener: Listener, *, record: Mapping[str, Any]) -> Run:
    """Trains the student of ``job`` on hard labels alone, smoothed as it says, to show what distilling bought."""
    return train(job, hard_label_step(job.settings.label_smoothing), out, listener, record=record)


def describe_teachers(teachers: Teachers, scores: Mapping[str, Predictions]) -> dict[str, Any]:
    """The teachers as a table shows them; sizes are sums over an ensemble."""
    test = scores.get("test")
    return {
        "name": " + ".join(member.name for member in teachers.members),
        "val_top1": scores["val"].top1,
        "test_top1": None if test is None else test.top1,
        **({"val_top1_seen": scores[SEEN].top1} if SEEN in scores else {}),
        **calibration_scores(scores),
        "parameters": sum(member.parameters for member in teachers.members),
        "operations": _sum(member.operations for member in teachers.members),
        "weights_bytes": sum(member.weights_bytes for member in teachers.members),
    }


def _sum(counts: Iterable[int | None]) -> int | None:
    """The sum; ``None`` where one is not known."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)
