from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgexfer.errors import EdgexferError, FormatError
from edgexfer.fold.onnxfile import source
from edgexfer.fold.onnxfile.folding import fold_graph
from edgexfer.fold.onnxfile.source import read_onnx
from tests.examples import drawn
from tests.fold.onnxfile.graphs import Net


def small() -> onnx.ModelProto:
    net = Net(1, 2, 4, 4)
    net.bn(net.conv("x", 3, 2), 3)
    model: onnx.ModelProto = net.model()
    return model


def outside(model: onnx.ModelProto, location: str, offset: int = 0, length: int | None = None) -> onnx.TensorProto:
    """Moves the bytes of one weight to another file."""
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    entries = {"location": location, "offset": str(offset)} | ({} if length is None else {"length": str(length)})
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def written(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_in_the_same_folder_are_read(tmp_path: Path) -> None:
    model = small()
    bytes_ = next(t for t in model.graph.initializer if len(t.dims) == 4).raw_data
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.data").write_bytes(b"\0" * 16 + bytes_)
    expected = fold_graph(model).model
    outside(model, "weights/model.data", 16, len(bytes_))
    found = fold_graph(read_onnx(written(model, tmp_path))).model
    assert found.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "link", "", "a/../../secret", "folder\\..\\x"])
def test_nothing_outside_the_folder_is_read(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 4096)
    folder = tmp_path / "models"
    folder.mkdir()
    os.symlink(tmp_path / "secret", folder / "link")
    model = small()
    outside(model, location)
    with pytest.raises(FormatError, match="outside its own folder; edgexfer reads weights only from the folder"):
        read_onnx(written(model, folder))


def test_external_places_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"x" * 100)
    for offset, length, told in ((0, None, "needs 216 bytes of 'w'"), (-4, None, "216 bytes at -4"), (0, 2**40, "216")):
        model = small()
        outside(model, "w", offset, length)
        with pytest.raises(FormatError, match=told):
            read_onnx(written(model, tmp_path))
    model = small()
    tensor = outside(model, "w")
    tensor.external_data[1].value = "many"
    with pytest.raises(FormatError, match="no proper place of the tensor"):
        read_onnx(written(model, tmp_path))
    model = small()
    outside(model, ".")
    with pytest.raises(FormatError, match=r"needs 216 bytes of '\.' beside it"):
        read_onnx(written(model, tmp_path))


@pytest.mark.parametrize("location", ["w\0", "circle", "circle/w", b"\xff\xfe"])
def test_what_names_no_file_is_refused(tmp_path: Path, location: str | bytes) -> None:
    os.symlink("circle", tmp_path / "circle")
    model = small()
    outside(model, "LOCATION" if isinstance(location, bytes) else location)
    content = model.SerializeToString()
    if isinstance(location, bytes):  # as long as before, so that the file stays whole
        content = content.replace(b"LOCATION", location * 4)
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(FormatError, match="which names no file .*; edgexfer reads weights only from the folder"):
        read_onnx(tmp_path / "model.onnx")


def test_what_many_tensors_ask_for_is_counted_before_any_of_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(2**30)
    model = small()
    for number in range(3):
        tensor = model.graph.initializer.add(name=f"big{number}", data_type=TensorProto.UINT8, dims=[2**30])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="sparse")
    read: list[str] = []
    real = source._fetch
    monkeypatch.setattr(source, "_fetch", lambda tensor, *rest: read.append(tensor.name) or real(tensor, *rest))
    with pytest.raises(FormatError, match=r"holds 3,221,225,\d+ bytes of weights; one ONNX file holds at most"):
        read_onnx(written(model, tmp_path))
    assert read == []


def test_shapes_that_promise_more_than_there_is_are_refused(tmp_path: Path) -> None:
    for dims in ([2**31, 2**31], [1], [-1, -54]):
        model = small()
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)
        with pytest.raises(FormatError, match="is damaged: the tensor"):
            read_onnx(written(model, tmp_path))
    model = small()
    model.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(FormatError, match="does not hold what its shape"):
        read_onnx(written(model, tmp_path))
    model = small()
    model.graph.initializer[0].data_type = 99
    with pytest.raises(FormatError, match="is of the kind 99"):
        read_onnx(written(model, tmp_path))


