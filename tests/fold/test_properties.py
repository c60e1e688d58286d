"""Random small networks: folding proves itself or says why not, and never changes what the network computes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn

from edgexfer.errors import FoldError
from edgexfer.fold import Folded, fold_batchnorm
from tests.examples import drawn
from tests.fold.generated import STEP, TRAITS, Parted, Traits, batchnorms, made_of, pictures_for


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


@given(steps=st.lists(STEP, min_size=1, max_size=10), traits=TRAITS, seed=st.integers(0, 2**16))
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
