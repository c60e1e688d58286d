"""Networks whose Python asks for shapes: the way by torch.export."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexfer.fold import Folded
from edgexfer.fold.folding import plan_and_graphs
from tests.batchnorms import lived_in

Folder = Callable[..., Folded]
SHAPE = (1, 3, 9, 9)


class Resizing(nn.Module):
    """Scales what has not its own size, as a network's wrapper does; ``inner`` is used by a method of its own too."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(4, 4, 2), nn.Dropout(0.5), nn.BatchNorm2d(4, affine=False), nn.Identity()]
        layers += [nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)]
        self.body, self.head, self.bn = nn.Sequential(*layers), nn.Linear(4, 5), nn.BatchNorm1d(5)

    def embed(self, x: Tensor) -> Tensor:
        if tuple(x.shape[-2:]) != (8, 8):
            x = F.interpolate(x, (8, 8), mode="bilinear", antialias=True)
        return self.body(x).mean((2, 3))

    def classify(self, e: Tensor) -> Tensor:
        return self.bn(self.head(e))

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))


def test_a_branch_on_the_shape(fold: Folder) -> None:
    folded = fold(Resizing(), *SHAPE)
    assert [(f.conv, f.batchnorm, f.side) for f in folded.plan.folds] == [
        ("body.0", "body.1", "after"),
        ("body.3", "body.5", "after"),
        ("body.9", "body.8", "before"),
        ("body.9", "body.10", "after"),
        ("head", "bn", "after"),
    ]
    assert folded.plan.kept == ()


class Shaped(nn.Module):
    """One convolution, one BatchNorm and a second convolution, run as the test says, after a question for a shape."""

    def __init__(self, run: Callable[[Shaped, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.bn, self.other, self.run = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), run

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] > 3:
            x = x * 2
        return self.run(self, x)


def test_a_second_consumer(fold: Folder) -> None:
    (kept,) = fold(Shaped(lambda n, x: n.bn(y := n.conv(x)) + y), *SHAPE).plan.kept
    assert kept.reason == "the output of 'conv' (Conv2d) also goes to a sum; its output goes to a sum"


def test_reading_the_shape_in_between(fold: Folder) -> None:
    folded = fold(Shaped(lambda n, x: n.bn(y := n.conv(x)).reshape(y.shape[0], -1)), 2, 3, 9, 9)
    assert folded.plan.folded == 1


@pytest.mark.parametrize("training", [True, False])
def test_each_layer_keeps_its_own_mode(training: bool, fold: Folder) -> None:
    net = lived_in(Shaped(lambda n, x: n.bn(n.conv(x)))).train(training)
    net.bn.train(not training)  # frozen in a network that learns, or left in training by mistake
    plan = fold(net, *SHAPE, randomise=False).plan
    assert plan.folded == training and net.bn.training is not training
    if not training:
        assert plan.kept[0].reason.startswith("it is in training mode")
    plan_and_graphs(net, torch.randn(SHAPE))
    assert net.bn.training is not training


def test_a_weight_read_by_itself(fold: Folder) -> None:
    (kept,) = fold(Shaped(lambda n, x: n.bn(n.conv(x)) + n.conv.weight.sum()), *SHAPE).plan.kept
    assert kept.reason.startswith("the parameters of 'conv' (Conv2d) are read outside the layer")


def test_a_function_with_the_weights_of_a_layer(fold: Folder) -> None:
    (kept,) = fold(Shaped(lambda n, x: n.bn(F.conv2d(x, n.conv.weight))), *SHAPE).plan.kept
    assert kept.reason.startswith("its input comes from the operation 'conv2d'")


def test_one_layer_under_two_names(fold: Folder) -> None:
    net = Shaped(lambda n, x: n.bn(n.other(torch.relu(n.bn(n.conv(x))))))
    net.other = net.conv
    assert [(f.conv, f.batchnorm) for f in fold(net, *SHAPE).plan.folds] == [("conv", "bn")]


def test_writing_in_place(fold: Folder) -> None:
    def run(net: Shaped, x: Tensor) -> Tensor:
        y = net.bn(x)
        x += 1
        return net.conv(y) + x

    (kept,) = fold(Shaped(run), *SHAPE).plan.kept
    assert "the operation 'add_'" in kept.reason or "a sum may write in place" in kept.reason


def test_hooks_leave_no_trace_here_and_are_refused(fold: Folder) -> None:
    net = Shaped(lambda n, x: n.bn(n.conv(x)))
    net.other.register_forward_hook(lambda module, given, output: None)
    (kept,) = fold(net, *SHAPE).plan.kept
    assert kept.reason.startswith("Shaped.forward cannot be traced: symbolically traced variables")


def test_operators_that_hide_others_are_refused(fold: Folder) -> None:
    def run(net: Shaped, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(True):
            y = net.conv(x)
        return net.bn(y)

    (kept,) = fold(Shaped(run), *SHAPE).plan.kept
    assert "cannot be traced" in kept.reason
