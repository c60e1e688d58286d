"""``edgexfer verify``: float32 and folded files against what they were made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from tests.workflows.exporting import changed, run


def test_an_artifact_is_what_its_run_gives(teacher: Path, exported: Path) -> None:
    done = run("verify", exported, teacher, "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["verified"] is True and value["fold_max_rel_error_f64"] <= 1e-10
    assert "and every tensor is what" in run("verify", exported, teacher).stdout
    int8 = exported.with_name("colours.int8.onnx")
    assert "and every tensor is what" in run("verify", int8, exported).stdout


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
