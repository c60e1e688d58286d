"""Pictures that a network learned from do not pass for held-out ones without a word."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgexfer.cli.main import cli
from edgexfer.errors import DataError
from edgexfer.export.metadata import read_info
from edgexfer.files import read_json
from edgexfer.results import Budget
from edgexfer.runs import read_lines, read_run
from edgexfer.training import Recipe, Silent
from edgexfer.workflows import evaluate as evaluate_module
from edgexfer.workflows.bundle import make_bundle
from edgexfer.workflows.candidates import Wishes
from edgexfer.workflows.choose import Chosen, choose_from
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.evaluate import evaluate
from edgexfer.workflows.export import ExportChoice, export_run
from edgexfer.workflows.measuring import Measuring
from edgexfer.workflows.remembered import load_remembered
from edgexfer.workflows.train import Start, Target, finetune_data
from tests.heard import Heard
from tests.workflows import measured

RECIPE = Recipe(epochs=1, batch_size=8, lr=0.01, image_size=32)
MAY_BE_KNOWN = "pictures held out now may be among those that it learned from, and scores on them too good"


@pytest.fixture(scope="module")
def photos(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(colours, tmp_path_factory.mktemp("data") / "photos"))


@pytest.fixture(scope="module")
def learned(photos: Path, small_net: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a split of its own: another seed, and more for the test."""
    out = tmp_path_factory.mktemp("runs") / "learned"
    data = DataChoice(str(photos), seed=7, test_split=0.3)
    finetune_data(data, Start(small_net), RECIPE, Target(out), Silent())
    return out


def warnings(heard: Heard) -> list[str]:
    return [line for line in heard.lines if line.startswith("WARNING")]


def test_evaluate_takes_the_pictures_that_the_run_held_out(photos: Path, learned: Path) -> None:
    heard = Heard()
    found = evaluate(learned, DataChoice(str(photos)), "test", heard)
    lines = [line for line in read_lines(learned / "predictions.jsonl") if line["split"] == "test"]
    assert found["images"] == len(lines) == 18 and not warnings(heard)
    assert found["top1"] == pytest.approx(np.mean([np.argmax(x["logits"]) == x["label"] for x in lines]))
    evaluate(learned, DataChoice(str(photos), val_split=0.2), "test", heard)
    (said,) = warnings(heard)
    assert "is not, or not split as, the data that the run was made from" in said and MAY_BE_KNOWN in said


