from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgexfer.studies import bn_conv
from edgexfer.studies.bn_conv import BASELINE, VARIANTS, best, judge, steps_to_best
from edgexfer.studies.page import render
from edgexfer.studies.running import StudyTarget, run_study
from edgexfer.training import Silent
from edgexfer.workflows.data import DataChoice


def test_batch_norm_ends_more_accurate_and_lets_sigmoids_learn(tmp_path: Path) -> None:
    result = run_study("bn-conv", DataChoice("digits"), StudyTarget(tmp_path), Silent(), seeds=(0,), fast=True)
    *_, ends, fails, sigmoid = result.claims
    assert ends.mean > 0  # 0.7 to 2.7 points were measured with three seeds
    assert fails.mean >= 0.05  # 60 points
    assert sigmoid.mean >= 0.2  # 40 points and more
    page = render(result, bn_conv.STUDY.tell(result))
    assert "Steps and best accuracies, here and published" in page
    assert "parameters reached machine infinity" in page


def run(values: list[float], *, diverged: bool = False) -> dict[str, Any]:
    return {"rate": 0.01, "diverged": diverged, "val_top1": values, "test_top1": [v - 0.01 for v in values]}


def test_a_training_that_broke_off_never_gets_there() -> None:
    numbers = {
        "steps": [0, 10, 20, 30],
        "baseline_rates": [run([0.1, 0.4, 0.6, 0.6])],
        "runs": {
            **{name: run([0.1, 0.6, 0.8, 0.7]) for name in VARIANTS},
            BASELINE: run([0.1, 0.4, 0.6, 0.6]),
            "x5 without BN": run([0.1, 0.2], diverged=True),
        },
    }
    assert steps_to_best(numbers, BASELINE) == 20
    assert steps_to_best(numbers, "BN-x5") == 10
    assert steps_to_best(numbers, "x5 without BN") is None
    assert best(numbers["runs"]["BN-x5"]) == (0.8, pytest.approx(0.79, abs=1e-12))
    claims = judge([numbers])
    assert claims[0].values == (2.0,)
    assert claims[4].mean == pytest.approx(0.4, abs=1e-12)
