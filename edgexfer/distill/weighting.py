"""Weights of an ensemble's members, chosen on validation.

The weighted geometric mean p = softmax(sum_m w_m v_m) (see ``losses.voice``) has the negative log-likelihood

    L(w) = mean_n [ logsumexp_k sum_m w_m v_mnk - sum_m w_m v_mn,label ]

which is convex in w. It is minimised over the simplex (w_m >= 0, sum 1) by sequential quadratic programming with a line
search (SciPy's SLSQP), from equal weights and in float64. A member that others make superfluous gets a weight near 0.

Source: Kraft, "A software package for sequential quadratic programming", DFVLR-FB 88-28, 1988.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch.nn import functional

Floats = NDArray[np.float64]

_STEPS = 1_000
_NATS = 1e-9
"""Change of the loss below which the search ends."""


def validation_weights(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The weights ``(M,)``, float32, sum 1, that make the ensemble most likely on labelled pictures.

    They are never less likely than equal ones.

    Args:
        logits: Of the members, ``(M, N, K)``.
        labels: int64 ``(N,)``.
    """
    members = logits.detach().double()
    equal = np.full(len(members), 1 / len(members))

    def loss_and_slope(weights: Floats) -> tuple[float, Floats]:
        asked = torch.tensor(weights, dtype=torch.float64, device=members.device, requires_grad=True)
        loss = functional.cross_entropy(torch.einsum("m,mnk->nk", asked, members), labels)
        (slope,) = torch.autograd.grad(loss, asked)
        return loss.item(), slope.cpu().numpy()

    found = minimize(
        loss_and_slope,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(equal),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": np.ones_like},
        options={"ftol": _NATS, "maxiter": _STEPS},
    )
    shares = np.clip(found.x, 0.0, 1.0)
    best = min((equal, shares / shares.sum()), key=lambda weights: loss_and_slope(weights)[0])
    return torch.from_numpy(best).float()
