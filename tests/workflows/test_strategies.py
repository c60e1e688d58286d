"""The four strategies on small pictures with a small network: what they change, what they keep, what they refuse."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from edgexfer.errors import NetworkError, RecipeError
from edgexfer.runs import Run, read_lines, read_run
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import Strategy
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start, Target, finetune_data
from tests.heard import Heard

RECIPE = Recipe(epochs=10, batch_size=8, lr=0.003, image_size=32, augment="light")


@pytest.fixture(scope="session")
def pretrained(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that know the three colours, under a name of their own."""
    path = tmp_path_factory.mktemp("weights") / "pretrained.safetensors"
    shutil.copy(teacher / "weights.safetensors", path)
    return path


@pytest.fixture(scope="session")
def two_shades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two new classes: teal and violet, 12 pictures each."""
    root = tmp_path_factory.mktemp("pictures") / "shades"
    rng = np.random.default_rng(7)
    for name, colour in {"teal": (30, 120, 130), "violet": (120, 40, 140)}.items():
        (root / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(np.array(colour) + rng.normal(0, 50, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def run_of(out: Path, data: Path, net: str, weights: Path, strategy: Strategy, heard: Silent, **wishes: Any) -> Run:
    recipe = Recipe(**{**vars(RECIPE), **wishes})
    return finetune_data(DataChoice(str(data)), Start(net, str(weights)), recipe, Target(out), heard, strategy)


def tensors_that_differ(out: Path, weights: Path) -> set[str]:
    mine, first = load_file(out / "weights.safetensors"), load_file(weights)
    return {
        name for name in first if mine[name].shape != first[name].shape or not np.array_equal(mine[name], first[name])
    }


def test_head_changes_the_head_alone_and_equals_the_whole_network(
    two_shades: Path, small_net: str, pretrained: Path, tmp_path: Path
) -> None:
    heard = Heard()
    run = run_of(tmp_path / "run", two_shades, small_net, pretrained, Strategy("head", views=3), heard)
    assert tensors_that_differ(tmp_path / "run", pretrained) == {"head.weight", "head.bias"}
    assert run.scores["val_top1"] == 1.0
    assert run.scores["full_path_difference"] < 1e-5
    assert run.recipe["strategy"] == {"name": "head", "views": 3}
    low, high = run.scores["cv_top1_interval"]
    assert low <= run.scores["cv_top1"] <= high <= 1.0
    assert any("head fitted" in line for line in heard.lines)
    assert len(read_lines(tmp_path / "run" / "metrics.jsonl")) == 1


def test_classifier_keeps_what_lies_below_the_cut(
    two_shades: Path, small_net: str, pretrained: Path, tmp_path: Path
) -> None:
    strategy = Strategy("classifier", cut="2", views=2, bn="train")
    run = run_of(tmp_path / "run", two_shades, small_net, pretrained, strategy, Heard())
    changed = tensors_that_differ(tmp_path / "run", pretrained)
    assert changed and all(name.startswith(("body.3.", "body.4.", "head.")) for name in changed)
    assert run.scores["cut"] == "2" and run.scores["views"] == 2
    assert run.scores["trained_parameters"] < run.scores["parameters"]
    assert run.scores["val_top1"] == 1.0


@pytest.mark.parametrize("name", ["head", "classifier"])
def test_what_learns_on_frozen_features_says_that_it_computes_in_float32(
    two_shades: Path, small_net: str, pretrained: Path, tmp_path: Path, name: str
) -> None:
    heard = Heard()
    strategy = Strategy("classifier", cut="2", views=1) if name == "classifier" else Strategy("head")
    run = run_of(tmp_path / "run", two_shades, small_net, pretrained, strategy, heard, epochs=1, precision="bfloat16")
    assert run.recipe["settings"]["precision"] == run.recipe["precision"] == "float32"
    said = f"WARNING --precision bfloat16 does not reach the strategy {name}, which computes in float32"
    assert heard.lines.count(said) == 1


def test_classifier_finds_its_cut_by_probing(
    two_shades: Path, small_net: str, pretrained: Path, tmp_path: Path
) -> None:
    heard = Heard()
    run = run_of(tmp_path / "run", two_shades, small_net, pretrained, Strategy("classifier"), heard, epochs=2)
    assert [probe["place"] for probe in run.scores["probe_by_depth"]] == ["2", "embedding"]
    assert run.scores["cut"] == "2"
    assert any(line.startswith("linear probe by depth: 2 ") for line in heard.lines)


def test_full_starts_from_the_fitted_head_and_keeps_batchnorm_where_pictures_are_few(
    two_shades: Path, small_net: str, pretrained: Path, tmp_path: Path
) -> None:
    run = run_of(tmp_path / "run", two_shades, small_net, pretrained, Strategy("full"), Heard())
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert lines[0]["epoch"] == 0 and lines[0]["val_top1"] == 1.0
    assert run.scores["bn_policy"] == "frozen"
    assert not any(
        name.startswith(("body.1.", "body.4.")) for name in tensors_that_differ(tmp_path / "run", pretrained)
    )
    trained = run_of(tmp_path / "bn", two_shades, small_net, pretrained, Strategy("full", bn="train"), Heard())
    assert trained.scores["bn_policy"] == "train"
    last, first = load_file(tmp_path / "bn" / "last.safetensors"), load_file(pretrained)
    assert not np.array_equal(last["body.1.running_mean"], first["body.1.running_mean"])


def test_a_training_that_only_loses_keeps_its_start(
    two_shades: Path, small_net: str, pretrained: Path, tmp_path: Path
) -> None:
    strategy = Strategy("full", layer_decay=1.0, gradual=False)
    run = run_of(tmp_path / "run", two_shades, small_net, pretrained, strategy, Heard(), lr=2.0, epochs=2)
    assert run.scores["best_epoch"] == 0 and run.scores["val_top1"] == 1.0


def test_adapted_statistics_are_those_of_the_new_pictures(
    two_shades: Path, small_net: str, pretrained: Path, tmp_path: Path
) -> None:
    run_of(tmp_path / "run", two_shades, small_net, pretrained, Strategy("full", bn="adapt"), Heard(), epochs=1)
    mine, first = load_file(tmp_path / "run" / "weights.safetensors"), load_file(pretrained)
    assert np.abs(mine["body.1.running_mean"] - first["body.1.running_mean"]).max() > 0.05
    assert np.array_equal(mine["body.1.weight"], first["body.1.weight"])


def test_scratch_forgets_the_weights_and_reestimates_only_where_it_gains(
    two_shades: Path, small_net: str, pretrained: Path, tmp_path: Path
) -> None:
    heard = Heard()
    run = run_of(tmp_path / "run", two_shades, small_net, pretrained, Strategy("scratch", reestimate_bn=True), heard)
    assert run.recipe["weights"] == "none" and run.parents == ()
    found = run.scores["reestimated_bn"]
    assert found["kept"] == (run.scores["val_top1"] >= found["after"] and any("; kept" in line for line in heard.lines))
    assert any(line.startswith("BatchNorm re-estimated: validation") for line in heard.lines)


def test_resuming_a_full_transfer_gives_the_same_weights(
    two_shades: Path, small_net: str, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("edgexfer.training.fit"), "CHECKPOINT_SECONDS", 0.0)
    strategy = Strategy("full", bn="train")
    run_of(tmp_path / "whole", two_shades, small_net, pretrained, strategy, Heard())

    class Stop(Silent):
        def epoch(self, metrics: Any) -> None:
            if metrics["epoch"] == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path / "cut", two_shades, small_net, pretrained, strategy, Stop())
    recipe = Recipe(**vars(RECIPE))
    target = Target(tmp_path / "cut", resume=True)
    finetune_data(DataChoice(str(two_shades)), Start(small_net, str(pretrained)), recipe, target, Silent(), strategy)
    assert not tensors_that_differ(tmp_path / "cut", tmp_path / "whole" / "weights.safetensors")
    assert read_run(tmp_path / "cut").scores["val_top1"] == read_run(tmp_path / "whole").scores["val_top1"]


def test_balance_lets_a_rare_class_count(small_net: str, pretrained: Path, tmp_path: Path) -> None:
    root, rng = tmp_path / "rare", np.random.default_rng(3)
    for name, colour, count in (("common", (110, 100, 110), 60), ("rare", (125, 95, 125), 8)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            shade = np.array(colour) + rng.normal(0, 25, 3)  # the classes overlap
            pixels = np.clip(shade + rng.normal(0, 40, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    shares = []
    for balance in (False, True):
        out = tmp_path / f"run-{balance}"
        run_of(out, root, small_net, pretrained, Strategy("head", balance=balance), Heard())
        lines = read_lines(out / "predictions.jsonl")
        shares.append(np.mean([np.exp(x[1]) / np.exp(x).sum() for x in (line["logits"] for line in lines)]))
    assert shares[1] > shares[0] + 0.1


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"name": "headd"}, "strategy is 'headd'; allowed: head, classifier, full, scratch, auto"),
        ({"name": "head", "cut": "layer3"}, "--cut does not apply to the strategy head; it does to classifier"),
        ({"name": "scratch", "bn": "train"}, "--bn does not apply .* classifier and full"),
        ({"name": "full", "bn": "warm"}, "--bn is 'warm'; allowed: frozen, adapt, train"),
        ({"name": "head", "views": 0}, "--views is 0"),
        ({"name": "full", "layer_decay": 0.0}, "--layer-decay is 0.0"),
        ({"name": "head", "reestimate_bn": True}, "--reestimate-bn does not apply to the strategy head"),
    ],
)
def test_choices_that_make_no_sense_are_refused(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Strategy(**choice)


def test_an_unknown_cut_is_refused(two_shades: Path, small_net: str, pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="cannot be cut behind '17'; allowed: 2"):
        run_of(tmp_path / "run", two_shades, small_net, pretrained, Strategy("classifier", cut="17"), Heard())
