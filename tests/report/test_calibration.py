"""Reliability by interval, and the calibration error, against the training room's own figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgexfer.report.calibration import BINS, calibration, calibration_error, intervals
from edgexfer.report.records import Predictions
from edgexfer.training.scoring import calibration_error as the_runs_own


def random_predictions(seed: int, images: int = 400, classes: int = 5, scale: float = 3.0) -> Predictions:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images)
    logits = generator.normal(0, scale, (images, classes))
    logits[np.arange(images), labels] += scale / 2
    return Predictions("test", tuple(map(str, range(images))), labels, logits)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_the_error_is_that_of_the_run(scale: float) -> None:
    found = random_predictions(7, scale=scale)
    assert calibration_error(intervals(found)) == pytest.approx(the_runs_own(found.logits, found.labels), abs=1e-12)


def test_every_picture_is_in_one_interval_and_inside_it() -> None:
    found = intervals(random_predictions(3))
    assert sum(one.count for one in found) == 400 and len(found) == BINS
    for one in found:
        assert not one.count or one.low < one.confidence <= one.high + 1e-12


def test_a_known_case() -> None:
    # four pictures at probability 0.9 (interval 14 of 15), three of them right; two at 0.6 (interval 9), one right
    sure, unsure = np.log([0.9, 0.1]), np.log([0.6, 0.4])
    labels = np.array([0, 0, 0, 1, 0, 1])
    found = Predictions("val", tuple("abcdef"), labels, np.array([sure] * 4 + [unsure] * 2))
    assert calibration_error(intervals(found)) == pytest.approx(4 / 6 * 0.15 + 2 / 6 * 0.1, abs=1e-12)


def test_probability_one_belongs_to_the_last_interval() -> None:
    found = intervals(Predictions("val", ("a",), np.array([0]), np.array([[1e4, 0.0]])))
    assert found[-1].count == 1 and found[-1].confidence == 1.0


@pytest.mark.parametrize(("scale", "words"), [(30.0, "too sure of itself"), (0.01, "too unsure")])
def test_it_says_which_way_the_probabilities_err(scale: float, words: str) -> None:
    found = random_predictions(5, scale=scale)
    right = np.where(np.arange(400) % 3 > 0, found.labels, (found.labels + 1) % 5)
    logits = np.zeros((400, 5))
    logits[np.arange(400), right] = scale
    figure: Any = calibration(0, "net", Predictions("test", found.files, found.labels, logits), "p")
    assert words in str(figure.caption)
    assert "level" not in str(figure.caption)
