from __future__ import annotations

import math

import numpy as np
import pytest

from edgexfer.training.scoring import Predictions, calibration_error


def test_literal_calibration_error() -> None:
    """Four pictures at 0.9, of which two are right, and two at 0.6, both right: 4/6 * 0.4 + 2/6 * 0.4."""
    sure, unsure = [math.log(0.9), math.log(0.1)], [math.log(0.6), math.log(0.4)]
    logits = np.array([sure] * 4 + [unsure] * 2, np.float32)
    assert calibration_error(logits, np.array([0, 0, 1, 1, 0, 0])) == pytest.approx(0.4, abs=1e-6)


def test_against_a_plain_loop_over_the_bins() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 2, (500, 7)), rng.integers(0, 7, 500)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    top, right, expected = shares.max(1), shares.argmax(1) == labels, 0.0
    for low, high in zip(np.linspace(0, 1, 16)[:-1], np.linspace(0, 1, 16)[1:], strict=True):
        inside = (top > low) & (top <= high)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - top[inside].mean())
    assert Predictions(logits, labels).ece == pytest.approx(expected, abs=1e-9)


def test_a_sure_and_right_network_is_calibrated() -> None:
    logits = np.eye(3, dtype=np.float32) * 1e4
    assert calibration_error(logits, np.arange(3)) == 0.0
    assert calibration_error(logits, (np.arange(3) + 1) % 3) == 1.0
