"""The head against scikit-learn, against its own optimality conditions, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from edgexfer.errors import TrainingError
from edgexfer.transfer.logistic import balanced_weights, cross_validate, fit_head


def clouds(count: int, width: int, classes: int, seed: int = 0, apart: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = rng.normal(0, apart, (classes, width))
    return 3 + 2 * (centres[labels] + rng.normal(0, 1, (count, width))), labels


@pytest.mark.parametrize(("count", "width", "classes"), [(200, 12, 2), (120, 30, 5), (20, 300, 4), (60, 8, 3)])
@pytest.mark.parametrize("l2", [1.0, 0.01])
def test_it_is_scikit_learns_solution(count: int, width: int, classes: int, l2: float) -> None:
    features, labels = clouds(count, width, classes)
    rows = (features - features.mean(axis=0)) / features.std(axis=0)
    oracle = LogisticRegression(C=1 / (l2 * count), tol=1e-10, max_iter=10_000).fit(rows, labels)
    if classes == 2:  # scikit-learn penalises one difference vector where the softmax has two halves of it
        oracle = LogisticRegression(C=2 / (l2 * count), tol=1e-10, max_iter=10_000).fit(rows, labels)
    found = softmax(fit_head(features, labels, classes, l2).logits(features), axis=1)
    assert np.abs(found - oracle.predict_proba(rows)).max() < 2e-5


def test_the_gradient_vanishes_with_weights_and_an_empty_class() -> None:
    features, labels = clouds(90, 6, 3)
    weights = np.linspace(0.2, 2.0, 90)
    weights /= weights.mean()
    head = fit_head(features, labels, 4, 0.05, weights)  # class 3 has no picture
    rows = (features - features.mean(axis=0)) / features.std(axis=0)
    slope = weights[:, None] * (softmax(head.logits(features), axis=1) - np.eye(4)[labels]) / 90
    standard = head.weight * features.std(axis=0)[:, None]
    assert np.abs(rows.T @ slope + 0.05 * standard).max() < 1e-5
    assert np.abs(slope.sum(axis=0)).max() < 1e-5
    assert (head.logits(features).argmax(axis=1) != 3).all()


def test_a_constant_feature_and_a_repeated_one_change_nothing() -> None:
    features, labels = clouds(40, 5, 2)
    plain = fit_head(features, labels, 2, 0.1)
    padded = fit_head(np.column_stack([features, np.full(40, 7.0)]), labels, 2, 0.1)
    assert np.abs(plain.logits(features) - padded.logits(np.column_stack([features, np.full(40, 7.0)]))).max() < 1e-6
    assert padded.weight[-1] == pytest.approx(0.0, abs=1e-12)


def test_cross_validation_prefers_the_strength_that_generalises() -> None:
    features, labels = clouds(60, 200, 3, apart=0.15)
    chosen = cross_validate(features, labels, 3, repeats=3)
    assert chosen.l2 == min(chosen.losses, key=lambda l2: chosen.losses[l2])
    assert chosen.losses[chosen.l2] < min(chosen.losses[10.0], chosen.losses[min(chosen.losses)])
    assert chosen.predicted.shape == (3, 60) and (chosen.predicted >= 0).all()
    again = cross_validate(features, labels, 3, repeats=3)
    assert again.losses == chosen.losses
    assert not np.array_equal(chosen.predicted[0], chosen.predicted[1])


def test_views_of_one_picture_stay_together_and_only_the_plain_one_is_scored() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 30)
    plain = rng.normal(0, 1, (30, 50))  # nothing to learn: with views on both sides it would look perfect
    features = np.vstack([plain, plain + 1e-3 * rng.normal(0, 1, plain.shape)])
    groups = np.tile(np.arange(30), 2)
    scored = np.arange(60) < 30
    honest = cross_validate(features, np.tile(labels, 2), 2, groups=groups, held_out=scored)
    leaky = cross_validate(features, np.tile(labels, 2), 2)
    assert (honest.predicted[:, 30:] == -1).all()
    assert honest.top1(np.tile(labels, 2)) < 0.75 < leaky.top1(np.tile(labels, 2))


def test_a_class_with_one_picture_is_learned_from_but_never_held_out() -> None:
    features, labels = clouds(21, 4, 3)
    labels[labels == 2] = 1
    labels[0] = 2
    found = cross_validate(features, labels, 3)
    assert found.predicted[0, 0] == -1 and (found.predicted[0, 1:] >= 0).all()


def test_balanced_weights_give_each_class_the_same_share() -> None:
    labels = np.array([0] * 90 + [2] * 10)
    weights = balanced_weights(labels)
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 2].sum()) == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("features", "labels", "classes", "message"),
    [
        (np.zeros((3, 2)), np.array([0, 1]), 2, r"shape \(3, 2\) and 2 labels"),
        (np.zeros((2, 2)), np.array([0, 2]), 2, "labels from 0 to 2 for 2 classes"),
        (np.zeros((2, 2)), np.array([0, 0]), 1, "two classes are needed"),
        (np.array([[np.nan], [1.0]]), np.array([0, 1]), 2, "not a number"),
    ],
)
def test_what_cannot_be_fitted_is_refused(features, labels, classes, message) -> None:
    with pytest.raises(TrainingError, match=message):
        fit_head(features, labels, classes, 0.1)


def test_nothing_can_be_held_out_of_single_pictures() -> None:
    with pytest.raises(TrainingError, match="single picture"):
        cross_validate(np.eye(3), np.arange(3), 3)
