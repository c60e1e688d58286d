"""How an ensemble of teachers speaks with one voice.

Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 1, names both means.

With the members' logits v_m, weights w_m that sum to 1 (equal unless told otherwise) and temperature T:

    geometric           p = softmax(sum_m w_m v_m / T)      the normalised geometric mean of the members' outputs
    arithmetic          p = sum_m w_m softmax(v_m / T)
"""

from __future__ import annotations

import torch
from torch.nn import functional

ENSEMBLES = ("geometric", "arithmetic", "weighted")
"""``weighted`` is the geometric mean with weights chosen on validation; see ``edgexfer.distill.weighting``."""


def soft_targets(
    logits: torch.Tensor,
    temperature: float,
    ensemble: str = "geometric",
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The log-probabilities that one teacher or an ensemble puts on each class, softened.

    Args:
        logits: Of the teachers, ``(M, N, K)``.
        temperature: T of the softmax, above 0.
        ensemble: One of ``ENSEMBLES``.
        weights: Of the members, ``(M,)``, with a sum of 1; equal ones where left out.

    Returns:
        ``(N, K)`` float32, each row the logarithm of a distribution.

    Raises:
        ValueError: The temperature or the kind of ensemble is not allowed, or the weights do not fit.
    """
    check_temperature(temperature)
    members = len(logits)
    if weights is None:
        weights = logits.new_full((members,), 1 / members, dtype=torch.float32)
    if weights.shape != (members,):
        raise ValueError(f"{members} teachers but weights of shape {tuple(weights.shape)}; one for each is needed")
    scaled = logits.float() / temperature
    share = weights.to(scaled).reshape(members, 1, 1)
    if ensemble in ("geometric", "weighted"):
        return functional.log_softmax((share * scaled).sum(dim=0), dim=1)
    if ensemble == "arithmetic":
        return (functional.log_softmax(scaled, dim=2) + share.log()).logsumexp(dim=0)
    raise ValueError(f"no ensemble is called {ensemble!r}; allowed: {', '.join(ENSEMBLES)}")


def check_temperature(temperature: float) -> None:
    """Refuses a temperature that is none.

    Raises:
        ValueError: It is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature is {temperature!r}; it must be above 0")
