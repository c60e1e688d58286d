"""Re-estimated statistics are those of all pictures, however many the last batch has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgexfer.data import Splits, View
from edgexfer.training import Job, Recipe, Silent, prepare
from edgexfer.transfer.batchnorm import reestimate
from edgexfer.transfer.finetune import reestimated_if_better, settle_batchnorm
from tests.heard import Heard

CPU = torch.device("cpu")


@pytest.mark.parametrize("sizes", [(4, 4, 1), (2, 1), (3, 2)])
def test_a_lone_last_picture_counts_as_any_other(sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5))
    batches = [{"inputs": torch.randn(size, 3, 2, 2)} for size in sizes]
    assert reestimate(net, batches, CPU) == 1
    with torch.no_grad():
        values = net[:2](torch.cat([batch["inputs"] for batch in batches])).double().numpy()
    np.testing.assert_allclose(net[2].running_mean.numpy(), values.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net[2].running_var.numpy(), values.var(0), rtol=1e-5, atol=1e-6)
    assert net.training and net[2].momentum == 0.1


class OnMps(torch.Tensor):
    """Numbers that say they lie on MPS, which has no float64."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("mps")

    def double(self) -> torch.Tensor:  # type: ignore[override]
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")

    def cpu(self) -> torch.Tensor:  # type: ignore[override]
        return self.as_subclass(torch.Tensor)


def test_statistics_are_summed_on_the_cpu_where_the_device_has_no_float64() -> None:
    pictures = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    net = nn.BatchNorm2d(3)
    assert reestimate(net, [{"inputs": pictures.as_subclass(OnMps)}], CPU) == 1
    np.testing.assert_allclose(net.running_mean.numpy(), pictures.mean((0, 2, 3)).numpy(), rtol=1e-5, atol=1e-6)


@pytest.fixture
def lone(digits: Splits) -> Job:
    """A training on a single picture."""
    one = replace(
        digits.train, files=digits.train.files[:1], labels=digits.train.labels[:1], digests=digits.train.digests[:1],
        tie=None,
    )  # fmt: skip
    few: View = replace(
        digits.val, files=digits.val.files[:4], labels=digits.val.labels[:4], digests=digits.val.digests[:4],
        tie=None,
    )  # fmt: skip
    splits = replace(digits, train=one, val=few, test=None)
    return prepare(splits, "cifar-resnet20", "none", Recipe(epochs=1, image_size=32), Silent())


def test_a_single_picture_changes_no_statistics(lone: Job) -> None:
    student, heard = lone.new_student(), Heard()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    assert settle_batchnorm(lone, student, "adapt", heard) == "adapt"
    assert reestimated_if_better(lone, student, heard) == {}
    assert all(torch.equal(before[name], tensor) for name, tensor in student.state_dict().items())
    said = "BatchNorm keeps its statistics: a single training picture is too few to take them from"
    assert heard.lines.count(said) == 2
