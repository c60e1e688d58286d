"""What another activation changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgexfer.runs import read_run
from edgexfer.training import Recipe, Silent
from edgexfer.workflows import swap
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.swap import measure_swap
from edgexfer.workflows.train import Start, Target, finetune_data

RECIPE = Recipe(epochs=1, batch_size=8, image_size=32)


@pytest.fixture(scope="module")
def leaky(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swap") / "leaky"
    finetune_data(DataChoice(str(colours)), Start("mobilenet-v1-leaky-0.25"), RECIPE, Target(out), Silent())
    return out


def test_both_networks_are_timed_and_scored(leaky: Path, colours: Path, tmp_path: Path) -> None:
    start = Start("mobilenet-v1-leaky-0.25+relu", str(leaky))
    run = finetune_data(DataChoice(str(colours)), start, RECIPE, Target(tmp_path / "relu"), Silent())
    found = measure_swap(run, str(leaky))
    assert found is not None
    assert (found.before, found.after) == ("mobilenet-v1-leaky-0.25", "mobilenet-v1-leaky-0.25+relu")
    assert min(*found.float32_s, *found.int8_s) > 0
    before = read_run(leaky).scores
    assert found.scores_before == {key: before[key] for key in ("val_top1", "test_top1")}
    assert found.scores_after == {key: run.scores[key] for key in ("val_top1", "test_top1")}
    assert measure_swap(read_run(leaky), "none") is None, "a network with its own activation was not changed"


def test_scores_from_elsewhere_are_no_comparison(
    leaky: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "_files", lambda name, classes, rule: (b"float32", b"int8"))  # it takes seconds
    monkeypatch.setattr(swap, "cpu_seconds", lambda contents, *given: [1.0] * len(contents))
    start = Start("mobilenet-v1-leaky-0.25+relu", str(leaky))
    data = DataChoice(str(colours), seed=3)  # other splits
    run = finetune_data(data, start, RECIPE, Target(tmp_path / "relu"), Silent())
    for weights in (str(leaky), "none"):
        found = measure_swap(run, weights)
        assert found is not None and not found.scores_before and found.scores_after["val_top1"] is not None
