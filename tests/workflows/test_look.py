"""``edgexfer inspect`` and ``edgexfer predict``, and what ``edgexfer export`` refuses."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from edgexfer import classifier, nets
from edgexfer.export.golden import feed
from edgexfer.runs import read_lines, read_run
from edgexfer.workflows.data import in_batches
from edgexfer.workflows.remembered import load_remembered
from tests.workflows.exporting import run


def pytorch_drifts(folder: Path) -> list[float]:
    """Largest drift of each BatchNorm, by hooks on the network itself."""
    found = read_run(folder)
    view = load_remembered(found, None, None).train
    net = nets.create(found.model, 3, weights=str(folder / "weights.safetensors"), input_size=(32, 32)).eval()
    kept: dict[nn.BatchNorm2d, torch.Tensor] = {}
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda m, given: kept.update({m: given[0].double().mean((0, 2, 3))}))  # type: ignore[arg-type]
    pixels = next(in_batches(view, found.preprocessing, len(view)))
    with torch.no_grad():
        net(torch.from_numpy(feed(pixels, found.preprocessing, "float")))
    return [
        float(((mean - bn.running_mean).abs() / (bn.running_var + bn.eps).sqrt()).max())  # type: ignore[operator]
        for bn, mean in kept.items()
    ]


def test_inspect_shows_a_run_and_its_batchnorms_against_its_own_data(teacher: Path) -> None:
    done = run("inspect", teacher, "--data", "own", "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    convolutions = [layer for layer in value["layers"] if layer["kind"] == "Conv"]
    assert convolutions[0]["output_shape"] == [1, 8, 16, 16]
    assert convolutions[0]["multiply_adds"] == 8 * 16 * 16 * 27
    assert convolutions[0]["parameters"] == 8 * 27
    assert len(value["batchnorms"]) == 2 and value["images"] > 0
    drifts = pytorch_drifts(teacher)
    assert [bn["drift"] for bn in value["batchnorms"]] == pytest.approx(drifts, rel=1e-3)
    told = run("inspect", teacher).stdout
    assert "drift and spread need --data" in told and "multiply-adds a picture" in told


def test_inspect_shows_an_int8_file(exported: Path) -> None:
    done = run("inspect", exported.with_name("colours.int8.onnx"))
    assert done.exit_code == 0 and "DequantizeLinear x" in done.stdout and "BatchNorm:" not in done.stdout


def test_inspect_names_what_it_cannot_compare(exported: Path, colours: Path, tmp_path: Path) -> None:
    assert "'own' is for a run folder" in run("inspect", exported, "--data", "own").stderr
    model = onnx.load(exported)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    assert run("inspect", tmp_path / "foreign.onnx").exit_code == 0
    assert "nobody knows its preprocessing" in run("inspect", tmp_path / "foreign.onnx", "--data", colours).stderr
    assert run("inspect", exported, "--data", colours).exit_code == 0


def test_predict_says_the_same_with_the_run_and_the_file(teacher: Path, exported: Path, colours: Path) -> None:
    answers = []
    for model in (teacher, exported):
        done = run("predict", model, colours / "red", "--top", "2", "--json")
        assert done.exit_code == 0, done.stderr
        answers.append([json.loads(line) for line in done.stdout.splitlines()])
    assert len(answers[0]) == 20
    for mine, theirs in zip(*answers, strict=True):
        assert mine["file"] == theirs["file"] and mine["label"] == theirs["label"] and len(mine["top"]) == 2
        assert mine["probability"] == pytest.approx(theirs["probability"], abs=1e-4)
    logits = {Path(line["file"]).name: line["logits"] for line in read_lines(teacher / "predictions.jsonl")}
    classes = read_run(teacher).classes
    name = next(n for n in logits if (colours / "red" / n).is_file())
    seen = {Path(a["file"]).name: a for a in answers[0]}
    assert set(seen[name]["top"][0]) == {"label", "probability"} and seen[name]["label"] in classes


def test_predict_tells_what_it_cannot_read_and_goes_on(exported: Path, colours: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"nothing")
    done = run("predict", exported, bad, colours / "red" / "0.png", "--threshold", "1")
    assert done.exit_code == 1
    assert "bad.jpg" in done.stderr and "1 picture could not be read" in done.stderr
    assert "0.png: none of these (" in done.stdout
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in run("predict", exported, tmp_path / "empty").stderr


def test_predict_opens_no_file_that_keeps_weights_elsewhere(
    exported: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object) -> None:
        raise AssertionError("it was opened")

    model = onnx.load(exported)
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="../secret")
    (tmp_path / "outside.onnx").write_bytes(model.SerializeToString())
    monkeypatch.setattr(classifier, "Classifier", refused)
    done = run("predict", tmp_path / "outside.onnx", colours / "red")
    assert done.exit_code == 1 and "keeps 1 tensors in other files" in done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--calibration", "minmax"), "--calibration shapes the int8 file; add --int8"),
        (("--calibration-images", "8", "--max-drop", "2"), "--calibration-images, --max-drop shape the int8 file"),
        (("--symmetry", "symmetric"), "--symmetry shapes the int8 file; add --int8"),
        (("--int8", "--plan", "p.json", "--calibration", "entropy"), "without it, --calibration can be chosen"),
        (("--plan", "p.json", "--calibration-images", "8"), "without it, --calibration-images can be chosen"),
    ],
)
def test_options_that_would_do_nothing_are_refused_by_name(
    teacher: Path, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    done = run("export", teacher, *options, "--out", tmp_path / "o.onnx")
    assert done.exit_code == 1 and told in done.stderr and not list(tmp_path.iterdir())
