"""The fastest right configuration, recommended and found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgexfer import device

recommending = device.load("_edgexfer_recommend")


def measured(model: str, times: list[float], top1: float | None, **more: Any) -> dict[str, Any]:
    return {
        "model": model, "sha256": model * 8, "precision": "int8", "runtime": "onnxruntime", "runtime_version": "1.30",
        "threads": 1, "spinning": True, "batch": 1, "scenario": "single-stream", "top1": top1, "status": "ok",
        "verified": True, "affinity": [0, 1], "pinned": False, "head": None, "latency_s": times, **more,
    }  # fmt: skip


def test_the_fastest_of_the_models_that_are_right_is_recommended(tmp_path: Path) -> None:
    configs = [
        measured("a", [0.010] * 9, 0.90),
        measured("b", [0.004] * 9, 0.80),  # faster, but ten points worse
        measured("c", [0.006] * 9, 0.895, pinned=True, spinning=False, threads=2),
        measured("c", [0.030] * 9, 0.895, batch=8, scenario="offline"),
        measured("d", [0.001] * 9, 0.90, status="wrong answers"),
    ]
    found = recommending.recommend(configs)
    assert (found["latency"]["model"], found["latency"]["affinity"]) == ("c", [0, 1])
    assert (found["throughput"]["batch"], found["throughput"]["images_per_s"]) == (8, pytest.approx(266.667))
    assert recommending.recommend(configs[:2]) is None, "nothing to compare"
    lines = recommending.sentences(found)
    assert lines[0] == "best latency: c, 2 threads, no spinning, on cores 0,1, onnxruntime: 6 ms"
    assert lines[1] == "best throughput: c, 1 thread, 8 pictures at once, onnxruntime: 266.7 images/s"


def test_a_recommendation_counts_on_the_same_machine_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"model")
    machine = {"host": "pi", "cpu": "A72", "cores": 4, "architecture": "aarch64", "other": 1}
    sha256 = device.load("_edgexfer_files").sha256_file(str(model))
    best = measured("m.onnx", [0.006] * 9, None, sha256=sha256, threads=3)
    found = recommending.recommend([best, measured("n", [0.01] * 9, None)])
    result = {"created": "2030-01-01T00:00:00Z", "machine": machine}
    assert recommending.write(found, result, str(tmp_path)) == str(tmp_path / "recommended.json")
    used = recommending.read(str(tmp_path), [str(model)], {**machine, "other": 2})
    assert used == {"path": str(model), "threads": 3, "spinning": True, "runtime": "onnxruntime", "affinity": None}
    assert recommending.read(str(tmp_path), [str(model)], {**machine, "cores": 2}) is None
    model.write_bytes(b"another model")
    assert recommending.read(str(tmp_path), [str(model)], machine) is None
    assert capsys.readouterr().err.count("is of another machine or another model") == 2
    (tmp_path / "recommended.json").write_text(json.dumps({"format": 1, "latency": {}}))
    assert recommending.read(str(tmp_path), [str(model)], machine) is None
    assert "is not used" in capsys.readouterr().err
    assert recommending.read(str(tmp_path / "no"), [], machine) is None
    assert recommending.write(found, result, str(tmp_path / "no")) is None
    assert "no recommended.json" in capsys.readouterr().err
