"""What happens to a network that is exported while its batch norm is in training mode."""

from __future__ import annotations

import copy
import io
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from edgexfer.errors import ExportError
from edgexfer.export.graph import IR_VERSION, OPSET, check_written, to_bytes
from edgexfer.export.runtime import open_session
from edgexfer.export.torch_onnx import to_onnx
from edgexfer.preprocessing import Preprocessing

SIZES = (1, 64)


def exported_in_training_mode(
    net: nn.Module, preprocessing: Preprocessing, inputs: torch.Tensor, labels: np.ndarray
) -> dict[str, Any]:
    """Accuracy of the right file and of the wrong one at two batch sizes, and whether the check of files sees it.

    Args:
        net: The network.
        preprocessing: What it is fed.
        inputs: Normalised pixels ``(N, 3, H, W)``.
        labels: ``(N,)``.

    Returns:
        ``{"right": {size: top1}, "training_mode": {size: top1}, "refused": message or ""}``.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    fed, truth = inputs.cpu().numpy()[order], labels[order]
    wrong = _as_it_trains(net, inputs[:2].cpu())
    refused = ""
    try:
        check_written(wrong)
    except ExportError as error:
        refused = str(error)
    right = to_onnx(net, preprocessing, "float")
    return {"right": _top1(right, fed, truth), "training_mode": _top1(wrong, fed, truth), "refused": refused}


def _as_it_trains(net: nn.Module, example: torch.Tensor) -> onnx.ModelProto:
    """The network as torch's older exporter writes it with its switch for training mode."""
    stream = io.BytesIO()
    training = copy.deepcopy(net).cpu().train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter is the older one
        torch.onnx.export(
            training, (example,), stream,  # type: ignore[arg-type]
            dynamo=False, training=torch.onnx.TrainingMode.TRAINING,
            do_constant_folding=False, opset_version=OPSET, dynamic_axes={"input": {0: "N"}}, input_names=["input"],
            output_names=["logits"],
        )  # fmt: skip
    model = onnx.load_from_string(stream.getvalue())
    model.ir_version = IR_VERSION
    return model


def _top1(model: onnx.ModelProto, inputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy at each batch size."""
    runtime = open_session(to_bytes(model))
    name = runtime.get_inputs()[0].name
    found = {}
    for size in SIZES:
        said = [
            runtime.run(["logits"], {name: inputs[start : start + size]})[0].argmax(1)
            for start in range(0, len(inputs), size)
        ]
        found[f"{size}"] = float((np.concatenate(said) == labels).mean())
    return found
