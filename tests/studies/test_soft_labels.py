from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgexfer.studies import soft_labels
from edgexfer.studies.page import render
from edgexfer.studies.running import StudyTarget, run_study
from edgexfer.studies.soft_labels import best_bias, known
from edgexfer.training import Predictions, Silent
from edgexfer.workflows.data import DataChoice


def test_a_softly_taught_student_is_less_wrong_and_knows_what_it_never_saw(tmp_path: Path) -> None:
    result = run_study("soft-labels", DataChoice("digits"), StudyTarget(tmp_path), Silent(), seeds=(0,), fast=True)
    found = result.numbers[0]
    outputs = found["picture"]["outputs"]
    tops = [outputs[t][0] for t in ("1", "2", "5", "10")]
    assert tops == sorted(tops, reverse=True)  # a higher temperature says more of the other classes
    assert sum(outputs["1"]) == pytest.approx(1.0, abs=1e-4)
    absent = found["absent"]["soft"]
    assert absent["known_corrected"] >= absent["known"] + 0.1  # 0 and 0.3 were measured with more pictures
    assert found["teacher"]["test_top1"] > found["hard"]["test_top1"]
    page = render(result, soft_labels.STUDY.tell(result))
    assert '<img class="one-picture" src="data:image/png;base64,' in page
    assert "Share of the absent class that is recognised" in page
    heads = [page.index(f">T = {t}<") for t in ("1", "2", "5", "10")]
    assert heads == sorted(heads)  # not in the order of the file's keys


def test_the_best_bias_makes_most_answers_right() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    logits = (rng.normal(size=(60, 3)) + 2 * np.eye(3)[labels]).astype(np.float32)
    logits[:, 1] -= 4.0  # the class that was never seen
    said = Predictions(logits, labels)

    def right(bias: float) -> float:
        raised = logits.astype(np.float64)
        raised[:, 1] += bias
        return float((raised.argmax(axis=1) == labels).mean())

    found = best_bias(said, 1)
    assert right(found) == max(right(float(bias)) for bias in np.linspace(-10, 10, 2_001))
    assert 3.0 < found < 5.0
    assert known(said, 1) < 0.3 and known(said, 0) > 0.6
    assert known(Predictions(logits[labels != 1], labels[labels != 1]), 1) == 0.0
