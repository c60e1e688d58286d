"""Runs, artifacts and results in the formats of the other rooms, made of seeded random numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from edgexfer.files import sha256_file, write_json
from edgexfer.preprocessing import square
from edgexfer.runs import Run, weights_sha256, write_lines, write_run

DIGITS = tuple("0123456789")


def make_run(
    folder: Path,
    *,
    model: str = "tiny-darknet",
    classes: Sequence[str] = DIGITS,
    accuracy: float = 0.97,
    epochs: int = 12,
    seed: int = 0,
    command: str = "finetune",
    argv: Sequence[str] = (),
    parameters: int = 1_000_000,
    files: Callable[[str, int], str] = lambda split, i: f"digits/{i:04d}",
    splits: Sequence[str] = ("val", "test"),
    images: int = 270,
    parents: Sequence[dict[str, Any]] = (),
    extra_scores: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
    created: str = "2026-03-01T10:00:00Z",
) -> Path:
    """A finished run folder; its scores are those of its predictions."""
    generator = np.random.default_rng([seed, len(model), epochs, len(command)])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.safetensors").write_bytes(generator.bytes(64))
    lines = [line for split in splits for line in _predictions(split, images, classes, accuracy, files, generator)]
    write_lines(folder / "predictions.jsonl", lines)
    write_lines(folder / "metrics.jsonl", _metrics(epochs, accuracy, command, generator))
    scores: dict[str, Any] = {
        "val_top1": _top1(lines, "val"),
        "test_top1": _top1(lines, "test"),
        "val_images": images,
        "test_images": images if "test" in splits else 0,
        "train_images": 1257,
        "parameters": parameters,
        "operations": parameters * 37,
        "weights_bytes": parameters * 4 + 8192,
        "seconds": 41.75,
        "best_epoch": epochs - 2,
    }
    told: dict[str, Any] = {"command": command, "argv": list(argv), "data": "digits", "data_path": None}
    told["settings"] = {"epochs": epochs, "batch_size": 64, "lr": 0.05, "optimizer": "sgd", "augment": "light"}
    write_run(
        folder,
        Run(
            model=model,
            classes=tuple(classes),
            preprocessing=square(32),
            splits_fingerprint="f" * 64,
            seed=seed,
            recipe={**told, **(recipe or {})},
            parents=tuple(parents),
            scores={**scores, **(extra_scores or {})},
            created=created,
        ),
    )
    return folder


def _predictions(split, images, classes, accuracy, files, generator) -> list[dict[str, Any]]:  # type: ignore[no-untyped-def]
    """Logits whose largest is right about as often as asked; neighbours are confused more often."""
    lines = []
    for i in range(images):
        label = i % len(classes)
        logits = generator.normal(0, 1, len(classes))
        answer = label if generator.random() < accuracy else (label + int(generator.integers(1, 3))) % len(classes)
        logits[answer] += generator.uniform(4, 9)
        lines.append(
            {"file": files(split, i), "split": split, "label": label, "logits": [round(float(v), 5) for v in logits]}
        )
    return lines


def _top1(lines: Sequence[dict[str, Any]], split: str) -> float | None:
    mine = [line for line in lines if line["split"] == split]
    return float(np.mean([np.argmax(line["logits"]) == line["label"] for line in mine])) if mine else None


def _metrics(epochs: int, accuracy: float, command: str, generator: np.random.Generator) -> list[dict[str, Any]]:
    lines = []
    for epoch in range(1, epochs + 1):
        done = 1 - np.exp(-3.4 * epoch / epochs)
        soft, hard = 9.5 * (1 - done) + 0.9, 2.2 * (1 - done) + 0.08
        noise = 1 + generator.normal(0, 0.03)
        line = {
            "epoch": epoch,
            "lr": 0.05 * (1 - epoch / epochs),
            "seconds": 3.4,
            "images_per_s": 369.0,
            "train_loss": (0.9 * soft + 0.1 * hard if command == "distill" else hard) * noise,
            "val_loss": hard * 1.2 * noise,
            "val_top1": min(accuracy, accuracy * done * (1 + generator.normal(0, 0.01)) + 0.03),
        }
        lines.append({**line, "soft_loss": soft, "hard_loss": hard} if command == "distill" else line)
    return lines


def make_onnx(
    path: Path, *, parent: str | None, precision: str = "float32", kept: Sequence[tuple[str, str]] = ()
) -> Path:
    """A tiny ONNX file with the metadata of an artifact; a foreign one without ``parent``."""
    node = onnx.helper.make_node("Identity", ["image"], ["logits"])
    ends = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", 10]) for n in ("image", "logits")]
    weight = onnx.numpy_helper.from_array(
        np.zeros(534_234 if precision == "float32" else 133_559, dtype=np.float32), path.stem
    )
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "net", ends[:1], ends[1:], [weight]))
    if parent is not None:
        info = {
            "format": 1,
            "classes": list(DIGITS),
            "preprocessing": square(32).to_dict(),
            "model": "tiny-darknet",
            "parent_sha256": parent,
            "precision": precision,
            "input": "uint8",
            "batchnorm": {"folded": 15 - len(kept), "kept": [{"name": n, "reason": r} for n, r in kept]},
            "proof": {
                "fold_max_rel_error_f64": 3.2e-15,
                "max_abs_error": 0.41 if precision == "int8" else 4.77e-06,
                "top1_agreement": 0.9925925925925926 if precision == "int8" else 1.0,
                "images": 270,
            },
            "golden": {"seed": 7, "logits": [[0.0] * 10], "tolerance": 0.82 if precision == "int8" else 0.011},
            "digest": "d" * 64,
        }
        entry = model.metadata_props.add()
        entry.key, entry.value = "edgexfer", json.dumps(info)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


def make_config(
    model: str, *, sha256: str = "0" * 64, p50_s: float = 0.002, runs: int = 700, **more: Any
) -> dict[str, Any]:
    """One configuration of a benchmark result."""
    generator = np.random.default_rng([len(model), runs, round(p50_s * 1e6)])
    latency = p50_s * (1 + generator.gamma(2.0, 0.02, runs) - 0.03)
    latency[:: max(runs // 7, 1)] *= 1.6
    return {
        "model": model,
        "sha256": sha256,
        "precision": "int8" if "int8" in model else "float32",
        "runtime": "onnxruntime",
        "runtime_version": "1.32.0",
        "threads": 1,
        "scenario": "single-stream",
        "latency_s": [float(v) for v in latency],
        "load_s": 0.0312,
        "first_s": 0.0041,
        "peak_rss_bytes": 61_440_000,
        "size_bytes": 4_207_312,
        "top1": 0.9765625,
        "top1_images": 256,
        "verified": True,
        "status": "ok",
        "error": None,
        "observed": {"before": {"temperature_c": 48.3}, "during": [], "after": {"temperature_c": 61.2}},
        **more,
    }


def judged(config: dict[str, Any], *, rounds: int = 3, causes: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """A configuration with its rounds and the verdict that the device came to."""
    times = config["latency_s"]
    cuts = [len(times) * i // rounds for i in range(rounds + 1)]
    told = [
        {"begin": a, "count": b - a, "p50_s": float(np.median(times[a:b])), "load_s": 0.03, "first_s": 0.004}
        for a, b in pairwise(cuts)
    ]
    symptoms = ["the medians of the rounds differ by 9%"] if causes else []
    verdict = {"stable": not causes, "symptoms": symptoms, "causes": [{"cause": c, "remedy": r} for c, r in causes]}
    return {**config, "batch": 1, "rounds": told, "stability": verdict, "median_half_width": 0.0123}


def profiled(config: dict[str, Any], scale: float = 1.0) -> dict[str, Any]:
    """A configuration whose operators were timed; two operators belong to one layer, one to none."""
    operators = [
        ("conv_1", "Conv", "body.0", 0.5),
        ("conv_2", "Conv", "body.1", 0.3),
        ("relu_2", "Relu", "body.1", 0.1),
    ]
    rows = [
        {"name": n, "op": op, "layer": layer, "calls": 34, "mean_s": scale * share * 1e-3, "share": share}
        for n, op, layer, share in [*operators, ("reshape", "Reshape", None, 0.1)]
    ]
    return {**config, "profile": rows}


def sustained(model: str, *, seconds: int = 30, **more: Any) -> dict[str, Any]:
    """A measurement under lasting load, looked at once a second, that grows hot and slows down."""
    config = make_config(model, runs=100 * seconds, scenario="sustained", batch=1, **more)
    during = [
        {
            "time_s": 1000.0 + i + 1,
            "runs": 100 * (i + 1),
            "temperature_c": 50.0 + 0.9 * i,
            "clock_hz": None,
            "requested_hz": 1.8e9 if i < 20 else 1.5e9,
            "throttled": {"live": ["throttled"] if i > 25 else [], "sticky": []},
        }
        for i in range(seconds)
    ]
    before, after = ({"time_s": 1000.0 + t, "temperature_c": 50.0 + 0.9 * t} for t in (0, seconds))
    return {**config, "observed": {"before": before, "during": during, "after": after}}


def make_result(path: Path, configs: Sequence[dict[str, Any]], *, emulated: bool = False, **machine: Any) -> Path:
    """A benchmark result file."""
    told = {
        "host": "raspberrypi",
        "board": "Raspberry Pi 4 Model B Rev 1.4",
        "cpu": "Cortex-A72",
        "architecture": "aarch64",
        "cores": 4,
        "memory_bytes": 3_979_612_160,
        "governor": "ondemand",
        "cpu_features": ["asimd"],
        "python": "3.11.2",
        **machine,
    }
    result = {"format": 1, "created": "2026-03-01T12:00:00Z", "edgexfer_version": "0.1.0", "machine": told}
    write_json(path, {**result, "emulated": emulated, "configs": list(configs)})
    return path


def make_photos(folder: Path, classes: Sequence[str], images: int) -> Callable[[str, int], str]:
    """Coloured pictures in class folders; gives the function that names picture ``i``."""
    for i in range(images):
        name = folder / classes[i % len(classes)] / f"photo {i}.jpg"
        name.parent.mkdir(parents=True, exist_ok=True)
        hue = int(255 * (i % len(classes)) / len(classes))
        Image.new("HSV", (160, 120), (hue, 150, 90 + i % 150)).convert("RGB").save(name)
    return lambda split, i: f"{classes[i % len(classes)]}/photo {i}.jpg"


def make_int8_proof(artifact: str) -> dict[str, Any]:
    """What a proof file says of an int8 file: its figures, and the search that led to it."""
    layers = ["conv 1", "conv 2", "conv 3"]
    candidates = [("minmax", True, 2.8e-4), ("minmax", False, 1.2e-3), ("entropy", True, 2.6e-3)]
    trace: list[dict[str, Any]] = [
        {"step": "candidate", "method": m, "per_channel": c, "divergence": d} for m, c, d in candidates
    ]
    trace += [
        {"step": "front", "float_layers": layers[:1], "cpu_s": 3.2e-4, "against_cpu_s": 3.8e-4},
        {"step": "front", "float_layers": layers[:2], "cpu_s": 3.7e-4, "against_cpu_s": 3.2e-4},
        {"step": "loss", "float_layers": layers[:1], "loss_points": 2.3},
        {"step": "layer", "layer": layers[1], "gain": 4.1e-3, "cost_s": 2.0e-5},
        {"step": "layer", "layer": layers[2], "gain": -1.0e-4, "cost_s": 1.0e-5},
        {"step": "search", "float_layers": layers[:2], "loss_points": 0.4},
    ]
    return {
        "artifact": artifact,
        "top1": 0.974,
        "top1_float32": 0.978,
        "speedup": 1.83,
        "float_layers": layers[:2],
        "plan": "minmax, one scale a channel",
        "max_drop_points": 1.0,
        "recommended": "int8",
        "latency_s": {"float32": [0.0007] * 40, "int8": [0.0004] * 40},
        "verdict": ["int8 is 1.83x faster than float32 here"],
        "trace": trace,
    }


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


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project folder that no test changes."""
    return make_world(tmp_path_factory.mktemp("world"))


@dataclass(frozen=True)
class Makers:
    """The functions of this module, for tests that need something of their own."""

    run = staticmethod(make_run)
    onnx = staticmethod(make_onnx)
    config = staticmethod(make_config)
    result = staticmethod(make_result)
    photos = staticmethod(make_photos)
    judged = staticmethod(judged)
    profiled = staticmethod(profiled)
    sustained = staticmethod(sustained)
    int8_proof = staticmethod(make_int8_proof)
    world = staticmethod(make_world)


@pytest.fixture(scope="session")
def make() -> Makers:
    """Makes runs, ONNX files, results and pictures."""
    return Makers()
