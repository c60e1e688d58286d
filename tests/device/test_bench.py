from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer import device
from tests.device import artifacts
from tests.device.device_kit import Script, describe_bundle

BENCH = device.script("bench.py")
QUICK = ("--min-seconds", "0.02", "--min-runs", "20", "--rounds", "1")


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
        (["tiny.onnx", "--runtime", "tflite"], "no runtime is called 'tflite'; known: onnxruntime, openvino"),
        (["tiny.onnx", "--runtime", "openvino"], "openvino is not installed here"),
        (["tiny.onnx", "--head", "none.npz"], "cannot read the head 'none.npz'"),
        (["tiny.onnx", "--affinity", "pinned", "--threads", "999"], "999 threads cannot be bound to"),
        (["fixed.onnx", "--scenario", "multi-stream"], "the model takes 1 pictures at once, not 8; export it with"),
        (["new.onnx"], "has format 2, written by"),
        (["ir.onnx"], "is too new for onnxruntime"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(tmp_path: Path, run_script: Script, words: list[str], says: str) -> None:
    artifacts.write(tmp_path / "tiny.onnx")
    artifacts.write(tmp_path / "new.onnx", metadata={"format": 2})
    artifacts.write(tmp_path / "fixed.onnx", batch=1)
    artifacts.write(tmp_path / "ir.onnx", ir_version=99)
    (tmp_path / "notes.txt").write_text("no model")
    (tmp_path / "empty").mkdir()
    (tmp_path / "kept.json").write_text("kept")
    done = run_script(BENCH, *QUICK, "--threads", "1", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "kept.json").read_text() == "kept"


@pytest.mark.parametrize(
    "words",
    [
        ["--threads", "0"],
        ["--threads", "two"],
        ["--min-runs", "-1"],
        ["--min-seconds", "nan"],
        ["--precision", "0%"],
        ["--precision", "much"],
        ["--scenario", "server"],
        ["--labelled", "-5"],
    ],
)
def test_odd_options_are_refused(run_script: Script, words: list[str]) -> None:
    done = run_script(BENCH, "tiny.onnx", *words)
    assert done.returncode == 2
    assert "is not a" in done.stderr


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


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--scenario", "multi-stream", "--streams", "3"], [("multi-stream", 3, True)]),
        (["--scenario", "offline", "--batch", "2,5"], [("offline", 2, True), ("offline", 5, True)]),
        (["--scenario", "sustained", "--sustained-seconds", "0.1"], [("sustained", 1, True)]),
        (["--spinning", "both", "--threads", "2"], [("single-stream", 1, False), ("single-stream", 1, True)]),
    ],
)
def test_scenarios_and_spinning(
    tmp_path: Path, run_script: Script, words: list[str], expected: list[tuple[str, int, bool]]
) -> None:
    model = artifacts.write(tmp_path / "tiny.onnx")
    done = run_script(BENCH, model, *QUICK, "--threads", "1", "--out", tmp_path / "r.json", *words)
    assert done.returncode == 0, done.stderr
    configs = result(tmp_path / "r.json")["configs"]
    assert [(c["scenario"], c["batch"], c["spinning"]) for c in configs] == expected
    for config in configs:
        assert config["input"]["image"][1] == [config["batch"], 12, 16, 3]
        assert config["session"]["allow_spinning"] is config["spinning"]
        assert 0 < config["timer_overhead_s"] and 0 < config["load_cold_s"]


