from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.device import bundle_files
from edgexfer.errors import DeviceError, FormatError, WouldOverwriteError
from edgexfer.export import bundle
from edgexfer.files import sha256_file
from tests.device import artifacts

CLASSES = ("red", "green", "blue")
SIZE = (12, 16)
PROOF = {"fold_max_rel_error_f64": None, "max_abs_error": 0.0, "top1_agreement": 1.0, "images": 0}


def make(path: Path, classes: tuple[str, ...] = CLASSES, parent: Path | None = None, **options: Any) -> Path:
    metadata: dict[str, Any] = {"proof": PROOF, "input": "uint8"}
    if parent is not None:
        metadata["parent_sha256"] = sha256_file(parent)
    made: Path = artifacts.write(path, classes, metadata=metadata, **options)
    return made


def coloured(count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count, dtype=np.int64) % 3
    pixels = np.random.default_rng(3).integers(0, 60, (count, *SIZE, 3), dtype=np.uint8)
    for i, label in enumerate(labels):
        pixels[i, ..., label] += 180
    return pixels, labels


def write(models: list[Path], out: Path, **changes: Any) -> Path:
    pixels, labels = coloured()
    options: dict[str, Any] = {"samples": pixels, "labels": labels, "classes": CLASSES}
    options |= {"files": [f"{i}.png" for i in range(len(pixels))], **changes}
    return bundle.write_bundle(models, out, **options)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make(tmp_path / "given" / "student.onnx")


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_a_bundle_holds_what_its_list_says(tmp_path: Path, model: Path) -> None:
    other = make(tmp_path / "given" / "student.int8.onnx", parent=model, precision="int8")
    made = write([model, other], tmp_path / "out" / "kit")
    assert made == tmp_path / "out" / "kit"
    value = json.loads((made / "bundle.json").read_text(encoding="utf-8"))
    inside = {p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file()}
    assert set(value["files"]) == inside - {"bundle.json"}
    assert all(sha256_file(made / name) == digest for name, digest in value["files"].items())
    assert {"bench.py", "_edgexfer_files.py", "models/student.onnx", "models/student.int8.onnx"} <= inside
    assert "__init__.py" not in inside
    assert value["format"] == 1 and value["classes"] == list(CLASSES)
    assert [m["precision"] for m in value["models"]] == ["float32", "int8"]
    assert value["models"][0]["sha256"] == sha256_file(model)
    assert value["samples"] == [f"{i}.png" for i in range(6)]
    pixels, labels = coloured()
    np.testing.assert_array_equal(np.load(made / "samples.npy", mmap_mode="r"), pixels)
    loaded = np.load(made / "labels.npy")
    assert loaded.dtype == np.int64
    np.testing.assert_array_equal(loaded, labels)
    assert leftovers(made.parent) == []


def test_every_device_file_is_carried_as_it_is(tmp_path: Path, model: Path) -> None:
    made = write([model], tmp_path / "kit")
    for source in bundle_files():
        assert (made / source.name).read_bytes() == source.read_bytes()
    assert os.access(made / "bench.py", os.X_OK) and not os.access(made / "bundle.json", os.X_OK)


