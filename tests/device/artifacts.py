"""Makes tiny artifacts with known weights for tests: a real classifier of colours, as edgexfer writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


def preprocessing(size: tuple[int, int], resize: int | None = None) -> dict[str, Any]:
    return {
        "input_size": list(size),
        "resize": resize,
        "crop": "none" if resize is None else "center",
        "interpolation": "bilinear",
        "mean": MEAN,
        "std": STD,
        "channels": "RGB",
    }


def weights(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """``W (6, K), b (K,)`` over the embedding; class k is loudest where channel k % 3 is."""
    generator = np.random.default_rng(5)
    w = generator.normal(0, 0.05, (6, classes)).astype(np.float32)
    for k in range(classes):
        w[k % 3, k] += 2.0
    return w, generator.normal(0, 0.05, classes).astype(np.float32)


def logits_of(pixels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """float64 oracle: pixels uint8 (N, H, W, 3) -> logits (N, K), embedding (N, 6)."""
    x = (pixels.astype(np.float64) / 255 - np.array(MEAN)) / np.array(STD)
    mean = x.mean(axis=(1, 2))
    embedding = np.concatenate([mean, np.abs(mean)], axis=1)
    w, b = weights(classes)
    return embedding @ w.astype(np.float64) + b, embedding


def write(
    path: Path,
    classes: tuple[str, ...] = ("red", "green", "blue"),
    *,
    size: tuple[int, int] = (12, 16),
    resize: int | None = None,
    kind: str = "uint8",
    precision: str = "float32",
    shift: float = 0.0,
    tolerance: float = 1e-3,
    metadata: dict[str, Any] | None = None,
    foreign: bool = False,
    opset: int = 18,
    batch: int | str = "N",
    weight: str = "w",
    ir_version: int = 9,
) -> Path:
    """Writes an artifact; ``shift`` moves its expected golden logits, so that it answers wrongly."""
    k = len(classes)
    w, b = weights(k)
    constants = {weight if weight == "w" else f"{weight}.weight": w, "b": b}
    weight = next(iter(constants))
    nodes = []
    if kind == "uint8":
        constants["mean"] = np.array(MEAN, np.float32)
        constants["std"] = np.array(STD, np.float32)
        constants["full"] = np.float32(255)
        nodes += [
            helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["f", "full"], ["unit"]),
            helper.make_node("Sub", ["unit", "mean"], ["centred"]),
            helper.make_node("Div", ["centred", "std"], ["nhwc"]),
            helper.make_node("Transpose", ["nhwc"], ["x"], perm=[0, 3, 1, 2]),
        ]
        given = helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, *size, 3])
    else:
        nodes += [helper.make_node("Identity", ["input"], ["x"])]
        given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, *size])
    nodes += [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Abs", ["flat"], ["absolute"]),
        helper.make_node("Concat", ["flat", "absolute"], ["embedding"], axis=1),
        helper.make_node("Gemm", ["embedding", weight, "b"], ["logits"]),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, k]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, 6]),
    ]
    graph = helper.make_graph(
        nodes, "tiny", [given], outputs, [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir_version
    if not foreign:
        golden = np.random.Generator(np.random.PCG64(7)).integers(0, 256, (4, *size, 3), dtype=np.uint8)
        expected = logits_of(golden, k)[0] + shift
        value = {
            "format": 1,
            "classes": list(classes),
            "preprocessing": preprocessing(size, resize),
            "model": "tiny",
            "parent_sha256": "ab" * 32,
            "precision": precision,
            "batchnorm": {"folded": 0, "kept": []},
            "proof": {},
            "golden": {"seed": 7, "logits": expected.tolist(), "tolerance": tolerance},
            "digest": "cd" * 32,
        }
        helper.set_model_props(model, {"edgexfer": json.dumps({**value, **(metadata or {})}, sort_keys=True)})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path
