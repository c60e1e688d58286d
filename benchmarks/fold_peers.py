"""What other tools make of the same BatchNorms: how many are left, and whether the network still computes the same.

Used by `fold_everything.py --peers`. Each tool gets the network with its lived-in statistics, in evaluation mode:

- ``fx``: `torch.fx.experimental.optimization.fuse`
- ``pairs``: `torch.nn.utils.fusion.fuse_conv_bn_eval` on children defined one after the other, as most recipes do
- ``torchscript``: `torch.onnx.export(dynamo=False)` with its defaults, which fold in evaluation mode
- ``dynamo``: `torch.onnx.export(dynamo=True)` with its defaults
- ``onnxslim`` (optional: `pip install onnxslim`), ``onnxruntime`` (its own optimiser, extended level) and ``edgexfer``
  (`edgexfer export model.onnx --fold-bn`): on one and the same ONNX file, in which every BatchNorm stands

Networks above ``LARGEST_PARAMETERS`` are folded by edgexfer only; dynamo exports none above ``LARGEST_DYNAMO``.
A tool is *wrong* where an output is off by more than a thousandth of the largest value and nobody said so.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgexfer.fold.onnxfile.folding import fold_graph

WRONG = 1e-3
LARGEST_PARAMETERS = 3.1e7
LARGEST_DYNAMO = 1.25e7  # its export takes half a minute and more


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def fused_by_fx(net: nn.Module) -> nn.Module:
    from torch.fx.experimental import optimization

    return optimization.fuse(net)


def fused_pairs(net: nn.Module) -> nn.Module:
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    made = copy.deepcopy(net)
    for parent in list(made.modules()):
        children = list(parent.named_children())
        for (first, layer), (second, batchnorm) in zip(children, children[1:], strict=False):
            pairs = (nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d)
            fits = any(isinstance(layer, a) and isinstance(batchnorm, b) for a, b in pairs)
            if fits and layer.out_channels == batchnorm.num_features:
                setattr(parent, first, fuse_conv_bn_eval(layer, batchnorm))
                setattr(parent, second, nn.Identity())
    return made


def exported(net: nn.Module, x: torch.Tensor, **options: Any) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(net, (x,), str(path), input_names=["x"], **options)
        return onnx.load(path)


def plain_file(net: nn.Module, x: torch.Tensor) -> onnx.ModelProto:
    """Every BatchNorm as its own node."""
    preserve = torch.onnx.TrainingMode.PRESERVE
    return exported(net, x, dynamo=False, opset_version=17, do_constant_folding=False, training=preserve)


def slimmed(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxslim

    with quiet():
        made: onnx.ModelProto = onnxslim.slim(copy.deepcopy(model))
    return made


def optimised_by_runtime(model: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(Path(folder) / "model.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def compare(net: nn.Module, x: torch.Tensor) -> dict[str, dict[str, Any]]:
    """One entry a tool: ``{left, rel_error, wrong}`` or ``{failed}``."""
    with torch.no_grad():
        wanted = _first(net(x)).numpy()
    rows: dict[str, dict[str, Any]] = {}
    modules: dict[str, Callable[[nn.Module], nn.Module]] = {"fx": fused_by_fx, "pairs": fused_pairs}
    for name, fuse in modules.items():
        rows[name] = _attempt(lambda fuse=fuse: _torch_row(fuse(net), x, wanted))  # type: ignore[misc]
    exporters: dict[str, dict[str, Any]] = {"torchscript": {"dynamo": False, "opset_version": 17}}
    if sum(p.numel() for p in net.parameters()) <= LARGEST_DYNAMO:
        exporters["dynamo"] = {"dynamo": True}
    for name, options in exporters.items():
        rows[name] = _attempt(lambda options=options: _onnx_row(exported(net, x, **options), x, wanted))  # type: ignore[misc]
    try:
        model = plain_file(net, x)
    except Exception as error:  # the exporter's errors are of all kinds
        return rows | {"plain file": {"failed": _short(error)}}
    files: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
        "onnxslim": slimmed,
        "onnxruntime": optimised_by_runtime,
        "edgexfer": lambda m: fold_graph(m).model,
    }
    rows["plain file"] = _attempt(lambda: _onnx_row(model, x, wanted))
    for name, change in files.items():
        rows[name] = _attempt(lambda change=change: _onnx_row(change(model), x, wanted))  # type: ignore[misc]
    return rows


def _attempt(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return run()
    except Exception as error:  # other people's tools: anything
        return {"failed": _short(error)}


def _torch_row(made: nn.Module, x: torch.Tensor, wanted: np.ndarray) -> dict[str, Any]:
    with torch.no_grad():
        found = _first(made(x)).numpy()
    return _row(sum(isinstance(m, _BatchNorm) for m in made.modules()), wanted, found)


def _onnx_row(made: onnx.ModelProto, x: torch.Tensor, wanted: np.ndarray) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    return _row(sum(n.op_type == "BatchNormalization" for n in made.graph.node), wanted, found)


def _row(left: int, wanted: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    error = float(np.abs(wanted - found).max() / np.abs(wanted).max())
    return {"left": left, "rel_error": error, "wrong": not error <= WRONG}


def _first(value: Any) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else _first(value[0])


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:160]


class Twice(nn.Module):
    """One convolution called twice, a BatchNorm of its own each time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return self.second(self.conv(torch.relu(self.first(self.conv(x)))))


class Skip(nn.Module):
    """The convolution's raw output is used again beside its BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        y = self.conv(x)
        return self.bn(y) + y


class Unordered(nn.Module):
    """Defined in another order than called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return self.last(torch.relu(self.conv(torch.relu(self.bn(x)))))


class Hooked(nn.Module):
    """A hook doubles what the convolution gives."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.conv.register_forward_hook(lambda module, given, made: torch.relu(made))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return self.bn(self.conv(x))


def hard_cases() -> dict[str, nn.Module]:
    """Small networks in which folding by pattern goes wrong or is left undone."""
    batchnorm = nn.BatchNorm2d
    return {
        "transposed convolution with groups": nn.Sequential(nn.ConvTranspose2d(3, 6, 3, groups=3), batchnorm(6)),
        "a convolution called twice": Twice(),
        "the raw output used again": Skip(),
        "defined in another order": Unordered(),
        "a hook on the convolution": Hooked(),
        "BatchNorm before a convolution": nn.Sequential(nn.ReLU(), batchnorm(3), nn.Conv2d(3, 4, 3)),
        "BatchNorm before a padded one": nn.Sequential(nn.ReLU(), batchnorm(3), nn.Conv2d(3, 4, 3, padding=1)),
        "two BatchNorms": nn.Sequential(nn.Conv2d(3, 4, 3), batchnorm(4), batchnorm(4)),
        "BatchNorm before a linear layer": nn.Sequential(
            nn.ReLU(), batchnorm(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)
        ),
        "linear layer": nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 5), nn.BatchNorm1d(5)),
        "without gamma and beta": nn.Sequential(nn.Conv2d(3, 4, 3), batchnorm(4, affine=False)),
        "reflecting padding": nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), batchnorm(4)),
    }
