from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.errors import DeviceError, FormatError, WouldOverwriteError
from edgexfer.results import compare_files, read_result, run_bench
from edgexfer.results.compare import ratio_interval


def config(**changes: Any) -> dict[str, Any]:
    base = {
        "model": "a.onnx", "sha256": "a" * 64, "precision": "float32", "runtime": "onnxruntime",
        "runtime_version": "1.32.0", "threads": 1, "scenario": "single-stream", "session": {"spinning": True},
        "status": "ok", "latency_s": np.random.default_rng(0).normal(0.010, 0.0004, 200).tolist(),
    }  # fmt: skip
    return {**base, **changes}


def write(path: Path, *configs: dict[str, Any], emulated: bool = False, cpu: str = "Cortex-A76") -> Path:
    value = {
        "format": 1, "created": "2026-01-01T00:00:00Z", "edgexfer_version": "0.1.0", "emulated": emulated,
        "machine": {"cpu": cpu, "cores": 4}, "configs": list(configs),
    }  # fmt: skip
    path.write_text(json.dumps(value))
    return path


def test_a_difference_in_threads_is_shown(tmp_path: Path) -> None:
    slow = write(tmp_path / "a.json", config())
    fast = write(tmp_path / "b.json", config(threads=2, latency_s=[t / 2 for t in config()["latency_s"]]))
    found = compare_files(slow, fast, "threads")
    assert found.ratio == pytest.approx(2.0)
    assert 1.9 < found.interval[0] < 2.0 < found.interval[1] < 2.1
    assert found.differs and found.sentence().startswith("threads 1 is slower than threads 2: 10.0")
    assert found.to_dict()["runs"] == [200, 200]


def test_no_difference_is_said_as_such(tmp_path: Path) -> None:
    other = np.random.default_rng(1).normal(0.010, 0.0004, 200).tolist()
    first, second = write(tmp_path / "a.json", config()), write(tmp_path / "b.json", config(threads=2, latency_s=other))
    found = compare_files(first, second, "threads")
    assert not found.differs
    assert found.sentence().startswith("no difference shown")


def test_the_interval_is_the_bootstraps() -> None:
    first, second = np.full(50, 3.0), np.full(70, 2.0)
    assert ratio_interval(first.tolist(), second.tolist()) == (1.5, 1.5)
    noisy = np.random.default_rng(3).exponential(1.0, 100).tolist()
    assert ratio_interval(noisy, noisy, seed=1) == ratio_interval(noisy, noisy, seed=1)


@pytest.mark.parametrize(
    ("second", "vary", "message"),
    [
        (
            config(threads=2, precision="int8"),
            "threads",
            "more than threads differs.*precision is 'float32' and 'int8'",
        ),
        (config(threads=2, runtime_version="1.20"), "threads", "runtime_version is '1.32.0' and '1.20'"),
        (config(), "threads", "do not differ in threads"),
        (config(threads=2), "colour", "'colour'; allowed: model, precision"),
        (config(threads=2, status="wrong answers", latency_s=[]), "threads", "holds no latency"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, second: dict[str, Any], vary: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        compare_files(write(tmp_path / "a.json", config()), write(tmp_path / "b.json", second), vary)


def test_another_machine_is_a_difference_unless_declared(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", config())
    second = write(tmp_path / "b.json", config(threads=2), cpu="Cortex-A53")
    with pytest.raises(DeviceError, match="machine is .*Cortex-A76.*Cortex-A53"):
        compare_files(first, second, "threads")
    same = write(tmp_path / "c.json", config(), cpu="Cortex-A53")
    assert compare_files(first, same, "machine").ratio == pytest.approx(1.0)


def test_emulated_times_are_no_latencies(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", config(), emulated=True)
    with pytest.raises(DeviceError, match="under emulation"):
        compare_files(path, path, "threads")


def test_several_pairs_are_not_guessed_among(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", config(), config(threads=2))
    with pytest.raises(DeviceError, match="2 pairs differ in threads alone"):
        compare_files(path, path, "threads")


def test_an_incomplete_result_is_refused(tmp_path: Path) -> None:
    lacking = config()
    del lacking["latency_s"]
    with pytest.raises(FormatError, match="a configuration lacks latency_s"):
        read_result(write(tmp_path / "a.json", lacking))
    (tmp_path / "b.json").write_text('{"format": 1}')
    with pytest.raises(FormatError, match="incomplete: 'configs'"):
        read_result(tmp_path / "b.json")


def bench(target: Path, out: Path, *, force: bool = False, verify_only: bool = True) -> Path:
    return run_bench(target, out=out, min_seconds=0.05, min_runs=5, threads="1", verify_only=verify_only, force=force)


def test_the_devices_script_runs_here(tmp_path: Path, artifact: Path) -> None:
    out = bench(artifact, tmp_path / "deep" / "r.json", verify_only=False)
    (measured,) = read_result(out).configs
    assert measured["verified"] is True and measured["status"] == "ok"
    assert len(measured["latency_s"]) >= 5 and all(t > 0 for t in measured["latency_s"])
    with pytest.raises(WouldOverwriteError):
        bench(artifact, out)


def test_what_the_script_refuses_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="there is no .*none.onnx"):
        bench(tmp_path / "none.onnx", tmp_path / "r.json")
