"""A student that computes with int8's rounding."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgexfer import nets
from edgexfer.distill import rounded
from edgexfer.distill.rounded import Rounded
from edgexfer.errors import TrainingError
from edgexfer.export import qdq
from edgexfer.export.calibrate import calibrate
from edgexfer.export.graph import to_bytes
from edgexfer.export.plan import QuantizationPlan
from edgexfer.export.prepare import prepare
from edgexfer.export.runtime import open_session, run
from edgexfer.export.torch_onnx import to_onnx
from edgexfer.fold import fold_batchnorm
from edgexfer.preprocessing import Preprocessing, square

SIDE = 64
RULE = square(SIDE)


def lived_in(name: str, classes: int = 4) -> nets.Network:
    """A network whose BatchNorms have statistics of their own, and that tells pictures apart."""
    net = nets.create(name, classes, input_size=(SIDE, SIDE), seed=3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
                module.weight.copy_(torch.rand(module.weight.shape, generator=generator) + 0.5)
                module.bias.copy_(torch.rand(module.bias.shape, generator=generator) - 0.5)
        net.train()
        for _ in range(2):
            net(torch.randn(8, 3, SIDE, SIDE, generator=generator))
    return net.eval()


def pictures(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3))
    fine = np.repeat(np.repeat(coarse, SIDE // 4, 1), SIDE // 4, 2) + rng.normal(0, 20, (count, SIDE, SIDE, 3))
    return np.clip(fine, 0, 255).astype(np.uint8)


def pixels_of(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def real_int8(net: nets.Network, images: np.ndarray) -> onnx.ModelProto:
    """The int8 file of the network: everything in 8 bits, ranges of these pictures."""
    folded = fold_batchnorm(net, torch.randn(2, 3, SIDE, SIDE)).module
    base = prepare(to_onnx(folded, RULE))
    ranges = calibrate(base, [images], RULE, "uint8").ranges["minmax"]
    return qdq.quantize(base, QuantizationPlan("", "x86", "minmax", True, ranges))


@pytest.mark.parametrize(
    ("name", "least_correlation"),
    [("cifar-resnet20", 0.85), ("tiny-darknet+relu", 0.7), ("tiny-darknet", 0.4), ("mobilenet-v1-0.25", 0.4)],
)
def test_it_rounds_as_the_int8_file_does(name: str, least_correlation: float) -> None:
    net, images = lived_in(name), pictures(24)
    model = real_int8(net, images)
    held_out = pictures(48, seed=1)
    int8 = run(open_session(to_bytes(model), optimised=False), held_out, RULE, "uint8")[0]
    with torch.no_grad():
        plain = nets.Normalized(net, RULE)(pixels_of(held_out)).numpy()
        student = Rounded(net, RULE)
        student.observe([pixels_of(images)])
        learned = student.eval()(pixels_of(held_out)).numpy()

    mine, theirs = (learned - plain).ravel(), (int8 - plain).ravel()
    # rounding is chaotic: where one value falls to the other side, all that follows differs; errors of two independent
    # roundings would not correlate at all (0 +- 0.07 for these 192 logits)
    assert np.corrcoef(mine, theirs)[0, 1] > least_correlation
    assert 0.67 < np.sqrt(np.mean(mine**2) / np.mean(theirs**2)) < 1.5


def test_it_is_proven_where_the_network_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    net, seen = lived_in("cifar-resnet20"), list[str]()
    plan = rounded._followed(net, torch.zeros(2, 3, SIDE, SIDE))
    monkeypatch.setattr(rounded, "_followed", lambda *_: plan)
    net.to("meta").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].device.type))
    with pytest.raises(RuntimeError, match="cannot be called on meta tensors"):  # which hold no numbers to compare
        Rounded(net, RULE)
    assert seen == ["meta"]


def test_weights_lie_on_the_grid_of_their_channel() -> None:
    from edgexfer.distill.rounded import _Rounding

    student = Rounded(lived_in("cifar-resnet20"), RULE)
    weight = torch.tensor([[1.0, -0.5, 0.26], [64.0, 3.4, -3.6]])
    rounded = _Rounding(student, "embed").rounded_weight(weight)
    torch.testing.assert_close(rounded, torch.tensor([[1.0, -0.5, 17 / 64], [64.0, 3.0, -4.0]]), rtol=1e-6, atol=0)


def test_values_are_clamped_to_their_range_and_rounded_to_255_steps() -> None:
    student = Rounded(lived_in("cifar-resnet20"), RULE)
    student.ranges[0] = torch.tensor([0.0, 2.55])
    student.eval()
    value = torch.tensor([-1.0, 0.004, 0.006, 1.234, 9.0], requires_grad=True)
    found = student.round_value(value, 0)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 0.01, 1.23, 2.55]), rtol=0, atol=1e-6)
    found.sum().backward()
    assert value.grad is not None and value.grad.tolist() == [0, 1, 1, 1, 0], "no gradient from outside the range"


def test_ranges_follow_the_batches_and_hold_zero() -> None:
    student = Rounded(lived_in("cifar-resnet20"), RULE).train()
    student.ranges.fill_(float("nan"))
    student.round_value(torch.tensor([1.0, 3.0]), 0)
    assert student.ranges[0].tolist() == [0, 3]
    student.round_value(torch.tensor([-2.0, 1.0]), 0)
    torch.testing.assert_close(student.ranges[0], torch.tensor([-0.2, 2.8]), rtol=1e-6, atol=0)
    student.eval().round_value(torch.tensor([-9.0, 9.0]), 0)
    torch.testing.assert_close(student.ranges[0], torch.tensor([-0.2, 2.8]), rtol=1e-6, atol=0)


def test_every_parameter_learns_and_statistics_stay() -> None:
    net = lived_in("mobilenet-v1-0.25")
    student = Rounded(net, RULE)
    student.observe([pixels_of(pictures(8))])
    before = copy.deepcopy(net.state_dict())
    student.train()
    student(pixels_of(pictures(8))).square().mean().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in net.parameters())
    assert any(bool(m.weight.grad.abs().max() > 0) for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items()), "no running statistic moved"


def test_without_rounding_it_is_the_network_and_state_goes_back_and_forth() -> None:
    net = lived_in("tiny-darknet")
    student = Rounded(net, RULE)
    student.observe([pixels_of(pictures(8))])
    student.eval()
    x = pixels_of(pictures(4, seed=2))
    other = Rounded(lived_in("tiny-darknet"), RULE).eval()
    other.load_state_dict(student.state_dict())
    with torch.no_grad():
        assert torch.equal(other(x), student(x))
        student.rounds = False
        assert torch.equal(student(x), nets.Normalized(net, RULE)(x))
        twin = copy.deepcopy(other)
        assert torch.equal(twin(x), other(x)), "the running average of the weights is a copy"


class Branching(nets.Network):
    """Its Python asks for values, so nobody can follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.embedding_dim, self.num_classes = 3, 2

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) if float(x.sum()) > 0 else -x.mean((2, 3))


class NotANumber(nets.Network):
    """Overflows for bright pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.embedding_dim, self.num_classes = 3, 2

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x.mean((2, 3)) + 1)


def test_what_cannot_be_followed_is_refused() -> None:
    with pytest.raises(TrainingError, match="Branching.*layer by layer|layers one by one.*--quantization-aware"):
        Rounded(Branching(), RULE)
    student = Rounded(NotANumber(), Preprocessing((8, 8), None, "none", mean=(0.5, 0.5, 0.5), std=(0.1, 0.1, 0.1)))
    with pytest.raises(TrainingError, match="NotANumber with int8's rounding gives NaN.*without --quantization-aware"):
        student.observe([torch.zeros(1, 3, 8, 8)])
