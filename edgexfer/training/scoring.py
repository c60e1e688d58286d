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

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1; see ``calibration_error``."""
        return calibration_error(self.logits, self.labels)


def top1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows of ``logits (N, K)`` whose largest value stands at ``labels (N,)``."""
    return float((logits.argmax(axis=1) == labels).mean())


def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """The expected calibration error: how far probabilities and accuracy are apart, 0 (best) to 1.

    Pictures are sorted into ``bins`` equal intervals of their largest probability; ECE = sum over the bins of
    ``(pictures in it / N) * |accuracy in it - mean probability in it|`` (Guo, Pleiss, Sun and Weinberger, "On
    Calibration of Modern Neural Networks", ICML 2017, equation 3).

    Args:
        logits: ``(N, K)``.
        labels: ``(N,)``.
        bins: Number of intervals; 15 in the paper.
    """
    wide = logits.astype(np.float64)
    shares = np.exp(wide - wide.max(axis=1, keepdims=True))
    confidence = (shares / shares.sum(axis=1, keepdims=True)).max(axis=1)
    gap = (wide.argmax(axis=1) == labels) - confidence
    place = np.minimum(np.ceil(confidence * bins).astype(np.int64) - 1, bins - 1)  # intervals open below, closed above
    return float(np.abs(np.bincount(place, weights=gap, minlength=bins)).sum() / len(labels))


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
