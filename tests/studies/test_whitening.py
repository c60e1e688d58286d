from __future__ import annotations

from pathlib import Path

import pytest

from edgexfer.studies import whitening
from edgexfer.studies.page import render
from edgexfer.studies.running import StudyTarget, run_study
from edgexfer.studies.whitening import BATCH_NORM, INSIDE, OUTSIDE
from edgexfer.training import Silent
from edgexfer.workflows.data import DataChoice


def test_outside_the_step_the_bias_grows_and_the_loss_stands_still(tmp_path: Path) -> None:
    result = run_study("whitening", DataChoice("digits"), StudyTarget(tmp_path), Silent(), seeds=(0, 1), fast=True)
    grows, _, still, both, lower = result.claims
    assert min(grows.values) >= 20  # 0.2 a step, for 200 steps
    assert max(still.values) < 1e-9
    assert min(both.values) >= 1.2  # the square root of 2
    assert min(lower.values) >= 0.2
    for one in result.numbers:
        outside, inside = one["runs"][OUTSIDE], one["runs"][INSIDE]
        # the loss, and so the weights, are the same whether the mean is differentiated or not: b is taken out again
        assert outside["loss"][1] == pytest.approx(inside["loss"][1], rel=0.2)
        steps = one["steps"][-1] - one["steps"][10]
        slope = (outside["bias"][-1] - outside["bias"][10]) / steps
        assert -0.5 < slope / 0.5 < -0.2  # the sigmoid says half, a tenth of the pictures are of the class
        assert one["runs"][BATCH_NORM]["loss"][-1] < outside["loss"][-1]
    page = render(result, whitening.STUDY.tell(result))
    assert "length of the weights" in page
