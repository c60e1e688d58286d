"""Confusions, mistakes and the chance behind a difference."""

from __future__ import annotations

import numpy as np
import pytest

from edgexfer.proportions import paired_difference
from edgexfer.report import answers
from edgexfer.report.records import Predictions


def predictions(labels: list[int], given: list[int], classes: int = 3, split: str = "test") -> Predictions:
    logits = np.full((len(labels), classes), -1.0)
    for i, answer in enumerate(given):
        logits[i, answer] = 1.0 + i
    files = tuple(f"f{i}" for i in range(len(labels)))
    return Predictions(split, files, np.array(labels, dtype=np.int64), logits)


def test_the_confusion_matrix_counts_truth_by_row() -> None:
    matrix = answers.confusion(predictions([0, 0, 1, 2, 2], [0, 1, 1, 0, 2]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_most_confused_leaves_out_the_diagonal_and_zeros() -> None:
    matrix = np.array([[5, 2, 0], [0, 9, 3], [0, 0, 1]])
    assert answers.most_confused(matrix, 10) == [(1, 2, 3), (0, 1, 2)]
    assert answers.most_confused(matrix, 1) == [(1, 2, 3)]


def test_probabilities_are_a_stable_softmax() -> None:
    made = Predictions("test", ("a",), np.array([0]), np.array([[1000.0, 1001.0, 1002.0]]))
    assert made.probabilities[0] == pytest.approx([0.09003057, 0.24472847, 0.66524096], abs=1e-8)


def test_confident_mistakes_come_most_confident_first() -> None:
    found = answers.answers(predictions([0, 0, 1, 2], [1, 0, 2, 0]))
    wrong = answers.confident_mistakes(found, 2)
    assert [a.file for a in wrong] == ["f3", "f2"]
    assert wrong[0].confidence > wrong[1].confidence > wrong[1].label_probability


def test_right_answers_take_turns_over_the_classes_and_are_always_the_same() -> None:
    labels = [0] * 8 + [1] * 8 + [2] * 8
    found = answers.answers(predictions(labels, labels))
    sample = answers.sample_right(found, 6)
    assert [a.label for a in sample] == [0, 1, 2, 0, 1, 2]
    assert sample == answers.sample_right(list(reversed(found)), 6)


def test_a_paired_difference_ignores_what_both_get_right() -> None:
    labels = [0] * 100
    first, second = predictions(labels, [0] * 100), predictions(labels, [0] * 96 + [1] * 4)
    assert answers.accuracy_gap(first, second) == paired_difference([True] * 100, [True] * 96 + [False] * 4)


def test_other_pictures_are_not_paired() -> None:
    first = predictions([0, 1], [0, 1])
    assert answers.accuracy_gap(first, predictions([0, 1], [0, 1], split="val")) is None
    assert answers.accuracy_gap(first, predictions([0, 1, 2], [0, 1, 2])) is None
