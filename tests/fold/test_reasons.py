"""Every reason for which a BatchNorm stays, word for word where a user meets it."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from edgexfer.fold import Folded, Kept
from tests.batchnorms import lived_in

Folder = Callable[..., Folded]
SHAPE = (2, 3, 6, 6)


class Net(nn.Module):
    """One convolution, two BatchNorm layers, and a forward given by the test."""

    def __init__(self, run: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.bn, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


REASONS: dict[str, tuple[Callable[[Net, Tensor], Tensor], str]] = {
    "two consumers": (
        lambda n, x: n.bn(y := n.conv(x)) + n.second(y),
        "the output of 'conv' (Conv2d) also goes to 'second' (BatchNorm2d); its output goes to a sum",
    ),
    "skip connection": (
        lambda n, x: torch.cat([n.bn(y := n.conv(x)), y]),
        "the output of 'conv' (Conv2d) also goes to a concatenation; its output goes to a concatenation",
    ),
    "conv used twice": (
        lambda n, x: n.bn(n.conv(x)) * n.second(n.conv(x)),
        "'conv' (Conv2d) is called 2 times, not always together with this BatchNorm; its output goes to a product",
    ),
    "conv used again": (
        lambda n, x: n.conv(n.bn(n.conv(x)).relu()),
        "'conv' (Conv2d) is called 2 times, not always together with this BatchNorm; "
        "its output goes to the operation 'relu'",
    ),
    "concatenation": (
        lambda n, x: n.bn(torch.cat([x, x])).relu(),
        "its input comes from a concatenation; its output goes to the operation 'relu'",
    ),
    "sum": (
        lambda n, x: n.bn(n.conv(x) + x).relu(),
        "its input comes from a sum; its output goes to the operation 'relu'",
    ),
    "activation": (
        lambda n, x: n.bn(n.conv(x).relu()),
        "its input comes from the operation 'relu'; its output goes to the network's output",
    ),
    "pooling": (
        lambda n, x: F.relu(n.bn(F.max_pool2d(n.conv(x), 2))),
        "its input comes from the operation 'max_pool2d'; its output goes to the operation 'relu'",
    ),
    "zero padding": (
        lambda n, x: n.conv(n.bn(x)),
        "its input comes from the network's own input; "
        "'conv' (Conv2d) after it pads with zeros, so the shift would be missing at the border",
    ),
    "output to two": (
        lambda n, x: n.conv(y := n.bn(x)) + n.other(y),
        "its input comes from the network's own input; its output goes to 'conv' (Conv2d) and 'other' (Conv2d)",
    ),
    "shared batchnorm": (
        lambda n, x: n.bn(n.bn(n.conv(x)).relu()),
        "its input comes from the operation 'relu'; its output goes to the operation 'relu'",
    ),
    "weight read": (
        lambda n, x: n.bn(n.conv(x)) + n.conv.weight.sum(),
        "the parameters of 'conv' (Conv2d) are read outside the layer; its output goes to a sum",
    ),
    "statistics read": (
        lambda n, x: n.bn(n.conv(x)) + n.bn.running_mean.sum(),
        "its parameters are read outside the layer",
    ),
    "never called": (lambda n, x: n.conv(x).relu(), "the forward pass never calls it"),
    "written in between": (
        lambda n, x: n.bn(n.conv(x).mul_(2)),
        "its input comes from the operation 'mul_'; its output goes to the network's output",
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_reason(case: str, fold: Folder) -> None:
    run, reason = REASONS[case]
    plan = fold(Net(run), *SHAPE).plan
    assert Kept("bn", reason) in plan.kept
    assert plan.total == 2 and not any(f.batchnorm == "bn" for f in plan.folds)


class OwnConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class Standardised(nn.Conv2d):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, weight / weight.std(), bias)


class OwnBatchNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda module, given, output: output * 2)
    return module


def wrong_statistics(value: float) -> nn.Module:
    bn = nn.BatchNorm2d(4)
    bn.running_var.fill_(value)
    return bn


MODULES: dict[str, tuple[Callable[[], list[nn.Module]], tuple[int, ...], str]] = {
    "no running statistics": (
        lambda: [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)],
        SHAPE,
        "it has no running statistics and so uses those of each batch",
    ),
    "linear over sequences": (
        lambda: [nn.Linear(5, 5), nn.BatchNorm1d(4)],
        (2, 4, 5),
        "its input is 3-D, where the channels of '0' (Linear) are not the BatchNorm's",
    ),
    "conv without a batch": (
        lambda: [nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)],
        (3, 6),
        "its input is 2-D, where the channels of '0' (Conv1d) are not the BatchNorm's",
    ),
    "hook on the convolution": (
        lambda: [hooked(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)],
        SHAPE,
        "'0' (Conv2d) has forward hooks (weight_norm, spectral_norm and pruning are hooks too: remove them first)",
    ),
    "hook on the batchnorm": (lambda: [nn.Conv2d(3, 4, 3), hooked(nn.BatchNorm2d(4))], SHAPE, "it has forward hooks"),
    "hook around the convolution": (
        lambda: [hooked(nn.Sequential(nn.Conv2d(3, 4, 3))), nn.BatchNorm2d(4)],
        SHAPE,
        "its input comes from a product",
    ),
    "hook between": (
        lambda: [nn.Conv2d(3, 4, 3), hooked(nn.Identity()), nn.BatchNorm2d(4)],
        SHAPE,
        "its input comes from '1' (Identity)",
    ),
    "parametrised": (
        lambda: [parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)],
        SHAPE,
        "'0' (ParametrizedConv2d) has parametrisations",
    ),
    "a convolution of its own": (lambda: [OwnConv(3, 4, 3), nn.BatchNorm2d(4)], SHAPE, "its input comes from"),
    "a standardised one": (lambda: [Standardised(3, 4, 3), nn.BatchNorm2d(4)], SHAPE, "its input comes from"),
    "a batchnorm of its own": (
        lambda: [nn.Conv2d(3, 4, 3), OwnBatchNorm(4)],
        SHAPE,
        "it is of class OwnBatchNorm, which has a forward of its own",
    ),
}


@pytest.mark.parametrize("case", MODULES)
def test_reason_in_the_modules(case: str, fold: Folder) -> None:
    layers, shape, reason = MODULES[case]
    (kept,) = fold(nn.Sequential(*layers()), *shape).plan.kept
    assert reason in kept.reason


def test_silent_hook_around_the_convolution(fold: Folder) -> None:
    seen: list[Tensor] = []
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4))
    net[0].register_forward_hook(lambda module, given, output: seen.append(output))
    (kept,) = fold(net, *SHAPE).plan.kept
    assert "a forward hook on '0' looks between '0.0' and this BatchNorm" in kept.reason


@pytest.mark.parametrize("value", [float("nan"), -1.0])
def test_statistics_that_give_no_scale(value: float) -> None:
    from edgexfer.fold.modules import batchnorm_obstacle

    reason = batchnorm_obstacle(wrong_statistics(value).eval())
    assert reason is not None and "no finite scale and shift" in reason


def test_training_mode(fold: Folder) -> None:
    net = lived_in(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).train()
    plan = fold(net, *SHAPE, randomise=False).plan
    assert plan.folds == ()
    assert plan.kept[0].reason == (
        "it is in training mode and so uses the statistics of each batch (call net.eval() first)"
    )


def test_overflow_is_refused_and_later_ones_stay_too() -> None:
    from edgexfer.fold import fold_batchnorm

    net = lived_in(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.ReLU()))
    with torch.no_grad():
        net[1].weight.fill_(1e30)
        net[0].weight.fill_(1e12)
        net[2].running_var.fill_(1e30)
    plan = fold_batchnorm(net, torch.randn(SHAPE)).plan
    assert plan.folds == ()
    assert [kept.reason for kept in plan.kept] == [
        "the folded weights of '0' would overflow in float32",
        "another BatchNorm between it and '0' had to stay",
    ]


def test_weights_that_half_precision_cannot_hold_are_kept() -> None:
    from edgexfer.fold import fold_batchnorm

    net = lived_in(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    with torch.no_grad():
        for tensor in (net[1].weight, net[1].bias):
            tensor.fill_(1e-6)
    (kept,) = fold_batchnorm(net.half(), torch.randn(SHAPE)).plan.kept
    assert kept.reason == "the folded weights of '0' would vanish in float16"


def test_a_frozen_batchnorm_of_higher_precision_is_kept() -> None:
    from edgexfer.fold import fold_batchnorm
    from edgexfer.torchvision_import import import_torchvision

    net = nn.Sequential(nn.Conv2d(3, 4, 3).half(), import_torchvision().ops.FrozenBatchNorm2d(4)).eval()
    folded = fold_batchnorm(net, torch.randn(SHAPE))
    assert folded.plan.kept[0].reason == "it turns float16 into float32, which no layer beside it would do"
    assert folded.module(torch.randn(SHAPE).half()).dtype is torch.float32
    assert fold_batchnorm(net.half(), torch.randn(SHAPE)).plan.folded == 1


class Beside(nn.Module):
    """Takes a BatchNorm of ``x``, and something else of ``x`` before the convolution reads the first."""

    def __init__(self, beside: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.bn, self.conv, self.beside = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), beside

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0
        y = self.bn(x)
        z = self.beside(x)
        return self.conv(y) + z


@pytest.mark.parametrize(
    ("beside", "name"),
    [
        (lambda x: x.relu_(), "the operation 'relu_'"),
        (lambda x: F.relu(x, inplace=True), "the operation 'relu'"),
        (lambda x: F.relu(x, True), "the operation 'relu'"),
        (lambda x: operator.iadd(x, 1), "a sum"),
        (nn.ReLU(inplace=True), "'beside' (ReLU)"),
    ],
)
def test_writing_in_place_beside_a_batchnorm(beside: Callable[[Tensor], Tensor], name: str, fold: Folder) -> None:
    (kept,) = fold(Beside(beside), *SHAPE).plan.kept
    assert kept.reason == f"its input comes from a sum; {name} may write in place between it and 'conv' (Conv2d)"


@pytest.mark.parametrize("beside", [lambda x: x.relu(), lambda x: torch.add(x, 1), nn.AvgPool2d(1), nn.Identity()])
def test_reading_beside_a_batchnorm(beside: Callable[[Tensor], Tensor], fold: Folder) -> None:
    assert fold(Beside(beside), *SHAPE).plan.folded == 1


def test_a_frozen_batchnorm_that_adds_a_dimension_is_kept_alone() -> None:
    from edgexfer.fold import fold_batchnorm
    from edgexfer.torchvision_import import import_torchvision

    frozen = import_torchvision().ops.FrozenBatchNorm2d
    net = lived_in(nn.Sequential(nn.Conv2d(3, 4, 3), frozen(4), nn.ReLU(), nn.Conv2d(4, 4, 1), frozen(4)))
    folded = fold_batchnorm(net, torch.randn(SHAPE[1:]))
    assert [(k.name, k.reason) for k in folded.plan.kept] == [
        ("1", "it turns 3-D into 4-D, which no layer beside it would do")
    ]
    assert [fold.batchnorm for fold in folded.plan.folds] == ["4"]
