"""LogME, H-score, neighbours and intervals against independent float64 computations and literal values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.neighbors import KNeighborsClassifier

from edgexfer.errors import TrainingError
from edgexfer.transfer.measures import h_score, knn_top1, logme, share_of


def features_of(count: int, width: int, classes: int, signal: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = np.arange(count) % classes
    return rng.normal(0, 1, (count, width)) + signal * rng.normal(0, 1, (classes, width))[labels], labels


def evidence_of(features: np.ndarray, target: np.ndarray) -> float:
    """The largest log evidence over N: the Gaussian density of the target, maximised by a general optimiser."""

    def negative(logs: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        covariance = np.eye(len(target)) / beta + features @ features.T / alpha
        _, log_determinant = np.linalg.slogdet(2 * np.pi * covariance)
        return float(0.5 * (log_determinant + target @ np.linalg.solve(covariance, target)))

    starts = [np.array([a, b]) for a in (-2.0, 2.0, 6.0) for b in (0.0, 3.0)]
    best = min((minimize(negative, s, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}) for s in starts),
               key=lambda found: found.fun)  # fmt: skip
    return -best.fun / len(target)


@pytest.mark.parametrize(("count", "width"), [(60, 5), (40, 12)])
def test_logme_is_the_maximised_evidence(count: int, width: int) -> None:
    features, labels = features_of(count, width, 3, 1.5)
    expected = np.mean([evidence_of(features, (labels == k).astype(float)) for k in range(3)])
    assert logme(features, labels) == pytest.approx(expected, abs=1e-5)


def test_logme_and_h_score_rise_with_the_signal() -> None:
    for measure in (logme, h_score):
        values = [measure(*features_of(120, 10, 4, signal)) for signal in (0.0, 0.5, 1.0, 2.0)]
        assert values == sorted(values) and values[-1] > values[0] + 0.3


def test_h_score_is_its_formula() -> None:
    features, labels = features_of(50, 80, 4, 1.0)  # fewer pictures than features: the plain covariance is singular
    centred = features - features.mean(axis=0)
    count, width = centred.shape
    covariance = centred.T @ centred / count
    scale = np.trace(covariance) / width
    distance = ((covariance - scale * np.eye(width)) ** 2).sum()
    scatter = sum(((np.outer(row, row) - covariance) ** 2).sum() for row in centred) / count**2
    shrinkage = min(scatter / distance, 1.0)
    shrunk = (1 - shrinkage) * covariance + shrinkage * scale * np.eye(width)
    means = np.array([centred[labels == k].mean(axis=0) for k in labels])
    expected = (1 - shrinkage) * np.trace(np.linalg.solve(shrunk, means.T @ means / count))
    assert h_score(features, labels) == pytest.approx(expected, rel=1e-8)


def test_neighbours_agree_with_scikit_learn() -> None:
    features, labels = features_of(90, 6, 3, 1.0)
    votes = []
    for i in range(90):
        others = np.arange(90) != i
        model = KNeighborsClassifier(1, metric="cosine").fit(features[others], labels[others])
        votes.append(model.predict(features[i : i + 1])[0])
    assert knn_top1(features, labels, 1) == pytest.approx(np.mean(np.array(votes) == labels))
    with pytest.raises(TrainingError, match="no neighbours"):
        knn_top1(features[:1], labels[:1])


def test_neighbours_of_ones_own_group_do_not_vote() -> None:
    features = np.array([[1.0, 0.0], [1.0, 0.01], [0.9, 0.3], [0.0, 1.0], [0.01, 1.0], [0.3, 0.9]])
    bursts = np.array([0, 0, 1, 2, 2, 3])  # near-duplicates that carry a label of their own
    labels = np.array([0, 0, 1, 1, 1, 0])
    assert knn_top1(features, labels, 1) == 4 / 6
    assert knn_top1(features, labels, 1, bursts) == 0.0
    assert knn_top1(features, labels, 5, np.zeros(6, np.int64)) == 0.5, "nobody votes: the first class"


def test_intervals_have_literal_ends() -> None:
    half = share_of(50, 100)
    assert (half.value, half.low, half.high) == pytest.approx((0.5, 0.40383, 0.59617), abs=1e-5)
    none = share_of(0, 10)
    assert (none.low, none.high) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert share_of(5, 5).high == 1.0 and share_of(5, 5).low == pytest.approx(0.56552, abs=1e-5)
    with pytest.raises(TrainingError, match="no picture"):
        share_of(0, 0)


def test_logme_is_finite_where_features_fit_every_picture_or_none() -> None:
    rng = np.random.default_rng(3)
    labels = np.array([0, 1, 0, 1, 0, 1])
    assert np.isfinite(logme(1e6 * rng.normal(size=(6, 64)), labels))
    assert np.isfinite(logme(np.zeros((6, 64)), labels))
