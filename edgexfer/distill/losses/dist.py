"""Distillation from a stronger teacher: the relations between predictions are matched, not the predictions.

Source: Huang, You, Wang, Qian and Xu, "Knowledge Distillation from A Stronger Teacher" (DIST), NeurIPS 2022,
equations 6 to 10; the factor T^2 as in the authors' code.

With softened probabilities P (teacher) and Q (student), both ``(N, K)``, and Pearson's correlation rho:

    inter = 1/N sum_n (1 - rho(Q_n, P_n))           over the classes of each picture      (equations 7 and 8)
    intra = 1/K sum_k (1 - rho(Q_:k, P_:k))         over the pictures of each class       (equation 9)
    loss  = T^2 (beta inter + gamma intra)

Two numbers correlate with 1 or -1 whatever they are, so inter has no gradient with two classes, nor intra with two
pictures in a batch; a lone picture has no intra at all (rho counts as 0).

Defaults here: T = 4, beta = gamma = 1, beside hard labels at weight 1.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from edgexfer.distill.losses.voice import check_temperature

_TINY = 1e-10
"""Added to each sum of squares, above the rounding of float32: constant rows correlate with nothing."""


def dist_loss(
    student_logits: torch.Tensor,
    teacher_log_probs: torch.Tensor,
    temperature: float,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
) -> torch.Tensor:
    """The relational soft loss, in float32.

    Args:
        student_logits: ``(N, K)``, not softened.
        teacher_log_probs: ``(N, K)``, softened by the same temperature; see ``soft_targets``.
        temperature: T of both softmaxes.
        beta: Weight of the relations between classes, picture by picture.
        gamma: Weight of the relations between pictures, class by class.
    """
    check_temperature(temperature)
    student = functional.softmax(student_logits.float() / temperature, dim=1)
    teacher = teacher_log_probs.float().exp()
    inter = 1 - _correlations(student, teacher, dim=1).mean()
    intra = 1 - _correlations(student, teacher, dim=0).mean()
    return (beta * inter + gamma * intra) * temperature**2


def _correlations(a: torch.Tensor, b: torch.Tensor, dim: int) -> torch.Tensor:
    """Pearson's correlation of ``a`` and ``b`` along ``dim``."""
    a, b = a - a.mean(dim, keepdim=True), b - b.mean(dim, keepdim=True)
    spread = ((a * a).sum(dim) + _TINY) * ((b * b).sum(dim) + _TINY)
    return (a * b).sum(dim) / spread.sqrt()