def test_shell_scripts_can_be_run(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "setup.sh"
    script.write_text("#!/bin/sh\ntrue\n")
    script.chmod(0o644)
    monkeypatch.setattr(bundle, "bundle_files", lambda: (script,))
    assert os.access(write([model], tmp_path / "kit") / "setup.sh", os.X_OK)
    with tarfile.open(write([model], tmp_path / "packed", tar=True)) as archive:
        assert archive.getmember("packed/setup.sh").mode == 0o755


def test_the_bundles_own_bench_proves_times_and_scores(tmp_path: Path, model: Path) -> None:
    made = write([model], tmp_path / "kit")
    words = ["bench.py", "--threads", "1", "--min-seconds", "0", "--min-runs", "5", "--out", "result.json"]
    done = subprocess.run([sys.executable, *words], cwd=made, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((made / "result.json").read_text(encoding="utf-8"))
    config = result["configs"][0]
    assert config["verified"] is True and config["status"] == "ok"
    assert config["top1"] == 1.0 and config["top1_images"] == 6
    assert result["emulated"] or len(config["latency_s"]) >= 5
    value = json.loads((made / "bundle.json").read_text(encoding="utf-8"))
    assert result["edgexfer_version"] == value["edgexfer_version"]


def test_bench_notices_a_changed_model(tmp_path: Path, model: Path) -> None:
    made = write([model], tmp_path / "kit")
    make(made / "models" / "student.onnx", shift=1.0)
    done = subprocess.run(
        [sys.executable, "bench.py", "--verify-only", "--out", "r.json"], cwd=made, capture_output=True, text=True
    )
    assert done.returncode == 1 and "not the file that the bundle was written with" in done.stderr


def test_an_archive_is_the_folder_and_always_the_same_bytes(tmp_path: Path, model: Path) -> None:
    first = write([model], tmp_path / "a" / "kit", tar=True)
    second = write([model], tmp_path / "b" / "kit.tar.gz", tar=True)
    assert first.name == second.name == "kit.tar.gz"
    assert first.read_bytes() == second.read_bytes()
    folder = write([model], tmp_path / "c" / "kit")
    with tarfile.open(first) as archive:
        names = archive.getnames()
        assert names == sorted(names)
        assert {(m.uid, m.gid, m.mtime, m.uname, m.gname) for m in archive} == {(0, 0, 0, "", "")}
        archive.extractall(tmp_path / "unpacked", filter="data")
    unpacked = tmp_path / "unpacked" / "kit"
    for path in folder.rglob("*"):
        if path.is_file():
            assert (unpacked / path.relative_to(folder)).read_bytes() == path.read_bytes()
    assert leftovers(first.parent) == []


def test_a_failure_leaves_what_was_there(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write([model], tmp_path / "kit")
    before = (made / "bundle.json").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(OSError, match="No space"):
            write([model], made, force=True)
        with pytest.raises(OSError, match="No space"):
            write([model], tmp_path / "new")
    rename = Path.rename

    def stuck(self: Path, target: Path) -> Path:
        if self.name == "kit" and ".part" in str(self.parent):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stuck)
    with pytest.raises(OSError, match="Input/output"):
        write([model], made, force=True)
    assert (made / "bundle.json").read_bytes() == before
    assert not (tmp_path / "new").exists() and leftovers(tmp_path) == []


def test_force_replaces_a_bundle(tmp_path: Path, model: Path) -> None:
    made = write([model], tmp_path / "kit")
    (made / "old.json").write_text("{}")
    with pytest.raises(WouldOverwriteError, match="--force"):
        write([model], made)
    write([made / "models" / "student.onnx"], made, force=True)
    assert not (made / "old.json").exists() and (made / "models" / "student.onnx").is_file()
    packed = write([model], tmp_path / "kit", tar=True)
    with pytest.raises(WouldOverwriteError, match=r"kit\.tar\.gz"):
        write([model], tmp_path / "kit", tar=True)
    assert write([model], packed, tar=True, force=True) == packed


def test_force_replaces_nothing_but_bundles(tmp_path: Path, model: Path) -> None:
    with pytest.raises(DeviceError, match="holds no bundle.json"):
        write([model], model.parent, force=True)
    (tmp_path / "kit.tar.gz").mkdir()
    with pytest.raises(DeviceError, match="an archive replaces only a file"):
        write([model], tmp_path / "kit.tar.gz", tar=True, force=True)
    with pytest.raises(DeviceError, match="pass --tar"):
        write([model], tmp_path / "other.tar.gz")
    assert model.is_file()


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (lambda home: [], "one artifact or more, and none is named"),
        (lambda home: [home / "lost.onnx"], "there is no artifact .*lost.onnx.*edgexfer export"),
        (lambda home: [make(home / "a.onnx"), make(home / "b" / "A.onnx")], "2 artifacts are called 'a.onnx'; rename"),
        (lambda home: [make(home / "a.bin")], "rename it to \\*.onnx"),
        (
            lambda home: [make(home / "a.onnx"), make(home / "b.onnx", ("red", "green", "grey"))],
            "b.onnx' knows the classes red, green, grey, the samples have red, green, blue",
        ),
        (
            lambda home: [make(home / "a.onnx"), make(home / "b.onnx", size=(8, 8))],
            "b.onnx' has input_size 8x8, '.*a.onnx' has 12x16",
        ),
        (
            lambda home: [make(home / "a.onnx"), make(home / "b.onnx", resize=20)],
            "b.onnx' has resize 20, '.*a.onnx' has None",
        ),
    ],
    ids=["none", "missing", "same name", "suffix", "classes", "size", "resize"],
)
def test_artifacts_that_do_not_fit(tmp_path: Path, models: Callable[[Path], list[Path]], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        write(models(tmp_path / "given"), tmp_path / "kit")
    assert not (tmp_path / "kit").exists()


def test_int8_of_another_file_is_refused(tmp_path: Path, model: Path) -> None:
    other = make(tmp_path / "other.onnx", shift=0.1)
    stale = make(tmp_path / "given" / "student.int8.onnx", parent=other, precision="int8")
    message = f"student.int8.onnx' was quantized from {sha256_file(other)[:12]}, not from {str(model)!r}: make it anew"
    with pytest.raises(DeviceError, match=re.escape(message)):
        write([model, stale], tmp_path / "kit")
    assert write([stale], tmp_path / "alone").is_dir()
    assert write([model, other, stale], tmp_path / "all").is_dir()


def test_a_foreign_model_is_refused(tmp_path: Path) -> None:
    foreign = artifacts.write(tmp_path / "foreign.onnx", foreign=True)
    with pytest.raises(FormatError, match="not an artifact of edgexfer"):
        write([foreign], tmp_path / "kit")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": coloured()[0].astype(np.float32)}, r"float32 \(6, 12, 16, 3\); expected uint8 \(N, 12, 16, 3\)"),
        ({"samples": coloured()[0][:, :8]}, r"uint8 \(6, 8, 16, 3\); expected"),
        ({"samples": coloured()[0][:0], "labels": coloured()[1][:0], "files": ()}, "one picture or more"),
        ({"labels": coloured()[1][:4]}, r"labels are int64 \(4,\); expected int64 \(6,\)"),
        ({"labels": coloured()[1].astype(float)}, "labels are float64"),
        ({"labels": coloured()[1] + 1}, "go from 1 to 3; allowed: 0 to 2"),
        ({"files": ["one.png"]}, "1 file names for 6 samples"),
    ],
)
def test_samples_that_do_not_fit(tmp_path: Path, model: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        write([model], tmp_path / "kit", **changes)


def test_all_mistakes_are_told_at_once(tmp_path: Path, model: Path) -> None:
    with pytest.raises(DeviceError, match="green, grey.*labels go from 1"):
        write([model], tmp_path / "kit", classes=("red", "green", "grey"), labels=coloured()[1] + 1)
