"""Whether a teacher may teach, where validation can tell and where it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgexfer.data import View, build_store
from edgexfer.distill import Teacher, Teachers, check_teachers
from edgexfer.errors import TeacherError
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


def test_where_there_are_two_a_teacher_that_guesses_is_refused(job: Job, teacher: Teacher) -> None:
    with pytest.raises(TeacherError, match="no better than always answering the most frequent class .50.0%."):
        check_teachers(Teachers((teacher,)), validated_on(job, 0, 1), Heard())
