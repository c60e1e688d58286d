"""PyTorch to ONNX: preprocessing in the graph, two outputs, BatchNorm exactly as the network has it.

    image uint8 (N, H, W, 3) -> transpose -> float -> x * 1/(255 std) - mean/std -> embed -> embedding (N, D)
                                                                            embedding -> classify -> logits (N, K)

The exporter's own optimisation folds BatchNorm behind everyone's back, and without any optimisation it can write
names twice, which ONNX Runtime refuses. Here the graph is optimised while its BatchNormalization nodes stand in a
domain that no rule knows, so the file holds exactly those that the network holds.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any, Protocol, cast

import onnx
import torch
from torch import nn

from edgexfer.errors import ExportError
from edgexfer.export import graph, heads
from edgexfer.export.metadata import INPUTS
from edgexfer.export.pooling import averages_to_pools
from edgexfer.export.runtime import OUTPUTS
from edgexfer.fold.onnxfile.source import LARGEST_BYTES
from edgexfer.preprocessing import Preprocessing

_HIDDEN_DOMAIN = "edgexfer.kept"
FLOAT32_BYTES = 4


class Network(Protocol):
    """What every network of the registry offers; ``x`` is normalised float ``(N, 3, H, W)``."""

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """The penultimate features, ``(N, D)``."""

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        """Logits ``(N, K)`` of features ``(N, D)``."""


class WithEmbedding(nn.Module):
    """A network whose outputs are its logits and its embedding.

    Args:
        net: The network.
        preprocessing: Its mean and std go into the graph when ``kind`` is ``"uint8"``.
        kind: ``"uint8"`` or ``"float"``.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, net: nn.Module, preprocessing: Preprocessing, kind: str) -> None:
        super().__init__()
        self.net = net
        self.pixels = kind == "uint8"
        if self.pixels:
            # a row of W values, not one a channel: int8 sessions turn this part to NHWC, and there ONNX Runtime
            # broadcasts 3 values at a time 20 times slower than a whole row
            row = (1, 3, 1, preprocessing.input_size[1])
            mean = torch.tensor(preprocessing.mean, dtype=torch.float64).reshape(1, 3, 1, 1).expand(row)
            std = torch.tensor(preprocessing.std, dtype=torch.float64).reshape(1, 3, 1, 1).expand(row)
            self.register_buffer("scale", (1 / (255 * std)).float().contiguous())
            self.register_buffer("shift", (-mean / std).float().contiguous())

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits ``(N, K)`` and embedding ``(N, D)`` of ``(N, H, W, 3)`` uint8 or ``(N, 3, H, W)`` float."""
        if self.pixels:
            # contiguous: a permuted tensor counts as channels-last, and pooling then exports a tangle of strides
            x = x.permute(0, 3, 1, 2).contiguous().to(torch.float32) * self.scale + self.shift
        net = cast(Network, self.net)
        embedding = net.embed(x)
        return net.classify(embedding), embedding


def to_onnx(net: nn.Module, preprocessing: Preprocessing, kind: str = "uint8") -> onnx.ModelProto:
    """Exports a network as it is: whatever BatchNorm it holds stands in the file.

    Args:
        net: A network with ``embed`` and ``classify``; not changed.
        preprocessing: Input size, mean and std.
        kind: ``"uint8"`` for pixels in, ``"float"`` for a normalised tensor in.

    Returns:
        A checked model of opset 18 and IR 9, without metadata.

    Raises:
        ExportError: The network cannot be exported, or the file does not hold what the network holds.
    """
    example = _example(preprocessing, kind)
    net = copy.deepcopy(net).cpu().float().eval()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    wrapped = WithEmbedding(net, preprocessing, kind).eval()
    calls = _batchnorm_calls(wrapped, example)
    model = _export(wrapped, example, INPUTS[kind])
    graph.rename(model, dict(zip([o.name for o in model.graph.output], OUTPUTS, strict=True)))
    heads.convolution_to_gemm(model)
    averages_to_pools(model)
    graph.strip(model)
    model.ir_version = graph.IR_VERSION
    graph.check_written(model)
    found = len(graph.batchnorms(model))
    if found < calls:
        raise ExportError(
            f"the network computes {calls} BatchNorms, but the exported file holds {found}: the exporter folded or"
            " rewrote some by itself; please report this network"
        )
    return model


def check_size(net: nn.Module) -> None:
    """Refuses a network that no ONNX file can hold, before anything is computed or copied.

    Raises:
        ExportError: Its parameters alone are too large.
    """
    parameters = sum(p.numel() for p in net.parameters())
    size = parameters * FLOAT32_BYTES
    if size > LARGEST_BYTES:
        raise ExportError(
            f"the network's {parameters:,} parameters take {size / 1e9:.2f} GB in float32; one ONNX file holds"
            f" {LARGEST_BYTES / 1e9:.2f} GB at most: choose a smaller network, or distill this one into one"
        )


def _example(preprocessing: Preprocessing, kind: str) -> torch.Tensor:
    height, width = preprocessing.input_size
    if kind not in INPUTS:
        raise ExportError(f"input is {kind!r}; allowed: {', '.join(INPUTS)}")
    if kind == "uint8":
        return torch.zeros(2, height, width, 3, dtype=torch.uint8)
    return torch.zeros(2, 3, height, width)


def _batchnorm_calls(wrapped: WithEmbedding, example: torch.Tensor) -> int:
    """How often a BatchNorm is computed in one pass; also meets what the network cannot do at this size."""
    count = [0]

    def counted(*_: Any) -> None:
        count[0] += 1

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    hooks = [m.register_forward_hook(counted) for m in wrapped.modules() if isinstance(m, kinds)]
    try:
        with torch.no_grad():
            wrapped(example)
    except Exception as error:
        size = "x".join(str(v) for v in example.shape)
        raise ExportError(f"the network fails on an input of {size} before any export: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    return count[0]


def _export(wrapped: WithEmbedding, example: torch.Tensor, name: str) -> onnx.ModelProto:
    try:
        with _quiet():
            program = torch.onnx.export(
                wrapped,
                (example,),
                dynamo=True,
                external_data=False,
                opset_version=graph.OPSET,
                dynamic_shapes={"x": {0: torch.export.Dim("N", min=1)}},
                input_names=[name],
                output_names=OUTPUTS,
                optimize=False,
                verbose=False,
            )
            if program is None:
                raise ExportError("torch.onnx.export returned nothing; expected a program")
            _optimise(program.model)
            return onnx.load_from_string(graph.to_bytes(program.model_proto))
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"torch.onnx.export cannot export this network: {_gist(error)}") from error


def _optimise(model: Any) -> None:
    """Simplifies an exported graph without touching its BatchNormalization nodes, and makes every name unique."""
    from onnxscript import optimizer

    batchnorms = [n for n in model.graph if n.op_type == "BatchNormalization" and n.domain == ""]
    for node in batchnorms:
        node.domain = _HIDDEN_DOMAIN
    try:
        optimizer.optimize_ir(model, onnx_shape_inference=False)
    finally:
        for node in batchnorms:
            node.domain = ""
    model.opset_imports.pop(_HIDDEN_DOMAIN, None)
    unused = [name for name, value in model.graph.initializers.items() if not value.uses()]
    for name in unused:
        if model.graph.initializers[name] not in model.graph.outputs:
            del model.graph.initializers[name]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter's talk: deprecations inside torch, progress, and log lines about operators."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _gist(error: BaseException) -> str:
    """The innermost cause in one line, without the exporter's advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:400]}"
