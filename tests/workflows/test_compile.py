"""``--compile`` changes how a student's steps are computed, and nothing of what is kept."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from edgexfer.distill import Hint, Objective
from edgexfer.errors import RecipeError, TrainingError
from edgexfer.runs import BASELINE_FOLDER, WEIGHTS_FILE, read_run
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import Strategy
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.train import Start, Target, finetune_data
from tests.heard import Heard

RECIPE = Recipe(epochs=3, batch_size=8, lr=0.01, image_size=32, precision="float32", compile=True)


@pytest.fixture(autouse=True)
def kept_each_epoch(compiled: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every training here compiles without a compiler, and leaves a checkpoint after each epoch."""
    monkeypatch.setattr(importlib.import_module("edgexfer.training.fit"), "CHECKPOINT_SECONDS", 0.0)


class Cut(Silent):
    def epoch(self, metrics: Mapping[str, Any]) -> None:
        raise KeyboardInterrupt


def test_a_compiled_training_keeps_plain_weights_and_goes_on_as_such(
    colours: Path, small_net: str, tmp_path: Path
) -> None:
    def train(out: Path, listener: Silent, **changes: Any) -> None:
        target = Target(out, resume=True)
        finetune_data(DataChoice(str(colours)), Start(small_net), replace(RECIPE, **changes), target, listener)

    train(tmp_path / "plain", Silent(), compile=False)
    train(tmp_path / "whole", Silent())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", Cut())
    state = torch.load(tmp_path / "cut" / "resume" / "checkpoint.pt", weights_only=True)
    assert {name.removeprefix("net.") for name in state["net"]} >= load_file(tmp_path / "plain" / WEIGHTS_FILE).keys()
    with pytest.raises(TrainingError, match="compile was True, now False"):
        train(tmp_path / "cut", Silent(), compile=False)
    train(tmp_path / "cut", Silent())
    plain, whole, cut = (load_file(tmp_path / name / WEIGHTS_FILE) for name in ("plain", "whole", "cut"))
    assert plain.keys() == whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    for name, value in plain.items():
        torch.testing.assert_close(whole[name], value, rtol=1e-4, atol=1e-5)
    assert read_run(tmp_path / "whole").recipe["settings"]["compile"] is True


def test_student_and_baseline_are_compiled_and_the_teacher_is_not(
    colours: Path, small_net: str, teacher: Path, tmp_path: Path, compiled: list[object]
) -> None:
    starts, target = [Start(str(teacher))], Target(tmp_path / "out")
    taught = Teaching(with_baseline=True)
    distill_data(DataChoice(str(colours)), [Start(small_net)], starts, RECIPE, target, Silent(), taught)
    assert [type(what).__name__ for what in compiled] == ["function", "Normalized", "Normalized"]
    for run in (tmp_path / "out", tmp_path / "out" / BASELINE_FOLDER):
        assert load_file(run / WEIGHTS_FILE).keys() == load_file(teacher / WEIGHTS_FILE).keys()


@pytest.mark.parametrize("name", ["head", "classifier"])
def test_what_learns_on_frozen_features_says_that_it_is_not_compiled(
    colours: Path, small_net: str, teacher: Path, tmp_path: Path, name: str
) -> None:
    heard = Heard()
    strategy = Strategy("classifier", cut="2", views=1) if name == "classifier" else Strategy("head")
    start, target = Start(small_net, str(teacher)), Target(tmp_path / "out")
    run = finetune_data(DataChoice(str(colours)), start, replace(RECIPE, epochs=1), target, heard, strategy)
    assert run.recipe["settings"]["compile"] is False
    said = f"WARNING --compile does not reach the strategy {name}, whose steps are small"
    assert heard.lines.count(said) == 1


def test_what_does_not_go_with_it_is_named_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        distill_data(
            DataChoice(str(tmp_path / "none")), [Start("tiny-darknet")], [Start("resnet18")], RECIPE,
            Target(tmp_path / "out"), Silent(), Teaching(Objective(hints=(Hint("a", "b"),)), quantization_aware=True),
        )  # fmt: skip
    said = str(caught.value)
    assert "--hint and --compile do not go together; leave one of them out" in said
    assert "--quantization-aware and --compile do not go together" in said and "has random weights" in said


def test_no_compiler_is_said_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_there(what: object) -> object:
        raise RuntimeError("no g++")

    monkeypatch.setattr(torch, "compile", none_there)
    data, target = DataChoice(str(tmp_path / "none")), Target(tmp_path / "out")
    with pytest.raises(TrainingError, match=r"--compile cannot be done on .*no g\+\+\); install a C\+\+ compiler"):
        finetune_data(data, Start("tiny-darknet"), RECIPE, target, Silent())
    with pytest.raises(TrainingError, match="--compile cannot be done"):
        distill_data(data, [Start("tiny-darknet")], [Start("resnet18")], RECIPE, target, Silent(), Teaching())
    assert not (tmp_path / "out").exists()
