from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgexfer.studies import bn_dense
from edgexfer.studies.bn_dense import judge, wandering
from edgexfer.studies.page import render
from edgexfer.studies.running import StudyTarget, run_study
from edgexfer.studies.stepping import first_reaching, looks
from edgexfer.training import Silent
from edgexfer.workflows.data import DataChoice


def test_three_hidden_layers_learn_sooner_and_keep_their_inputs_with_batch_norm(tmp_path: Path) -> None:
    result = run_study("bn-dense", DataChoice("digits"), StudyTarget(tmp_path), Silent(), seeds=(0,), fast=True)
    sooner, _, _, steadier, _ = result.claims
    assert sooner.mean >= 1.5
    assert steadier.mean >= 2.0  # 3.3 twice
    run = result.numbers[0]["runs"]["dense_3_bn"][0]
    assert run["test_top1"][-1] > 0.9
    page = render(result, bn_dense.STUDY.tell(result))
    assert "784-100-100-100-K: test accuracy against steps" in page
    assert "A single seed (0): no spread is known." in page


def test_percentiles_travel_in_widths_of_the_last_band() -> None:
    still = np.array([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
    moved = np.array([[-1.0, 0.0, 1.0], [1.0, 2.0, 3.0]])  # each percentile by 2, the band is 2 wide
    assert wandering(np.stack([still, moved], axis=1)).tolist() == pytest.approx([0.0, 1.0], abs=1e-12)


def test_a_network_that_never_gets_there_is_no_faster() -> None:
    def one(plain: list[float], normalised: list[float]) -> dict[str, object]:
        runs = {}
        for name, values in (("", plain), ("_bn", normalised)):
            run = {"rate": 0.1, "diverged": False, "val_top1": values, "test_top1": values, "wandering": 1.0}
            runs |= {f"dense_1{name}": [run], f"dense_3{name}": [run]}
        return {"steps": [0, 10, 20, 40], "runs": runs}

    claims = judge([one([0.1, 0.2, 0.5, 0.9], [0.1, 0.9, 0.9, 0.9]), one([0.1, 0.2, 0.5, 0.9], [0.1, 0.2, 0.3, 0.4])])
    assert claims[1].values == (4.0, 0.0)
    assert claims[1].verdict == "did not appear"


def test_looks_are_denser_at_first() -> None:
    steps = looks(100, 11)
    assert steps[0] == 0 and steps[-1] == 100
    assert steps[1] - steps[0] < steps[-1] - steps[-2]
    assert first_reaching([0, 5, 9], [0.1, 0.6, 0.7], 0.6) == 5
    assert first_reaching([0, 5], [0.1, 0.2], 0.6) is None
