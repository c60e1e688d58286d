from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from onnx import numpy_helper
from safetensors.torch import load_file, save_file
from torch import nn

from edgexfer import classifier, nets
from edgexfer.cli.main import cli
from edgexfer.export import graph
from edgexfer.export.golden import feed
from edgexfer.export.metadata import info_of
from edgexfer.runs import read_lines, read_run
from edgexfer.workflows.data import in_batches
from edgexfer.workflows.remembered import load_remembered


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], prog_name="edgexfer")


@pytest.fixture(scope="module")
def exported(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher's run as float32 and int8."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("exported") / "colours.onnx"
    done = run("export", teacher, "--int8", "--max-drop", "5", "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert set(value["int8"]) >= {"recommended", "speedup", "top1", "top1_float32"}
    return out


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


def test_an_artifact_is_what_its_run_gives(teacher: Path, exported: Path) -> None:
    done = run("verify", exported, teacher, "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["verified"] is True and value["fold_max_rel_error_f64"] <= 1e-10
    assert "and every tensor is what" in run("verify", exported, teacher).stdout
    int8 = exported.with_name("colours.int8.onnx")
    assert "and every tensor is what" in run("verify", int8, exported).stdout


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


def changed(path: Path, out: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    """A copy with a change and a digest that hides it."""
    model = onnx.load(path)
    change(model)
    info = info_of(model, "it")
    assert info is not None
    out.write_bytes(graph.to_bytes(graph.attach(model, info)[0]))
    return out


def test_a_tensor_that_changed_is_named(teacher: Path, exported: Path, tmp_path: Path) -> None:
    def nudge(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
        values = numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[5] += np.float32(1e-4)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    copy = changed(exported, tmp_path / "changed.onnx", nudge)
    assert run("verify", copy).exit_code == 0  # the golden samples cannot see so little
    done = run("verify", copy, teacher)
    assert done.exit_code == 1 and "changed: 1 of 216 numbers, by up to 0.0001" in done.stderr

    def leak(model: onnx.ModelProto) -> None:
        model.graph.node.append(onnx.helper.make_node("Identity", ["logits"], ["unread"], name="more"))
        model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "stray"))

    done = run("verify", changed(exported, tmp_path / "more.onnx", leak), teacher)
    assert "the node 'more' (Identity) is not of this network" in done.stderr
    assert "the tensor 'stray' is not of this network" in done.stderr


def copied(exported: Path, folder: Path, *without: str) -> Path:
    """The int8 file with all that export left beside it, but for the files that end so."""
    folder.mkdir()
    for end in (".onnx", ".int8.onnx", ".plan.json", ".proof.json"):
        if end not in without:
            (folder / f"colours{end}").write_bytes(exported.with_name(f"colours{end}").read_bytes())
    return folder / "colours.int8.onnx"


def nudged_run(teacher: Path, folder: Path) -> Path:
    """The same run with one other number in each convolution."""
    folder.mkdir()
    (folder / "run.json").write_bytes((teacher / "run.json").read_bytes())
    weights = load_file(teacher / "weights.safetensors")
    for weight in weights.values():
        if weight.ndim == 4:
            weight.view(-1)[5] += 0.5
    save_file(weights, folder / "weights.safetensors")
    return folder


@pytest.mark.parametrize(
    ("without", "found", "told"),
    [
        ((), "beside", "the float32 file beside it is the one that it was quantized from"),
        ((".onnx",), "made again", "the float32 file that it was quantized from was made again, byte for byte"),
        ((".onnx", ".proof.json"), "unchecked", "which float32 file it was quantized from was not checked"),
    ],
)
def test_an_int8_file_is_what_its_run_gives(
    teacher: Path, exported: Path, tmp_path: Path, without: tuple[str, ...], found: str, told: str
) -> None:
    int8 = copied(exported, tmp_path / "copy", *without)
    done = run("verify", int8, teacher, "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["verified"] is True and value["fold_max_rel_error_f64"] <= 1e-10
    assert value["float32_file"] == found and "one scale a" in value["plan"]
    words = run("verify", int8, teacher).stdout
    assert f"every tensor is what {teacher} gives; folding is off by" in words and value["plan"] in words
    assert told in words


def test_an_older_form_is_made_again_in_it(teacher: Path, exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "old.onnx"
    form = ("--runtime-version", "1.13", "--no-fold-bn", "--input", "float")
    assert run("export", teacher, "--int8", "--max-drop", "100", *form, "--out", out).exit_code == 0
    int8 = out.with_name("old.int8.onnx")
    assert onnx.load(int8).opset_import[0].version == 17
    out.unlink()
    done = run("verify", int8, teacher)
    assert done.exit_code == 0, done.stderr
    assert "no BatchNorm was folded" in done.stdout and "byte for byte" in done.stdout


def test_an_int8_weight_that_changed_is_named(teacher: Path, exported: Path, tmp_path: Path) -> None:
    def nudge(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1)
        values = numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[5] += np.int8(1)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    int8 = copied(exported, tmp_path / "copy")
    done = run("verify", changed(int8, int8, nudge), teacher)
    assert done.exit_code == 1
    assert "weight_quantized' changed: 1 of " in done.stderr and "numbers, by up to 1 (" in done.stderr
    assert "other weights" not in done.stderr


def test_an_int8_file_of_another_run_is_told_apart(teacher: Path, exported: Path, tmp_path: Path) -> None:
    other = nudged_run(teacher, tmp_path / "other")
    done = run("verify", exported.with_name("colours.int8.onnx"), other)
    assert done.exit_code == 1 and "the tensor 'net.body.0.weight" in done.stderr
    assert f"{str(exported)!r} was exported from the weights" in done.stderr and ": other weights" in done.stderr
    alone = run("verify", copied(exported, tmp_path / "copy", ".onnx"), other)
    assert alone.exit_code == 1 and "the tensor 'net.body.0.weight" in alone.stderr
    assert "was made for the artifact" in alone.stderr


def test_an_int8_file_needs_its_own_plan(teacher: Path, exported: Path, tmp_path: Path) -> None:
    int8 = copied(exported, tmp_path / "copy", ".plan.json")
    assert f"there is no plan {str(int8.with_name('colours.plan.json'))!r}" in run("verify", int8, teacher).stderr
    moved = int8.rename(int8.with_name("renamed.onnx"))
    assert "'renamed.onnx' does not end in .int8.onnx" in run("verify", moved, teacher).stderr
    value = json.loads(exported.with_name("colours.plan.json").read_text())
    for without in ((".onnx",), ()):
        int8 = copied(exported, tmp_path / f"other{len(without)}", *without)
        int8.with_name("colours.plan.json").write_text(json.dumps(value | {"artifact_digest": "0" * 64}))
        done = run("verify", int8, teacher)
        assert done.exit_code == 1 and "was made for the artifact 000000000000, this one is" in done.stderr
    int8.with_name("colours.plan.json").write_text(json.dumps(value | {"ranges": {}}))
    assert "the plan knows no range of" in run("verify", int8, teacher).stderr


def test_another_float32_file_beside_an_int8_one_is_told(teacher: Path, exported: Path, tmp_path: Path) -> None:
    int8 = copied(exported, tmp_path / "copy")
    beside = int8.with_name("colours.onnx")
    foreign = onnx.load(beside)
    del foreign.metadata_props[:]
    onnx.save(foreign, beside)
    done = run("verify", int8, teacher)
    assert done.exit_code == 1 and "it was made of " in done.stderr and "was not written by edgexfer" in done.stderr


def test_another_run_is_told_apart(exported: Path, teacher: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("run.json", "weights.safetensors"):
        (other / name).write_bytes((teacher / name).read_bytes())
    value = json.loads((other / "run.json").read_text())
    value["classes"] = ["blue", "green", "rot"]
    (other / "run.json").write_text(json.dumps(value))
    done = run("verify", exported, other)
    assert done.exit_code == 1 and "it knows the classes blue, green, red, the run blue, green, rot" in done.stderr


def test_a_folded_file_is_what_its_parent_gives(teacher: Path, tmp_path: Path) -> None:
    plain, out = tmp_path / "plain.onnx", tmp_path / "folded.onnx"
    assert run("export", teacher, "--no-fold-bn", "--out", plain).exit_code == 0
    assert run("export", plain, "--out", out).exit_code == 0
    done = run("verify", out, plain, "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["fold_max_rel_error_f64"] <= 1e-10
    foreign = tmp_path / "foreign.onnx"
    model = onnx.load(plain)
    del model.metadata_props[:]
    onnx.save(model, foreign)
    assert run("export", foreign, "--out", out, "--force").exit_code == 0
    told = run("verify", out, foreign)
    assert told.exit_code == 0 and "digest and golden samples are right" not in told.stdout
    assert f"every tensor is what {foreign} gives; it carries no digest and no golden samples" in told.stdout
    assert json.loads(run("verify", out, foreign, "--json").stdout)["self_checked"] is False
    assert "other weights" in run("verify", out, plain).stderr
    assert "was not written by edgexfer" in run("verify", out).stderr
    assert "name the ONNX file that was folded" in run("verify", out, teacher).stderr


def test_a_shape_that_was_asked_for_is_remembered(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(2, 3, 1, 1)), *(rng.uniform(0.5, 1.5, 2) for _ in range(4)), rng.normal(size=(240, 3))]
    tensors = [numpy_helper.from_array(v.astype(np.float32), f"t{i}") for i, v in enumerate(values)]
    nodes = [
        onnx.helper.make_node("Conv", ["x", "t0"], ["c"]),
        onnx.helper.make_node("BatchNormalization", ["c", "t1", "t2", "t3", "t4"], ["n"]),
        onnx.helper.make_node("Flatten", ["n"], ["f"]),
        onnx.helper.make_node("MatMul", ["f", "t5"], ["y"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(n, 1, s) for n, s in (("x", ["N", 3, "H", "W"]), ("y", ["N", 3]))]
    made = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    path, out = tmp_path / "open.onnx", tmp_path / "folded.onnx"
    onnx.save(onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    assert "no example input runs in float64" in run("export", path, "--out", out).stderr
    assert run("export", path, "--input-shape", "1,3,12,10", "--out", out).exit_code == 0
    assert run("verify", out, path).exit_code == 0
    model = onnx.load(out)
    for damage in ("[0, 3]", "7", '["N"]', "[1e999]"):
        record = model.metadata_props[0]
        assert record.key == "edgexfer.fold" and '"input_shape":[1,3,12,10]' in record.value
        bad = onnx.ModelProto.FromString(model.SerializeToString())
        bad.metadata_props[0].value = record.value.replace("[1,3,12,10]", damage)
        onnx.save(bad, tmp_path / "bad.onnx")
        told = run("verify", tmp_path / "bad.onnx", path)
        assert told.exit_code == 1 and "metadata is damaged" in told.stderr and "fold the file anew" in told.stderr
