"""Mixed pictures: each is blended with another one of the training set.

    x = mix * x_i + (1 - mix) * x_j,      mix uniform from 0 to 1

(Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018, equation 1, with
alpha = 1). The partner j and ``mix`` are drawn for the picture, not for the batch, so that a mixed picture is the same
in any batch and a teacher's answer to it can be kept. The partner is varied as it would be on its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexfer.data.draws import uniforms

_STREAM = 0x6D6978  # apart from the draws of augmentation


@dataclass(frozen=True)
class Mixing:
    """Who is mixed with whom.

    Attributes:
        partners: Number of the other picture, int64 ``(N,)``.
        shares: Share of the picture itself, float32 ``(N,)``; 1 for those that are left alone.
    """

    partners: NDArray[np.int64]
    shares: NDArray[np.float32]


def draw_mixing(indices: NDArray[np.int64], images: int, share: float, *, seed: int, view: int) -> Mixing:
    """Draws partner and share for some pictures.

    Args:
        indices: Number of each picture.
        images: How many there are to choose from.
        share: Share of the pictures that are mixed, 0 to 1.
        seed: Of the views.
        view: Number of the view.
    """
    draws = uniforms(seed ^ _STREAM, view, indices, 3)
    partners = (draws[:, 0] * images).astype(np.int64)
    shares = np.where(draws[:, 2] < share, draws[:, 1], 1.0).astype(np.float32)
    return Mixing(partners, shares)