def test_typed_fields_are_read_as_raw_bytes_are(tmp_path: Path) -> None:
    model = small()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).reshape(-1).tolist()
        tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.FLOAT, tensor.dims, values))
    assert fold_graph(read_onnx(written(model, tmp_path))).plan.folded == 1


KINDS = [kind for name, kind in TensorProto.DataType.items() if name not in ("UNDEFINED", "STRING")]


@pytest.mark.parametrize("kind", KINDS, ids=TensorProto.DataType.Name)
def test_typed_fields_hold_exactly_what_their_shape_says(tmp_path: Path, kind: int) -> None:
    model = small()
    tensor = model.graph.initializer.add()
    tensor.CopyFrom(helper.make_tensor("more", kind, [3, 3], [1] * 9))
    source.check_sound(model, "m")
    assert numpy_helper.to_array(tensor).shape == (3, 3)
    field = helper.tensor_dtype_to_field(kind)
    right = list(getattr(tensor, field))
    other = "double_data" if field != "double_data" else "float_data"
    for count, stray in ((0, 0), (len(right) - 1, 0), (len(right) + 1, 0), (2 * len(right), 0), (len(right), 1)):
        for name in (field, other):
            tensor.ClearField(name)
        getattr(tensor, field).extend((right * 2)[:count])
        getattr(tensor, other).extend([0] * stray)
        with pytest.raises(FormatError, match="does not hold what its shape"):
            read_onnx(written(model, tmp_path))


def test_sparse_tensors_are_refused(tmp_path: Path) -> None:
    model = small()
    values, indices = numpy_helper.from_array(np.ones(1, np.float32), "s"), numpy_helper.from_array(np.array([0]))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2**40]))
    with pytest.raises(FormatError, match="keeps sparse tensors"):
        read_onnx(written(model, tmp_path))


def functions(model: onnx.ModelProto, depth: int, calls: int) -> onnx.ModelProto:
    """Puts a chain of functions in front, each of which calls the next several times."""
    model.opset_import.add(domain="own", version=1)
    ids = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for level in range(depth):
        kind, domain = ("Identity", "") if level == depth - 1 else (f"f{level + 1}", "own")
        names = ["a", *(f"b{i}" for i in range(calls - 1)), "z"]
        steps = [helper.make_node(kind, [names[i]], [names[i + 1]], domain=domain) for i in range(calls)]
        model.functions.append(helper.make_function("own", f"f{level}", ["a"], ["z"], steps, ids))
    model.graph.node[0].input[0] = "fx"
    model.graph.node.insert(0, helper.make_node("f0", ["x"], ["fx"], domain="own"))
    return model


def test_local_functions_are_written_out_unless_they_explode(tmp_path: Path) -> None:
    read = read_onnx(written(functions(small(), 2, 3), tmp_path))
    assert not read.functions and [n.op_type for n in read.graph.node].count("Identity") == 9
    assert fold_graph(read).plan.folded == 1
    with pytest.raises(FormatError, match="unfolds to .* nodes through its functions"):
        read_onnx(written(functions(small(), 60, 8), tmp_path))
    with pytest.raises(FormatError, match="has functions in functions, deeper than 100"):
        source._inlined(functions(small(), 400, 1), "it")


def test_what_is_no_model_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(FormatError, match="cannot read the model"):
        read_onnx(path)
    path.write_bytes(b"not a model at all")
    with pytest.raises(FormatError, match="is not an ONNX file"):
        read_onnx(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match=r"truncated one: it holds no graph \(0 bytes\)"):
        read_onnx(path)
    model = small()
    model.graph.node[1].input[0] = "nowhere"
    with pytest.raises(FormatError, match="is not valid ONNX: .*nowhere"):
        read_onnx(written(model, tmp_path))


@drawn(150)
@given(data=st.data())
def test_no_damage_gives_anything_but_a_clear_error(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(small().SerializeToString())
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    try:
        fold_graph(read_onnx(path))
    except EdgexferError as error:
        assert len(str(error)) < 2000
