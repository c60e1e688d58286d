"""Reading inner layers of student and teacher, and the regressors between them.

The regressors train along with the student but are no part of it: they lie beside it, and no run or artifact holds
them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from edgexfer import nets
from edgexfer.distill.losses import hint_loss
from edgexfer.distill.objective import Hint
from edgexfer.distill.teacher import Teachers
from edgexfer.errors import RecipeError
from edgexfer.nets.network import seeded
from edgexfer.training import Job

_SHOWN = 40


class HintRegressors(nn.Module):
    """One regressor a hint, from the student's channels to the teacher's.

    Args:
        hints: Pairs of layer names.
        shapes: Of each pair's features for one picture, student's and teacher's.
    """

    def __init__(self, hints: Sequence[Hint], shapes: Sequence[tuple[torch.Size, torch.Size]]) -> None:
        super().__init__()
        self.hints = tuple(hints)
        self.regressors = nn.ModuleList(_regressor(mine[1], theirs[1], len(mine)) for mine, theirs in shapes)

    @classmethod
    def build(cls, job: Job, teachers: Teachers, hints: Sequence[Hint]) -> HintRegressors:
        """Regressors for a job's student and its only teacher, the same at every call.

        Raises:
            RecipeError: There are several teachers, or one without layers; a name is not there; two layers do not fit.
        """
        if len(teachers.members) > 1:
            raise RecipeError(
                f"hints are the layers of one teacher, and {len(teachers.members)} were given; pass a single --teacher"
            )
        student, teacher = job.new_student(), teachers.members[0]
        if teacher.network_of() is None:
            raise RecipeError(f"the teacher {teacher.name} gives outputs only, no layers; leave --hint out")
        height, width = job.preprocessing.input_size
        pixels = torch.zeros(2, 3, height, width, device=job.device)
        student.eval()
        with torch.no_grad(), captured(student.net, [h.student_layer for h in hints]) as mine:
            student(pixels)
        with torch.no_grad(), captured(_inner(teachers), [h.teacher_layer for h in hints]) as theirs:
            teacher.network.to(job.device)(pixels)
        unused = [h.student_layer for h in hints if h.student_layer not in mine]
        unused += [h.teacher_layer for h in hints if h.teacher_layer not in theirs]
        if unused:
            raise RecipeError(f"the layers {', '.join(map(repr, unused))} are not used in a forward pass; name others")
        shapes = [(mine[h.student_layer].shape, theirs[h.teacher_layer].shape) for h in hints]
        mistakes = [
            f"{h.student_layer} gives {tuple(a[1:])} and {h.teacher_layer} gives {tuple(b[1:])}"
            for h, (a, b) in zip(hints, shapes, strict=True)
            if len(a) != len(b) or len(a) not in (2, 4)
        ]
        if mistakes:
            raise RecipeError(f"hints need two maps (C, H, W) or two vectors (C,); {'; '.join(mistakes)}")
        with seeded(job.settings.seed):
            return cls(hints, shapes).to(job.device)

    def compare(
        self, student: nn.Module, teachers: Teachers, pixels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Runs both networks once.

        Returns:
            The student's logits, the teacher's, both ``(N, K)``, and the loss of the hints.
        """
        net = student.net if isinstance(student, nets.Normalized) else student
        with captured(net, [h.student_layer for h in self.hints]) as mine:
            logits: torch.Tensor = student(pixels)
        with captured(_inner(teachers), [h.teacher_layer for h in self.hints]) as theirs:
            teacher_logits = teachers.logits(pixels)[0]
        losses = [
            hint_loss(regressor(mine[hint.student_layer].float()), theirs[hint.teacher_layer])
            for hint, regressor in zip(self.hints, self.regressors, strict=True)
        ]
        return logits, teacher_logits, torch.stack(losses).sum()


@contextlib.contextmanager
def captured(net: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Collects the outputs of some layers while the block runs ``net``, as they are before the next layer sees them.

    They are copies: an activation that works in place would write into the layer's own output.

    Raises:
        RecipeError: A layer is not there, or gives something else than one tensor.
    """
    there = dict(net.named_modules())
    missing = [name for name in layers if name not in there or not name]
    if missing:
        known = [name for name in there if name]
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        raise RecipeError(
            f"{type(net).__name__} has no layer called {', '.join(map(repr, missing))};"
            f" it has {', '.join(known[:_SHOWN])}{more}"
        )
    found: dict[str, torch.Tensor] = {}

    def keep(name: str, output: object) -> None:
        if not isinstance(output, torch.Tensor):
            raise RecipeError(f"the layer {name!r} gives {type(output).__name__} instead of a tensor; name another")
        found[name] = output.clone()

    handles = [
        there[name].register_forward_hook(lambda _, __, output, name=name: keep(name, output)) for name in set(layers)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _inner(teachers: Teachers) -> nn.Module:
    net = teachers.members[0].network_of()
    if net is None:
        raise RecipeError("the teacher has no layers")
    return net


def _regressor(channels: int, out: int, ndim: int) -> nn.Module:
    return nn.Conv2d(channels, out, 1) if ndim == 4 else nn.Linear(channels, out)
