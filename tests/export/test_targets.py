from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from edgexfer.errors import ExportError
from edgexfer.export import graph
from edgexfer.export.exporter import export_network
from edgexfer.export.opsets import lower
from edgexfer.export.runtime import open_session
from edgexfer.export.targets import RUNTIMES, TARGETS, Form, form_for, oldest_runtime, target_of
from edgexfer.export.verify import verify
from tests.export.nets import SmallNet, pictures_for, request_for


@pytest.mark.parametrize(
    ("version", "form"),
    [(None, (18, 9)), ("1.7", (13, 7)), ("1.12.1", (15, 7)), ("1.13", (17, 8)), ("1.15", (18, 8)), ("1.30", (18, 9))],
)
def test_a_runtime_chooses_the_form(version: str | None, form: tuple[int, int]) -> None:
    assert form_for(version) == Form(*form)


def test_what_is_written_is_read_by_the_runtime_that_is_named() -> None:
    for version, form in RUNTIMES.items():
        assert oldest_runtime(form) == ".".join(map(str, version))
    assert {t.arithmetic for t in TARGETS.values()} == {"x86", "arm64"}


def test_unknown_targets_and_runtimes_are_told() -> None:
    with pytest.raises(ExportError, match="target is 'mips'; allowed: x86, arm64, raspberry-pi-3"):
        target_of("mips")
    for version in ("new", "1", "1.x"):
        with pytest.raises(ExportError, match="expected an ONNX Runtime such as 1.16"):
            form_for(version)
    with pytest.raises(ExportError, match="too old: 1.7 is the oldest that edgexfer writes for"):
        form_for("1.6")


def test_an_export_for_a_board_and_an_old_runtime(tmp_path: Path) -> None:
    out, said = tmp_path / "small.onnx", list[str]()
    request = request_for(int8=True, target="raspberry-pi-4", runtime_version="1.8")
    net = SmallNet(activation=nn.Hardswish).eval()
    result = export_network(net, request, out, pictures=pictures_for(calibration=2), say=said.append)
    assert result.int8 is not None and result.int8.made.plan.target == "arm64"
    for path in (out, result.int8.artifact):
        model = onnx.load(path)
        assert model.opset_import[0].version == 14 and model.ir_version == 7
        onnx.checker.check_model(model, full_check=True)
    assert verify(out).verified is True
    told = next(s for s in said if s.startswith("raspberry-pi-4"))
    assert told == (
        "raspberry-pi-4 (4 x Cortex-A72): opset 14, IR version 7: read by ONNX Runtime 1.8 and newer; 4 threads at"
        " most, one a core; with more it gets slower; needs the 64-bit system and cooling"
    )


class Views(SmallNet):
    """Shuffles its channels by two views, and ends in one."""

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        y = y.view(y.shape[0], 2, 8, *y.shape[2:]).transpose(1, 2).reshape(y.shape)
        return y.mean((2, 3)).view(-1, 16)


def test_a_batchnorm_that_is_kept_and_views_are_written_for_the_oldest_runtime(tmp_path: Path) -> None:
    out = tmp_path / "views.onnx"
    request = request_for(fold_bn=False, runtime_version="1.7")
    export_network(Views().eval(), request, out, pictures=pictures_for())
    model = onnx.load(out)
    kinds = [n.op_type for n in model.graph.node]
    assert model.opset_import[0].version == 13 and kinds.count("BatchNormalization") == 3 and "Reshape" in kinds
    onnx.checker.check_model(model, full_check=True)


def test_a_file_that_reads_back_otherwise_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = graph.write_bytes
    other = helper.make_tensor_value_info("more", 1, [1])

    def failing(path: Path, content: bytes) -> None:
        model = onnx.load_from_string(content)
        model.graph.value_info.append(other)
        real(path, model.SerializeToString())

    monkeypatch.setattr(graph, "write_bytes", failing)
    with pytest.raises(ExportError, match="does not hold what was written; is the disk sound"):
        export_network(SmallNet().eval(), request_for(), tmp_path / "s.onnx", pictures=pictures_for())


INT64 = onnx.TensorProto.INT64


def one_node(kind: str, *inputs: np.ndarray, outputs: int = 1, gives: int = 1, **attributes: object) -> onnx.ModelProto:
    names = [f"c{i}" for i in range(len(inputs))]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(kind, ["x", *names], made, name="it", **attributes)
    tensors = [numpy_helper.from_array(v, n) for n, v in zip(names, inputs, strict=True)]
    results = [helper.make_tensor_value_info(name, gives, None) for name in made]
    info = helper.make_tensor_value_info("x", 1, [2, 4, 3, 5])
    built = helper.make_graph([node], "g", [info], results, tensors)
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    inferred: onnx.ModelProto = onnx.shape_inference.infer_shapes(model)
    return inferred


