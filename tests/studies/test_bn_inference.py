from __future__ import annotations

from pathlib import Path

from edgexfer.studies import bn_inference
from edgexfer.studies.page import render
from edgexfer.studies.running import StudyTarget, run_study
from edgexfer.training import Silent
from edgexfer.workflows.data import DataChoice


def test_statistics_of_one_picture_mislead_and_folding_changes_nothing(tmp_path: Path) -> None:
    result = run_study("bn-inference", DataChoice("digits"), StudyTarget(tmp_path), Silent(), seeds=(0,), fast=True)
    alone, _, by_class, lag, _, folds, wrong = result.claims
    assert alone.mean >= 0.1  # 42, 30 and 51 points were measured with three seeds
    assert by_class.mean >= 0.02  # 6 to 10
    assert lag.mean >= 0.3  # 63 to 71
    assert folds.values == (0.0,)
    assert wrong.mean >= 0.1
    found = result.numbers[0]
    assert found["folding"]["folded"] == found["folding"]["batchnorms"] == 6
    assert found["folding"]["max_rel_error_f64"] < 1e-10
    assert found["export"]["right"]["1"] == found["export"]["right"]["64"]
    assert found["export"]["refused"].startswith("BatchNorm in training mode in the file")
    # the file in training mode does what the network does with each picture's own statistics
    assert abs(found["export"]["training_mode"]["1"] - found["batches"]["shuffled"][0]) < 0.01
    page = render(result, bn_inference.STUDY.tell(result))
    assert "refuses such a file (BatchNorm in training mode in the file)" in page
