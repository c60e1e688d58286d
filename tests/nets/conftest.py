from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def close() -> Callable[[torch.Tensor, torch.Tensor], bool]:
    """Equal to a hundred-thousandth of the largest value."""

    def run(a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.shape == b.shape and bool((a - b).abs().max() <= 1e-5 * b.abs().max())

    return run
