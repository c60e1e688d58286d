from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgexfer.errors import DeviceError, FormatError, WouldOverwriteError
from edgexfer.export.bundle import write_bundle
from edgexfer.export.exporter import ExportResult
from edgexfer.files import sha256_file

CLASSES = ("class 0", "class 1", "class 2")


def make(kit: SimpleNamespace, artifacts: list[Path], out: Path, **changes: object) -> Path:
    arguments: dict[str, object] = {
        "samples": kit.pixels(6),
        "labels": np.array([0, 1, 2, 0, 1, 2]),
        "classes": CLASSES,
        "files": [f"{i}.png" for i in range(6)],
    }
    return write_bundle(artifacts, out, **{**arguments, **changes})  # type: ignore[arg-type]


def test_a_bundle_describes_itself_and_runs_where_it_lies(
    kit: SimpleNamespace, unfolded: tuple[object, ExportResult], tmp_path: Path
) -> None:
    bundle = make(kit, [unfolded[1].artifact], tmp_path / "bundle")
    value = json.loads((bundle / "bundle.json").read_text())
    assert value["format"] == 1 and value["classes"] == list(CLASSES)
    assert value["models"] == [{"file": "models/small.onnx", "precision": "float32", "network": "small"}]
    there = {str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()} - {"bundle.json"}
    assert value["files"] == {name: sha256_file(bundle / name) for name in there}
    assert {"bench.py", "predict.py", "adapt.py", "setup.sh", "README.txt", "samples.npy", "labels.npy"} <= there
    assert os.access(bundle / "setup.sh", os.X_OK)
    words = [sys.executable, "bench.py", "--verify-only", "--out", str(tmp_path / "r.json")]
    done = subprocess.run(words, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (config,) = json.loads((tmp_path / "r.json").read_text())["configs"]
    assert config["verified"] is True and config["top1_images"] == 6 and config["latency_s"] == []


def test_a_changed_model_is_noticed_on_the_device(
    kit: SimpleNamespace, unfolded: tuple[object, ExportResult], tmp_path: Path
) -> None:
    bundle = make(kit, [unfolded[1].artifact], tmp_path / "bundle")
    with (bundle / "models" / "small.onnx").open("ab") as stream:
        stream.write(b"\0")
    words = [sys.executable, "bench.py", "--verify-only", "--out", str(tmp_path / "r.json")]
    done = subprocess.run(words, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is not the file that the bundle was written with" in done.stderr


def test_the_same_content_gives_the_same_archive(
    kit: SimpleNamespace, unfolded: tuple[object, ExportResult], tmp_path: Path
) -> None:
    first = make(kit, [unfolded[1].artifact], tmp_path / "a" / "bundle", tar=True)
    second = make(kit, [unfolded[1].artifact], tmp_path / "b" / "bundle.tar.gz", tar=True)
    assert first.name == second.name == "bundle.tar.gz"
    assert first.read_bytes() == second.read_bytes()
    shutil.unpack_archive(first, tmp_path / "out")
    assert os.access(tmp_path / "out" / "bundle" / "bench.py", os.X_OK)
    assert sorted(os.listdir(tmp_path / "a")) == ["bundle.tar.gz"]


def test_what_does_not_fit_is_refused(
    kit: SimpleNamespace, unfolded: tuple[object, ExportResult], tmp_path: Path
) -> None:
    artifact, out = unfolded[1].artifact, tmp_path / "bundle"
    with pytest.raises(DeviceError, match="at least one ONNX file"):
        make(kit, [], out)
    with pytest.raises(DeviceError, match="two files are called small.onnx"):
        make(kit, [artifact, artifact], out)
    with pytest.raises(DeviceError, match="small.onnx knows other classes"):
        make(kit, [artifact], out, classes=("a", "b", "c"))
    with pytest.raises(DeviceError, match=r"samples are uint8 .* with 5 labels; expected uint8 \(N, 24, 32, 3\)"):
        make(kit, [artifact], out, labels=np.zeros(5, np.int64))
    (tmp_path / "x.onnx").write_bytes(b"nonsense")
    with pytest.raises((DeviceError, FormatError), match="x.onnx"):
        make(kit, [tmp_path / "x.onnx"], out)
    assert not out.exists()
    make(kit, [artifact], out)
    with pytest.raises(WouldOverwriteError):
        make(kit, [artifact], out)
    make(kit, [artifact], out, force=True)
