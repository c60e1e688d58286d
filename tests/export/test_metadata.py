from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from edgexfer.errors import FormatError
from edgexfer.export.metadata import KEY, ArtifactInfo, Golden, Proof, find_info, read_info
from edgexfer.fold import Kept
from edgexfer.preprocessing import square

INFO = ArtifactInfo(
    classes=("Löwe", "2"),
    preprocessing=square(32),
    model="tiny",
    parent_sha256="ab" * 32,
    precision="int8",
    input="uint8",
    batchnorm_folded=3,
    batchnorm_kept=(Kept("a.b", "used twice"),),
    proof=Proof(1e-15, 2e-6, 0.5, 7),
    golden=Golden(0, ((0.25, -1.5),), 1e-3),
    target="arm64",
    digest="cd" * 32,
)


def write_model(path: Path, text: str | None) -> Path:
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    value = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", value[:1], value[1:]))
    if text is not None:
        model.metadata_props.add(key=KEY, value=text)
    path.write_bytes(model.SerializeToString())
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_info(write_model(tmp_path / "m.onnx", INFO.to_json())) == INFO
    assert find_info(write_model(tmp_path / "m.onnx", replace(INFO, target=None).to_json())).target is None  # type: ignore[union-attr]


def test_keys_are_those_of_the_contract() -> None:
    value = json.loads(INFO.to_json())
    assert set(value) == {
        "format", "classes", "preprocessing", "model", "parent_sha256", "precision", "input", "batchnorm", "proof",
        "golden", "digest", "target",
    }  # fmt: skip
    assert value["batchnorm"] == {"folded": 3, "kept": [{"name": "a.b", "reason": "used twice"}]}
    assert set(value["proof"]) == {"fold_max_rel_error_f64", "max_abs_error", "top1_agreement", "images"}
    assert "target" not in json.loads(replace(INFO, target=None).to_json())


def test_a_foreign_model_is_told_apart(tmp_path: Path) -> None:
    path = write_model(tmp_path / "foreign.onnx", None)
    assert find_info(path) is None
    with pytest.raises(FormatError, match="not an artifact of edgexfer.*edgexfer export"):
        read_info(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2.*upgrade"),
        ({"format": None}, "no format number"),
        ({"classes": []}, "classes is \\[\\]"),
        ({"classes": "ab"}, "classes is 'ab'"),
        ({"precision": "fp4"}, "precision is 'fp4'; allowed: float32, int8"),
        ({"input": "jpeg"}, "input is 'jpeg'; allowed: uint8, float"),
        ({"target": "mips"}, "target is 'mips'; allowed: x86, arm64"),
        ({"golden": {"seed": 0, "logits": [[1.0]], "tolerance": 1.0}}, "golden logits of \\[1\\] values for 2 classes"),
        ({"golden": {"seed": 0, "logits": [], "tolerance": 1.0}}, "golden logits"),
        ({"golden": {"seed": -1, "logits": [[1.0, 2.0]], "tolerance": 1.0}}, "golden seed is -1"),
        ({"golden": {"seed": 0, "logits": [[1.0, "inf"]], "tolerance": 1.0}}, "expected a finite number"),
        ({"preprocessing": {}}, "preprocessing is incomplete"),
        ({"proof": []}, "incomplete or malformed"),
    ],
)
def test_malformed_metadata_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    text = json.dumps({**json.loads(INFO.to_json()), **change})
    with pytest.raises(FormatError, match=message):
        read_info(write_model(tmp_path / "m.onnx", text))


@pytest.mark.parametrize(
    ("found", "damage"),
    [
        ('"images":7', '"images":1e999'),
        ('"folded":3', '"folded":1e999'),
        ('"seed":0', '"seed":1e999'),
        ('"tolerance":0.001', '"tolerance":1' + "0" * 400),
        ('"resize":32', '"resize":1e999'),
        ('"input_size":[32,32]', '"input_size":[1e999,32]'),
        ('"mean":[0.485,', '"mean":[1' + "0" * 400 + ","),
    ],
)
def test_numbers_beyond_all_bounds_are_refused(tmp_path: Path, found: str, damage: str) -> None:
    text = INFO.to_json()
    assert found in text
    with pytest.raises(FormatError, match="incomplete or malformed"):
        read_info(write_model(tmp_path / "m.onnx", text.replace(found, damage)))


@pytest.mark.parametrize("text", ["", "{", "[" * 100000, "[]", "7"])
def test_metadata_that_is_not_an_object_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(FormatError, match="not valid JSON|where an object is expected"):
        read_info(write_model(tmp_path / "m.onnx", text))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    value = json.loads(INFO.to_json())
    del value["parent_sha256"]
    with pytest.raises(FormatError, match="'parent_sha256'"):
        read_info(write_model(tmp_path / "m.onnx", json.dumps(value)))


def test_reading_needs_neither_torch_nor_a_runtime(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", INFO.to_json())
    code = (
        "import sys; from pathlib import Path; from edgexfer.export.metadata import read_info;"
        f"read_info(Path({str(path)!r})); print(sorted({{'torch', 'onnxruntime'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
