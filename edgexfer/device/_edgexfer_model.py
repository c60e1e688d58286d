"""What an artifact of edgexfer says about itself, and the proof that this device answers as the workstation did.

Golden samples are made, not stored: ``PCG64(seed)`` gives the same four pictures everywhere, and the artifact carries
the logits that belong to them. An answer is right when no logit is off by more than the artifact's tolerance, and the
best class is the same unless the two best are closer than that tolerance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import _edgexfer_files as files
import _edgexfer_onnxfile as onnxfile
import numpy as np
from _edgexfer_environment import DeviceError
from _edgexfer_runtime import Runtime, Tensor

KEY = "edgexfer"
GOLDEN_SAMPLES = 4


@dataclass(frozen=True)
class Artifact:
    """The metadata of an ONNX file that edgexfer wrote.

    Attributes:
        classes: Class names in the order of the outputs.
        preprocessing: ``{input_size: [H, W], resize, crop, interpolation, mean, std, channels}``.
        model: Name of the network.
        precision: ``"float32"``, ``"int8"``...
        parent_sha256: The weights it came from.
        golden: ``{seed, logits, tolerance}``, or ``None``.
    """

    classes: Tuple[str, ...]
    preprocessing: Mapping[str, Any]
    model: str
    precision: str
    parent_sha256: Optional[str]
    golden: Optional[Mapping[str, Any]]

    @property
    def input_size(self) -> Tuple[int, int]:
        """``(H, W)`` in pixels."""
        height, width = self.preprocessing["input_size"]
        return int(height), int(width)


@dataclass(frozen=True)
class Verdict:
    """What the golden samples said.

    Attributes:
        verified: Right, wrong, or ``None`` where the file carries no golden samples.
        max_abs_error: Largest difference of a logit.
        tolerance: What the artifact allows.
        top1_agreement: Share of samples with the expected class, near ties counted as equal.
    """

    verified: Optional[bool]
    max_abs_error: Optional[float] = None
    tolerance: Optional[float] = None
    top1_agreement: Optional[float] = None

    def to_dict(self) -> Dict[str, Any]:
        """The value as a result holds it; what is not finite becomes ``None``."""
        error = self.max_abs_error
        return {
            "max_abs_error": error if error is not None and np.isfinite(error) else None,
            "tolerance": self.tolerance,
            "top1_agreement": self.top1_agreement,
        }


def read_artifact(path: str) -> Optional[Artifact]:
    """The metadata of ``path``, or ``None`` for an ONNX file that edgexfer did not write.

    Raises:
        DeviceError: It is no ONNX file, or its metadata are damaged or newer than these scripts.
    """
    text = onnxfile.read_header(path).metadata.get(KEY)
    if text is None:
        return None
    try:
        value = json.loads(text)
        files.check_format(value, "model", path)
        artifact = Artifact(
            tuple(str(c) for c in value["classes"]),
            dict(value["preprocessing"]),
            str(value["model"]),
            str(value["precision"]),
            value.get("parent_sha256"),
            value.get("golden"),
        )
        if min(artifact.input_size) < 1:
            raise ValueError(f"input_size {artifact.input_size}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DeviceError(f"the metadata of {path!r} are damaged ({error!r}); export the model again") from error
    return artifact


def golden_pixels(seed: int, size: Tuple[int, int]) -> np.ndarray[Any, Any]:
    """The golden pictures: uint8 ``(4, H, W, 3)``."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.integers(0, 256, (GOLDEN_SAMPLES, *size, 3), dtype=np.uint8)


def feeder(runtime: Runtime, artifact: Artifact) -> Callable[[Any], Dict[str, Any]]:
    """A function from uint8 pixels ``(N, H, W, 3)`` to what the model's input takes.

    Raises:
        DeviceError: The model's input is not one that edgexfer writes.
    """
    (tensor,) = runtime.inputs if len(runtime.inputs) == 1 else (Tensor("", "", ()),)
    if (tensor.name, tensor.type) == ("image", "tensor(uint8)"):
        return lambda pixels: {"image": pixels}
    if (tensor.name, tensor.type) == ("input", "tensor(float)"):
        return lambda pixels: {"input": normalise(pixels, artifact.preprocessing)}
    found = ", ".join(f"{t.name} {t.type}" for t in runtime.inputs)
    raise DeviceError(f"the model takes {found!r}; edgexfer writes 'image tensor(uint8)' or 'input tensor(float)'")


