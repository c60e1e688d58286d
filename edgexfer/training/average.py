"""A running average of the weights, which often generalises better than the last ones.

    a <- d a + (1 - d) w,         d = min(decay, (1 + n) / (10 + n)) after n steps

so that a short training is not held back by the random weights it started from. BatchNorm's running statistics are
averaged alike.

Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; the growing decay is the one
of TensorFlow's ``ExponentialMovingAverage``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn


class WeightAverage:
    """Follows a network step by step.

    Attributes:
        net: The average, in inference mode, as a network of its own.
    """

    def __init__(self, student: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(student).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def follow(self, student: nn.Module, steps_done: int) -> None:
        """Moves the average towards the student after its step number ``steps_done`` (from 1)."""
        decay = min(self._decay, (1 + steps_done) / (10 + steps_done))
        mine, theirs = self.net.state_dict(), student.state_dict()
        for name, value in mine.items():
            if value.is_floating_point():
                value.lerp_(theirs[name], 1 - decay)
            else:
                value.copy_(theirs[name])

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Goes on from a stored average."""
        self.net.load_state_dict(dict(state))
