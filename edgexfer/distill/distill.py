"""Distilling: the student of a job learns from its teachers' softened outputs and from the hard labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgexfer.distill.losses import distillation_loss
from edgexfer.distill.teacher import Teachers
from edgexfer.errors import RecipeError
from edgexfer.runs import Run
from edgexfer.training import Job, Listener, Predictions, Step, hard_label_step, train
from edgexfer.training.fit import Batch


@dataclass(frozen=True)
class Softness:
    """How the teacher's outputs are softened and weighted.

    Attributes:
        temperature: T of both softmaxes.
        alpha: Weight of the soft term; the hard term has ``1 - alpha``.
    """

    temperature: float = 4.0
    alpha: float = 0.9

    def __post_init__(self) -> None:
        mistakes = []
        if not 0 < self.temperature <= 100:
            mistakes.append(f"temperature is {self.temperature}; it must lie above 0 and at most at 100")
        if not 0 <= self.alpha <= 1:
            mistakes.append(f"alpha is {self.alpha}; it must lie from 0 to 1")
        if mistakes:
            raise RecipeError.gathered(mistakes)


def distill_step(teachers: Teachers, softness: Softness) -> Step:
    """The step of distillation; the teachers see the very pixels that the student sees."""

    def step(student: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        return distillation_loss(
            student(batch["inputs"]),
            batch["labels"],
            teachers.log_probs(batch["inputs"], softness.temperature),
            temperature=softness.temperature,
            alpha=softness.alpha,
        )

    return step


def distill(
    job: Job,
    teachers: Teachers,
    softness: Softness,
    out: Path,
    listener: Listener,
    *,
    record: Mapping[str, Any],
    teacher_scores: Mapping[str, Predictions],
) -> Run:
    """Trains the student of ``job`` with its teachers and leaves a run in ``out``.

    Args:
        job: What to train on.
        teachers: Checked by ``check_teachers``.
        softness: Temperature and weight.
        out: The run folder.
        listener: Hears how it goes.
        record: What the run's recipe says beside the settings.
        teacher_scores: What ``check_teachers`` returned; stored beside the student's own scores.
    """
    told = {
        **record,
        "temperature": softness.temperature,
        "alpha": softness.alpha,
        "ensemble": teachers.ensemble,
    }
    parents = [
        {"role": "teacher", "name": member.name, "source": member.source, "sha256": member.sha256}
        for member in teachers.members
    ]
    return train(
        job,
        distill_step(teachers, softness),
        out,
        listener,
        record=told,
        parents=parents,
        extra_scores={"teacher": describe_teachers(teachers, teacher_scores)},
    )


def hard_label_baseline(job: Job, out: Path, listener: Listener, *, record: Mapping[str, Any]) -> Run:
    """Trains the same student with the same epochs and seed on hard labels alone, to show what distilling bought."""
    plain = replace(job, settings=replace(job.settings, label_smoothing=0.0))
    return train(plain, hard_label_step(0.0), out, listener, record=record)


def describe_teachers(teachers: Teachers, scores: Mapping[str, Predictions]) -> dict[str, Any]:
    """The teachers as a table shows them; sizes are sums over an ensemble."""
    test = scores.get("test")
    return {
        "name": " + ".join(member.name for member in teachers.members),
        "val_top1": scores["val"].top1,
        "test_top1": None if test is None else test.top1,
        "parameters": sum(member.parameters for member in teachers.members),
        "operations": sum(member.operations for member in teachers.members),
        "weights_bytes": sum(member.weights_bytes for member in teachers.members),
    }
