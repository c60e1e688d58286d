"""The soft losses written down again in NumPy and float64, apart from the code under test."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import softmax


def kd_oracle(student: np.ndarray, teachers: np.ndarray, temperature: float, ensemble: str) -> float:
    """The formula of ``hinton`` and of its teachers' voice, ``teachers (M, N, K)``."""
    if ensemble == "geometric":
        members = np.log(softmax(teachers / temperature, axis=-1))
        product = np.exp(members.mean(axis=0))
        p = product / product.sum(axis=1, keepdims=True)
    else:
        p = softmax(teachers / temperature, axis=-1).mean(axis=0)
    q = softmax(student / temperature, axis=-1)
    return float((p * (np.log(p) - np.log(q))).sum(axis=1).mean() * temperature**2)


def dkd_oracle(z: np.ndarray, v: np.ndarray, labels: np.ndarray, t: float, alpha: float, beta: float) -> float:
    """Equations 5 to 7 picture by picture."""
    total = 0.0
    for student, teacher, label in zip(z, v, labels, strict=True):
        p, q = softmax(teacher / t, axis=-1), softmax(student / t, axis=-1)
        tckd = p[label] * math.log(p[label] / q[label])
        tckd += (1 - p[label]) * math.log((1 - p[label]) / (1 - q[label]))
        rest_p, rest_q = np.delete(p, label) / (1 - p[label]), np.delete(q, label) / (1 - q[label])
        nckd = float((rest_p * np.log(rest_p / rest_q)).sum())
        total += t**2 * (alpha * tckd + beta * nckd)
    return total / len(z)


def dist_oracle(z: np.ndarray, v: np.ndarray, t: float, beta: float = 1.0, gamma: float = 1.0) -> float:
    """Equations 7 to 10 with NumPy's own correlation."""
    q, p = softmax(z / t, axis=-1), softmax(v / t, axis=-1)
    inter = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(q, p, strict=True)])
    intra = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(q.T, p.T, strict=True)])
    return float(t**2 * (beta * inter + gamma * intra))
