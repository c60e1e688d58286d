from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgexfer.distill import Settled, Teacher, Teachers, check_teachers, distill
from edgexfer.distill.trial import kind_of, teachers_in
from edgexfer.training import Job, Silent
from edgexfer.training import choose as choose_module
from edgexfer.training.compute import CANDIDATES, Compute
from tests.distill.overheard import overheard

LAST = CANDIDATES[1]
pytestmark = pytest.mark.usefixtures("own_cache")


def has_channels_last(teacher: Teacher) -> bool:
    weights = [p for p in teacher.network.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    found = {weight.is_contiguous(memory_format=torch.channels_last) for weight in weights}
    assert len(found) == 1
    return found.pop()


def test_a_live_teacher_is_tried_in_the_memory_format_of_its_student(teacher: Teacher) -> None:
    network = copy.deepcopy(teacher.network)  # other tests may have trained with it
    plain = replace(teacher, network=network.to(memory_format=torch.contiguous_format))
    teachers, pixels = Teachers((plain,)), torch.rand(3, 3, 32, 32)
    asked = teachers_in(LAST, teachers, 2, are_live=True)
    assert has_channels_last(asked.members[0]) and not has_channels_last(plain)
    assert torch.allclose(asked.logits(pixels), teachers.logits(pixels), rtol=1e-4, atol=1e-5)
    assert teachers_in(Compute(), teachers, 2, are_live=True) == teachers


def test_known_outputs_cost_no_teacher(teacher: Teacher) -> None:
    silent = replace(teacher, network=torch.nn.Flatten())
    logits = teachers_in(LAST, Teachers((silent, silent)), 5, are_live=False).logits(torch.rand(3, 3, 32, 32))
    assert logits.shape == (2, 3, 5) and logits.dtype == torch.float32
    assert (logits.std(dim=1) > 0).all() and (logits.std(dim=2) > 0).all()


def test_loss_teachers_and_whether_they_are_at_work_make_the_kind(teacher: Teacher) -> None:
    one, two = Teachers((teacher,)), Teachers((teacher, teacher))
    kinds = [
        kind_of(objective, teachers, are_live=are_live)
        for objective in (Settled("kd", 4.0, 0.9), Settled("dist", 4.0, 0.9))
        for teachers in (one, two)
        for are_live in (False, True)
    ]
    assert len(set(kinds)) == 8
    other = replace(teacher, sha256="f" * 64)
    assert kind_of(Settled("kd", 1.0, 0.5), Teachers((other,)), are_live=True) == kinds[1]


@pytest.mark.parametrize(("loss", "views"), [("kd", 1), ("dkd", 1), ("dist", 1), ("kd", 0)])
def test_what_is_timed_is_what_a_step_of_the_training_does(
    loss: str, views: int, job: Job, teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose_module, "WORTH_MEASURING", 0)
    asked: list[Compute] = []
    trying: list[Compute] = []

    def seconds(
        student: torch.nn.Module, step: object, batches: object, compute: Compute, *_: object, **__: object
    ) -> float:
        trying.append(compute)
        batch = compute.batch(next(iter(batches)), job.device)  # type: ignore[call-overload]
        assert step(student, batch)["loss"].isfinite()  # type: ignore[operator]
        trying.clear()
        return 1.0

    monkeypatch.setattr(choose_module, "seconds_a_step", seconds)
    shown = replace(job, settings=replace(job.settings, views=views))
    teachers = Teachers((overheard(teacher, lambda _: asked.extend(trying)),))
    scores = check_teachers(teachers, shown, Silent(), allow_weak=True).scores
    distill(
        shown, teachers, Settled(loss, 4.0, 0.5), tmp_path / "out", Silent(),
        record={}, teacher_scores=scores,
    )  # fmt: skip
    assert asked == ([] if views else list(CANDIDATES))
