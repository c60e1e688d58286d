from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgexfer.errors import TrainingError
from edgexfer.runs import read_lines
from edgexfer.training.average import WeightAverage
from edgexfer.training.compute import CANDIDATES, Compute, find_device
from edgexfer.training.fit import FitResult, fit
from edgexfer.training.learner import Batch, Extras
from edgexfer.training.listener import Silent
from edgexfer.training.recipe import Facts, Recipe, Settings, settle
from edgexfer.training.scoring import Predictions

CPU = torch.device("cpu")
FIT_MODULE = importlib.import_module("edgexfer.training.fit")


class Points:
    """Two clouds of points; batches as the data room makes them, without pictures."""

    def __init__(self, count: int = 60) -> None:
        rng = np.random.default_rng(0)
        self.labels = torch.from_numpy(rng.integers(0, 2, count))
        self.inputs = torch.from_numpy(rng.normal(0, 1, (count, 4)).astype(np.float32)) + 2 * self.labels[:, None]
        self.epoch = 0

    def __len__(self) -> int:
        return 3

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        order = np.random.default_rng(self.epoch).permutation(len(self.labels))
        for part in np.array_split(order, 3):
            yield {"inputs": self.inputs[part], "labels": self.labels[part], "index": torch.from_numpy(part)}


def student() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def step(net: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    loss = functional.cross_entropy(net(batch["inputs"]), batch["labels"])
    return {"loss": loss, "twice": 2 * loss}


def settings(epochs: int = 6, **wishes: float) -> Settings:
    return settle(
        Recipe(epochs=epochs, lr=0.01, patience=int(wishes.get("patience", 99))), Facts(60, (8, 8), 32, False)
    )[0]


def validate(net: nn.Module) -> Predictions:
    points = Points()
    net.eval()
    with torch.no_grad():
        return Predictions(net(points.inputs).numpy(), points.labels.numpy())


def run_fit(folder: Path, net: nn.Module, **changes: object) -> FitResult:
    arguments: dict[str, object] = {
        "step": step,
        "batches": Points(),
        "validate": validate,
        "settings": settings(),
        "device": CPU,
        "folder": folder,
        "resume_folder": folder / "resume",
        "listener": Silent(),
    }
    return fit(net, **{**arguments, **changes})  # type: ignore[arg-type]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_it_learns_and_logs_every_part(tmp_path: Path) -> None:
    result = run_fit(tmp_path, student())
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    assert lines[2]["twice"] == pytest.approx(2 * lines[2]["train_loss"], rel=1e-6)
    assert max(line["val_top1"] for line in lines) == lines[result.best_epoch - 1]["val_top1"] > 0.8


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    first, second = run_fit(tmp_path / "a", student()), run_fit(tmp_path / "b", student())
    assert same(first.last, second.last)
    other = run_fit(tmp_path / "c", student(), settings=replace(settings(), seed=5))
    assert not same(first.last, other.last)


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_an_interrupted_training_ends_bit_for_bit_the_same(
    tmp_path: Path, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FIT_MODULE, "CHECKPOINT_SECONDS", 0.0)
    whole = run_fit(tmp_path / "whole", student())

    class Killed(Silent):
        def epoch(self, metrics: object) -> None:
            if metrics["epoch"] == stop_after:  # type: ignore[index]
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "cut", student(), listener=Killed())
    resumed = run_fit(tmp_path / "cut", student())
    assert same(resumed.last, whole.last)
    assert same(resumed.best, whole.best)
    assert len(read_lines(tmp_path / "cut" / "metrics.jsonl")) == 6


def test_other_settings_cannot_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FIT_MODULE, "CHECKPOINT_SECONDS", 0.0)
    run_fit(tmp_path, student())
    with pytest.raises(TrainingError, match="epochs was 6, now 9"):
        run_fit(tmp_path, student(), settings=settings(9))


def test_another_strategy_cannot_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FIT_MODULE, "CHECKPOINT_SECONDS", 0.0)
    run_fit(tmp_path, student(), extras=Extras(identity={"strategy": {"name": "full"}}))
    with pytest.raises(
        TrainingError, match=r"strategy was \{'name': 'full'\}, now \{'name': 'head'\}; repeat the first"
    ):
        run_fit(tmp_path, student(), extras=Extras(identity={"strategy": {"name": "head"}}))


