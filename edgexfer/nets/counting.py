"""Counts operations: 2 x multiply-adds of convolutions and matrix products, for one picture.

torch's own counter watches the operators as they run, so that attention is counted as well as ``nn.Conv2d`` and
``nn.Linear``; everything else (BatchNorm, activations, pooling, biases) is left out, as is usual. The network runs
without memory: on shapes alone ("meta" tensors).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode


def count_operations(net: nn.Module, input_size: tuple[int, int]) -> int:
    """2 x multiply-adds of one picture of ``input_size`` (H, W).

    Raises:
        RuntimeError: The network cannot take a picture of that size.
    """
    try:
        return _count(shapes_only(net), input_size)
    except (RuntimeError, NotImplementedError):  # a network that looks at values while it runs
        return _count(copy.deepcopy(net).cpu(), input_size)


def _count(net: nn.Module, input_size: tuple[int, int]) -> int:
    net.eval()
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    # with gradients on, attention keeps to the operators that the counter knows
    x = torch.zeros((1, 3, *input_size), device=device, requires_grad=True)
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        net(x.clone())  # a leaf that needs gradients may not be changed in place, as a network may do first of all
    return int(counter.get_total_flops())


def shapes_only(net: nn.Module) -> nn.Module:
    """A copy of ``net`` that has the shapes of its tensors and no values."""
    memo: dict[int, Any] = {}
    for parameter in net.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=True)
    return copy.deepcopy(net, memo).to("meta")


@contextmanager
def without_memory() -> Iterator[None]:
    """Networks built inside have parameters without values, so that even the largest takes no time and no memory.

    Unlike ``torch.device("meta")`` it leaves arithmetic alone that a constructor does on the way (RegNet's widths).
    """
    with _EmptyParameters():
        yield


class _EmptyParameters(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones):
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
