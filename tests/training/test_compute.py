from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgexfer.errors import TrainingError
from edgexfer.training.compute import (
    CANDIDATES,
    Compute,
    clock,
    fastest,
    recall_compute,
    remember_compute,
    seconds_a_step,
    within_memory,
)

CPU = torch.device("cpu")
LAST, HALF = CANDIDATES[1:]


def test_only_what_is_clearly_faster_replaces_float32() -> None:
    assert fastest({Compute(): 1.0, LAST: 0.95, HALF: 2.0}) == Compute()
    assert fastest({Compute(): 1.0, LAST: 0.8, HALF: 0.85}) == LAST
    assert fastest({Compute(): 1.0, LAST: 0.8, HALF: 0.4}) == HALF


def test_a_measured_choice_is_remembered_on_this_machine(tmp_path: Path, own_cache: Path) -> None:
    assert recall_compute(tmp_path / "resume", "net") is None
    remember_compute(tmp_path / "resume", "net", HALF)
    assert recall_compute(tmp_path / "another run", "net") == HALF
    assert recall_compute(tmp_path / "another run", "another net") is None
    (own_cache / "compute.json").write_text("damaged")
    assert recall_compute(tmp_path / "resume", "net") == HALF  # a resumed training keeps to what it began with
    assert recall_compute(tmp_path / "another run", "net") is None


def batches() -> list[dict[str, torch.Tensor]]:
    return [{"inputs": torch.rand(4, 3, 8, 8), "labels": torch.tensor([0, 1, 0, 1])}] * 3


@pytest.mark.parametrize("compute", CANDIDATES)
def test_every_way_computes_in_what_it_says(compute: Compute) -> None:
    seen = []

    def step(net: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        out = net(batch["inputs"])
        last = batch["inputs"].is_contiguous(memory_format=torch.channels_last)
        seen.append((out.dtype, last))
        return {"loss": out.float().square().mean()}

    net = nn.Conv2d(3, 4, 3)
    before = net.weight.detach().clone()
    assert seconds_a_step(net, step, batches(), compute, CPU, steps=3) > 0  # type: ignore[arg-type]
    expected = torch.bfloat16 if compute.precision == "bfloat16" else torch.float32
    assert seen == [(expected, compute.channels_last)] * 3
    assert torch.equal(net.weight, before) and net.weight.grad is None


def test_the_clock_is_read_when_the_device_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(str(device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    assert 0 < clock(CPU) <= clock(torch.device("cuda", 1)) <= clock(torch.device("mps"))
    assert waited == ["cuda:1", "mps"]


def test_both_ends_of_a_step_are_read_from_that_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 9.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr("edgexfer.training.compute.clock", lambda device: next(times))
    net = nn.Conv2d(3, 4, 3)
    found = seconds_a_step(net, lambda net, b: {"loss": net(b["inputs"]).mean()}, batches(), Compute(), CPU, steps=3)
    assert found == 2.0


def test_a_loss_without_parameters_is_named() -> None:
    with pytest.raises(TrainingError, match="does not depend on any trainable parameter"):
        seconds_a_step(
            nn.Flatten(), lambda net, b: {"loss": net(b["inputs"]).sum()}, batches(), Compute(), CPU, steps=1
        )


def test_memory_that_runs_out_is_told_with_the_remedy() -> None:
    with pytest.raises(
        TrainingError, match=r"ran out, where it was to allocate 4\d{18} bytes more: lower --batch-size"
    ):
        with within_memory():
            torch.empty(1 << 60)
    told = (
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 139.80 GiB of which 5 are free."
    )
    with pytest.raises(TrainingError) as caught:
        with within_memory("lower --image-size"):
            raise torch.OutOfMemoryError(told)
    remedy = "lower --image-size, or end what else takes memory"
    assert str(caught.value) == f"memory ran out, where it was to allocate 20.00 MiB more: {remedy}"
    with pytest.raises(TrainingError, match="^memory ran out: lower --batch-size or --image-size, or end"):
        with within_memory():
            raise RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB, max allowed: 9.07 GB)")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        with within_memory():
            torch.ones(2, 3) @ torch.ones(2, 3)
