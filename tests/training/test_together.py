"""Two processes train as one does: the same batches, gradients and statistics, up to the order of sums."""

from __future__ import annotations

import copy
import importlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgexfer.data import Loader, PackedStore, Views
from edgexfer.distill.distill import distill_step
from edgexfer.distill.objective import Settled
from edgexfer.distill.outputs import Outputs
from edgexfer.errors import TrainingError
from edgexfer.preprocessing import square
from edgexfer.runs import read_lines
from edgexfer.training.fit import FitResult, fit
from edgexfer.training.learner import Batch, Extras
from edgexfer.training.listener import Silent
from edgexfer.training.optim import LayerPlan
from edgexfer.training.ranks import ALONE, Ranks, joined
from edgexfer.training.recipe import Facts, Recipe, Settings, settle
from edgexfer.training.scoring import Predictions
from edgexfer.training.synced_batchnorm import synchronised
from tests.together import Together, together

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
CPU = torch.device("cpu")
CLOSE = 1e-6
"""Largest difference of a weight beside the largest of its tensor: losses are computed in float32, all else in 64."""
IMAGES, CLASSES, BATCH = 45, 3, 12


class Small(nn.Module):
    """A network in float64, with or without BatchNorm, that takes float32 pixels."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6) if norm else nn.Identity(), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        ).double()
        self.head = nn.Linear(24, CLASSES).double()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(pixels.double()).flatten(1))
        return logits


class Knows(nn.Module):
    """A teacher of a kind: fixed scores from the mean colour."""

    members = ()

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        return 20 * pixels.mean((2, 3))[None]

    def voice(self, logits: torch.Tensor, temperature: float) -> torch.Tensor:
        return functional.log_softmax(logits[0] / temperature, dim=1)


def batches(ranks: Ranks, *, mixup: float = 0.5, unlabelled: bool = True, images: int = IMAGES) -> Loader:
    rng = np.random.default_rng(0)
    sizes = np.full((images, 2), 10)
    store = PackedStore(rng.integers(0, 256, images * 300, dtype=np.uint8), sizes, square(8), False)
    labels = rng.integers(0, CLASSES, images)
    if unlabelled:
        labels[: images // 2] = -1
    part = (ranks.rank, ranks.count)
    return Loader(
        store, labels, square(8), BATCH, augment="light", train=True, seed=1, mirrors=True, mixup=mixup,
        views=Views(2), part=part,
    )  # fmt: skip


def settings(**wishes: Any) -> Settings:
    wished = {"epochs": 3, "lr": 0.05, "optimizer": "sgd", "weight_decay": 0.0, "ema": 0.9, "batch_size": BATCH}
    return settle(Recipe(**{**wished, **wishes}), Facts(IMAGES, (8, 8), 8, False))[0]


def nothing(net: nn.Module) -> Predictions:
    return Predictions(np.zeros((2, CLASSES), np.float32), np.zeros(2, np.int64))


def trained(
    ranks: Ranks, folder: Path, loss: str, *, norm: bool = True, sync: bool = True, **changes: Any
) -> FitResult:
    net = Small(norm)
    if sync and ranks.are_several:
        synchronised(net, CPU)
    step = distill_step(Outputs(Knows()), Settled(loss, 4.0, 0.5), None, ranks)  # type: ignore[arg-type]
    arguments: dict[str, Any] = {"step": step, "batches": batches(ranks), "validate": nothing, "settings": settings()}
    arguments |= {"device": CPU, "folder": folder, "resume_folder": folder / "resume", "listener": Silent()}
    return fit(net, ranks=ranks, **(arguments | changes))


def furthest(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[k].double() - b[k].double()).abs().max() / b[k].double().abs().max()) for k in a)


@pytest.mark.parametrize("loss", ["kd", "dkd", "dist"])
def test_weights_are_those_of_one_process(loss: str, tmp_path: Path) -> None:
    expected = trained(ALONE, tmp_path / "one", loss)
    found = together(2, lambda ranks: trained(ranks, tmp_path / "two", loss))
    assert all(furthest(result.last, expected.last) < CLOSE for result in found)
    assert all(torch.equal(found[0].last[key], found[1].last[key]) for key in found[0].last)
    for mine, theirs in zip(found[0].metrics, expected.metrics, strict=True):
        for name in ("train_loss", "soft_loss", "hard_loss", "lr"):
            assert mine[name] == pytest.approx(theirs[name], rel=1e-5)
    assert read_lines(tmp_path / "two" / "metrics.jsonl") == found[0].metrics


def test_without_batchnorm_nothing_needs_synchronising(tmp_path: Path) -> None:
    expected = trained(ALONE, tmp_path / "one", "kd", norm=False)
    found = together(3, lambda ranks: trained(ranks, tmp_path / "two", "kd", norm=False))
    assert furthest(found[2].last, expected.last) < CLOSE


def test_batchnorm_of_each_process_alone_is_another_training_but_the_same_on_all(tmp_path: Path) -> None:
    expected = trained(ALONE, tmp_path / "one", "kd")
    first, second = together(2, lambda ranks: trained(ranks, tmp_path / "two", "kd", sync=False))
    assert furthest(first.last, expected.last) > 100 * CLOSE
    assert all(torch.equal(first.last[key], second.last[key]) for key in first.last)


def test_layers_that_thaw_or_are_left_out_are_averaged_too(tmp_path: Path) -> None:
    class Spare(Small):
        def __init__(self) -> None:
            super().__init__(norm=False)
            self.spare = nn.Linear(2, 2).double()

    layers = LayerPlan(thaws={"features.0.weight": 1, "features.0.bias": None})

    def run(ranks: Ranks, folder: Path) -> FitResult:
        net = Spare()
        step = distill_step(Outputs(Knows()), Settled("kd", 4.0, 0.5), None, ranks)  # type: ignore[arg-type]
        return fit(
            net, step, batches(ranks), nothing, settings(), device=CPU, folder=folder, resume_folder=folder / "r",
            listener=Silent(), extras=Extras(layers=layers), ranks=ranks,
        )  # fmt: skip

    expected = run(ALONE, tmp_path / "one")
    first, second = together(2, lambda ranks: run(ranks, tmp_path / "two"))
    assert furthest(first.last, expected.last) < CLOSE
    assert all(torch.equal(first.last[key], second.last[key]) for key in first.last)


def test_what_trains_along_is_averaged_too(tmp_path: Path) -> None:
    def run(ranks: Ranks) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        companion = nn.Linear(CLASSES, 2).double()

        def step(student: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
            return {"loss": companion(student(batch["inputs"])).square().mean()}

        folder = tmp_path / str(ranks.count)
        fit(
            Small(False), step, batches(ranks), nothing, settings(), device=CPU, folder=folder,
            resume_folder=folder / "r", listener=Silent(), extras=Extras(companion=companion), ranks=ranks,
        )  # fmt: skip
        return companion.state_dict()

    expected = run(ALONE)
    assert all(furthest(found, expected) < CLOSE for found in together(2, run))


def norms(ranks: Ranks, momentum: float | None) -> Any:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=momentum), nn.ReLU(), nn.Flatten()).double()
    synced = synchronised(copy.deepcopy(plain), CPU)
    assert list(synced.state_dict()) == list(plain.state_dict())
    x, mine = torch.randn(7, 3, 6, 6).double(), (slice(0, 4), slice(4, 7))[ranks.rank]
    for _ in range(2):
        plain(x).sin().sum().backward()
        found = synced(x[mine])
        found.sin().sum().backward()
    with torch.no_grad():
        same = torch.allclose(found, plain(x)[mine], rtol=0, atol=1e-12)
    slopes = [(p.grad, q.grad) for p, q in zip(plain.parameters(), synced.parameters(), strict=True)]
    plain.eval(), synced.eval()
    return same, slopes, torch.equal(synced(x), functional_eval(synced, x)), [*plain.buffers()], [*synced.buffers()]


def functional_eval(net: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    norm = net[1]
    y = functional.batch_norm(net[0](x), norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    return torch.relu(y).flatten(1)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_synchronised_batchnorm_is_batchnorm_over_all_pictures(momentum: float | None) -> None:
    found = together(2, lambda ranks: norms(ranks, momentum))
    for same, _, inference, _, _ in found:
        assert same and inference
    for (whole, a), (_, b) in zip(found[0][1], found[1][1], strict=True):
        assert torch.allclose(a + b, whole, rtol=0, atol=1e-10)
    plain, synced = found[0][3], found[0][4]
    # the plain one saw the pictures once more, without a gradient
    assert int(plain[2]) == 3 and int(synced[2]) == 2


def test_a_layer_without_statistics_evaluates_without_the_others() -> None:
    plain = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)).eval()
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    expected = plain(x)
    assert torch.equal(synchronised(plain, CPU)(x), expected)


def test_parts_make_the_whole_batch() -> None:
    whole = list(batches(ALONE, images=49))
    parts = [list(batches(Ranks(rank, 3), images=49)) for rank in range(3)]
    assert [len(batch["labels"]) for batch in whole] == [12, 12, 12, 13]
    for batch, *mine in zip(whole, *parts, strict=True):
        for key in ("inputs", "labels", "index", "mix", "partner_labels"):
            assert torch.equal(torch.cat([part[key] for part in mine]), batch[key])
        assert sum(float(part["weight"]) for part in mine) == pytest.approx(3)
        assert all(torch.equal(part["whole_labels"], batch["labels"]) for part in mine)
        assert all(torch.equal(part["whole_mix"], batch["mix"]) for part in mine)
        assert "weight" not in batch


def test_too_few_at_the_end_join_the_batch_before() -> None:
    assert [len(b["labels"]) for b in batches(ALONE, images=27)] == [12, 12, 3]
    assert [len(b["whole_labels"]) for b in batches(Ranks(0, 2), images=27)] == [12, 15]


def test_the_workers_make_the_same_parts() -> None:
    plain, made = batches(Ranks(1, 2)), batches(Ranks(1, 2))
    made.workers = 2
    for a, b in zip(plain, made, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_another_number_of_processes_cannot_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("edgexfer.training.fit"), "CHECKPOINT_SECONDS", 0.0)
    together(2, lambda ranks: trained(ranks, tmp_path, "kd"))
    with pytest.raises(TrainingError, match="processes was 2, now 1.*repeat the first command"):
        trained(ALONE, tmp_path, "kd")


def test_a_batch_too_small_for_its_processes_is_refused() -> None:
    with pytest.raises(Exception, match="a batch of 12 cannot be shared by 7 processes, of which each needs two"):
        batches(Ranks(0, 7))
    with pytest.raises(Exception, match="5 pictures cannot be shared by 3 processes.*start fewer processes"):
        batches(Ranks(0, 3), images=5)


def test_a_large_batch_of_several_processes_warms_up_longer() -> None:
    facts = replace(Facts(30_000, (32, 32), 32, False), processes=8)
    assert settle(Recipe(epochs=40), facts)[0].warmup_epochs == 3
    large, reasons = settle(Recipe(epochs=40, batch_size=1024, optimizer="sgd"), facts)
    assert large.warmup_epochs == 5 and large.lr == pytest.approx(0.05 * 1024 / 64)
    assert "warmup_epochs 5 (a large batch)" in reasons
    assert settle(Recipe(epochs=40, batch_size=1024), replace(facts, processes=1))[0].warmup_epochs == 3


@pytest.fixture
def started_badly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    yield


@pytest.mark.usefixtures("started_badly")
def test_a_group_that_cannot_be_joined_is_explained() -> None:
    with (
        pytest.raises(TrainingError, match=r"WORLD_SIZE is '2', but .* RANK .*start them with torchrun .*unset WORLD"),
        joined(),
    ):
        pass


def test_the_first_to_fail_says_why_and_the_others_end_in_silence() -> None:
    def work(ranks: Ranks) -> None:
        if ranks.rank == 1:
            raise TrainingError("the loss became nan")
        ranks.wait()

    first, second = Together(2, work).results()
    assert first is None
    assert isinstance(second, TrainingError) and str(second) == "process 1 of 2: the loss became nan"


def test_a_process_that_was_killed_is_missed() -> None:
    def work(ranks: Ranks) -> None:
        ranks.wait()
        if ranks.rank == 1:
            os.kill(os.getpid(), 9)
        ranks.wait()

    first, second = Together(2, work).results()
    assert second is None
    assert isinstance(first, TrainingError) and "another process of this training ended before its time" in str(first)
    assert "--resume goes on from the last checkpoint" in str(first)
