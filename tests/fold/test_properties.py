"""Random small networks: folding proves itself or says why not, and never changes what the network computes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgexfer.errors import FoldError
from edgexfer.fold import Folded, fold_batchnorm
from edgexfer.torchvision_import import import_torchvision
from tests.examples import drawn

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


def computed(net: nn.Module, pictures: Tensor, method: str = "forward") -> Tensor:
    """What a network gives in its mode, in float64 with its weights as they are stored; the same lots are drawn."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        given: Tensor = getattr(copy.deepcopy(net).double(), method)(pictures.double())
        return given


def runs(net: nn.Module, pictures: Tensor) -> bool:
    """Whether torch can compute it in its own precision here: not every layer takes what another precision gives."""
    try:
        copy.deepcopy(net).eval()(pictures)
    except RuntimeError:
        return not batchnorms(net)
    return True


def unsteady(net: nn.Module, pictures: Tensor) -> bool:
    """Whether a few roundings of float64 behind each layer move what it gives further than a proof may allow."""
    net, lots = copy.deepcopy(net).eval(), torch.Generator().manual_seed(0)
    methods = ["forward", *(["embed"] if isinstance(net, Parted) else [])]
    expected = [computed(net, pictures, method) for method in methods]

    def rounded(module: nn.Module, given: Any, output: Tensor) -> Tensor:
        return output * (1 + 1e-15 * torch.randn(output.shape, generator=lots, dtype=output.dtype))

    for module in net.modules():
        module.register_forward_hook(rounded)
    pairs = zip(expected, (computed(net, pictures, method) for method in methods), strict=True)
    return any(float((a - b).abs().max()) > 1e-10 * float(a.abs().max()) for a, b in pairs)


def shaken(folded: Folded, sign: Tensor) -> nn.Module:
    """The folded network with every weight that folding made moved by the largest rounding, up or down."""
    net = copy.deepcopy(folded.module).double()
    for fold in dict.fromkeys(fold.conv for fold in folded.plan.folds):
        made, stored = net.get_submodule(fold), folded.module.get_submodule(fold)
        for key in () if isinstance(stored, nn.Identity) else ("weight", "bias"):
            limits = torch.finfo(getattr(stored, key).dtype)
            value = getattr(made, key).data
            lots = torch.where(torch.rand(value.shape, generator=sign) < 0.5, -1.0, 1.0).double()
            value += lots * (value.abs() + limits.smallest_normal) * limits.eps / 2
    return net


def judge(net: nn.Module, folded: Folded, pictures: Tensor) -> None:
    """Holds both networks against each other; apart they may be by what rounding the weights explains."""
    expected, found = computed(net, pictures), computed(folded.module, pictures)
    assert torch.isfinite(expected).all() and expected.shape == found.shape
    if not folded.plan.folds:
        assert torch.equal(expected, found)
        return
    sign = torch.Generator().manual_seed(0)
    moved = max(float((computed(shaken(folded, sign), pictures) - found).abs().max()) for _ in range(3))
    assert float((found - expected).abs().max()) <= 5 * moved + 1e-10 * float(expected.abs().max())


def all_modes(net: nn.Module, folded: Folded) -> Iterator[tuple[nn.Module, Folded]]:
    """Both as they were given, and both in eval mode."""
    yield net, folded
    ready = Folded(copy.deepcopy(folded.module).eval(), folded.plan, folded.proof)
    yield copy.deepcopy(net).eval(), ready


step = st.tuples(
    st.sampled_from(OPERATIONS),
    st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2]),
    st.sampled_from(["none"] * 8 + ["add", "cat"]),
    st.integers(0, 5),
    st.integers(0, DRAWS - 1),
)
traits = st.builds(
    Traits,
    world=st.sampled_from(["pictures"] * 4 + ["signals"] * 2 + ["features"] * 2 + ["unbatched"]),
    dtype=st.sampled_from([torch.float32] * 4 + [torch.float16, torch.bfloat16]),
    batchnorm_dtype=st.sampled_from([None, None, None, torch.float32]),
    mode=st.sampled_from(["eval"] * 5 + ["train", "frozen", "mixed", "mixed"]),
    parted=st.sampled_from([False, False, True]),
    asks=st.sampled_from([False] * 24 + [True]),
    small=st.sampled_from([False, False, True]),
)


@given(steps=st.lists(step, min_size=1, max_size=10), traits=traits, seed=st.integers(0, 2**16))
@example(  # a BatchNorm that melts into another one, which melts after that
    steps=[
        ("conv", 0, "none", 0, 0),
        ("bn", 0, "none", 0, 1),
        ("conv", 0, "none", 0, 0),
        ("bn", 0, "none", 0, 1),
        ("again", 0, "none", 0, 1),
    ],
    traits=Traits(),
    seed=0,
)
@example(  # a BatchNorm before and after one and the same layer
    steps=[("bn", 0, "none", 0, 1), ("bn", 0, "none", 0, 1), ("conv", 0, "none", 0, 0), ("again", 0, "none", 0, 1)],
    traits=Traits(),
    seed=0,
)
@example(  # all places of folding are passed on the way
    steps=[("conv", 0, "none", 0, 0), ("bn", 0, "none", 0, 1), ("bn", 0, "none", 0, 1), ("again", 0, "none", 0, 1)],
    traits=Traits(),
    seed=0,
)
@drawn(150, same=True)
def test_folding_proves_itself_or_refuses(steps: list[Any], traits: Traits, seed: int) -> None:
    net = made_of(steps, traits, seed)
    pictures = pictures_for(traits, net, seed)
    tensors = (*net.parameters(), *net.buffers())
    own = pictures.to(next((t.dtype for t in tensors if t.is_floating_point()), pictures.dtype))
    state = {key: value.clone() for key, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    try:
        folded = fold_batchnorm(net, pictures)
    except FoldError as error:
        why = {"does not run on the example": not runs(net, own), "folding changed": unsteady(net, pictures)}
        assert any(true and said in str(error) for said, true in why.items()), error
        return

    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    assert modes == [module.training for module in net.modules()]
    assert modes == [module.training for module in folded.module.modules()]
    gone = {fold.batchnorm for fold in folded.plan.folds}
    kept = {kept.name: kept.reason for kept in folded.plan.kept}
    assert gone | kept.keys() == batchnorms(net).keys() and not gone & kept.keys() and all(kept.values())
    assert folded.plan.total == len(batchnorms(net))
    assert batchnorms(folded.module).keys() == kept.keys()
    assert folded.proof.max_rel_error_f64 <= 1e-10
    assert all(t.dtype in (traits.dtype, traits.batchnorm_dtype) for t in folded.module.parameters())

    if not runs(net, own):
        assert not gone
        return
    with torch.no_grad():
        assert copy.deepcopy(folded.module).eval()(own).dtype is copy.deepcopy(net).eval()(own).dtype
    other = pictures_for(traits, net, seed + 1, judged=True)
    for given_net, folded_net in all_modes(net, folded):
        judge(given_net, folded_net, other)


def test_the_judge_rejects_one_percent() -> None:
    steps = [("conv", 0, "none", 0, 0), ("bn", 0, "none", 0, 1), ("relu", 0, "none", 0, 0)]
    for dtype in (torch.float32, torch.float16):
        net = made_of(steps, Traits(dtype=dtype), 0)
        folded = fold_batchnorm(net, pictures_for(Traits(), net, 0))
        other = pictures_for(Traits(), net, 1, judged=True)
        judge(net, folded, other)
        folded.module.layers[0].weight.data *= 1.01
        with pytest.raises(AssertionError):
            judge(net, folded, other)
