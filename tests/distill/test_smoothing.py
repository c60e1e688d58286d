"""``--label-smoothing`` smooths the hard labels of a distillation and of its baseline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from edgexfer.distill import Settled, Teacher, Teachers, check_teachers, distill, hard_label_baseline
from edgexfer.distill.distill import distill_step
from edgexfer.distill.outputs import Outputs
from edgexfer.runs import WEIGHTS_FILE, read_lines
from edgexfer.training import Job, Silent, hard_label_step, train


def smoothed(job: Job, share: float) -> Job:
    return replace(job, settings=replace(job.settings, label_smoothing=share))


def test_the_hard_term_is_smoothed(job: Job, teacher: Teacher) -> None:
    batch = {"inputs": torch.rand(4, 3, 32, 32), "labels": torch.tensor([0, 1, 1, 0])}
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    for share in (0.0, 0.3):
        step = distill_step(Outputs(Teachers((teacher,))), Settled("kd", 4.0, 0.5), label_smoothing=share)
        found = step(lambda inputs: logits, batch)["hard_loss"]  # type: ignore[arg-type]
        expected = functional.cross_entropy(logits, batch["labels"], label_smoothing=share)
        assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_a_distillation_takes_its_smoothing_from_the_settings(job: Job, teacher: Teacher, tmp_path: Path) -> None:
    checked = check_teachers(Teachers((teacher,)), job, Silent(), allow_weak=True)
    losses = []
    for share in (0.0, 0.5):
        out = tmp_path / f"{share}"
        distill(
            smoothed(job, share), checked.teachers, Settled("kd", 4.0, 0.5), out, Silent(), record={},
            teacher_scores=checked.scores,
        )  # fmt: skip
        losses.append(read_lines(out / "metrics.jsonl")[0]["hard_loss"])
    assert losses[0] != losses[1]


def test_the_baseline_is_smoothed_as_its_job_says(job: Job, tmp_path: Path) -> None:
    shown = smoothed(job, 0.1)
    run = hard_label_baseline(shown, tmp_path / "baseline", Silent(), record={})
    assert run.recipe["settings"]["label_smoothing"] == 0.1
    train(shown, hard_label_step(0.1), tmp_path / "plain", Silent(), record={})
    first, second = (load_file(tmp_path / name / WEIGHTS_FILE) for name in ("baseline", "plain"))
    assert all(torch.equal(first[name], second[name]) for name in first)
