"""How a teacher's outputs are stored: log-probabilities in half precision, each row with a check.

Up to ``DENSE`` classes a row is the K log-probabilities, float16. Beyond, it is the ``TOP`` largest of them and their
classes, and what remains of the probability is spread evenly over the other classes when it is read. Only differences
of logits matter to a softmax at any temperature, so that log-probabilities serve in their place.

A row's check is 1 to 65,521, a weighted sum of its 16-bit words modulo a prime; 0 says that the row was never written.
A row that was half written, or that the disk has damaged, does not fit its check and counts as unknown.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

DENSE = 256
TOP = 64
_PRIME = 65_521
_LOWEST = -60_000.0

Words = NDArray[np.uint16]


def words_a_row(classes: int) -> int:
    """16-bit words that a row of ``classes`` outputs takes, its check not counted."""
    return classes if classes <= DENSE else 2 * TOP


def pack(logits: torch.Tensor) -> Words:
    """Rows of ``logits (N, K)`` as they are stored, uint16 ``(N, words_a_row(K))``."""
    log_probs = functional.log_softmax(logits.detach().float().cpu(), dim=1).clamp_min(_LOWEST)
    if log_probs.shape[1] <= DENSE:
        return log_probs.half().numpy().view(np.uint16)
    values, classes = log_probs.topk(TOP, dim=1)
    return np.concatenate([values.half().numpy().view(np.uint16), classes.numpy().astype(np.uint16)], axis=1)


def unpack(words: Words, classes: int) -> torch.Tensor:
    """Stored rows as log-probabilities, float32 ``(N, classes)``."""
    if classes <= DENSE:
        return torch.from_numpy(words.view(np.float16).astype(np.float32))
    values = torch.from_numpy(np.ascontiguousarray(words[:, :TOP]).view(np.float16).astype(np.float32))
    places = torch.from_numpy(words[:, TOP:].astype(np.int64))
    rest = (1 - values.exp().sum(dim=1, keepdim=True)).clamp_min(1e-7) / (classes - TOP)
    return rest.log().expand(-1, classes).clone().scatter_(1, places, values)


def checks(words: Words) -> Words:
    """The check of each row, uint16 ``(N,)``, never 0."""
    weights = (np.arange(words.shape[1], dtype=np.uint64) * np.uint64(40_503) + np.uint64(7)) % np.uint64(_PRIME)
    sums: Words = ((words.astype(np.uint64) @ weights) % np.uint64(_PRIME) + np.uint64(1)).astype(np.uint16)
    return sums
