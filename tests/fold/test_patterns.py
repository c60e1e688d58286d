"""Every pattern that folds exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from edgexfer.fold import Fold, Folded, FoldPlan, fold_batchnorm
from tests.batchnorms import lived_in

Folder = Callable[..., Folded]


def pairs(plan: FoldPlan) -> list[tuple[str, str, str]]:
    return [(fold.conv, fold.batchnorm, fold.side) for fold in plan.folds]


CASES = {
    "conv1d": (lambda: [nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)], (2, 3, 8)),
    "conv2d": (lambda: [nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)], (2, 3, 8, 8)),
    "conv3d": (lambda: [nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4)], (2, 3, 4, 4, 4)),
    "no bias": (lambda: [nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)], (2, 3, 8, 8)),
    "grouped": (lambda: [nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8)], (2, 4, 8, 8)),
    "depthwise": (lambda: [nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.BatchNorm2d(4)], (2, 4, 8, 8)),
    "dilated": (lambda: [nn.Conv2d(3, 4, 3, dilation=2, stride=2), nn.BatchNorm2d(4)], (2, 3, 9, 9)),
    "reflect": (lambda: [nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4)], (2, 3, 8, 8)),
    "same": (lambda: [nn.Conv2d(3, 4, 3, padding="same"), nn.BatchNorm2d(4)], (2, 3, 8, 8)),
    "transposed1d": (lambda: [nn.ConvTranspose1d(3, 4, 3, stride=2), nn.BatchNorm1d(4)], (2, 3, 5)),
    "transposed2d": (lambda: [nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6)], (2, 4, 5, 5)),
    "transposed3d": (lambda: [nn.ConvTranspose3d(2, 4, 2, groups=2), nn.BatchNorm3d(4)], (2, 2, 3, 3, 3)),
    "linear": (lambda: [nn.Linear(5, 4), nn.BatchNorm1d(4)], (3, 5)),
    "linear without bias": (lambda: [nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4)], (3, 5)),
    "not affine": (lambda: [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)], (2, 3, 8, 8)),
    "sync": (lambda: [nn.Conv2d(3, 4, 3), nn.SyncBatchNorm(4)], (2, 3, 8, 8)),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_then_batchnorm(case: str, fold: Folder) -> None:
    layers, shape = CASES[case]
    folded = fold(nn.Sequential(*layers(), nn.ReLU(inplace=True)), *shape)
    assert pairs(folded.plan) == [("0", "1", "after")]
    assert folded.plan.kept == () and folded.plan.total == folded.plan.folded == 1
    assert isinstance(folded.module[1], nn.Identity) and folded.module[0].bias is not None
    assert [name for name, _ in folded.proof.layers] == ["1"]


def test_chain_into_one_layer(fold: Folder) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity(), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.BatchNorm2d(4))
    assert pairs(fold(net, 2, 3, 6, 6).plan) == [("0", "2", "after"), ("0", "4", "after")]


BEFORE = {
    "conv": (lambda: [nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)], (2, 3, 8, 8)),
    "grouped": (lambda: [nn.BatchNorm2d(4), nn.Conv2d(4, 8, 3, groups=2, bias=False)], (2, 4, 8, 8)),
    "valid": (lambda: [nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding="valid")], (2, 3, 8, 8)),
    "1x1 same": (lambda: [nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1, padding="same")], (2, 3, 8, 8)),
    "reflect": (lambda: [nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")], (2, 3, 8, 8)),
    "replicate": (lambda: [nn.BatchNorm1d(3), nn.Conv1d(3, 4, 3, padding=1, padding_mode="replicate")], (2, 3, 8)),
    "circular": (lambda: [nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")], (2, 3, 8, 8)),
    "linear": (lambda: [nn.BatchNorm1d(5), nn.Linear(5, 4)], (3, 5)),
}


@pytest.mark.parametrize("case", BEFORE)
def test_batchnorm_then_layer(case: str, fold: Folder) -> None:
    layers, shape = BEFORE[case]
    folded = fold(nn.Sequential(*layers()), *shape)
    assert folded.plan.folds == (Fold("1", "0", "before"),)
    assert folded.proof.layers[0][0] == "1"


def test_batchnorm_on_both_sides(fold: Folder) -> None:
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    assert set(pairs(fold(net, 2, 3, 6, 6).plan)) == {("1", "0", "before"), ("1", "2", "after")}


@pytest.mark.parametrize("affine", [True, False])
def test_batchnorm_into_batchnorm(affine: bool, fold: Folder) -> None:
    net = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3, affine=affine), nn.BatchNorm2d(3), nn.ReLU())
    folded = fold(net, 2, 3, 6, 6)
    assert pairs(folded.plan) == [("1", "2", "after")]
    assert [kept.name for kept in folded.plan.kept] == ["1"]


def test_two_batchnorms_before_a_layer(fold: Folder) -> None:
    net = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3))
    folded = fold(net, 2, 3, 6, 6)
    assert set(pairs(folded.plan)) == {("1", "2", "after"), ("3", "1", "before")}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.module.modules())


class SharedBatchNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.bn = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.one(x)) + self.bn(self.two(x)).relu()


def test_one_batchnorm_after_two_layers(fold: Folder) -> None:
    plan = fold(SharedBatchNorm(), 2, 3, 6, 6).plan
    assert pairs(plan) == [("one", "bn", "after"), ("two", "bn", "after")]
    assert plan.folded == plan.total == 1


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(torch.relu(self.bn(self.conv(x)))))


def test_block_applied_twice(fold: Folder) -> None:
    assert pairs(fold(Twice(), 2, 3, 6, 6).plan) == [("conv", "bn", "after")]


class Shapes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        n, c = x.shape[0], x.size(1)
        return self.bn(x).view(n, c, -1)


def test_reading_the_shape_is_no_other_consumer(fold: Folder) -> None:
    assert pairs(fold(Shapes(), 2, 3, 6, 6).plan) == [("conv", "bn", "after")]


class FrozenBatchNorm2d(nn.Module):
    """As torchvision writes it: four buffers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.eps = 1e-5
        for key, value in (("weight", 1.5), ("bias", 0.5), ("running_mean", 0.2), ("running_var", 0.7)):
            self.register_buffer(key, torch.full((channels,), value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.weight / (self.running_var + self.eps).sqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


def test_frozen_batchnorm(fold: Folder) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), FrozenBatchNorm2d(4), nn.ReLU(), FrozenBatchNorm2d(4), nn.BatchNorm2d(4))
    folded = fold(net, 2, 3, 6, 6)
    assert pairs(folded.plan) == [("0", "1", "after"), ("3", "4", "after")]
    assert isinstance(folded.module[3].weight, torch.Tensor)


