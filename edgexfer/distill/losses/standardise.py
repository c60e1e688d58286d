"""Logit standardisation, on top of any soft loss.

Source: Sun, Ren, Li, Wang and Cao, "Logit Standardization in Knowledge Distillation", CVPR 2024, equation 14 and
algorithm 1.

    Z(z) = (z - mean(z)) / std(z),      mean and std over the K classes of one picture (std divides by K)

Student and teacher are standardised and then softened by the same base temperature: the student has to match the
teacher's order and proportions, not its magnitude. Z does not change when z is scaled or shifted, so it may be taken of
softened log-probabilities as well.

With two classes Z is (1, -1) or (-1, 1) whatever the logits are: the target is always 1 / (1 + exp(-2 / T)), 0.73 at
T = 2, and no gradient is left. That is refused where the loss is chosen.

Defaults here, the authors': base temperature 2, and the soft loss weighs ten times as much (9 beside 0.1 in place of
0.9 beside 0.1), since standardised logits are small and so are their gradients.
"""

from __future__ import annotations

import torch

BASE_TEMPERATURE = 2.0
GAIN = 10.0
_TINY = 1e-10
"""Added to the variance: logits that are all alike stay all alike, with a finite gradient."""


def standardise(logits: torch.Tensor) -> torch.Tensor:
    """Each row of ``logits (N, K)`` with mean 0 and standard deviation 1, in float32; constant rows become 0."""
    centred = logits.float() - logits.float().mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + _TINY).sqrt()
