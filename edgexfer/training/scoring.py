"""Accuracy and loss of a network on a set of labelled batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class Predictions:
    """What a network says of a view.

    Attributes:
        logits: float32 ``(N, K)``.
        labels: int64 ``(N,)``.
    """

    logits: np.ndarray
    labels: np.ndarray

    @property
    def top1(self) -> float:
        """Share of right answers, 0 to 1."""
        return top1(self.logits, self.labels)

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return float(functional.cross_entropy(torch.from_numpy(self.logits), torch.from_numpy(self.labels)))


def top1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows of ``logits (N, K)`` whose largest value stands at ``labels (N,)``."""
    return float((logits.argmax(axis=1) == labels).mean())


@torch.no_grad()
def predict(net: nn.Module, batches: Iterable[Mapping[str, torch.Tensor]], device: torch.device) -> Predictions:
    """Runs ``net`` in inference mode over ``batches``; its mode is restored afterwards."""
    was_training = net.training
    net.eval()
    logits, labels = [], []
    for batch in batches:
        logits.append(net(batch["inputs"].to(device)).float().cpu())
        labels.append(batch["labels"])
    net.train(was_training)
    return Predictions(torch.cat(logits).numpy(), torch.cat(labels).numpy())
