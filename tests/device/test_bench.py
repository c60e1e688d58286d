from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import artifacts
import pytest
from conftest import Script, describe_bundle

from edgexfer import device

BENCH = device.script("bench.py")
QUICK = ("--min-seconds", "0.02", "--min-runs", "20")


def result(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_a_right_model_is_timed_with_each_thread_count(tmp_path: Path, run_script: Script) -> None:
    model = artifacts.write(tmp_path / "tiny.onnx")
    done = run_script(BENCH, model, *QUICK, "--threads", "1,2", "--out", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'r.json'}\n"
    found = result(tmp_path / "r.json")
    assert (found["format"], found["emulated"]) == (1, False)
    assert [c["threads"] for c in found["configs"]] == [1, 2]
    for config in found["configs"]:
        assert (config["status"], config["verified"], config["error"]) == ("ok", True, None)
        assert (config["model"], config["precision"], config["runtime"]) == ("tiny.onnx", "float32", "onnxruntime")
        assert config["scenario"] == "single-stream"
        assert len(config["latency_s"]) >= 20
        assert sum(config["latency_s"]) > 0.01
        assert all(0 < t < 1 for t in config["latency_s"])
        assert config["load_s"] > 0 and config["first_s"] > 0
        assert config["size_bytes"] == model.stat().st_size
        assert 1e7 < config["peak_rss_bytes"] < 1e9
        assert config["top1"] is None
        assert config["observed"]["warmup"]["runs"] >= 5
    assert "images/s" in done.stderr and "tiny.onnx" in done.stderr


def test_a_float_input_is_verified_too(tmp_path: Path, run_script: Script) -> None:
    model = artifacts.write(tmp_path / "tiny.onnx", kind="float")
    done = run_script(BENCH, model, "--verify-only", "--out", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    (config,) = result(tmp_path / "r.json")["configs"]
    assert (config["verified"], config["scenario"], config["latency_s"]) == (True, "verify-only", [])
    assert config["input"] == {"input": ["float32", [1, 3, 12, 16]]}


def test_wrong_answers_are_not_timed(tmp_path: Path, run_script: Script) -> None:
    model = artifacts.write(tmp_path / "wrong.onnx", shift=0.01)
    done = run_script(BENCH, model, *QUICK, "--threads", "1", "--out", tmp_path / "r.json")
    assert done.returncode == 1
    (config,) = result(tmp_path / "r.json")["configs"]
    assert (config["status"], config["verified"]) == ("wrong answers", False)
    assert config["latency_s"] == [] and config["load_s"] is None and config["first_s"] is None
    assert config["verification"]["max_abs_error"] == pytest.approx(0.01, rel=1e-3)
    assert "gives wrong answers on this machine: logits off by up to 0.01 where 0.001 is allowed" in done.stderr


def test_a_foreign_model_is_timed_but_not_proven(tmp_path: Path, run_script: Script) -> None:
    model = artifacts.write(tmp_path / "foreign.onnx", foreign=True)
    done = run_script(BENCH, model, *QUICK, "--threads", "1", "--json", "--out", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    (config,) = result(tmp_path / "r.json")["configs"]
    assert (config["verified"], config["status"], config["precision"]) == (None, "ok", None)
    assert len(config["latency_s"]) >= 20
    (told,) = json.loads(done.stdout)["configs"]
    assert told["runs"] == len(config["latency_s"]) and told["p50_s"] > 0


def test_a_bundle_is_measured_whole_and_scored(bundle: Path, run_script: Script) -> None:
    done = run_script(bundle / "bench.py", *QUICK, "--threads", "1", "--out", "r.json", cwd=bundle)
    assert done.returncode == 0, done.stderr
    found = result(bundle / "r.json")
    assert found["edgexfer_version"] == "9.8.7"
    assert [(c["model"], c["precision"]) for c in found["configs"]] == [
        ("tiny.int8.onnx", "int8"),
        ("tiny.onnx", "float32"),
    ]
    assert [(c["top1"], c["top1_images"]) for c in found["configs"]] == [(1.0, 9), (1.0, 9)]


def test_the_default_name_tells_host_and_time(bundle: Path, run_script: Script) -> None:
    done = run_script(bundle / "bench.py", "models/tiny.onnx", "--verify-only", cwd=bundle)
    assert done.returncode == 0, done.stderr
    (made,) = bundle.glob("bench-*-*T*Z.json")
    assert done.stdout.strip() == made.name


def test_emulation_verifies_only(tmp_path: Path, run_script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEXFER_EMULATED", "1")
    model = artifacts.write(tmp_path / "tiny.onnx")
    done = run_script(BENCH, model, *QUICK, "--out", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    found = result(tmp_path / "r.json")
    assert found["emulated"] is True
    assert [c["latency_s"] for c in found["configs"]] == [[]]
    assert "this processor is emulated" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["none.onnx"], "there is no 'none.onnx'; name an ONNX file or a bundle folder"),
        (["notes.txt"], "is not an ONNX file"),
        (["empty"], "'empty' holds no ONNX file"),
        (["tiny.onnx", "tiny.onnx"], "named twice"),
        (["tiny.onnx", "--out", "kept.json"], "'kept.json' exists already; choose another --out or pass --force"),
        (["tiny.onnx", "--out", "no/r.json"], "is not there; make it or choose another --out"),
        (["tiny.onnx", "--runtime", "tflite"], "no runtime is called 'tflite'; known: onnxruntime"),
        (["new.onnx"], "has format 2, written by"),
        (["ir.onnx"], "is too new for onnxruntime"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(tmp_path: Path, run_script: Script, words: list[str], says: str) -> None:
    artifacts.write(tmp_path / "tiny.onnx")
    artifacts.write(tmp_path / "new.onnx", metadata={"format": 2})
    artifacts.write(tmp_path / "ir.onnx", ir_version=99)
    (tmp_path / "notes.txt").write_text("no model")
    (tmp_path / "empty").mkdir()
    (tmp_path / "kept.json").write_text("kept")
    done = run_script(BENCH, *words, *QUICK, "--threads", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "kept.json").read_text() == "kept"


@pytest.mark.parametrize(
    "words", [["--threads", "0"], ["--threads", "two"], ["--min-runs", "-1"], ["--min-seconds", "nan"]]
)
def test_odd_options_are_refused(run_script: Script, words: list[str]) -> None:
    done = run_script(BENCH, "tiny.onnx", *words)
    assert done.returncode == 2
    assert "is not a number" in done.stderr


def test_a_changed_model_of_a_bundle_is_refused(bundle: Path, run_script: Script) -> None:
    artifacts.write(bundle / "models/tiny.onnx", classes=("a", "b"))
    done = run_script(bundle / "bench.py", *QUICK, cwd=bundle)
    assert done.returncode == 1
    assert "is not the file that the bundle was written with" in done.stderr


def test_an_incomplete_bundle_is_refused(bundle: Path, run_script: Script) -> None:
    (bundle / "labels.npy").unlink()
    done = run_script(bundle / "bench.py", cwd=bundle)
    assert done.returncode == 1
    assert "is incomplete, labels.npy missing; copy it again as a whole" in done.stderr


def test_a_newer_bundle_is_refused(bundle: Path, run_script: Script) -> None:
    describe_bundle(bundle, format=2)
    done = run_script(bundle / "bench.py", cwd=bundle)
    assert done.returncode == 1
    assert "has format 2, written by edgexfer 9.8.7" in done.stderr
