"""Random small networks: folding proves itself or says why not, and never changes what the network computes."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgexfer.fold import fold_batchnorm
from tests.examples import drawn

CHANNELS = 4
CONVOLUTIONS = ("conv", "grouped", "depthwise", "padded", "dilated", "transposed")
OPERATIONS = (*CONVOLUTIONS, "bn", "bn", "bn", "relu", "pool", "again", "drop")
JOINS = ("none", "add", "cat")


def layer(kind: str, made: list[nn.Module], draw: int) -> nn.Module:
    """A layer that keeps ``CHANNELS`` channels; ``again`` uses one that is there already."""
    if kind == "again":
        return made[draw % len(made)] if made else nn.Identity()
    return {
        "conv": lambda: nn.Conv2d(CHANNELS, CHANNELS, 1, bias=draw % 2 == 0),
        "grouped": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=2, padding_mode="reflect"),
        "depthwise": lambda: nn.Conv2d(CHANNELS, CHANNELS, 1, groups=CHANNELS),
        "padded": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        "dilated": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=2, dilation=2, padding_mode="circular"),
        "transposed": lambda: nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, padding=1, groups=1 + draw % 2),
        "bn": lambda: nn.BatchNorm2d(CHANNELS, affine=draw % 4 != 0, track_running_stats=draw % 7 != 0),
        "relu": lambda: nn.ReLU(inplace=draw % 2 == 0),
        "pool": lambda: nn.AvgPool2d(3, stride=1, padding=1),
        "drop": lambda: nn.Dropout(0.5),
    }[kind]()


class Generated(nn.Module):
    """A chain of layers, each of which may take its input from, or be joined with, any value before it."""

    def __init__(self, steps: list[tuple[str, int, str, int, int]]) -> None:
        super().__init__()
        made: list[nn.Module] = []
        for kind, _, _, _, draw in steps:
            made.append(layer(kind, made, draw))
        self.layers = nn.ModuleList(made)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        values = [x * 1]
        for module, (_, source, join, other, _) in zip(self.layers, self.steps, strict=True):
            value = module(values[-1 - source % min(len(values), 3)])
            partner = values[-1 - other % len(values)]
            if join == "add":
                value = value + partner
            elif join == "cat":
                value = torch.cat([value[:, :2], partner[:, 2:]], 1)
            values.append(value)
        return values[-1]


def randomise(net: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.7, generator=generator)
        for module in net.modules():
            if isinstance(module, _BatchNorm) and module.running_mean is not None:
                module.running_mean.normal_(0, 0.5, generator=generator)
                module.running_var.uniform_(0.2, 3.0, generator=generator)


step = st.tuples(
    st.sampled_from(OPERATIONS),
    st.sampled_from([0, 0, 0, 0, 1, 2]),
    st.sampled_from(["none"] * 6 + ["add", "cat"]),
    st.integers(0, 5),
    st.integers(0, 27),
)


@given(steps=st.lists(step, min_size=1, max_size=9), seed=st.integers(0, 2**16))
@example(  # a BatchNorm that melts into another one, which melts after that
    steps=[
        ("conv", 0, "none", 0, 0),
        ("bn", 0, "none", 0, 1),
        ("conv", 0, "none", 0, 0),
        ("bn", 0, "none", 0, 1),
        ("again", 0, "none", 0, 1),
    ],
    seed=0,
)
@example(  # a BatchNorm before and after one and the same layer
    steps=[("bn", 0, "none", 0, 1), ("bn", 0, "none", 0, 1), ("conv", 0, "none", 0, 0), ("again", 0, "none", 0, 1)],
    seed=0,
)
@example(  # all places of folding are passed on the way
    steps=[("conv", 0, "none", 0, 0), ("bn", 0, "none", 0, 1), ("bn", 0, "none", 0, 1), ("again", 0, "none", 0, 1)],
    seed=0,
)
@drawn(150, same=True)
def test_folding_proves_itself_or_refuses(steps: list[Any], seed: int) -> None:
    net = Generated(steps)
    randomise(net, seed)
    net.eval()
    pictures = torch.randn(3, CHANNELS, 4, 4, generator=torch.Generator().manual_seed(seed))
    state = {key: value.clone() for key, value in net.state_dict().items()}
    folded = fold_batchnorm(net, pictures)

    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    batchnorms = {name for name, module in net.named_modules() if isinstance(module, _BatchNorm)}
    gone = {fold.batchnorm for fold in folded.plan.folds}
    kept = {kept.name: kept.reason for kept in folded.plan.kept}
    assert gone | kept.keys() == batchnorms and not gone & kept.keys() and all(kept.values())
    assert folded.plan.total == len(batchnorms)
    remaining = {name for name, module in folded.module.named_modules() if isinstance(module, _BatchNorm)}
    assert remaining == kept.keys()

    # a judge of its own: other pictures, float64 before the weights were rounded is out of reach here, so float32
    other = torch.randn(2, CHANNELS, 5, 5, generator=torch.Generator().manual_seed(seed + 1))
    with torch.no_grad():
        expected, found = net(other), folded.module(other)
    assert torch.isfinite(expected).all()
    assert float((found - expected).abs().max()) <= 1e-3 * float(expected.abs().max()) + 1e-6
