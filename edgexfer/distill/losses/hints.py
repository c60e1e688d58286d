"""Feature hints: an inner layer of the student regresses an inner layer of the teacher.

Source: Romero, Ballas, Kahou, Chassang, Gatta and Bengio, "FitNets: Hints for Thin Deep Nets", ICLR 2015, equation 3.

    loss = 1/2 mean (r(u) - v)^2

with the student's features u, the teacher's v and a regressor r that brings u to v's channels (a 1x1 convolution for
maps, a linear layer for vectors). Where the paper sums over the features of a picture, the mean is taken, so that the
weight means the same at every size; maps of different sizes are averaged down to the smaller of the two. The paper
trains hints first and softened outputs second; here both are trained together, as is usual since.

Default here: weight 1.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def hint_loss(student_features: torch.Tensor, teacher_features: torch.Tensor) -> torch.Tensor:
    """Half the mean squared difference, in float32.

    Args:
        student_features: After the regressor, ``(N, C, h, w)`` or ``(N, C)``.
        teacher_features: ``(N, C, H, W)`` or ``(N, C)``.

    Raises:
        ValueError: One is a map and the other a vector, or the channels differ.
    """
    student, teacher = student_features.float(), teacher_features.float()
    if student.ndim != teacher.ndim or student.shape[:2] != teacher.shape[:2]:
        raise ValueError(
            f"features of shapes {tuple(student.shape)} and {tuple(teacher.shape)} cannot be compared; both must be"
            " maps or both vectors, with as many channels"
        )
    if student.ndim == 4:
        size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
        student, teacher = (functional.adaptive_avg_pool2d(f, size) for f in (student, teacher))
    return 0.5 * functional.mse_loss(student, teacher)
