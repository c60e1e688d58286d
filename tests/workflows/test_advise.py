"""Advice end to end on small pictures, and doing what was advised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgexfer.cli.main import cli
from edgexfer.errors import RecipeError
from edgexfer.runs import read_run
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import Strategy
from edgexfer.workflows.advise import advise_data
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start, Target, finetune_data


def test_advice_names_the_source_classes_and_verifies_itself(colours: Path, small_net: str, teacher: Path) -> None:
    starts = [Start(small_net, str(teacher))]
    (found,) = advise_data(DataChoice(str(colours)), starts, Recipe(image_size=32, epochs=2), Silent(), verify=True)
    assert found.advice.measured.probe.value > 0.9
    assert {near.name: near.source[0][0] for near in found.nearest} == {"blue": "blue", "green": "green", "red": "red"}
    assert all(0 < near.source[0][1] <= 1 for near in found.nearest)
    assert [trial.strategy for trial in found.trials] == ["head", "classifier", "full", "scratch"]
    assert all(trial.val_top1 is not None and trial.test_top1 is not None for trial in found.trials)
    assert set(found.seconds) == {"head", "classifier", "full", "scratch"} and min(found.seconds.values()) > 0
    json.dumps(found.to_dict(), allow_nan=False)


def test_several_backbones_come_best_first(colours: Path, small_net: str, teacher: Path, tmp_path: Path) -> None:
    other = tmp_path / "blind.py"
    other.write_text(
        "from torch import nn\n"
        "def build(num_classes):\n"
        "    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2), nn.Linear(2, num_classes))\n"
        "    nn.init.zeros_(net[2].weight)\n"
        "    return net\n"
    )
    blind = tmp_path / "blind"
    recipe = Recipe(image_size=32, epochs=1, lr=1e-9)
    finetune_data(DataChoice(str(colours)), Start(f"{other}:build"), recipe, Target(blind), Silent())
    starts = [Start(f"{other}:build", str(blind)), Start(small_net, str(teacher))]
    found = advise_data(DataChoice(str(colours)), starts, Recipe(image_size=32), Silent())
    assert [one.model for one in found] == [small_net, f"{other}:build"]


def test_random_weights_have_nothing_to_transfer(colours: Path) -> None:
    with pytest.raises(RecipeError, match="tiny-darknet: without trained weights there is nothing to transfer"):
        advise_data(DataChoice(str(colours)), [Start("tiny-darknet")], Recipe(), Silent())


def test_auto_does_what_was_advised_and_keeps_why(colours: Path, small_net: str, teacher: Path, tmp_path: Path) -> None:
    data, start = DataChoice(str(colours)), Start(small_net, str(teacher))
    recipe = Recipe(image_size=32, epochs=2)
    run = finetune_data(data, start, recipe, Target(tmp_path / "run"), Silent(), Strategy("auto", bn="frozen"))
    advice = read_run(tmp_path / "run").recipe["advice"]
    assert run.recipe["strategy"]["name"] == advice["strategy"]
    assert advice["reasons"] and advice["probe_top1"] > 0.9
    scratch = finetune_data(data, Start(small_net), recipe, Target(tmp_path / "scratch"), Silent(), Strategy("auto"))
    assert scratch.recipe["strategy"]["name"] == "scratch" and "advice" not in scratch.recipe


def test_the_command_prints_the_strategy_and_explains_it(colours: Path, small_net: str, teacher: Path) -> None:
    arguments = ["advise", str(colours), "--model", small_net, "--weights", str(teacher), "--image-size", "32"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() in ("head", "classifier", "full", "scratch")
    for part in ("training pictures of 3 classes", "LogME", "expected accuracy", "nearest of its own", "runner-up"):
        assert part in result.stderr
    value = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert value["strategy"] == result.stdout.strip()
    refused = CliRunner().invoke(cli, [*arguments, "--weights", str(teacher)])
    assert refused.exit_code == 1 and "1 --model and 2 --weights were given" in refused.stderr
