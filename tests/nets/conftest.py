from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def scramble() -> Callable[[nn.Module], nn.Module]:
    """Gives every BatchNorm of a network statistics and affine values that matter, and puts it in eval mode."""

    def run(net: nn.Module, seed: int = 5) -> nn.Module:
        draw = torch.Generator().manual_seed(seed)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                shape = module.weight.shape
                module.weight.data = 0.5 + torch.rand(shape, generator=draw)
                module.bias.data = 0.2 * torch.randn(shape, generator=draw)
                module.running_mean = 0.2 * torch.randn(shape, generator=draw)
                module.running_var = 0.5 + torch.rand(shape, generator=draw)
        return net.eval()

    return run


@pytest.fixture
def close() -> Callable[[torch.Tensor, torch.Tensor], bool]:
    """Equal to a hundred-thousandth of the largest value."""

    def run(a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.shape == b.shape and bool((a - b).abs().max() <= 1e-5 * b.abs().max())

    return run
