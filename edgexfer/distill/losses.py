"""The mathematics of knowledge distillation, as pure functions on logits.

Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.

With logits z (student) and v (teacher), K classes and temperature T:

    softened student    q = softmax(z / T)
    softened teacher    p = softmax(v / T)                                    (equation 1)
    soft loss           T^2 * KL(p || q) = T^2 * sum_k p_k (log p_k - log q_k)
    hard loss           -log softmax(z)_label
    loss                alpha * soft + (1 - alpha) * hard

The gradient of the soft loss by z shrinks as 1 / T^2, which the factor T^2 undoes (section 2), so that alpha means
the same at every temperature. The sum over classes is averaged over the batch, never over the classes.

An ensemble of M teachers speaks with one voice (section 1 names both means):

    geometric           p = softmax(mean_m v_m / T)     the normalised geometric mean of the members' softmax outputs
    arithmetic          p = mean_m softmax(v_m / T)
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

ENSEMBLES = ("geometric", "arithmetic")


def soft_targets(logits: torch.Tensor, temperature: float, ensemble: str = "geometric") -> torch.Tensor:
    """The log-probabilities that one teacher or an ensemble puts on each class, softened.

    Args:
        logits: Of the teachers, ``(M, N, K)``.
        temperature: T of the softmax, above 0.
        ensemble: ``geometric`` or ``arithmetic``.

    Returns:
        ``(N, K)`` float32, each row the logarithm of a distribution.

    Raises:
        ValueError: The temperature or the kind of ensemble is not allowed.
    """
    _check_temperature(temperature)
    scaled = logits.float() / temperature
    if ensemble == "geometric":
        return functional.log_softmax(scaled.mean(dim=0), dim=1)
    if ensemble == "arithmetic":
        return functional.log_softmax(scaled, dim=2).logsumexp(dim=0) - math.log(len(logits))
    raise ValueError(f"no ensemble is called {ensemble!r}; allowed: {', '.join(ENSEMBLES)}")


def kd_loss(student_logits: torch.Tensor, teacher_log_probs: torch.Tensor, temperature: float) -> torch.Tensor:
    """The soft loss T^2 * KL(teacher || student), a mean over the batch, in float32.

    Args:
        student_logits: ``(N, K)``, not softened.
        teacher_log_probs: ``(N, K)``, softened by the same temperature; see ``soft_targets``.
        temperature: T of both softmaxes.
    """
    _check_temperature(temperature)
    student_log_probs = functional.log_softmax(student_logits.float() / temperature, dim=1)
    divergence = functional.kl_div(student_log_probs, teacher_log_probs, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def distillation_loss(
    student_logits: torch.Tensor,
    labels: torch.Tensor,
    teacher_log_probs: torch.Tensor,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> dict[str, torch.Tensor]:
    """The whole loss and its two terms.

    Args:
        student_logits: ``(N, K)``.
        labels: True classes, int64 ``(N,)``.
        teacher_log_probs: ``(N, K)``, softened; see ``soft_targets``.
        temperature: T of both softmaxes.
        alpha: Weight of the soft term; the hard term has ``1 - alpha``.

    Returns:
        Scalars ``loss``, ``soft_loss`` and ``hard_loss``.
    """
    soft = kd_loss(student_logits, teacher_log_probs, temperature)
    hard = functional.cross_entropy(student_logits.float(), labels)
    return {"loss": alpha * soft + (1 - alpha) * hard, "soft_loss": soft, "hard_loss": hard}


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"the temperature is {temperature!r}; it must be above 0")
