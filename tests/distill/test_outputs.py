from __future__ import annotations

import importlib
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgexfer.distill import Settled, Teacher, Teachers, check_teachers, distill
from edgexfer.distill import outputs as outputs_module
from edgexfer.distill.outputs import choose_views, open_outputs
from edgexfer.distill.teacher import InOrder
from edgexfer.runs import WEIGHTS_FILE
from edgexfer.training import Job, Silent
from edgexfer.training.compute import Compute
from tests.heard import Heard

HALF = Compute("bfloat16", channels_last=True)


pytestmark = pytest.mark.usefixtures("own_cache")


def with_views(job: Job, views: int, **settings: object) -> Job:
    return replace(job, settings=replace(job.settings, views=views, **settings))  # type: ignore[arg-type]


def counted(teacher: Teacher) -> tuple[Teacher, list[int]]:
    """The teacher, and the sizes of the batches that it was asked."""
    asked: list[int] = []

    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = teacher.network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            asked.append(len(pixels))
            said: torch.Tensor = self.inner(pixels)
            return said

    return replace(teacher, network=Counting().eval()), asked


@pytest.mark.parametrize("mixup", [0.0, 0.8])
@pytest.mark.parametrize("augment", ["light", "strong"])
def test_kept_outputs_are_the_live_teachers_to_half_precision(
    job: Job, teacher: Teacher, mixup: float, augment: str
) -> None:
    shown = with_views(job, 2, mixup=mixup, augment=augment)
    outputs = open_outputs(Teachers((teacher,)), shown, Compute(), Silent())
    batches = shown.train_batches()
    for epoch in range(4):  # views 0 and 1 are met a second time, in another order
        batches.set_epoch(epoch)
        for batch in batches:
            live = torch.log_softmax(teacher.network(batch["inputs"]), dim=1)
            kept = torch.log_softmax(outputs.logits(batch)[0], dim=1)
            np.testing.assert_allclose(kept.numpy(), live.detach().numpy(), rtol=1e-3, atol=1e-5)


def test_each_view_is_computed_once_and_never_again(job: Job, teacher: Teacher) -> None:
    watched, asked = counted(teacher)
    shown = with_views(job, 2)
    images = len(job.splits.train)
    for round_number in range(2):
        outputs = open_outputs(Teachers((watched,)), shown, Compute(), Silent())
        asked.clear()
        batches = shown.train_batches()
        for epoch in range(4):
            batches.set_epoch(epoch)
            for batch in batches:
                outputs.logits(batch)
        assert sum(asked) == (2 * images if round_number == 0 else 0)


def train_once(job: Job, teacher: Teacher, out: Path) -> dict[str, torch.Tensor]:
    teachers = Teachers((teacher,))
    checked = check_teachers(teachers, job, Silent(), allow_weak=True)
    objective = Settled("kd", 4.0, 0.9)
    distill(job, teachers, objective, out, Silent(), record={}, teacher_scores=checked.scores)
    return load_file(out / WEIGHTS_FILE)


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_an_empty_and_a_full_cache_train_to_the_same_weights(
    job: Job, teacher: Teacher, tmp_path: Path, compute: str
) -> None:
    shown = with_views(job, 1, epochs=2, precision=compute)
    cold, warm = (train_once(shown, teacher, tmp_path / name) for name in ("cold", "warm"))
    assert all(torch.equal(cold[name], warm[name]) for name in cold)


def test_training_from_the_cache_is_training_with_the_live_teacher(
    job: Job, teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = with_views(job, 2, epochs=2, optimizer="sgd", lr=0.01)  # AdamW would turn roundings into whole steps
    cached = train_once(shown, teacher, tmp_path / "cached")
    module = importlib.import_module("edgexfer.distill.distill")
    monkeypatch.setattr(module, "open_outputs", lambda teachers, *_: outputs_module.Outputs(teachers))
    live = train_once(shown, teacher, tmp_path / "live")
    assert not all(torch.equal(cached[name], live[name]) for name in cached)  # half precision was at work
    for name, value in live.items():
        np.testing.assert_allclose(cached[name].numpy(), value.numpy(), rtol=0.02, atol=2e-3)


def test_what_is_not_the_teachers_any_more_is_made_anew(job: Job, teacher: Teacher) -> None:
    shown = with_views(job, 1)
    first = open_outputs(Teachers((teacher,)), shown, Compute(), Silent())
    batch = next(iter(shown.train_batches()))
    first.logits(batch)
    first.caches[0].write(0, batch["index"].numpy(), -first.logits(batch)[0])  # a whole, but wrong, cache
    heard = Heard()
    second = open_outputs(Teachers((teacher,)), shown, Compute(), heard)
    assert any("WARNING the stored outputs of cifar-resnet20 are not what it says now" in line for line in heard.lines)
    assert any("0% of them known already" in line for line in heard.lines)
    live = torch.log_softmax(teacher.network(batch["inputs"]), dim=1)
    np.testing.assert_allclose(second.logits(batch)[0].numpy(), live.detach().numpy(), rtol=1e-3, atol=1e-5)


def test_what_decides_the_outputs_decides_the_place(job: Job, teacher: Teacher) -> None:
    def place(job: Job, teacher: Teacher = teacher, compute: Compute = Compute()) -> Path:  # noqa: B008
        return open_outputs(Teachers((teacher,)), job, compute, Silent()).caches[0].folder

    base = with_views(job, 2)
    same = [with_views(job, 3), with_views(job, 2, seed=7), with_views(job, 2, lr=0.5, batch_size=3)]
    assert {place(other) for other in same} == {place(base)}
    others = [
        place(with_views(job, 2, augment="strong")),
        place(with_views(job, 2, mixup=0.5)),
        place(base, replace(teacher, sha256="f" * 64)),
        place(base, replace(teacher, network=InOrder(teacher.network, (1, 0)))),
        place(base, compute=HALF),
        place(replace(base, splits=replace(base.splits, mirrors=False))),
    ]
    assert len({place(base), *others}) == 7


def test_the_number_of_views_suits_epochs_and_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(outputs_module.shutil, "disk_usage", lambda _: usage(1_000_000))
    # 200,000 bytes may be used; a view of 1,000 pictures and 10 classes takes 22,000
    assert choose_views(epochs=5, images=1000, classes=10, members=1) == 5
    assert choose_views(epochs=50, images=1000, classes=10, members=1) == 9
    assert choose_views(epochs=50, images=1000, classes=10, members=3) == 3
    assert choose_views(epochs=50, images=100_000, classes=10, members=1) == 0
    assert choose_views(epochs=5, images=100_000, classes=10, members=1, wanted=9) == 5
    assert choose_views(epochs=5, images=10, classes=10, members=1, wanted=0) == 0
