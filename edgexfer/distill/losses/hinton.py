"""Knowledge distillation as Hinton, Vinyals and Dean wrote it down.

Source: "Distilling the Knowledge in a Neural Network", 2015 (arXiv:1503.02531), equation 1 and section 2.

With logits z (student) and v (teacher), K classes and temperature T:

    softened student    q = softmax(z / T)
    softened teacher    p = softmax(v / T)                                    (equation 1)
    loss                T^2 * KL(p || q) = T^2 * sum_k p_k (log p_k - log q_k)

The gradient by z shrinks as 1 / T^2, which the factor T^2 undoes (section 2), so that the weight of the loss means the
same at every temperature. The sum over classes is averaged over the batch, never over the classes.

Defaults here: T = 4, weight 0.9 beside hard labels at 0.1 (the CIFAR-100 literature).
"""

from __future__ import annotations

import torch
from torch.nn import functional

from edgexfer.distill.losses.voice import check_temperature


def kd_loss(student_logits: torch.Tensor, teacher_log_probs: torch.Tensor, temperature: float) -> torch.Tensor:
    """The soft loss T^2 * KL(teacher || student), a mean over the batch, in float32.

    Args:
        student_logits: ``(N, K)``, not softened.
        teacher_log_probs: ``(N, K)``, softened by the same temperature; see ``soft_targets``.
        temperature: T of both softmaxes.
    """
    check_temperature(temperature)
    student_log_probs = functional.log_softmax(student_logits.float() / temperature, dim=1)
    divergence = functional.kl_div(student_log_probs, teacher_log_probs, reduction="batchmean", log_target=True)
    return divergence * temperature**2