def normalise(pixels: np.ndarray[Any, Any], preprocessing: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """uint8 ``(N, H, W, 3)`` to float32 ``(N, 3, H, W)``: ``(x / 255 - mean) / std``."""
    mean = np.asarray(preprocessing["mean"], np.float32)
    std = np.asarray(preprocessing["std"], np.float32)
    values = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def verify(runtime: Runtime, artifact: Optional[Artifact]) -> Verdict:
    """Runs the golden samples one by one and compares their logits with the expected ones.

    Raises:
        DeviceError: The golden samples are damaged.
    """
    if artifact is None or artifact.golden is None:
        return Verdict(None)
    try:
        pixels = golden_pixels(int(artifact.golden["seed"]), artifact.input_size)
        expected = np.asarray(artifact.golden["logits"], np.float64)
        tolerance = float(artifact.golden["tolerance"])
        if expected.shape != (GOLDEN_SAMPLES, len(artifact.classes)) or not tolerance >= 0:
            raise ValueError(f"logits of shape {expected.shape}, tolerance {tolerance}")
    except (KeyError, TypeError, ValueError) as error:
        raise DeviceError(f"the model's golden samples are damaged ({error}); export the model again") from error
    feed = feeder(runtime, artifact)
    rows = [np.asarray(runtime.run(["logits"], feed(pixels[i : i + 1]))[0], np.float64) for i in range(len(pixels))]
    return judge(np.concatenate(rows), expected, tolerance)


def judge(logits: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], tolerance: float) -> Verdict:
    """Compares logits ``(N, K)`` with the expected ones."""
    if logits.shape != expected.shape or not np.isfinite(logits).all():
        return Verdict(False, float("inf"), tolerance, 0.0)
    error = float(np.abs(logits - expected).max())
    same = np.argmax(logits, axis=1) == np.argmax(expected, axis=1)
    best = np.sort(expected, axis=1)
    margin = best[:, -1] - best[:, -2] if expected.shape[1] > 1 else np.full(len(expected), np.inf)
    agrees = same | (margin < tolerance)
    return Verdict(bool(error <= tolerance and agrees.all()), error, tolerance, float(np.mean(agrees)))


def wrong_answers(path: str, verdict: Verdict) -> str:
    """What to say of a model whose golden samples failed."""
    finite = verdict.max_abs_error is not None and np.isfinite(verdict.max_abs_error)
    error = f"off by up to {verdict.max_abs_error:.3g}" if finite else "not finite"
    return (
        f"{path!r} gives wrong answers on this machine: logits {error} where {verdict.tolerance:.3g} is allowed,"
        f" {verdict.top1_agreement:.0%} of the golden samples keep their class. Export it for this machine"
        " (edgexfer export --target) or install another onnxruntime"
    )


def random_feed(runtime: Runtime, seed: int = 0) -> Dict[str, Any]:
    """Random input of the declared shapes for a file that edgexfer did not write.

    A free first dimension becomes 1; free height and width of a picture become 224.

    Raises:
        DeviceError: The model takes something other than numbers.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    feed: Dict[str, Any] = {}
    for tensor in runtime.inputs:
        free = 224 if len(tensor.shape) == 4 else 1
        shape = [d or (1 if i == 0 else free) for i, d in enumerate(tensor.shape)]
        feed[tensor.name] = _random(generator, tensor, shape)
    return feed


def softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Probabilities over the last axis, in float64."""
    values = np.asarray(logits, np.float64)
    values = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: np.ndarray[Any, Any] = values / values.sum(axis=-1, keepdims=True)
    return shares


def _random(generator: np.random.Generator, tensor: Tensor, shape: List[int]) -> Any:
    floats = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
    integers = {f"tensor({n})": np.dtype(n) for n in ("uint8", "int8", "uint16", "int16", "int32", "int64")}
    if tensor.type in floats:
        return generator.random(shape).astype(floats[tensor.type])
    if tensor.type == "tensor(bool)":
        return np.ones(shape, np.bool_)
    if tensor.type in integers:
        dtype = integers[tensor.type]
        high = 256 if dtype == np.uint8 else 2  # wider integers are mostly indices and masks
        return generator.integers(0, high, shape).astype(dtype)
    raise DeviceError(f"the input {tensor.name!r} takes {tensor.type}; only numbers can be made up for a foreign model")