def test_a_network_of_buffers_only(fold: Folder) -> None:
    net = nn.Sequential(nn.BatchNorm2d(3, affine=False), FrozenBatchNorm2d(3))
    assert pairs(fold(net, 2, 3, 6, 6).plan) == [("0", "1", "after")]


def test_frozen_batchnorm_in_a_training_network(fold: Folder) -> None:
    net = lived_in(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)))
    net.train()
    net[1].eval()
    folded = fold(net, 2, 3, 6, 6, randomise=False)
    assert pairs(folded.plan) == [("0", "1", "after")]
    assert "training mode" in folded.plan.kept[0].reason
    assert torch.equal(folded.module[3].running_mean, net[3].running_mean)


class Embedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).mean((2, 3))

    def classify(self, e: torch.Tensor) -> torch.Tensor:
        return self.head(e)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.embed(x))


def test_embed_and_classify_are_folded_with_forward(fold: Folder, close: Callable[..., None]) -> None:
    net = Embedding()
    folded = fold(net, 2, 3, 6, 6)
    assert pairs(folded.plan) == [("body.0", "body.1", "after"), ("head.0", "head.1", "after")]
    x = torch.randn(3, 3, 6, 6)
    with torch.no_grad():
        close(folded.module.embed(x), net.embed(x))
        close(folded.module.classify(net.embed(x)), net(x))


class Peeking(Embedding):
    """``embed`` takes the convolution's own output, which forward never shows."""

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.body[0](x).mean((2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.body(x).mean((2, 3)))


def test_a_method_that_takes_the_raw_output_stops_the_fold(fold: Folder) -> None:
    plan = fold(Peeking(), 2, 3, 6, 6).plan
    assert pairs(plan) == [("head.0", "head.1", "after")]
    assert "called 2 times" in plan.kept[0].reason


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype, close: Callable[..., None]) -> None:
    net = lived_in(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())).to(dtype)
    example = torch.randn(2, 3, 6, 6)
    folded = fold_batchnorm(net, example)
    assert folded.module[0].weight.dtype is folded.module[0].bias.dtype is dtype
    assert folded.proof.max_rel_error_f64 <= 1e-10
    close(folded.module(example.to(dtype)), net(example.to(dtype)), tolerance=0.03)


def test_tied_weights_are_parted(fold: Folder) -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
    net[2].weight = net[0].weight
    assert len(fold(net, 2, 3, 8, 8).plan.folds) == 2


def test_gradients_stay_as_they_were(fold: Folder) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    net[0].weight.requires_grad_(False)
    module = fold(net, 2, 3, 8, 8).module
    assert [p.requires_grad for p in module.parameters()] == [False, False, True, True]


def test_instance_and_group_norm_are_left_alone(fold: Folder) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4))
    folded = fold(net, 2, 3, 8, 8)
    assert folded.plan == FoldPlan() and folded.plan.total == 0
