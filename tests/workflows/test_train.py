from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from edgexfer.distill import Softness
from edgexfer.errors import RecipeError, TeacherError, UnknownNameError, WouldOverwriteError
from edgexfer.runs import is_run, read_lines, read_run
from edgexfer.training import Recipe, Silent, prepare, top1
from edgexfer.workflows.data import DataChoice, held_out, load_remembered, spread_sample
from edgexfer.workflows.evaluate import evaluate
from edgexfer.workflows.train import Start, Target, distill_data, finetune_data, pair_teachers

RECIPE = Recipe(epochs=12, batch_size=8, lr=0.01, image_size=32)


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(f"WARNING {text}")


@pytest.fixture(scope="session")
def teacher(colours: Path, small_net: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "teacher"
    finetune_data(
        DataChoice(str(colours)), Start(small_net), RECIPE, Target(out, argv=("edgexfer", "finetune")), Silent()
    )
    return out


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


def test_distilling_scores_the_teacher_and_keeps_the_baseline(
    teacher: Path, colours: Path, small_net: str, tmp_path: Path
) -> None:
    out, heard = tmp_path / "student", Heard()
    result = distill_data(
        DataChoice(str(colours)),
        Start("tiny-darknet"),
        [Start(str(teacher)), Start(small_net)],
        Recipe(epochs=1, batch_size=8, image_size=32),
        Target(out),
        heard,
        softness=Softness(2.0, 0.5),
        ensemble="arithmetic",
        teacher_recipe=RECIPE,
        with_baseline=True,
    )
    made = read_run(out / "teachers" / "1-small.py-build")
    assert result.student.scores["teacher"]["parameters"] == 2 * made.scores["parameters"]
    assert [parent["role"] for parent in result.student.parents] == ["teacher", "teacher"]
    assert result.student.recipe["temperature"] == 2.0 and result.student.recipe["ensemble"] == "arithmetic"
    assert {"soft_loss", "hard_loss", "train_loss"} <= set(read_lines(out / "metrics.jsonl")[0])
    assert is_run(out / "hard-label-baseline")
    assert any("fine-tuned on this data first" in line for line in heard.lines)


def test_a_teacher_that_only_guesses_is_refused(teacher: Path, colours: Path, small_net: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(teacher, broken)
    value = json.loads((broken / "run.json").read_text())
    value["classes"] = ["green", "red", "blue"]  # right weights, wrong order: every answer is another class
    (broken / "run.json").write_text(json.dumps(value))

    def attempt(*, allow_weak: bool) -> list[str]:
        heard = Heard()
        distill_data(
            DataChoice(str(colours)),
            Start(small_net),
            [Start(str(broken))],
            Recipe(epochs=1, image_size=32, batch_size=8),
            Target(tmp_path / "out", force=True),
            heard,
            softness=Softness(),
            allow_weak=allow_weak,
        )
        return heard.lines

    with pytest.raises(TeacherError, match="no better than always answering.*--allow-weak-teacher"):
        attempt(allow_weak=False)
    assert any(line.startswith("WARNING the teacher") for line in attempt(allow_weak=True))


def test_the_order_of_classes_is_mapped_by_name(teacher: Path, colours: Path, small_net: str) -> None:
    from edgexfer.distill import from_run
    from edgexfer.training import prepare
    from edgexfer.training.job import predict_view

    job = prepare(DataChoice(str(colours)).load(), small_net, "none", RECIPE, Silent())
    plain, turned = from_run(teacher, ("blue", "green", "red")), from_run(teacher, ("red", "blue", "green"))
    view, store = job.view("val"), job.stores["val"]
    a = predict_view(plain.network, view, store, job.preprocessing, job.device).logits
    b = predict_view(turned.network, view, store, job.preprocessing, job.device).logits
    np.testing.assert_allclose(b, a[:, [2, 0, 1]], atol=1e-6)
    with pytest.raises(TeacherError, match=r"lacks \['pink'\] and has \['blue', 'green'\] too many"):
        from_run(teacher, ("red", "pink"))


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


def test_mistakes_are_named(colours: Path, small_net: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="2 --teacher and 1 --teacher-weights"):
        pair_teachers(["a", "b"], ["w"])
    with pytest.raises(RecipeError, match="temperature is 0.*alpha is 2"):
        Softness(0.0, 2.0)
    with pytest.raises(UnknownNameError, match="'resnet19'"):
        finetune_data(DataChoice(str(colours)), Start("resnet19"), RECIPE, Target(tmp_path / "x"), Silent())


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
