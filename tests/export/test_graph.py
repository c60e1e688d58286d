from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgexfer.errors import ExportError, FormatError
from edgexfer.export import graph


def affine_model(weight: float = 2.0, opset: int = 18, ir: int = 9, domain: str = "") -> onnx.ModelProto:
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"], name="mul", domain=domain)]
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", 1]) for n in "xy"]
    tensor = numpy_helper.from_array(np.float32([weight]), "w")
    built = helper.make_graph(nodes, "g", values[:1], values[1:], [tensor])
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(built, opset_imports=opsets, ir_version=ir)


def normed_model(training: int) -> onnx.ModelProto:
    names = ["s", "b", "m", "v"]
    node = helper.make_node("BatchNormalization", ["x", *names], ["y"], name="bn", training_mode=training)
    if training:
        node.output.extend(["m2", "v2"])
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", 2]) for n in "xy"]
    tensors = [numpy_helper.from_array(np.ones(2, np.float32), n) for n in names]
    built = helper.make_graph([node], "g", values[:1], values[1:], tensors)
    return helper.make_model(built, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("content", [b"", b"\x00", b"not a model at all", b"PK\x03\x04" + bytes(100), b"\xff" * 64])
def test_what_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="is not an ONNX file"):
        graph.load_model(path)


def test_every_truncation_is_refused_or_changes_the_digest(tmp_path: Path) -> None:
    model = affine_model()
    content, whole = model.SerializeToString(), graph.digest(model)
    path = tmp_path / "m.onnx"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            assert graph.digest(graph.load_model(path)) != whole
        except FormatError as error:
            assert "m.onnx" in str(error)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(FormatError, match="cannot read the model"):
            graph.load_model(path)


def test_tensors_in_other_files_are_refused(tmp_path: Path) -> None:
    model = affine_model()
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match="keeps 1 tensors in other files \\('w' for one\\)"):
        graph.load_model(path)


def test_tensors_of_functions_in_other_files_are_refused_too(tmp_path: Path) -> None:
    model = affine_model()
    tensor = numpy_helper.from_array(np.zeros(0, np.float32), "hidden")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    constant = helper.make_node("Constant", [], ["o"], value=tensor)
    model.functions.append(helper.make_function("own", "f", [], ["o"], [constant], [helper.make_opsetid("", 18)]))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match="keeps 1 tensors in other files \\('hidden' for one\\)"):
        graph.load_model(path)


def test_the_digest_sees_weights_nodes_and_names_but_not_talk() -> None:
    model = affine_model()
    base = graph.digest(model)
    assert base == graph.digest(affine_model())
    assert base != graph.digest(affine_model(np.nextafter(np.float32(2), np.float32(3))))
    model.graph.node[0].doc_string = "file somewhere.py, line 3"
    model.producer_name = "someone"
    assert graph.digest(model) == base
    model.graph.node[0].op_type = "Add"
    assert graph.digest(model) != base


def test_the_digest_does_not_depend_on_how_a_tensor_is_stored() -> None:
    model, other = affine_model(), affine_model()
    tensor = other.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.float_data.append(2.0)
    assert graph.digest(model) == graph.digest(other)


def test_strip_leaves_nothing_of_where_it_was_made() -> None:
    model = affine_model()
    model.doc_string = model.graph.doc_string = model.graph.node[0].doc_string = "/home/someone"
    model.graph.node[0].metadata_props.add(key="stack", value="/home/someone")
    model.graph.input[0].metadata_props.add(key="stack", value="/home/someone")
    graph.strip(model)
    assert b"someone" not in model.SerializeToString()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 17}, "opsets {'ai.onnx': 17} and IR 9; expected opset 18 and IR 9"),
        ({"ir": 10}, "IR 10; expected opset 18 and IR 9"),
        ({"domain": "com.example"}, "com.example"),
    ],
)
def test_another_form_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        graph.check_written(affine_model(**options))


def test_an_invalid_graph_is_refused() -> None:
    model = affine_model()
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ExportError, match="not valid ONNX"):
        graph.check_written(model)


def test_batchnorm_in_training_mode_is_refused() -> None:
    graph.check_written(normed_model(training=0))
    with pytest.raises(ExportError, match="training mode in the file: bn"):
        graph.check_written(normed_model(training=1))