def test_first_weights_that_are_never_beaten_are_kept(tmp_path: Path) -> None:
    scores = iter([0.9, 0.5, 0.4, 0.6, 0.5, 0.5, 0.5])

    def worse(net: nn.Module) -> Predictions:
        right = next(scores)
        return Predictions(
            np.tile(np.array([[1.0, 0.0]], np.float32), (10, 1)), (np.arange(10) >= 10 * right).astype(int)
        )

    net = student()
    first = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    result = run_fit(tmp_path, net, validate=worse, extras=Extras(count_start=True))
    assert result.best_epoch == 0 and same(result.best, first) and not same(result.last, first)
    assert [line["epoch"] for line in result.metrics] == [0, 1, 2, 3, 4, 5, 6]


def test_a_damaged_checkpoint_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FIT_MODULE, "CHECKPOINT_SECONDS", 0.0)
    run_fit(tmp_path, student())
    (tmp_path / "resume" / "checkpoint.pt").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(TrainingError, match="cannot be read .* start again with --force"):
        run_fit(tmp_path, student())


def test_patience_ends_a_training_that_does_not_improve(tmp_path: Path) -> None:
    def never_better(net: nn.Module) -> Predictions:
        return Predictions(np.array([[1.0, 0.0]], np.float32), np.array([0]))

    result = run_fit(tmp_path, student(), settings=settings(50, patience=4), validate=never_better)
    assert result.best_epoch == 1
    assert len(result.metrics) == 5


def test_a_loss_that_explodes_is_named(tmp_path: Path) -> None:
    def nan_step(net: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        return {"loss": step(net, batch)["loss"] * float("nan")}

    with pytest.raises(TrainingError, match="the loss became nan in epoch 1 .* lower --lr"):
        run_fit(tmp_path, student(), step=nan_step)


def test_an_unknown_device_is_named() -> None:
    assert find_device("cpu") == CPU
    with pytest.raises(TrainingError, match="no device is called 'tpu'; allowed: auto, cpu, cuda, mps"):
        find_device("tpu")


def test_an_average_of_the_weights_is_what_is_kept_and_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FIT_MODULE, "CHECKPOINT_SECONDS", 0.0)
    averaged = replace(settings(), ema=0.9)
    plain = run_fit(tmp_path / "plain", student())
    whole = run_fit(tmp_path / "whole", student(), settings=averaged)
    assert not same(whole.last, plain.last)

    class Killed(Silent):
        def epoch(self, metrics: object) -> None:
            if metrics["epoch"] == 3:  # type: ignore[index]
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "cut", student(), listener=Killed(), settings=averaged)
    resumed = run_fit(tmp_path / "cut", student(), settings=averaged)
    assert same(resumed.last, whole.last) and same(resumed.best, whole.best)


def test_the_average_follows_its_formula() -> None:
    net = nn.Linear(1, 1, bias=False)
    average = WeightAverage(net, 0.5)
    expected = float(net.weight.detach())
    for step_number in range(1, 6):
        with torch.no_grad():
            net.weight.fill_(float(step_number))
        decay = min(0.5, (1 + step_number) / (10 + step_number))
        expected = decay * expected + (1 - decay) * step_number
        average.follow(net, step_number)
    assert float(average.net.weight) == pytest.approx(expected, rel=1e-6)  # type: ignore[arg-type]
    assert not average.net.training and not any(p.requires_grad for p in average.net.parameters())


@pytest.mark.parametrize("compute", CANDIDATES)
def test_a_companion_trains_along_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compute: Compute
) -> None:
    monkeypatch.setattr(FIT_MODULE, "CHECKPOINT_SECONDS", 0.0)

    def companion() -> nn.Linear:
        torch.manual_seed(3)
        return nn.Linear(2, 2)

    def with_companion(folder: Path, extra: nn.Linear, listener: Silent) -> FitResult:
        def joint(net: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
            return {"loss": functional.cross_entropy(extra(net(batch["inputs"])).float(), batch["labels"])}

        return run_fit(
            folder, student(), step=joint, listener=listener, extras=Extras(companion=extra, compute=compute)
        )

    class Killed(Silent):
        def epoch(self, metrics: object) -> None:
            if metrics["epoch"] == 3:  # type: ignore[index]
                raise KeyboardInterrupt

    first, second = companion(), companion()
    whole = with_companion(tmp_path / "whole", first, Silent())
    assert not torch.equal(first.weight, companion().weight)
    with pytest.raises(KeyboardInterrupt):
        with_companion(tmp_path / "cut", companion(), Killed())
    resumed = with_companion(tmp_path / "cut", second, Silent())
    assert same(resumed.last, whole.last) and torch.equal(first.weight, second.weight)
