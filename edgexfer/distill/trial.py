"""Teachers in the few steps that are timed to choose how a student computes.

Where the teachers' outputs are kept, a step is the student's alone: the teachers are asked once for each view, and in
other runs on the same pictures not at all. Elsewhere they are at work in every step, in the student's memory format.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from edgexfer.distill.objective import Settled
from edgexfer.distill.teacher import Teacher, Teachers
from edgexfer.training.compute import Compute


def teachers_in(compute: Compute, teachers: Teachers, classes: int, *, are_live: bool) -> Teachers:
    """The teachers as a trial asks them; those of the training itself stay as they are.

    Args:
        compute: The way that is tried.
        teachers: Of the training.
        classes: K.
        are_live: Whether the training asks them in every step.
    """
    return replace(
        teachers, members=tuple(_in_trial(compute, member, classes, are_live) for member in teachers.members)
    )


def kind_of(objective: Settled, teachers: Teachers, *, are_live: bool) -> str:
    """What a step learns from, as far as it takes time."""
    names = [f"{member.name}-{member.preprocessing.input_size}" for member in teachers.members]
    hints = ["hints"] if objective.hints else []
    return " ".join([objective.loss, *hints, *(names if are_live else [f"{len(names)} known"])])


def _in_trial(compute: Compute, member: Teacher, classes: int, is_live: bool) -> Teacher:
    if not is_live:
        return replace(member, network=_Known(classes))
    if not compute.channels_last or member.network_of() is None:
        return member
    network = copy.deepcopy(member.network)
    compute.network(network)
    return replace(member, network=network)


class _Known(torch.nn.Module):
    """Some logits, at no cost."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self._classes = classes

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits ``(N, K)``, no row and no column constant."""
        rows = torch.arange(len(pixels), device=pixels.device)[:, None]
        return (rows + torch.arange(self._classes, device=pixels.device)).remainder(7).float()
