"""Weights rounded so that each output keeps its sum; no runtime.

What an output errs by is the sum over its weights of each one's rounding times what it is multiplied with. Pixels
beside each other are nearly the same, and behind a ReLU all values are positive: of many small roundings the sum is
what counts. Rounded to the nearest it is off by the square root of a twelfth of their number; here by a half at most.

Source: Guo et al., "SQuant: On-the-Fly Data-Free Quantization via Diagonal Hessian Approximation", ICLR 2022, section
3.3, of which this is the part for whole outputs.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from edgexfer.export.held import WEIGHTED
from edgexfer.fold.onnxfile.view import attribute, widened


def balanced(numbers: np.ndarray) -> np.ndarray:
    """``numbers`` ``(C, ...)`` as whole ones, each less than 1 away, whose sum over each C is off by a half at most.

    Those that would be rounded furthest go the other way, as many as the sum would be off by.
    """
    flat = numbers.reshape(len(numbers), -1)
    rounded = np.round(flat)
    gone_up = rounded - flat
    off = gone_up.sum(1, keepdims=True)
    towards = np.sign(off)
    order = np.argsort(-towards * gone_up, axis=1, kind="stable")
    turned = np.arange(flat.shape[1]) < np.round(np.abs(off))
    back = np.zeros_like(rounded)
    np.put_along_axis(back, order, turned * towards, 1)
    return (rounded - back).reshape(numbers.shape)


def balance(wrapped: onnx.ModelProto, model: onnx.ModelProto, largest: int) -> None:
    """Rounds the weights of an int8 model so, in place.

    Args:
        wrapped: The int8 model, its weights between initializers and DequantizeLinear.
        model: The float32 model that it was made of.
        largest: What a weight may be, up and down.
    """
    floats = {t.name: t for t in model.graph.initializer}
    stored = {t.name: t for t in wrapped.graph.initializer}
    readings = {n.output[0]: n for n in wrapped.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in stored}
    done: set[str] = set()
    for layer in wrapped.graph.node:
        reading = readings.get(layer.input[1]) if layer.op_type in WEIGHTED else None
        source = reading and floats.get(reading.input[0].removesuffix("_quantized"))
        if reading is None or source is None or reading.input[0] in done:
            continue
        weight, step = widened(source), widened(stored[reading.input[1]])
        axis = _output_axis(layer, weight.ndim)
        numbers = np.moveaxis(weight, axis, 0) / step.reshape(-1, *[1] * (weight.ndim - 1))
        found = np.moveaxis(balanced(numbers).clip(-largest, largest), 0, axis)
        name = reading.input[0]
        stored[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(found, np.int8), name))
        done.add(name)


def _output_axis(layer: onnx.NodeProto, rank: int) -> int:
    """Which axis of a layer's weights counts its outputs."""
    if layer.op_type == "Conv" or (layer.op_type == "Gemm" and attribute(layer, "transB", 0)):
        return 0
    return rank - 1
