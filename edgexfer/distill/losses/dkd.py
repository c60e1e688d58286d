"""Decoupled knowledge distillation.

Source: Zhao, Cui, Song, Qiu and Liang, "Decoupled Knowledge Distillation", CVPR 2022, equations 5 to 7.

With softened probabilities p (teacher) and q (student) at temperature T and the target class t:

    b(p)  = (p_t, 1 - p_t)                          target or not
    p^_k  = p_k / (1 - p_t),  k != t                which of the others
    TCKD  = KL(b(p) || b(q))
    NCKD  = KL(p^ || q^)
    KD    = TCKD + (1 - p_t) NCKD                   (equation 5: Hinton's loss, taken apart)
    loss  = T^2 (alpha TCKD + beta NCKD)            (equation 7)

A teacher that is sure of its class leaves Hinton's loss almost no weight, 1 - p_t, for what it knows of the others;
here that weight is beta. With two classes there is one other, p^ = q^ = 1, and NCKD is zero.

Defaults here, the authors' for CIFAR-100: T = 4, alpha = 1, beta = 8, beside hard labels at weight 1; the soft loss
rises to its weight over the first twelfth of the training (20 of 240 epochs there).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

from edgexfer.distill.losses.voice import check_temperature


def dkd_loss(
    student_logits: torch.Tensor,
    teacher_log_probs: torch.Tensor,
    targets: torch.Tensor,
    temperature: float,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> torch.Tensor:
    """The decoupled soft loss, a mean over the batch, in float32.

    Args:
        student_logits: ``(N, K)``, not softened, K at least 2.
        teacher_log_probs: ``(N, K)``, softened by the same temperature; see ``soft_targets``.
        targets: The target class of each picture, int64 ``(N,)``.
        temperature: T of both softmaxes.
        alpha: Weight of "target or not".
        beta: Weight of "which of the others".
    """
    check_temperature(temperature)
    student_log_probs = functional.log_softmax(student_logits.float() / temperature, dim=1)
    is_target = functional.one_hot(targets, student_logits.shape[1]).bool()
    student = _taken_apart(student_log_probs, is_target)
    teacher = _taken_apart(teacher_log_probs.float(), is_target)
    tckd, nckd = (_divergence(t, s).sum(dim=1).mean() for t, s in zip(teacher, student, strict=True))
    return (alpha * tckd + beta * nckd) * temperature**2


def _taken_apart(log_probs: torch.Tensor, is_target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logarithms of ``b (N, 2)`` and of ``p^ (N, K)``, which is 0 at the target, where nothing is to be compared."""
    target = log_probs.masked_fill(~is_target, 0.0).sum(dim=1, keepdim=True)
    others = log_probs.masked_fill(is_target, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.cat([target, others], dim=1), (log_probs - others).masked_fill(is_target, 0.0)


def _divergence(teacher_log_probs: torch.Tensor, student_log_probs: torch.Tensor) -> torch.Tensor:
    """The summands p (log p - log q)."""
    return teacher_log_probs.exp() * (teacher_log_probs - student_log_probs)


def target_classes(teacher_log_probs: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The class that counts as the target of each picture, int64 ``(N,)``.

    Its label; where it has none (-1), or was mixed with another picture, the class that the teacher names.
    """
    labels, named = batch["labels"], teacher_log_probs.argmax(dim=1)
    is_plain = labels >= 0
    if "mix" in batch:
        is_plain = is_plain & (batch["mix"] == 1)
    return torch.where(is_plain, labels, named)
