from __future__ import annotations

import errno
import importlib
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgexfer.distill import Settled, Teacher, Teachers, check_teachers, distill
from edgexfer.distill import cache as cache_module
from edgexfer.distill import outputs as outputs_module
from edgexfer.distill.cache import view_bytes
from edgexfer.distill.outputs import choose_views, open_outputs
from edgexfer.distill.teacher import InOrder
from edgexfer.runs import WEIGHTS_FILE
from edgexfer.training import Job, Silent
from edgexfer.training.compute import Compute
from edgexfer.words import people_size
from tests.distill.overheard import overheard
from tests.heard import Heard

HALF = Compute("bfloat16", channels_last=True)


pytestmark = pytest.mark.usefixtures("own_cache")


def with_views(job: Job, views: int, **settings: object) -> Job:
    return replace(job, settings=replace(job.settings, views=views, **settings))  # type: ignore[arg-type]


def counted(teacher: Teacher) -> tuple[Teacher, list[int]]:
    """The teacher, and the sizes of the batches that it was asked."""
    asked: list[int] = []
    return overheard(teacher, lambda pixels: asked.append(len(pixels))), asked


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


@pytest.mark.parametrize("batch_size", [1, 5, 24])
def test_what_is_kept_is_what_the_live_teacher_says_in_batches_of_another_size(
    job: Job, teacher: Teacher, batch_size: int
) -> None:
    shown = with_views(job, 1)
    outputs = open_outputs(Teachers((teacher,)), shown, Compute(), Silent())
    for batch in shown.train_batches():
        outputs.logits(batch)
    everything = np.arange(len(job.splits.train))
    kept, known = outputs.caches[0].read(0, everything)
    assert known.all()
    parts = [everything[start : start + batch_size] for start in range(0, len(everything), batch_size)]
    with torch.no_grad():
        live = torch.cat([teacher.network(shown.train_batches().batch(0, part)["inputs"]) for part in parts])
    live = torch.log_softmax(live, dim=1)
    np.testing.assert_allclose(kept.numpy(), live.numpy(), rtol=1e-3, atol=1e-5)


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
        place(base, replace(teacher, architecture=f"{teacher.architecture}+relu")),
        place(base, compute=HALF),
        place(replace(base, splits=replace(base.splits, mirrors=False))),
    ]
    assert len({place(base), *others}) == 8
    moved = replace(base, splits=replace(base.splits, source="/elsewhere/two"))
    assert place(moved, replace(teacher, name="copy.onnx", source="copy.onnx")) == place(base)


def test_why_the_teacher_runs_again_is_said(job: Job, teacher: Teacher) -> None:
    def told(job: Job, compute: Compute = Compute()) -> list[str]:  # noqa: B008
        heard, voice = Heard(), Teachers((teacher,))
        outputs = open_outputs(voice, job, compute, heard)
        outputs.logits(next(iter(job.train_batches())))
        return [line for line in heard.lines if "the teacher runs again" in line]

    base = with_views(job, 1)
    assert not told(base)
    assert not told(base)
    (said,) = told(base, HALF)
    assert said.endswith("does not serve here (precision was float32, now bfloat16, channels_last was False, now True)")
    (said,) = told(with_views(job, 1, mixup=0.5))
    assert (
        said == "the teacher runs again: what is kept of it on these pictures does not serve here (mixup was 0.0,"
        " now 0.5)"
    )


FREE = namedtuple("FREE", "free")


def a_view(job: Job) -> int:
    return view_bytes(len(job.splits.train), 2)


def long(job: Job, epochs: int, **settings: object) -> Job:
    return with_views(job, 0, epochs=epochs, **settings)


def test_the_number_of_views_suits_epochs_and_disk(job: Job, teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs_module.shutil, "disk_usage", lambda _: FREE(5 * 9 * a_view(job) + 5))
    assert choose_views(long(job, 5), [teacher]) == 5
    assert choose_views(long(job, 50), [teacher]) == 9
    assert choose_views(long(job, 50), [teacher] * 3) == 3
    assert choose_views(long(job, 50), [teacher], wanted=40) == 40
    assert choose_views(long(job, 5), [teacher], wanted=9) == 5
    assert choose_views(long(job, 5), [teacher], wanted=0) == 0
    monkeypatch.setattr(outputs_module.shutil, "disk_usage", lambda _: FREE(4 * a_view(job)))
    assert choose_views(long(job, 50), [teacher]) == 0


def test_pictures_that_are_not_varied_have_one_view(job: Job, teacher: Teacher) -> None:
    assert choose_views(long(job, 5, augment="none"), [teacher]) == 1
    assert choose_views(long(job, 5, augment="none"), [teacher], wanted=3) == 1
    assert choose_views(long(job, 5, augment="none"), [teacher], wanted=0) == 0
    assert choose_views(long(job, 5, augment="none", mixup=0.5), [teacher]) == 5


def test_what_a_command_has_kept_itself_does_not_change_its_views(
    job: Job, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 5 * 9 * a_view(job) + 5
    monkeypatch.setattr(outputs_module.shutil, "disk_usage", lambda _: FREE(room))
    shown = with_views(job, choose_views(long(job, 50), [teacher]), epochs=50)
    outputs = open_outputs(Teachers((teacher,)), shown, Compute(), Silent())
    batch = next(iter(shown.train_batches()))
    for view in range(9):
        outputs.logits({**batch, "view": torch.tensor(view)})
    room -= 9 * a_view(job)
    assert choose_views(long(job, 50), [teacher]) == 9
    assert choose_views(long(job, 50, augment="strong"), [teacher]) == 7, "another training's is not added back"


def test_views_without_room_are_told(job: Job, teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs_module.shutil, "disk_usage", lambda _: FREE(3 * a_view(job)))

    def warnings(views: int) -> list[str]:
        heard = Heard()
        outputs = open_outputs(Teachers((teacher,)), with_views(job, views), Compute(), heard)
        outputs.logits(next(iter(job.train_batches())))
        return [line for line in heard.lines if line.startswith("WARNING")]

    (said,) = warnings(4)
    assert said.startswith(f"WARNING the teacher outputs take {people_size(4 * a_view(job))} more in ")
    assert f"where {people_size(3 * a_view(job))} are free" in said and "pass a smaller --views" in said
    assert not warnings(4), "the view that is there already needs no room"


def test_a_full_disk_is_told_once_for_all_teachers(job: Job, teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_module, "reserve", full)
    heard, other = Heard(), replace(teacher, sha256="f" * 64)
    outputs = open_outputs(Teachers((teacher, other)), with_views(job, 1), Compute(), heard)
    outputs.logits(next(iter(with_views(job, 1).train_batches())))
    (said,) = [line for line in heard.lines if line.startswith("WARNING")]
    assert "cannot be kept" in said and "(No space left on device)" in said