def test_rounds_are_kept_apart_and_a_pinned_process_stays_on_its_core(tmp_path: Path, run_script: Script) -> None:
    model = artifacts.write(tmp_path / "tiny.onnx")
    words = ("--threads", "1", "--affinity", "pinned", "--rounds", "2")
    done = run_script(BENCH, model, *QUICK, *words, "--out", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    (config,) = result(tmp_path / "r.json")["configs"]
    assert len(config["affinity"]) == 1 and config["pinned"] is True
    first, second = config["rounds"]
    assert (first["begin"], second["begin"]) == (0, first["count"])
    assert first["count"] + second["count"] == len(config["latency_s"])
    assert "round 2 of 2" in done.stderr


def test_operators_are_timed_by_the_names_of_layers(tmp_path: Path, run_script: Script) -> None:
    model = artifacts.write(tmp_path / "tiny.onnx", weight="net.fc")
    done = run_script(BENCH, model, *QUICK, "--threads", "1", "--profile", "--out", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    (config,) = result(tmp_path / "r.json")["configs"]
    by_op = {row["op"]: row for row in config["profile"]}
    assert by_op["Gemm"]["layer"] == "net.fc" and by_op["GlobalAveragePool"]["layer"] is None
    assert by_op["Gemm"]["calls"] >= 30
    assert sum(row["share"] for row in config["profile"]) == pytest.approx(1, abs=1e-4)
    assert "operators of tiny.onnx" in done.stderr and "net.fc" in done.stderr
    assert not list(Path(tempfile.gettempdir()).glob("edgexfer-*.json"))


OPENVINO = """
import types
import numpy, onnxruntime
def get_version(): return "2099.1.0-123-abc"
class Core:
    def compile_model(self, path, device, options):
        assert device == "CPU" and options["INFERENCE_NUM_THREADS"] == 1 and options["NUM_STREAMS"] == 1
        if "int8" in path: raise RuntimeError("Exception from core.cpp:1\\n\\nno such layer\\n")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return Compiled(session)
class Port:
    def __init__(self, given): self.given = given
    def get_any_name(self): return self.given.name
    def get_element_type(self):
        names = {"tensor(uint8)": "u8", "tensor(float)": "f32"}
        return types.SimpleNamespace(get_type_name=lambda: names[self.given.type])
    def get_partial_shape(self):
        return [types.SimpleNamespace(is_static=isinstance(d, int), get_length=lambda d=d: d) for d in self.given.shape]
class Compiled:
    def __init__(self, session):
        self.session = session
        self.inputs = [Port(i) for i in session.get_inputs()]
        self.outputs = [Port(o) for o in session.get_outputs()]
    def create_infer_request(self): return self
    def infer(self, feed, share_inputs):
        return dict(zip(self.outputs, self.session.run(None, feed)))
"""


def test_another_runtime_is_proven_and_compared(bundle: Path, run_script: Script) -> None:
    """OpenVINO itself is not among what tests may ask for; this stands in with its interface."""
    (bundle / "openvino.py").write_text(OPENVINO)
    words = ("--threads", "1", "--runtime", "onnxruntime,openvino", "--out", "r.json")
    done = run_script(bundle / "bench.py", *QUICK, *words, cwd=bundle)
    assert done.returncode == 1
    assert "openvino 2099.1.0 cannot open" in done.stderr and "int8.onnx': no such layer" in done.stderr
    configs = result(bundle / "r.json")["configs"]
    found = [(c["model"], c["runtime"], c["status"], c["verified"]) for c in configs]
    assert found == [
        ("tiny.int8.onnx", "onnxruntime", "ok", True),
        ("tiny.int8.onnx", "openvino", "failed", None),
        ("tiny.onnx", "onnxruntime", "ok", True),
        ("tiny.onnx", "openvino", "ok", True),
    ]
    assert configs[3]["session"]["inference_num_threads"] == 1 and configs[3]["runtime_version"] == "2099.1.0"
    assert configs[3]["input"] == {"image": ["uint8", [1, 12, 16, 3]]}
    assert json.loads((bundle / "recommended.json").read_text())["latency"]["runtime"] in ("onnxruntime", "openvino")


def test_a_head_is_proven_and_timed_with_its_model(bundle: Path, photos: Path, run_script: Script) -> None:
    done = run_script(bundle / "adapt.py", "--data", photos, "--out", "head.npz", cwd=bundle)
    assert done.returncode == 0, done.stderr
    words = ("--threads", "1", "--head", "head.npz")
    done = run_script(bundle / "bench.py", *QUICK, *words, "--out", "r.json", cwd=bundle)
    assert done.returncode == 0, done.stderr
    (config,) = result(bundle / "r.json")["configs"]
    assert (config["model"], config["head"], config["verified"]) == ("tiny.onnx", "head.npz", True)
    assert len(config["latency_s"]) >= 20 and config["top1"] is None
    assert "tiny.onnx + head.npz" in done.stderr
    with np.load(bundle / "head.npz") as head:
        np.savez(bundle / "moved.npz", **{**head, "golden_logits": head["golden_logits"] + 1})
        np.savez(bundle / "other.npz", **{**head, "artifact_sha256": np.array("ab" * 32)})
    done = run_script(bundle / "bench.py", *QUICK, *words[:3], "moved.npz", "--out", "s.json", cwd=bundle)
    assert done.returncode == 1
    assert "the head 'moved.npz' answers differently here: logits off by up to 1" in done.stderr
    assert result(bundle / "s.json")["configs"][0]["latency_s"] == []
    done = run_script(bundle / "bench.py", *QUICK, *words[:3], "other.npz", cwd=bundle)
    assert done.returncode == 1 and "was learned on another model" in done.stderr


def test_the_best_is_recommended_into_the_bundle(bundle: Path, run_script: Script) -> None:
    done = run_script(bundle / "bench.py", *QUICK, "--threads", "1", "--out", "r.json", cwd=bundle)
    assert done.returncode == 0, done.stderr
    found = json.loads((bundle / "recommended.json").read_text())
    configs = {c["model"]: c for c in result(bundle / "r.json")["configs"]}
    best = min(configs.values(), key=lambda c: sorted(c["latency_s"])[len(c["latency_s"]) // 2])
    assert found["latency"]["sha256"] == best["sha256"] and found["latency"]["threads"] == 1
    assert {"best latency", "best throughput"} <= {line.partition(":")[0] for line in done.stderr.splitlines()}


def test_a_killed_process_is_named_and_the_rest_goes_on(bundle: Path, run_script: Script) -> None:
    measure = bundle / "_edgexfer_measure.py"
    line = "    found = config.blank(job)\n"
    measure.write_text(
        measure.read_text().replace(line, f"{line}    if 'int8' in job['model']:\n        os.kill(os.getpid(), 9)\n", 1)
    )
    done = run_script(bundle / "bench.py", *QUICK, "--threads", "1", "--out", "r.json", cwd=bundle)
    assert done.returncode == 1
    assert [c["status"] for c in result(bundle / "r.json")["configs"]] == ["killed", "ok"]
    assert "'tiny.int8.onnx' was killed, most likely for lack of memory; free some" in done.stderr


def test_ctrl_c_keeps_what_was_measured(bundle: Path) -> None:
    command = [sys.executable, str(bundle / "bench.py"), "--threads", "1", "--min-seconds", "60", "--out", "r.json"]
    child = subprocess.Popen(command, cwd=bundle, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert child.stderr is not None and "verifying" in child.stderr.readline()
    time.sleep(1.5)
    child.send_signal(signal.SIGINT)
    talk = child.communicate(timeout=30)[1]
    assert child.returncode == 130, talk
    assert "interrupted; what was measured until then is in r.json" in talk
    (config,) = result(bundle / "r.json")["configs"]
    assert config["status"] == "interrupted"


@pytest.mark.parametrize(("before", "code", "status"), [(["nohup"], 0, "ok"), ([], 130, "interrupted")])
def test_without_its_terminal_it_goes_on_only_under_nohup(
    bundle: Path, before: list[str], code: int, status: str
) -> None:
    command = [*before, sys.executable, str(bundle / "bench.py"), "models/tiny.onnx", "--threads", "1", "--rounds", "1"]
    command += ["--min-seconds", "3", "--out", "r.json"]
    given, none = subprocess.PIPE, subprocess.DEVNULL
    begin = functools.partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup themselves
    child = subprocess.Popen(command, cwd=bundle, stderr=given, stdin=none, stdout=none, text=True, preexec_fn=begin)
    assert child.stderr is not None and "verifying" in child.stderr.readline()
    time.sleep(1.5)
    child.send_signal(signal.SIGHUP)
    talk = child.communicate(timeout=30)[1]
    assert child.returncode == code, talk
    assert [config["status"] for config in result(bundle / "r.json")["configs"]] == [status]


def test_a_kill_keeps_the_rounds_before(bundle: Path) -> None:
    command = [sys.executable, str(bundle / "bench.py"), "models/tiny.onnx", "--threads", "1", "--rounds", "500"]
    child = subprocess.Popen([*command, "--out", "r.json"], cwd=bundle, stderr=subprocess.DEVNULL, text=True)
    while not (bundle / "r.json").exists():
        time.sleep(0.02)
    child.kill()
    child.wait()
    (config,) = result(bundle / "r.json")["configs"]
    assert config["status"] == "ok" and config["latency_s"] and not list(bundle.glob(".r.json*"))


def test_a_result_that_cannot_be_written_stands_on_stdout(bundle: Path, run_script: Script) -> None:
    files = bundle / "_edgexfer_files.py"
    full = (
        "def write_json(path: str, value: object) -> None:\n    raise DeviceError('cannot write: No space')\n\n\ndef _"
    )
    files.write_text(files.read_text().replace("def write_json", full + "old", 1))
    done = run_script(bundle / "bench.py", "models/tiny.onnx", "--verify-only", "--out", "r.json", cwd=bundle)
    assert done.returncode == 1
    assert "it stands on stdout instead" in done.stderr and "No space" in done.stderr
    assert json.loads(done.stdout)["configs"][0]["verified"] is True
