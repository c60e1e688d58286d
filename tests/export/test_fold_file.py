from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner, Result
from onnx import helper, numpy_helper
from torch import nn

from edgexfer.cli.main import cli
from edgexfer.export import fold_file, graph
from edgexfer.export.exporter import ExportResult, export_network
from edgexfer.export.metadata import ArtifactInfo, info_of, read_info
from edgexfer.export.verify import verify
from tests.export.nets import SmallNet, pictures_for, request_for


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["export", *map(str, arguments)], prog_name="edgexfer")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A file of another program: Conv, BatchNorm, ReLU, Concat, BatchNorm, with metadata of its own."""
    rng = np.random.default_rng(0)
    tensors = [numpy_helper.from_array(rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "w")]
    for name, width in (("a", 4), ("b", 8)):
        values = [rng.uniform(0.5, 1.5, width), *rng.normal(size=(2, width)), rng.uniform(0.5, 2, width)]
        tensors += [numpy_helper.from_array(v.astype(np.float32), f"{name}{i}") for i, v in enumerate(values)]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("BatchNormalization", ["c", "a0", "a1", "a2", "a3"], ["n"], name="first"),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Concat", ["r", "r"], ["k"], axis=1, name="join"),
        helper.make_node("BatchNormalization", ["k", "b0", "b1", "b2", "b3"], ["m"], name="second"),
        helper.make_node("Relu", ["m"], ["y"], name="end"),
    ]
    inputs = [helper.make_tensor_value_info("x", 1, ["N", 3, 8, 8])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", 1, ["N", 8, 6, 6])], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7, producer_name="other")
    model.metadata_props.add(key="author", value="somebody")
    path = tmp_path / "foreign.onnx"
    onnx.save(model, path)
    return path


def test_a_foreign_file_is_folded_and_keeps_what_it_was(foreign: Path, tmp_path: Path) -> None:
    out = tmp_path / "folded.onnx"
    done = run(foreign, "--fold-bn", "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["batchnorm_folded"] == 1 and value["max_rel_error_f64"] <= 1e-10
    assert [k["name"] for k in value["batchnorm_kept"]] == ["second"]
    assert "BatchNorm: 1 of 2 folded; largest relative error" in done.stderr
    assert "kept second: its input comes from 'join' (Concat); its output goes to 'end' (Relu)" in done.stderr
    model = onnx.load(out)
    assert model.opset_import[0].version == 13 and model.ir_version == 7 and model.producer_name == "other"
    props = {p.key: p.value for p in model.metadata_props}
    assert props["author"] == "somebody" and json.loads(props["edgexfer.fold"])["parent"] == "foreign.onnx"
    proof = json.loads((tmp_path / "folded.proof.json").read_text())
    assert proof["fold"]["layers"] == [{"name": "n", "rel_error_f64": proof["fold"]["layers"][0]["rel_error_f64"]}]
    x = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
    answers = [onnxruntime.InferenceSession(str(p)).run(None, {"x": x})[0] for p in (foreign, out)]
    np.testing.assert_allclose(answers[1], answers[0], rtol=0, atol=1e-5)
    again = tmp_path / "again.onnx"
    assert run(foreign, "--out", again).exit_code == 0
    assert again.read_bytes() == out.read_bytes()


def test_the_rest_becomes_a_product_and_a_sum_on_request(foreign: Path, tmp_path: Path) -> None:
    out = tmp_path / "scaled.onnx"
    done = run(foreign, "--scale-shift", "--out", out)
    assert done.exit_code == 0 and "1 of 2 folded, 1 made a product and a sum" in done.stderr
    kinds = [n.op_type for n in onnx.load(out).graph.node]
    assert kinds == ["Conv", "Relu", "Concat", "Mul", "Add", "Relu"]


def test_a_file_without_batchnorm_says_so(foreign: Path, tmp_path: Path) -> None:
    out = tmp_path / "scaled.onnx"
    assert run(foreign, "--scale-shift", "--out", out).exit_code == 0
    done = run(out, "--out", tmp_path / "again.onnx")
    assert done.exit_code == 0 and "the file holds none, nothing is folded" in done.stderr


def test_an_artifact_stays_one(unfolded: tuple[object, ExportResult], tmp_path: Path) -> None:
    out = tmp_path / "folded.onnx"
    parent = unfolded[1]
    assert read_info(parent.artifact).batchnorm_folded == 0
    done = run(parent.artifact, "--out", out)
    assert done.exit_code == 0, done.stderr
    info = read_info(out)
    assert info.batchnorm_folded == 3 and info.batchnorm_kept == ()
    assert info.proof.fold_max_rel_error_f64 is not None and info.proof.fold_max_rel_error_f64 <= 1e-10
    assert verify(out).verified is True


def test_an_int8_artifact_keeps_the_tolerance_of_its_rounding(tmp_path: Path) -> None:
    net = SmallNet().eval()
    request, pictures = request_for(int8=True, target="x86"), pictures_for(calibration=2)
    parent = export_network(net, request, tmp_path / "small.onnx", pictures=pictures).int8
    assert parent is not None
    out = tmp_path / "folded.onnx"
    assert run(parent.artifact, "--out", out).exit_code == 0
    before, after = (read_info(path).golden for path in (parent.artifact, out))
    assert after.tolerance == before.tolerance > 2e-3 * np.abs(after.logits).max()
    assert verify(out).verified is True


def test_an_artifact_with_products_and_sums_stays_one_too(tmp_path: Path) -> None:
    net, parent, out = SmallNet(), tmp_path / "plain.onnx", tmp_path / "scaled.onnx"
    net.body[2] = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(8), nn.ReLU())  # between two ReLUs no layer can take it up
    export_network(net.eval(), request_for(fold_bn=False), parent, pictures=pictures_for())
    done = run(parent, "--scale-shift", "--out", out)
    assert done.exit_code == 0 and "3 of 4 folded, 1 made a product and a sum" in done.stderr
    compared = CliRunner().invoke(cli, ["verify", str(out), str(parent)], prog_name="edgexfer")
    assert compared.exit_code == 0, compared.stderr
    model = onnx.load(out)
    (record,) = (p for p in model.metadata_props if p.key == "edgexfer.fold")
    record.value = record.value.replace('"scaled":1', '"scaled":0')
    onnx.save(model, out)
    assert verify(out).failures[0].startswith("the file was changed after it was exported")


def test_wrong_use_is_told(foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "o.onnx"
    assert "of it, only BatchNorm is folded" in run(foreign, "--int8", "--out", out).stderr
    assert "without --fold-bn there is nothing to do" in run(foreign, "--no-fold-bn", "--out", out).stderr
    assert "ends in .onnx" in run(foreign, "--out", tmp_path / "o.bin").stderr
    for shape in ("1,x", "1,\u00b2", "1,0", "1," + "9" * 5000):
        assert "expected numbers such as 1,3,224,224" in run(foreign, "--input-shape", shape, "--out", out).stderr
    assert "is for an ONNX file" in run(tmp_path, "--input-shape", "1,3,8,8", "--out", out).stderr
    assert "exists already" in run(foreign, "--out", foreign).stderr
    assert not out.exists()


@pytest.mark.parametrize(
    "option",
    [
        ("--int8",),
        ("--plan", "p.json"),
        ("--target", "x86"),
        ("--runtime-version", "1.13"),
        ("--calibration", "minmax"),
        ("--calibration-images", "8"),
        ("--max-drop", "2"),
        ("--input", "float"),
        ("--data", "digits"),
        ("--data-root", "here"),
    ],
)
def test_what_a_file_cannot_be_asked_for_is_refused_by_name(
    foreign: Path, tmp_path: Path, option: tuple[str, ...]
) -> None:
    done = run(foreign, *option, "--out", tmp_path / "o.onnx")
    assert done.exit_code == 1 and f"; {option[0]} is for a run folder" in done.stderr
    assert not (tmp_path / "o.onnx").exists()


def test_an_artifact_that_answers_otherwise_is_not_written(
    unfolded: tuple[object, ExportResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fold_file.golden_logits
    monkeypatch.setattr(fold_file, "golden_logits", lambda *a: real(*a) + 1)
    done = run(unfolded[1].artifact, "--out", tmp_path / "o.onnx")
    assert done.exit_code == 1 and "the folded file is off by 1 on the golden samples" in done.stderr
    assert not (tmp_path / "o.onnx").exists()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda model, info: (model.graph.output.pop(), info)[1], "outputs ['logits']; expected ['image'] and"),
        (
            lambda _, info: replace(info, golden=replace(info.golden, logits=info.golden.logits[:2])),
            "the golden samples give logits of shape (4, 3), expected (2, 3)",
        ),
    ],
    ids=["no embedding", "rows"],
)
def test_an_artifact_that_was_tampered_with_is_told_in_one_line(
    unfolded: tuple[object, ExportResult],
    tmp_path: Path,
    damage: Callable[[onnx.ModelProto, ArtifactInfo], ArtifactInfo],
    told: str,
) -> None:
    model = graph.load_model(unfolded[1].artifact)
    info = info_of(model, "it")
    assert info is not None
    made, _ = graph.attach(model, damage(model, info))
    path = tmp_path / "damaged.onnx"
    path.write_bytes(made.SerializeToString())
    done = run(path, "--out", tmp_path / "o.onnx")
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit) and told in done.stderr
    assert not (tmp_path / "o.onnx").exists()


def test_what_was_written_is_read_again(foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = graph.write_bytes
    monkeypatch.setattr(graph, "write_bytes", lambda path, content: real(path, content + b"\x1a\x00"))
    done = run(foreign, "--out", tmp_path / "o.onnx")
    assert done.exit_code == 1 and "does not hold what was written; is the disk sound" in done.stderr


def test_outputs_beyond_the_files_own_precision_prove_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(4, 3, 3, 3)), np.full(4, 1.5e4), np.zeros(4), np.zeros(4), np.ones(4)]
    tensors = [numpy_helper.from_array(v.astype(np.float16), f"t{i}") for i, v in enumerate(values)]
    nodes = [
        helper.make_node("Conv", ["x", "t0"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "t1", "t2", "t3", "t4"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, 10, s) for n, s in (("x", [1, 3, 8, 8]), ("y", [1, 4, 6, 6]))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    path, out = tmp_path / "half.onnx", tmp_path / "o.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    done = run(path, "--out", out)
    assert done.exit_code == 1 and not isinstance(done.exception, ValueError)
    assert "its outputs in the file's own precision are not finite on the example" in done.stderr
    assert "fold the file in a wider precision" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["half.onnx"]


def test_nothing_is_written_where_the_proof_cannot_be(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(value: object) -> str:
        raise ValueError("Out of range float values are not JSON compliant")

    monkeypatch.setattr(fold_file, "to_json", refused)
    with pytest.raises(ValueError, match="not JSON"):
        fold_file.fold_file(foreign, tmp_path / "o.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["foreign.onnx"]
