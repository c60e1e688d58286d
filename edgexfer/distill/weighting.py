"""Weights of an ensemble's members, chosen on validation.

The weighted geometric mean p = softmax(sum_m w_m v_m) (see ``losses.voice``) has the negative log-likelihood

    L(w) = mean_n [ logsumexp_k sum_m w_m v_mnk - sum_m w_m v_mn,label ]

which is convex in w. It is minimised over the simplex (w_m >= 0, sum 1) by exponentiated gradient steps, in float64:
w_m <- w_m exp(-r dL/dw_m) / sum. A member that others make superfluous gets a weight near 0.

Source: Kivinen and Warmuth, "Exponentiated Gradient versus Gradient Descent for Linear Predictors", 1997.
"""

from __future__ import annotations

import torch
from torch.nn import functional

_STEPS = 500
_RATE = 0.5


def validation_weights(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The weights ``(M,)``, float32, sum 1, that make the ensemble most likely on labelled pictures.

    Args:
        logits: Of the members, ``(M, N, K)``.
        labels: int64 ``(N,)``.
    """
    members = logits.detach().double()
    scores = torch.zeros(len(members), dtype=torch.float64, requires_grad=True)
    for _ in range(_STEPS):
        mixed = torch.einsum("m,mnk->nk", functional.softmax(scores, dim=0), members)
        weights = functional.softmax(scores, dim=0).detach()
        loss = functional.cross_entropy(mixed, labels)
        (slope,) = torch.autograd.grad(loss, scores)
        # slope is by the scores: w (dL/dw - mean); dividing by w leaves the step in dL/dw, up to a constant shift
        with torch.no_grad():
            scores -= _RATE * slope / weights.clamp_min(1e-9)
            scores -= scores.max()
            scores.clamp_min_(-20.0)
    return functional.softmax(scores, dim=0).detach().float()
