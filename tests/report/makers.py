"""Runs and ONNX files in the formats of the other rooms, made of seeded random numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from edgexfer.preprocessing import square
from edgexfer.runs import Run, write_lines, write_run

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
        {"step": "slow", "float_layers": [layers[0], layers[2]], "cpu_s": 3.3e-4, "against_cpu_s": 3.2e-4},
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


def make_photos(folder: Path, classes: Sequence[str], images: int) -> Callable[[str, int], str]:
    """Pictures as rich in detail as photographs, in class folders; gives the function that names picture ``i``."""
    for i in range(images):
        name = folder / classes[i % len(classes)] / f"photo {i}.jpg"
        name.parent.mkdir(parents=True, exist_ok=True)
        blurred = np.random.default_rng(i).integers(0, 256, (15, 20, 3), dtype=np.uint8)
        Image.fromarray(blurred).resize((160, 120), Image.Resampling.BICUBIC).save(name)
    return lambda split, i: f"{classes[i % len(classes)]}/photo {i}.jpg"
