from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from edgexfer.errors import RecipeError, UnknownNameError, WouldOverwriteError
from edgexfer.runs import read_lines, read_run
from edgexfer.training import Recipe, Silent, prepare, top1
from edgexfer.transfer import Strategy
from edgexfer.workflows.data import DataChoice, held_out, spread_sample
from edgexfer.workflows.evaluate import evaluate, onnx_logits
from edgexfer.workflows.export import ExportChoice, export_run
from edgexfer.workflows.remembered import load_remembered
from edgexfer.workflows.train import Start, Target, finetune_data
from tests.heard import Heard

RECIPE = Recipe(epochs=12, batch_size=8, lr=0.01, image_size=32)


def test_a_run_holds_what_the_contract_says(teacher: Path, colours: Path) -> None:
    run = read_run(teacher)
    assert run.classes == ("blue", "green", "red")
    assert run.recipe["argv"] == ["edgexfer", "finetune"]
    assert run.recipe["data_path"] == str(colours)
    assert run.scores["val_top1"] > 0.8
    names = {path.name for path in teacher.iterdir()}
    assert {"run.json", "weights.safetensors", "metrics.jsonl", "predictions.jsonl"} <= names
    assert "resume" not in names
    lines = read_lines(teacher / "predictions.jsonl")
    test = [line for line in lines if line["split"] == "test"]
    assert len(test) == run.scores["test_images"] > 0
    logits, labels = np.array([line["logits"] for line in test]), np.array([line["label"] for line in test])
    assert top1(logits, labels) == pytest.approx(run.scores["test_top1"])
    assert all(line["file"].startswith(run.classes[line["label"]]) for line in lines)


def test_the_same_seed_gives_the_same_weights(teacher: Path, colours: Path, small_net: str, tmp_path: Path) -> None:
    again = tmp_path / "again"
    finetune_data(DataChoice(str(colours)), Start(small_net), RECIPE, Target(again), Silent())
    first, second = load_file(teacher / "weights.safetensors"), load_file(again / "weights.safetensors")
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_evaluate_agrees_with_the_run(teacher: Path, colours: Path) -> None:
    found = evaluate(teacher, DataChoice(str(colours)), "auto", Silent())
    assert found["top1"] == pytest.approx(read_run(teacher).scores["test_top1"])
    assert sum(part["images"] for part in found["per_class"].values()) == found["images"]
    assert evaluate(teacher, DataChoice(str(colours)), "all", Silent())["images"] == 60


def test_a_file_that_takes_floats_is_scored_as_one_that_takes_pixels(
    teacher: Path, colours: Path, tmp_path: Path
) -> None:
    files = [tmp_path / "uint8.onnx", tmp_path / "float.onnx"]
    for path in files:
        export_run(teacher, path, ExportChoice(input=path.stem), Silent())
    pixels, floats = (evaluate(path, DataChoice(str(colours)), "auto", Silent()) for path in files)
    assert pixels == floats and floats["top1"] > 0.8
    splits = load_remembered(read_run(teacher), None, None)
    logits = [onnx_logits(path, held_out(splits)) for path in files]
    np.testing.assert_allclose(logits[1], logits[0], rtol=0, atol=1e-4)


def test_targets_are_not_overwritten(teacher: Path, colours: Path, small_net: str, tmp_path: Path) -> None:
    data, start = DataChoice(str(colours)), Start(small_net)
    with pytest.raises(WouldOverwriteError, match="exists already"):
        finetune_data(data, start, RECIPE, Target(teacher), Silent())
    (tmp_path / "cut" / "resume").mkdir(parents=True)
    with pytest.raises(WouldOverwriteError, match="interrupted training; pass --resume"):
        finetune_data(data, start, RECIPE, Target(tmp_path / "cut"), Silent())
    before = (teacher / "run.json").read_bytes()
    finetune_data(data, start, RECIPE, Target(teacher, resume=True), Silent())
    assert (teacher / "run.json").read_bytes() == before


def test_what_no_run_could_remember_is_refused_before_anything_is_learned(
    colours: Path, small_net: str, tmp_path: Path
) -> None:
    for target in (Target(tmp_path / "o\udce9"), Target(tmp_path / "o", argv=("edgexfer", "finetune", "photos\udce9"))):
        with pytest.raises(RecipeError, match=r"\\xe9' is not UTF-8, so that run.json could not hold it; rename"):
            finetune_data(DataChoice(str(colours)), Start(small_net), RECIPE, target, Silent())
    assert not list(tmp_path.iterdir())


def test_mistakes_are_named(colours: Path, small_net: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="'resnet19'"):
        finetune_data(DataChoice(str(colours)), Start("resnet19"), RECIPE, Target(tmp_path / "x"), Silent())
    with pytest.raises(RecipeError, match="batch_size is 1, and BatchNorm learns .*--batch-size 2 or more"):
        recipe = replace(RECIPE, batch_size=1)
        finetune_data(DataChoice(str(colours)), Start(small_net), recipe, Target(tmp_path / "x"), Silent())
    with pytest.raises(RecipeError, match="batch_size is 1, .* or keep the BatchNorm of trained weights .*--bn frozen"):
        finetune_data(
            DataChoice(str(colours)), Start(small_net), recipe, Target(tmp_path / "x"), Silent(),
            Strategy("full", bn="train"),
        )  # fmt: skip
    assert not (tmp_path / "x").exists()


def test_a_run_remembers_its_splits(teacher: Path) -> None:
    splits = load_remembered(read_run(teacher), None, None)
    assert splits.fingerprint == read_run(teacher).splits_fingerprint
    sample = spread_sample(held_out(splits), 4)
    assert len(sample) == 4
    assert sorted(np.bincount(sample.labels, minlength=3).tolist()) == [1, 1, 2]
    assert sample.read(3).size == (48, 40)


def test_a_default_size_that_the_network_cannot_take_becomes_the_nearest(colours: Path) -> None:
    heard = Heard()
    job = prepare(DataChoice(str(colours)).load(), "alexnet", "none", Recipe(), heard)
    assert job.preprocessing.input_size == (63, 63)
    assert any("image_size 63 (the nearest that alexnet takes)" in line for line in heard.lines)
