"""Helpers of the folding tests: folding with all that must hold, and a strict comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from edgexfer.fold import Folded, fold_batchnorm
from tests.batchnorms import lived_in


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fold() -> Callable[..., Folded]:
    """Folds a network with lived-in statistics and checks what must hold for every one of them."""

    def run(net: nn.Module, *shape: int, randomise: bool = True) -> Folded:
        if randomise:
            lived_in(net)
        example = torch.randn(shape, generator=torch.Generator().manual_seed(7))
        before = {key: value.clone() for key, value in net.state_dict().items()}
        folded = fold_batchnorm(net, example)
        after = net.state_dict()
        assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
        assert type(folded.module) is type(net)
        assert [m.training for m in folded.module.modules()] == [m.training for m in net.modules()]
        assert [len(m._forward_hooks) for m in folded.module.modules()] == [
            len(m._forward_hooks) for m in net.modules()
        ]
        assert folded.proof.max_rel_error_f64 <= 1e-10
        assert folded.proof.max_rel_error_f32 <= 1e-4
        if not any(m.training for m in net.modules()):
            with torch.no_grad():
                assert_close(folded.module(example), net(example))
        return folded

    return run


def hooks_of(net: nn.Module) -> list[int]:
    return [len(module._forward_hooks) for module in net.modules()]


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-4) -> None:
    assert found.dtype is expected.dtype and found.shape == expected.shape
    found, expected = found.detach(), expected.detach()
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


@pytest.fixture
def close() -> Callable[..., None]:
    """``|found - expected| <= tolerance max|expected|``, 1e-4 unless told."""
    return assert_close
