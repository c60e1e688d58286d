from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgexfer.studies import bn_inference
from edgexfer.studies.page import render
from edgexfer.studies.running import StudyTarget, run_study
from edgexfer.studies.values import StudyResult
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


def measured(sizes: list[int], large: float) -> dict[str, Any]:
    """A seed's numbers; ``large`` is the accuracy at its largest batch."""
    curve, right = {"running": [0.1, 0.6], "exact": [0.1, 0.9]}, {"1": 0.9, "64": 0.9}
    return {
        "steps": [0, bn_inference.EARLY],
        "averages": {"0.1": curve, "0.01": curve},
        "batches": {
            "sizes": sizes, "running": 0.9, "shuffled": [*[0.9] * (len(sizes) - 1), large],
            "by_class": [0.5] * len(sizes), "changed_in_other_company": 0.0,
        },
        "folding": {
            "folded": 6, "batchnorms": 6, "max_rel_error_f64": 0.0, "max_abs_logit_difference": 1e-6,
            "largest_logit": 9.0, "answers_changed": 0.0,
        },
        "export": {"right": right, "training_mode": right, "refused": ""},
    }  # fmt: skip


def test_seeds_are_compared_at_the_batches_that_all_had_pictures_for(
    result_of: Callable[[Any, str, list[dict[str, Any]]], StudyResult],
) -> None:
    numbers = [measured([1, 2, 4, 8, 16, 32], 0.9), measured([1, 2, 4, 8, 16, 32, 64], 0.1)]
    for seeds in (numbers, numbers[::-1]):
        result = result_of(bn_inference, "bn-inference", seeds)
        assert result.claims[1].quantity.endswith("batches of 32, without its sign")
        assert result.claims[1].values == (0.0, 0.0)
        assert "in batches of 32 it differed by" in render(result, bn_inference.tell(result))