@pytest.mark.parametrize(
    "model",
    [
        one_node("HardSwish"),
        one_node("ReduceMean", np.array([2, 3]), keepdims=0),
        one_node("ReduceMax", np.array([-1]), keepdims=1),
        one_node("ReduceSum", np.array([1]), keepdims=0),
        one_node("Split", outputs=2, num_outputs=2, axis=1),
        one_node("Split", np.array([1, 3]), outputs=2, axis=1),
        one_node("Reshape", np.array([0, -1]), allowzero=0),
        one_node("Reshape", np.array([2, 60]), allowzero=1),
        one_node("BatchNormalization", *np.linspace(0.5, 2, 16, dtype=np.float32).reshape(4, 4), training_mode=0),
        one_node("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1])),
        one_node("LeakyRelu", alpha=0.2),
        one_node("ScatterND", np.array([[0], [1]]), np.zeros((2, 4, 3, 5), np.float32), reduction="none"),
        one_node("CastLike", np.array([1, 2]), gives=INT64),
        one_node("Shape", gives=INT64),
        one_node("Shape", gives=INT64, start=1, end=3),
        one_node("Shape", gives=INT64, start=-2),
        one_node("Shape", gives=INT64, end=-9),
        one_node("LayerNormalization", *np.linspace(0.5, 2, 10, dtype=np.float32).reshape(2, 5)),
        one_node("LayerNormalization", np.linspace(0.5, 2, 5, dtype=np.float32), axis=-1, epsilon=0.5),
        one_node("LayerNormalization", *np.linspace(-1, 2, 30, dtype=np.float32).reshape(2, 3, 5), axis=2),
        one_node("Resize", np.array([], np.float32), np.array([1, 1, 2, 2], np.float32), mode="nearest"),
    ],
    ids=lambda m: m.graph.node[0].op_type,
)
@pytest.mark.parametrize("opset", [13, 15, 17])
def test_older_forms_compute_the_same(model: onnx.ModelProto, opset: int) -> None:
    made = lower(model, Form(opset, 7))
    onnx.checker.check_model(made, full_check=True)
    assert made.opset_import[0].version == opset and made.ir_version == 7
    x = np.random.default_rng(0).normal(0, 3, (2, 4, 3, 5)).astype(np.float32)
    wanted, found = (open_session(graph.to_bytes(m)).run(None, {"x": x}) for m in (model, made))
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-5)


def test_what_layer_normalization_is_made_of_is_its_definition() -> None:
    x = np.random.default_rng(0).normal(3, 2, (2, 4, 3, 5)).astype(np.float32)
    scale, bias = np.linspace(-1, 2, 30).reshape(2, 3, 5)
    model = one_node("LayerNormalization", scale.astype(np.float32), bias.astype(np.float32), axis=2, epsilon=0.25)
    found = open_session(graph.to_bytes(lower(model, Form(13, 7)))).run(None, {"x": x})[0]
    wide = x.astype(np.float64)
    mean, variance = wide.mean((2, 3), keepdims=True), wide.var((2, 3), keepdims=True)
    np.testing.assert_allclose(found, (wide - mean) / np.sqrt(variance + 0.25) * scale + bias, rtol=0, atol=2e-6)


def test_an_attribute_that_says_what_was_always_so_is_left_out() -> None:
    assert not lower(one_node("Shape", start=0, gives=INT64), Form(13, 7)).graph.node[0].attribute


@pytest.mark.parametrize(
    "model",
    [
        one_node("LayerNormalization", np.ones(5, np.float32), outputs=2),
        one_node("LayerNormalization", np.ones(5, np.float32), stash_type=11),
        one_node("Mish"),
        one_node("Reshape", np.array([0, 60]), allowzero=1),
        one_node("ScatterND", np.array([[0]]), np.ones((1, 4, 3, 5), np.float32), reduction="add"),
        one_node("BatchNormalization", *np.ones((4, 4), np.float32), training_mode=1),
        one_node("Split", outputs=3, num_outputs=3, axis=1),
    ],
    ids=lambda m: m.graph.node[0].op_type,
)
def test_what_has_no_older_form_is_named(model: onnx.ModelProto) -> None:
    with pytest.raises(
        ExportError, match=r"the operator 'it' \(\w+\) of this network has no form in opset 13; .* 1.16"
    ):
        lower(model, Form(13, 7))
