"""Whole project folders to make a report of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.files import sha256_file, write_json
from edgexfer.runs import weights_sha256
from tests.report.makers import make_int8_proof, make_onnx, make_photos, make_run
from tests.report.measurements import judged, make_config, make_result, profiled, sustained


@dataclass(frozen=True)
class World:
    """A whole project folder: a family of runs, two artifacts, three results."""

    root: Path
    student: Path
    teacher: Path
    baseline: Path
    artifact: Path
    int8: Path
    result: Path


def make_world(root: Path) -> World:
    """Teacher, student and baseline on the digits, float32 and int8, measured on a board, a server and an emulator."""
    student = root / "student"
    argv = [
        "edgexfer",
        "distill",
        "digits",
        "--student",
        "tiny-darknet",
        "--teacher",
        "resnet18",
        "--hard-label-baseline",
        "--out",
        "student",
    ]
    teacher = make_run(
        student / "teachers/0-resnet18", model="resnet18", accuracy=0.985, epochs=10, parameters=11_181_642
    )
    told = {"name": "resnet18", "sha256": weights_sha256(teacher)}
    teacher_scores = json.loads((teacher / "run.json").read_text())["scores"]
    kept = ("val_top1", "test_top1", "parameters", "operations", "weights_bytes")
    make_run(
        student,
        accuracy=0.978,
        epochs=18,
        command="distill",
        argv=argv,
        parameters=1_042_104 - 990 * 513,
        parents=[{"role": "teacher", "source": "student/teachers/0-resnet18", **told}],
        created="2026-03-01T10:05:00Z",
        extra_scores={"teacher": {"name": "resnet18", **{k: teacher_scores[k] for k in kept}}},
        recipe={"alpha": 0.9, "temperature": 4.0, "ensemble": "geometric"},
    )
    baseline = make_run(
        student / "hard-label-baseline",
        accuracy=0.955,
        epochs=18,
        command="baseline",
        argv=argv,
        parameters=1_042_104 - 990 * 513,
        created="2026-03-01T10:09:00Z",
    )
    artifact = make_onnx(
        root / "student.onnx", parent=weights_sha256(student), kept=[("head.bn", "its input is used twice")]
    )
    int8 = make_onnx(root / "student.int8.onnx", parent=sha256_file(artifact), precision="int8")
    proof = {"format": 1, "artifact": artifact.name, "float32": {"images": 270, "top1_agreement": 1.0}}
    write_json(root / "student.proof.json", {**proof, "int8": make_int8_proof(int8.name)})
    result = make_result(root / "results/bench-pi4.json", _board_configs(sha256_file(artifact), sha256_file(int8)))
    make_result(
        root / "results/bench-server.json",
        _server_configs(sha256_file(artifact), sha256_file(int8)),
        host="workstation",
        board="Supermicro X12",
        cpu="Intel Xeon Silver 4314",
        architecture="x86_64",
        cores=16,
    )
    make_result(
        root / "results/bench-emulated.json",
        [make_config("student.onnx", sha256=sha256_file(artifact), p50_s=0.9, runs=80)],
        emulated=True,
        host="qemu-a53",
        board=None,
        cpu="Cortex-A53",
    )
    return World(root, student, teacher, baseline, artifact, int8, result)


def _board_configs(float32: str, int8: str) -> list[dict[str, Any]]:
    quick = {"sha256": int8, "top1": 0.97265625, "size_bytes": 701_233}
    cause = [("the processor reached 82 degrees", "cool it, or wait between measurements")]
    return [
        profiled(judged(make_config("student.onnx", sha256=float32, p50_s=0.0094, runs=720))),
        make_config("student.onnx", sha256=float32, p50_s=0.0058, threads=2, runs=900),
        make_config("student.onnx", sha256=float32, p50_s=0.0039, threads=4, runs=900),
        profiled(judged(make_config("student.int8.onnx", p50_s=0.0055, runs=150, **quick), rounds=1), 0.4),
        judged(make_config("student.int8.onnx", p50_s=0.0031, threads=2, runs=100, **quick), causes=cause),
        make_config("squeezenet.onnx", p50_s=0.0212, top1=0.96484375, runs=50, verified=None),
        make_config(
            "broken.onnx",
            verified=False,
            status="wrong answers",
            error="its logits differ by 3.1 where 0.011 is allowed",
            runs=0,
        ),
        sustained("student.onnx", sha256=float32, p50_s=0.0097),
        make_config("student.onnx", sha256=float32, p50_s=0.0301, runs=200, scenario="offline", batch=4),
    ]


def _server_configs(float32: str, int8: str) -> list[dict[str, Any]]:
    return [
        make_config("student.onnx", sha256=float32, p50_s=0.00062, runs=5000),
        make_config("student.int8.onnx", sha256=int8, p50_s=0.00071, top1=0.97265625, size_bytes=701_233, runs=5000),
    ]


def make_many(root: Path, runs: int = 20, results: int = 50) -> Path:
    """Many runs on photographs, each with its files, and many results of five machines."""
    classes = [f"class {i}" for i in range(20)]
    names = make_photos(root / "photos", classes, 120)
    recipe = {"data": "photos", "data_path": str(root / "photos")}
    shas = []
    for i in range(runs):
        folder = make_run(
            root / f"runs/{i:02d}", classes=classes, files=names, images=120, seed=i, epochs=60, recipe=recipe,
            accuracy=0.6,
        )  # fmt: skip
        made = make_onnx(root / f"model-{i}.onnx", parent=weights_sha256(folder))
        shas.append(sha256_file(made))
    for i in range(results):
        told = {"sha256": shas[i % runs], "p50_s": 0.001 * (1 + i), "top1": 0.5 + i / 150}
        config = profiled(judged(make_config(f"model-{i}.onnx", runs=800, **told)))
        others = [sustained(f"model-{i}.onnx", seconds=60, **told)] if i % 10 == 0 else []
        make_result(root / f"results/{i}.json", [config, *others], host=f"host{i % 5}")
    return root
