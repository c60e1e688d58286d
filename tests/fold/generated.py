"""Random small networks of every pattern that folding knows, in every dimension, precision and mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgexfer.torchvision_import import import_torchvision

FrozenBatchNorm2d = import_torchvision().ops.FrozenBatchNorm2d

CHANNELS = 4
LENGTH = 4
OPERATIONS = ("conv", "padded", "padded", "depthwise", "strided", "transposed", "transposed", "up", "linear")
OPERATIONS += ("bn",) * 9 + ("relu", "pool", "again", "again", "drop", "identity")
PADDINGS = ("zeros", "same", "reflect", "replicate", "circular")
GROUPS = (1, 2, CHANNELS, 1, 2, 1, 1)
DRAWS = 4 * 7 * 5 * 3
"""Choices are made by the remainders of one number, which here come in every combination."""
WORLDS = {
    "pictures": (2, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.AvgPool2d),
    "signals": (1, nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.AvgPool1d),
    "unbatched": (1, nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.AvgPool1d),
    "features": (0, nn.Identity, nn.Identity, nn.BatchNorm1d, nn.Identity),
}
"""Dimensions beside batch and channels, convolution, transposed convolution, BatchNorm and pooling."""


@dataclass(frozen=True)
class Traits:
    """What a network is beside its layers.

    Attributes:
        world: What goes through it, one of ``WORLDS``.
        dtype: Its precision.
        batchnorm_dtype: That of its BatchNorm layers, which mixed precision leaves in float32.
        mode: ``"eval"``, ``"train"``, ``"frozen"`` (in training, each BatchNorm in eval) or ``"mixed"`` (each by lot).
        parted: Whether it has ``embed`` and ``classify``.
        asks: Whether its Python asks for a shape.
        small: Whether gammas are as small as weight decay leaves them, and some variances zero.
    """

    world: str = "pictures"
    dtype: torch.dtype = torch.float32
    batchnorm_dtype: torch.dtype | None = None
    mode: str = "eval"
    parted: bool = False
    asks: bool = False
    small: bool = False


def batchnorm(world: str, draw: int) -> nn.Module:
    if world == "pictures" and draw % 5 == 3:
        return FrozenBatchNorm2d(CHANNELS)
    kind = nn.SyncBatchNorm if draw % 5 == 2 else WORLDS[world][3]
    eps = 1e-1 if draw % 3 == 2 else 1e-5
    made = kind(CHANNELS, eps=eps, affine=draw % 4 != 0, track_running_stats=draw % 7 != 0)
    if draw % 7 == 5:
        made.track_running_stats = False  # said later on: in eval mode the statistics that are there still count
    return made


def layer(kind: str, world: str, draw: int) -> nn.Module:
    """A layer that keeps ``CHANNELS`` channels."""
    dimensions, conv, transposed, _, pool = WORLDS[world]
    bias, groups, dilation, mode = draw % 4 > 1, GROUPS[draw % 7], 1 + (draw % 3 == 2), PADDINGS[draw % 5]
    if kind == "bn":
        return batchnorm(world, draw)
    if kind in ("relu", "drop", "identity"):
        return {"relu": nn.ReLU(inplace=draw % 2 == 0), "drop": nn.Dropout(0.5), "identity": nn.Identity()}[kind]
    if kind == "linear" or not dimensions:
        return nn.Linear(CHANNELS, CHANNELS, bias=draw % 2 == 0)
    if kind == "pool":
        return pool(3, stride=1, padding=1)
    if kind == "padded":
        how = {"padding": "same"} if mode == "same" else {"padding": dilation, "padding_mode": mode}
        return conv(CHANNELS, CHANNELS, 3, groups=groups, dilation=dilation, bias=bias, **how)
    if kind == "transposed":
        return transposed(CHANNELS, CHANNELS, 3, padding=dilation, dilation=dilation, groups=groups, bias=bias)
    if kind == "up":
        return transposed(CHANNELS, CHANNELS, 3, stride=2, padding=1, output_padding=1, groups=groups, bias=bias)
    if kind == "strided":
        return conv(CHANNELS, CHANNELS, 2, stride=2, groups=groups, bias=bias)
    return conv(CHANNELS, CHANNELS, 1, groups=CHANNELS if kind == "depthwise" else 1, bias=draw % 2 == 0)


def resizes(module: nn.Module) -> float:
    """By how much a layer makes what goes through it larger."""
    if isinstance(module, (nn.Conv1d, nn.Conv2d)):
        return 1 / module.stride[0]
    return float(module.stride[0]) if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d)) else 1.0


class Generated(nn.Module):
    """A chain of layers, each of which may take its input from, or be joined with, any value before it."""

    def __init__(self, steps: list[tuple[str, int, str, int, int]], traits: Traits) -> None:
        super().__init__()
        self.asks, self.world = traits.asks, traits.world
        made: list[nn.Module] = []
        scales = [1.0]
        self.wiring: list[tuple[int, str, int]] = []
        for kind, source, join, other, draw in steps:
            start, partner = len(scales) - 1 - source % min(len(scales), 3), len(scales) - 1 - other % len(scales)
            module = made[draw % len(made)] if kind == "again" and made else layer(kind, traits.world, draw)
            if not self.fits(module, scales[start]):
                module = nn.Identity()
            scales.append(scales[start] * resizes(module))
            made.append(module)
            self.wiring.append((start, join if scales[partner] == scales[-1] else "none", partner))
        self.layers = nn.ModuleList(made)
        self.head = nn.Sequential(nn.Linear(CHANNELS, CHANNELS), nn.BatchNorm1d(CHANNELS)) if traits.parted else None

    def fits(self, module: nn.Module, scale: float) -> bool:
        """Whether sizes stay between a half and the double, and a linear layer finds its features."""
        if isinstance(module, nn.Linear) and scale != 1:
            return False
        if getattr(module, "padding_mode", "zeros") != "zeros" and module.dilation[0] > scale + 1:
            return False  # more than there is to reflect
        return 0.5 <= scale * resizes(module) <= 2 and (self.world != "unbatched" or resizes(module) == 1)

    def body(self, x: Tensor) -> Tensor:
        if self.asks and x.shape[0] < 2:
            x = x + 1
        values = [x * 1]
        for module, (source, join, other) in zip(self.layers, self.wiring, strict=True):
            value = module(values[source])
            partner = values[other]
            if join == "add":
                value = value + partner
            elif join == "cat":
                value = torch.cat([value[:, :2], partner[:, 2:]], 1)
            values.append(value)
        return values[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Parted(Generated):
    """The same with a head, in two methods."""

    def embed(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return x if self.world in ("features", "unbatched") else x.flatten(2).mean(2)

    def classify(self, e: Tensor) -> Tensor:
        assert self.head is not None
        classified: Tensor = self.head(e)
        return classified

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))


def batchnorms(net: nn.Module) -> dict[str, nn.Module]:
    return {n: m for n, m in net.named_modules() if isinstance(m, (_BatchNorm, FrozenBatchNorm2d))}


def randomise(net: nn.Module, seed: int, small: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.7, generator=generator)
        for module in batchnorms(net).values():
            if isinstance(module, FrozenBatchNorm2d):
                for tensor in (module.weight, module.bias):
                    tensor.normal_(0, 0.7, generator=generator)
            if module.running_mean is not None:
                module.running_mean.normal_(0, 0.5, generator=generator)
                module.running_var.uniform_(0.2, 3.0, generator=generator)
                if small:
                    module.running_var[0] = 0
            if small and module.weight is not None:
                module.weight.mul_(1e-4)


def made_of(steps: list[Any], traits: Traits, seed: int) -> nn.Module:
    """The network, with random weights, in its precision and its mode."""
    net = (Parted if traits.parted else Generated)(steps, traits)
    randomise(net, seed, traits.small)
    net.to(traits.dtype).train(traits.mode in ("train", "frozen"))
    lots = torch.Generator().manual_seed(seed)
    for module in batchnorms(net).values():
        module.to(traits.batchnorm_dtype or traits.dtype)
        if traits.mode == "frozen":
            module.eval()
    if traits.mode == "mixed":
        for module in net.modules():
            module.training = bool(torch.randint(2, (), generator=lots))
    return net


def pictures_for(traits: Traits, net: nn.Module, seed: int, *, judged: bool = False) -> Tensor:
    """Random inputs; those that are judged by are others, and larger where the layers allow it."""
    dimensions = WORLDS[traits.world][0]
    inner = any(isinstance(m, nn.Linear) for m in net.layers) or traits.world == "unbatched"
    length = 2 * LENGTH if judged and not inner else LENGTH
    shape = [] if traits.world == "unbatched" else [2 if judged else 3]
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, CHANNELS, *[length] * dimensions, generator=generator)


STEP = st.tuples(
    st.sampled_from(OPERATIONS),
    st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2]),
    st.sampled_from(["none"] * 8 + ["add", "cat"]),
    st.integers(0, 5),
    st.integers(0, DRAWS - 1),
)
TRAITS = st.builds(
    Traits,
    world=st.sampled_from(["pictures"] * 4 + ["signals"] * 2 + ["features"] * 2 + ["unbatched"]),
    dtype=st.sampled_from([torch.float32] * 4 + [torch.float16, torch.bfloat16]),
    batchnorm_dtype=st.sampled_from([None, None, None, torch.float32]),
    mode=st.sampled_from(["eval"] * 5 + ["train", "frozen", "mixed", "mixed"]),
    parted=st.sampled_from([False, False, True]),
    asks=st.sampled_from([False] * 24 + [True]),
    small=st.sampled_from([False, False, True]),
)
