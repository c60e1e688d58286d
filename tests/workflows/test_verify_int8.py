"""``edgexfer verify``: int8 files against their run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from safetensors.torch import load_file, save_file

from tests.workflows.exporting import changed, run


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


def test_beside_any_copy_of_its_float32_file_an_int8_one_keeps_its_own_plan(exported: Path, tmp_path: Path) -> None:
    int8, other = copied(exported, tmp_path / "copy"), tmp_path / "other.onnx"
    other.write_bytes(int8.with_name("colours.onnx").read_bytes())
    plan = int8.with_name("colours.plan.json")
    value = json.loads(plan.read_text())
    other.with_name("other.plan.json").write_text(json.dumps(value | {"float_layers": ["node_conv2d"]}))
    assert run("verify", int8, other).exit_code == 0
    plan.rename(other.with_name("other.plan.json"))
    assert run("verify", int8, other).exit_code == 0
    other.with_name("other.plan.json").unlink()
    assert f"there is no plan {str(plan)!r}" in run("verify", int8, other).stderr


def test_another_float32_file_beside_an_int8_one_is_told(teacher: Path, exported: Path, tmp_path: Path) -> None:
    int8 = copied(exported, tmp_path / "copy")
    beside = int8.with_name("colours.onnx")
    foreign = onnx.load(beside)
    del foreign.metadata_props[:]
    onnx.save(foreign, beside)
    done = run("verify", int8, teacher)
    assert done.exit_code == 1 and "it was made of " in done.stderr and "was not written by edgexfer" in done.stderr