@pytest.fixture(scope="module")
def exported(learned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    artifact = tmp_path_factory.mktemp("exported") / "net.onnx"
    export_run(learned, artifact, ExportChoice(), Silent())
    return artifact


def test_where_all_pictures_count_those_that_the_run_learned_from_are_told(
    photos: Path, learned: Path, exported: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(photos, tmp_path / "moved"))
    for model, data in ((learned, photos), (learned, moved), (exported, moved)):
        heard = Heard()
        assert evaluate(model, DataChoice(str(data)), "all", heard)["images"] == 60
        (said,) = warnings(heard)
        assert f"{str(data)!r} that the run learned from too: the score is too good; leave --split out" in said
    Image.new("RGB", (40, 40), "red").save(moved / "red" / "more.png")
    for model in (learned, exported):
        heard = Heard()
        assert evaluate(model, DataChoice(str(moved)), "all", heard)["images"] == 61 and not warnings(heard)


def test_what_was_exported_remembers_how_the_data_was_cut(
    photos: Path, learned: Path, exported: Path, tmp_path: Path
) -> None:
    cut = read_info(exported).cut
    assert cut is not None and cut.fingerprint == read_run(learned).splits_fingerprint
    assert cut.rules == {"val_split": 0.15, "test_split": 0.3, "group_by": None, "seed": 7}
    scored = {line["file"] for line in read_lines(learned / "predictions.jsonl") if line["split"] == "test"}
    assert evaluate(exported, DataChoice(str(photos)), "test", Silent())["images"] == len(scored) == 18
    heard = Heard()
    made_of = read_json(make_bundle([exported], DataChoice(str(photos)), tmp_path / "own", heard) / "bundle.json", "")
    assert set(made_of["samples"]) == scored and not warnings(heard)


def test_a_cut_that_the_user_names_is_taken_also_where_it_is_the_usual_one(
    photos: Path, exported: Path, tmp_path: Path
) -> None:
    heard = Heard()
    make_bundle([exported], DataChoice(str(photos), cut_as_said=True), tmp_path / "said", heard)
    (said,) = warnings(heard)
    assert "is not, or not split as, the data that the run was made from" in said and MAY_BE_KNOWN in said
    for option, images in (("--seed=7", 9), ("--seed=0", 9), ("--strict", 18)):
        done = CliRunner().invoke(cli, ["evaluate", str(exported), str(photos), option, "--json"])
        assert json.loads(done.stdout)["images"] == images, option


def test_what_is_chosen_by_is_what_the_runs_held_out_where_they_agree(
    photos: Path, small_net: str, exported: Path, tmp_path: Path
) -> None:
    def chosen(data: DataChoice, *paths: Path) -> tuple[Chosen, list[str]]:
        heard = Heard()
        result = measured.result(tmp_path / "pi.json", *(measured.config(path, 5) for path in paths))
        found = choose_from([result, *paths], Budget(10.0), Wishes(), heard, measuring=Measuring(), data=data)
        return found, warnings(heard)

    found, said = chosen(DataChoice(str(photos)), exported)
    assert found.test is not None and found.test.images == 18 and not said
    found, said = chosen(DataChoice(str(photos), cut_as_said=True), exported)
    assert found.test is not None and found.test.images == 9
    assert len(said) == 1 and "net.onnx' was made from" in said[0] and MAY_BE_KNOWN in said[0]
    usual = tmp_path / "usual"
    finetune_data(DataChoice(str(photos)), Start(small_net), RECIPE, Target(usual), Silent())
    other = tmp_path / "usual.onnx"
    export_run(usual, other, ExportChoice(), Silent())
    found, said = chosen(DataChoice(str(photos)), exported, other)
    assert found.test is not None and found.test.images == 9 and len(found.gathered.candidates) == 2
    assert len(said) == 1 and "net.onnx' was made from" in said[0]


def test_other_pictures_are_cut_as_they_say(colours: Path, photos: Path, exported: Path, tmp_path: Path) -> None:
    more = Path(shutil.copytree(photos, tmp_path / "more"))
    Image.new("RGB", (40, 40), "red").save(more / "red" / "more.png")
    assert evaluate(exported, DataChoice(str(more)), "test", Silent())["images"] == 9


def test_evaluate_of_all_looks_where_it_is_told(learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def load(source: str, classes: object, **options: object) -> None:
        asked.update(options)
        raise DataError("looked")

    monkeypatch.setattr(evaluate_module, "load_labelled", load)
    with pytest.raises(DataError, match="looked"):
        evaluate(learned, DataChoice("cifar10", data_root="/somewhere", download=True), "all", Silent())
    assert asked["data_root"] == "/somewhere" and asked["download"] is True


def test_data_that_has_changed_is_no_longer_the_runs_own(
    photos: Path, small_net: str, learned: Path, tmp_path: Path
) -> None:
    run, heard = read_run(learned), Heard()
    assert load_remembered(run, None, None, heard).fingerprint == run.splits_fingerprint
    moved = Path(shutil.copytree(photos, tmp_path / "moved"))
    assert load_remembered(run, str(moved), None, heard).fingerprint == run.splits_fingerprint
    assert not heard.lines
    Image.new("RGB", (40, 40), "red").save(moved / "red" / "more.png")
    load_remembered(run, str(moved), None, heard)
    assert MAY_BE_KNOWN in warnings(heard)[0] and "moved' is not, or not split as, the data" in heard.lines[0]
    out = tmp_path / "run"
    finetune_data(DataChoice(str(moved)), Start(small_net), RECIPE, Target(out), Silent())
    (moved / "red" / "more.png").unlink()
    with pytest.raises(DataError, match=f"moved', has changed since .*: {MAY_BE_KNOWN}; put .* pass --data DATA"):
        load_remembered(read_run(out), None, None)


def test_what_a_training_starts_from_is_asked_for_its_split(
    photos: Path, colours: Path, small_net: str, learned: Path, tmp_path: Path
) -> None:
    def start(name: str, weights: Path, data: DataChoice) -> list[str]:
        heard = Heard()
        finetune_data(data, Start(small_net, str(weights)), RECIPE, Target(tmp_path / name), heard)
        return warnings(heard)

    own = DataChoice(str(photos), seed=7, test_split=0.3)
    for number, weights in enumerate((learned, learned / "weights.safetensors")):
        (said,) = start(f"other{number}", weights, DataChoice(str(photos)))
        assert said.startswith(f"WARNING the starting point {str(weights)!r} learned from {str(photos)!r} too, but")
        assert MAY_BE_KNOWN in said and "pass the --seed, --val-split" in said
    assert not start("same", learned, own)
    assert not start("elsewhere", learned, DataChoice(str(colours)))
    for number, text in enumerate(('{"project": "another program"}', "{")):
        folder = tmp_path / f"weights{number}"
        folder.mkdir()
        shutil.copy(learned / "weights.safetensors", folder)
        (folder / "run.json").write_text(text)
        assert not start(f"told nothing {number}", folder / "weights.safetensors", own)


def test_teachers_and_students_are_asked_for_their_split(
    photos: Path, small_net: str, learned: Path, tmp_path: Path
) -> None:
    heard = Heard()
    distill_data(
        DataChoice(str(photos)), [Start(small_net, str(learned))], [Start(str(learned))], RECIPE,
        Target(tmp_path / "out"), heard, Teaching(allow_weak=True),
    )  # fmt: skip
    said = [line for line in warnings(heard) if MAY_BE_KNOWN in line]
    assert [line.split(repr(str(learned)))[0] for line in said] == [
        "WARNING the student's starting point ",
        "WARNING the teacher ",
    ]


def test_a_network_that_has_changed_since_is_told(colours: Path, small_net: str, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    shutil.copy(small_net.partition(":")[0], own)
    run, heard = tmp_path / "run", Heard()
    name = f"{own}:{small_net.partition(':')[2]}"
    finetune_data(DataChoice(str(colours)), Start(name), RECIPE, Target(run), Silent())
    export_run(run, tmp_path / "before.onnx", ExportChoice(), heard)
    evaluate(run, DataChoice(str(colours)), "test", heard)
    assert not warnings(heard)
    own.write_text(own.read_text() + "# changed\n")
    export_run(run, tmp_path / "after.onnx", ExportChoice(), heard)
    evaluate(run, DataChoice(str(colours)), "test", heard)
    assert [f"{name!r} has changed since the run learned with it" in line for line in warnings(heard)] == [True, True]
