"""Whether a teacher may teach, where validation can tell and where it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgexfer.data import View, build_store
from edgexfer.distill import Teacher, Teachers, check_teachers, describe_teachers
from edgexfer.distill.checking import SEEN
from edgexfer.errors import TeacherError
from edgexfer.preprocessing import square
from edgexfer.training import Job
from tests.heard import Heard


def validated_on(job: Job, label: int, *others: int) -> Job:
    """The job with some of its training pictures, of these classes, as validation."""
    train = job.splits.train
    chosen = np.concatenate([np.flatnonzero(train.labels == one)[:3] for one in (label, *others)])
    val = View(
        "val", tuple(train.files[i] for i in chosen), train.labels[chosen], lambda i: train.read(int(chosen[i])),
        tuple(train.digests[i] for i in chosen),
    )  # fmt: skip
    splits = replace(job.splits, val=val, test=None)
    stores = {"train": job.stores["train"], "val": build_store(val, job.preprocessing)}
    return replace(job, splits=splits, stores=stores)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_in_validation_tells_nothing_of_a_teacher(job: Job, teacher: Teacher, label: int) -> None:
    heard = Heard()
    check_teachers(Teachers((teacher,)), validated_on(job, label), heard)
    (said,) = [line for line in heard.lines if line.startswith("WARNING")]
    assert said == (
        f"WARNING every picture of validation is of one class, so whether the teacher {teacher.name} does better than"
        " guessing cannot be told; add pictures of the other classes to validation"
    )


class Bright(torch.nn.Module):
    """Tells light from dark, at pictures of one side or at any."""

    def __init__(self, side: int | None) -> None:
        super().__init__()
        self.side = side

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        light = (pixels.mean((1, 2, 3)) > 0.5) ^ (self.side not in (None, pixels.shape[-1]))
        return 5 * torch.stack([~light, light], dim=1).float()


@pytest.mark.parametrize("falls", [True, False])
def test_a_teacher_is_scored_on_the_pixels_that_it_teaches_on_too(job: Job, falls: bool) -> None:
    network = Bright(64 if falls else None).eval()
    sharp = Teacher("sharp", "", "0", network, square(64), 1, None, 1)
    heard = Heard()
    checked = check_teachers(Teachers((sharp,)), validated_on(job, 0, 1), heard)
    seen = 0.0 if falls else 1.0
    assert checked.scores["val"].top1 == 1.0 and checked.scores[SEEN].top1 == seen
    assert describe_teachers(checked.teachers, checked.scores)["val_top1_seen"] == seen
    assert f"teacher sharp: {seen:.1%} on validation as the student sees it, at 32 x 32 pixels" in heard.lines
    said = [line for line in heard.lines if line.startswith("WARNING")]
    assert said == falls * [
        "WARNING the teacher sharp is right on 100.0% of validation at its own 64 pixels, and on 0.0% at the student's"
        " 32 x 32, where it teaches; pass an --image-size nearer to 64"
    ]


def test_a_teacher_that_sees_its_own_pixels_is_scored_once(job: Job) -> None:
    heard = Heard()
    alike = Teacher("alike", "", "0", Bright(32).eval(), square(32), 1, None, 1)
    checked = check_teachers(Teachers((alike,)), validated_on(job, 0, 1), heard)
    assert set(checked.scores) == {"val"}
    assert "val_top1_seen" not in describe_teachers(checked.teachers, checked.scores)
    assert not [line for line in heard.lines if "as the student sees it" in line]


def test_where_there_are_two_a_teacher_that_guesses_is_refused(job: Job, teacher: Teacher) -> None:
    with pytest.raises(TeacherError, match="no better than always answering the most frequent class .50.0%."):
        check_teachers(Teachers((teacher,)), validated_on(job, 0, 1), Heard())
