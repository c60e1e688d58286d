"""Measuring here, through the device's own script."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgexfer.errors import DeviceError, WouldOverwriteError
from edgexfer.results import bench, compare_files, read_result, run_bench
from edgexfer.version import __version__
from tests.device import artifacts
from tests.workflows.measured import bundled, full


def measured(target: Path, out: Path | None, **changes: Any) -> Path:
    options = {"min_seconds": 0.0, "min_runs": 40, "threads": "1", "verify_only": False, "force": False}
    return run_bench(target, out=out, **{**options, **changes})


def test_run_bench_measures_and_its_result_can_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEXFER_EMULATED", raising=False)
    made = measured(artifacts.write(tmp_path / "student.onnx"), tmp_path / "r.json")
    assert made == tmp_path / "r.json"
    found = read_result(made)
    assert found.edgexfer_version == __version__ and found.configs[0].verified is True
    talk = capsys.readouterr()
    assert talk.out == "" and "[1/1] student.onnx" in talk.err and "images/s" in talk.err
    if not found.emulated:
        assert len(found.configs[0].latency_s) >= 40
        assert "no difference shown" in compare_files(made, made, "machine").sentence()


def test_a_packed_bundle_is_measured_as_its_folder(tmp_path: Path) -> None:
    bundle = bundled(tmp_path / "kit.tar.gz", full(tmp_path / "student.onnx"), tar=True)
    found = read_result(measured(bundle, tmp_path / "r.json", verify_only=True))
    assert [(one.model, one.status, one.top1 is None) for one in found.configs] == [("student.onnx", "ok", False)]
    content = bundle.read_bytes()
    bundle.write_bytes(content[: len(content) // 2])
    with pytest.raises(DeviceError, match="kit.tar.gz' is damaged .*; make it again with edgexfer bundle --tar"):
        measured(bundle, tmp_path / "damaged.json", verify_only=True)


def test_run_bench_names_its_result_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts.write(tmp_path / "-odd.onnx")
    made = measured(Path("-odd.onnx"), None, verify_only=True)
    assert made.name.startswith("bench-") and read_result(made).configs[0].scenario == "verify-only"


def test_run_bench_replaces_only_when_told(tmp_path: Path) -> None:
    model, out = artifacts.write(tmp_path / "student.onnx"), tmp_path / "r.json"
    out.write_text("mine")
    with pytest.raises(WouldOverwriteError, match="--force"):
        measured(model, out)
    assert out.read_text() == "mine"
    assert read_result(measured(model, out, verify_only=True, force=True)).configs[0].status == "ok"


def test_wrong_answers_become_an_error_that_names_the_result(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"^'.*bad.onnx' gives wrong answers.*what was measured is in '.*r\.json'$"):
        measured(artifacts.write(tmp_path / "bad.onnx", shift=1.0), tmp_path / "r.json")
    assert read_result(tmp_path / "r.json").configs[0].status == "wrong answers"


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (lambda home: home / "lost.onnx", {}, "there is no '.*lost.onnx'; name an ONNX file or a bundle$"),
        (
            lambda home: touched(home / "kit.tar.gz"),
            {},
            "kit.tar.gz' is damaged \\(file could not be opened successfully\\); make it again",
        ),
        (lambda home: packed(home / "other.tar"), {}, "other.tar' is no bundle; make one with edgexfer bundle --tar"),
        (lambda home: home, {}, "^'.*' holds no ONNX file; name one, or a bundle folder$"),
        (lambda home: home, {"threads": "0"}, "^argument --threads: '0' is not a number from 1 up$"),
    ],
)
def test_errors_of_a_run(tmp_path: Path, make: Callable[[Path], Path], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        measured(make(tmp_path), tmp_path / "r.json", **changes)


def touched(path: Path) -> Path:
    path.touch()
    return path


def packed(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        archive.add(touched(path.with_name("other")), "other")
    return path


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "ended by signal 9; its last words: it said nothing",
        ),
        ("raise ValueError('odd')", "bench.py failed with exit code 1: ValueError: odd"),
        ("print('r.json')", r"ended well but left no result \('r.json\\n'\); name one with --out"),
        ("import sys; print('x' * 500_000); sys.exit('bench.py: disk full')", "^disk full$"),
    ],
)
def test_a_script_that_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text(script)
    monkeypatch.setattr(bench, "script", lambda name: tmp_path / "broken.py")
    with pytest.raises(DeviceError, match=message):
        measured(touched(tmp_path / "m.onnx"), None)
