"""Learning from the true labels: the step that needs no teacher, and the hard part of every other.

    loss = -(mix log q_label + (1 - mix) log q_partner),       q = softmax(z)

averaged over the labelled pictures of the batch. ``mix`` and ``partner_labels`` are there where pictures were mixed
(Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018, equations 1 and 2). A
picture without a label (-1), or mixed with one, has no hard loss.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgexfer.training.learner import Batch, Step


def hard_loss(
    student_logits: torch.Tensor,
    batch: Batch,
    *,
    label_smoothing: float = 0.0,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy in float32; 0 where no picture of the batch has a label.

    Args:
        student_logits: ``(N, K)``.
        batch: ``labels`` int64 ``(N,)``, -1 for none; with mixed pictures also ``partner_labels`` int64 ``(N,)`` and
            ``mix`` float32 ``(N,)``, the share of the picture itself.
        label_smoothing: Share of a label that is spread over all classes (Szegedy et al., CVPR 2016, section 7).
        class_weights: Weight of each class ``(K,)``, of mean 1 over the training pictures; all alike if ``None``.
    """
    logits, labels = student_logits.float(), batch["labels"]
    losses = _cross_entropies(logits, labels, label_smoothing, class_weights)
    known = labels >= 0
    if "mix" in batch:
        mix, partners = batch["mix"], batch["partner_labels"]
        losses = mix * losses + (1 - mix) * _cross_entropies(logits, partners, label_smoothing, class_weights)
        known = known & ((partners >= 0) | (mix == 1))
    return (losses * known).sum() / _labelled(known, batch)


def _labelled(known: torch.Tensor, batch: Batch) -> torch.Tensor:
    """How many pictures have a hard loss; in a part of a batch, its share of those of the whole batch.

    So the mean over the whole batch comes out, however its labelled pictures are spread over the processes.
    """
    if "whole_labels" not in batch:
        return known.sum().clamp_min(1)
    whole = batch["whole_labels"] >= 0
    if "whole_mix" in batch:
        whole = whole & ((batch["whole_partner_labels"] >= 0) | (batch["whole_mix"] == 1))
    return whole.sum().clamp_min(1) * (len(known) / len(whole))


def hard_label_step(label_smoothing: float, class_weights: torch.Tensor | None = None) -> Step:
    """Cross-entropy with the true labels; see ``hard_loss``."""

    def step(student: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        logits = student(batch["inputs"])
        return {"loss": hard_loss(logits, batch, label_smoothing=label_smoothing, class_weights=class_weights)}

    return step


def _cross_entropies(
    logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float, class_weights: torch.Tensor | None
) -> torch.Tensor:
    return functional.cross_entropy(
        logits, labels.clamp_min(0), weight=class_weights, reduction="none", label_smoothing=label_smoothing
    )
