"""A step that several processes take together: each on its part of the batch, with the gradients averaged.

With W processes, n of the batch's N pictures here and the mean loss l over them, the gradient of ``n W / N l`` is
averaged by ``DistributedDataParallel``: the sum over all processes of n / N times the gradient of l, which is the
gradient of the mean over the whole batch. (``n W / N`` is the batch's ``weight``; see ``edgexfer.data.loader``.)

BatchNorm takes its statistics over n pictures in each process, unless it is synchronised (see ``synced_batchnorm``).
"""

from __future__ import annotations

import copy
import inspect
from typing import Any, cast

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from edgexfer.training.learner import Batch, Learner, Step
from edgexfer.training.ranks import Ranks

_NEWER = "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters
_OWN_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _NEWER else "broadcast_buffers": False}
"""Running statistics are brought together once an epoch (``average_statistics``), not in every step."""


class SharedStep:
    """``step`` on a student, and what trains along with it, whose gradients are averaged over all processes.

    Args:
        step: Gives the loss of this process's part of a batch.
        learner: Whose student it is.
    """

    def __init__(self, step: Step, learner: Learner) -> None:
        self._stepping = _Stepping(step, learner.student, learner.companion)
        self._learning: frozenset[int] = frozenset()
        self._unused: bool | None = None
        self._shared: DistributedDataParallel | None = None

    def __call__(self, student: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """As the step itself; ``student`` has to be the learner's."""
        learning = frozenset(id(p) for p in self._stepping.parameters() if p.requires_grad)
        if self._shared is None or learning != self._learning:  # layers that thaw are averaged from then on
            if self._unused is None:
                self._unused = _leaves_some_out(self._stepping, batch)
            self._shared = DistributedDataParallel(self._stepping, find_unused_parameters=self._unused, **_OWN_BUFFERS)
            self._learning = learning
        return cast(dict[str, torch.Tensor], self._shared(batch))


class _Stepping(nn.Module):
    """Student, companion and step as one module, so that all that learns is averaged."""

    def __init__(self, step: Step, student: nn.Module, companion: nn.Module | None) -> None:
        super().__init__()
        self.student, self.companion = student, companion
        self._step = step

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        return self._step(self.student, batch)


def _leaves_some_out(stepping: _Stepping, batch: Batch) -> bool:
    """Whether the loss does not depend on some parameter that learns; tried on a copy, spending no randomness."""
    copied = copy.deepcopy(stepping.student)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        loss = stepping._step(copied, batch)["loss"]
    parameters = [p for p in copied.parameters() if p.requires_grad]
    return any(slope is None for slope in torch.autograd.grad(loss, parameters, allow_unused=True))


def average_statistics(learner: Learner, ranks: Ranks) -> None:
    """Brings running statistics, which each process has of its own pictures, to their mean over all processes."""
    nets = [learner.student, *([] if learner.average is None else [learner.average.net])]
    ranks.average([buffer for net in nets for buffer in net.buffers() if buffer.is_floating_point()])


def whole_batch(rows: torch.Tensor, batch: Batch, ranks: Ranks) -> torch.Tensor:
    """The rows ``(N, K)`` of the whole batch, float32, from each process's ``(n, K)``, for losses that relate pictures.

    Such a loss is then the same on every process, and each passes back the gradient of its own rows, ``N / n`` times,
    which the batch's weight undoes.
    """
    if not ranks.are_several:
        return rows
    images = len(batch["whole_labels"])
    return cast(torch.Tensor, _Gather.apply(rows.float(), images, ranks))  # type: ignore[no-untyped-call]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, images: int, ranks: Ranks) -> torch.Tensor:
        ctx.images, ctx.ranks, ctx.mine = images, ranks, len(rows)
        sizes = [len(range(rank, images, ranks.count)) for rank in range(ranks.count)]
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        start = sum(len(range(rank, ctx.images, ctx.ranks.count)) for rank in range(ctx.ranks.rank))
        return slopes[0][start : start + ctx.mine] * (ctx.images / ctx.mine), None, None
