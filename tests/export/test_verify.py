from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import nn

from edgexfer.errors import FormatError
from edgexfer.export import graph
from edgexfer.export.exporter import ExportResult
from edgexfer.export.metadata import info_of, read_info
from edgexfer.export.runtime import open_session, run
from edgexfer.export.verify import Verification, verify
from tests.examples import drawn
from tests.export.nets import TALL, make_pixels


def scaled_head(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name.endswith("head.weight"))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))


def renamed_output(model: onnx.ModelProto) -> None:
    graph.rename(model, {"logits": "scores"})


def broken_node(model: onnx.ModelProto) -> None:
    next(n for n in model.graph.node if n.op_type == "Gemm").op_type = "NoSuchOperator"


def huge_constant(model: onnx.ModelProto) -> None:
    """Asks for 1.6 GB on the way to its logits."""
    last = next(n for n in model.graph.node if "logits" in n.output)
    last.output[0] = "inner"
    model.graph.initializer.append(numpy_helper.from_array(np.array([20_000, 20_000]), "sizes"))
    for kind, read, made in (
        ("ConstantOfShape", ["sizes"], "huge"),
        ("ReduceMax", ["huge"], "most"),
        ("Add", ["inner", "most_flat"], "logits"),
    ):
        model.graph.node.append(onnx.helper.make_node(kind, read, [made], name=made))
    flat = numpy_helper.from_array(np.array([1]), "one")
    model.graph.initializer.append(flat)
    model.graph.node.insert(
        len(model.graph.node) - 1, onnx.helper.make_node("Reshape", ["most", "one"], ["most_flat"], name="flat")
    )


def test_a_fresh_artifact_verifies(unfolded: tuple[nn.Module, ExportResult]) -> None:
    assert verify(unfolded[1].artifact) == Verification(True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (scaled_head, "wrong answers on the golden samples: logits are off by"),
        (renamed_output, "outputs ['scores', 'embedding']; expected"),
        (broken_node, "refuses the model"),
        (huge_constant, "cannot run it on the golden samples: "),
    ],
)
def test_what_fails_is_named(
    unfolded: tuple[nn.Module, ExportResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[onnx.ModelProto], None],
    message: str,
) -> None:
    from edgexfer.export import verify as module

    monkeypatch.setattr(module, "MEMORY_BYTES", 2**28)
    model = graph.load_model(unfolded[1].artifact)
    info = info_of(model, "m")
    assert info is not None
    change(model)
    path = tmp_path / "m.onnx"
    path.write_bytes(graph.to_bytes(graph.attach(model, info)[0]))  # with a digest made to fit
    found = verify(path)
    (failure,) = found.failures
    assert found.verified is False and message in failure


def test_a_file_that_was_changed_is_not_run(
    unfolded: tuple[nn.Module, ExportResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgexfer.export import verify as module

    def refused(content: bytes) -> None:
        raise AssertionError("it was run")

    monkeypatch.setattr(module, "open_session", refused)
    model = graph.load_model(unfolded[1].artifact)
    scaled_head(model)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    (failure,) = verify(path).failures
    assert failure.startswith("the file was changed after it was exported: its digest is")


def test_a_one_percent_error_fails_even_with_a_digest_made_to_fit(
    unfolded: tuple[nn.Module, ExportResult], tmp_path: Path
) -> None:
    model = graph.load_model(unfolded[1].artifact)
    scaled_head(model)
    info = info_of(model, "m")
    assert info is not None
    model, _ = graph.attach(model, replace(info, digest=""))
    path = tmp_path / "m.onnx"
    path.write_bytes(graph.to_bytes(model))
    assert [f.split(":")[0] for f in verify(path).failures] == ["wrong answers on the golden samples"]


def test_changed_metadata_is_seen(unfolded: tuple[nn.Module, ExportResult], tmp_path: Path) -> None:
    content = unfolded[1].artifact.read_bytes()
    assert content.count(b'"class 1"') == 1
    path = tmp_path / "m.onnx"
    path.write_bytes(content.replace(b'"class 1"', b'"class 9"'))
    assert ["changed after it was exported" in f for f in verify(path).failures] == [True]


def test_a_foreign_model_promises_nothing(unfolded: tuple[nn.Module, ExportResult], tmp_path: Path) -> None:
    model = graph.load_model(unfolded[1].artifact)
    del model.metadata_props[:]
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert verify(path) == Verification(None)


def test_a_truncated_artifact_is_refused_or_fails(unfolded: tuple[nn.Module, ExportResult], tmp_path: Path) -> None:
    content = unfolded[1].artifact.read_bytes()
    path = tmp_path / "m.onnx"
    for length in range(0, len(content), len(content) // 12):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError, match="not an ONNX file"):
            verify(path)


def answers(path: Path) -> np.ndarray:
    """The logits on pictures that are no golden ones."""
    logits, _ = run(open_session(path.read_bytes()), make_pixels(3), TALL, "uint8")
    return logits


@drawn(60)
@given(data=st.data())
def test_damage_is_found_or_told(
    unfolded: tuple[nn.Module, ExportResult], tmp_path: Path, capfd: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    content = bytearray(unfolded[1].artifact.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    try:
        found = verify(path)
    except FormatError as error:
        assert len(str(error)) < 2000
    else:
        if found.verified:  # such as damage to the name of the program that wrote it
            assert read_info(path) == unfolded[1].info
            np.testing.assert_allclose(answers(path), answers(unfolded[1].artifact), rtol=0, atol=1e-6)
    assert capfd.readouterr().err == ""
