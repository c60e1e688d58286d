"""A teacher that is listened to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from edgexfer.distill import Teacher


class _Overheard(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module, hear: Callable[[torch.Tensor], None]) -> None:
        super().__init__()
        self.inner = inner
        self._hear = hear

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self._hear(pixels)
        said: torch.Tensor = self.inner(pixels)
        return said


def overheard(teacher: Teacher, hear: Callable[[torch.Tensor], None]) -> Teacher:
    """The teacher, which tells ``hear`` of all pixels ``(N, 3, H, W)`` that it is asked about."""
    return replace(teacher, network=_Overheard(teacher.network, hear).eval())
