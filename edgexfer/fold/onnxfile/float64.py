"""A graph in float64, computed node by node by onnx's reference implementation: no runtime, no kernels, no fusions.

It shares nothing with folding but the operators' definitions. Three of them are ours where the reference is wrong: it
takes BatchNormalization of opset 9 to 13 for training mode, fails on transposed convolutions with groups, and pads
too much where MaxPool rounds its size up at a stride of 1.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Set
from typing import Any, cast

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops import op_conv_transpose as reference_ops
from onnx.reference.ops import op_max_pool as pooling

from edgexfer.errors import FoldError
from edgexfer.fold.onnxfile import source
from edgexfer.fold.onnxfile.view import FLOATS, STANDARD, reads, widened

ENDLESS = ("Loop", "Scan")
MEMORY_BYTES = 8 * 2**30
"""How much more memory than now one computation may take."""


class BatchNormalization(OpRun):
    """The definition of opset 6 to 15, with the first output only."""

    op_domain = ""

    def _run(  # noqa: D102
        self, x: Any, scale: Any, bias: Any, mean: Any, var: Any, epsilon: Any = None, training_mode: Any = None,
        **others: Any,
    ) -> tuple[np.ndarray]:  # fmt: skip
        shape = (1, -1, *[1] * (x.ndim - 2))
        if training_mode or (self.onnx_node.output[1:] and any(self.onnx_node.output[1:])):
            axes = tuple(a for a in range(x.ndim) if a != 1)
            mean, var = x.mean(axis=axes), x.var(axis=axes)
        normal = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + (1e-5 if epsilon is None else epsilon))
        return (normal * scale.reshape(shape) + bias.reshape(shape),)


class ConvTranspose(reference_ops.ConvTranspose):
    """The reference's, one group at a time."""

    op_domain = ""

    def _run(  # type: ignore[override]  # noqa: D102
        self, x: Any, weight: Any, bias: Any = None, group: Any = None, **others: Any
    ) -> tuple[np.ndarray]:
        run: Any = super()._run
        count = group or 1
        parts = zip(np.split(x, count, axis=1), np.split(weight, count), strict=True)
        made = [run(a, w, None, group=1, **others)[0] for a, w in parts]
        whole: np.ndarray = np.concatenate(made, axis=1)
        return (whole if bias is None else whole + bias.reshape(1, -1, *[1] * (x.ndim - 2)),)


class MaxPool(pooling.MaxPool):
    """The reference's own general form, at every stride."""

    op_domain = ""

    def _run(  # type: ignore[override]  # noqa: D102
        self, x: Any, auto_pad: Any = None, ceil_mode: Any = None, dilations: Any = None, kernel_shape: Any = None,
        pads: Any = None, storage_order: Any = None, strides: Any = None,
    ) -> Any:  # fmt: skip
        form = (auto_pad, ceil_mode, dilations, kernel_shape, pads, storage_order, strides)
        general, usual = cast(Any, self)._max_pool, cast(Any, super())._run
        return general(x, *form) if ceil_mode else usual(x, *form)


def to_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every floating-point tensor, input, output and cast is float64."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for tensor in source.tensors(made):
        if tensor.data_type in FLOATS:
            tensor.CopyFrom(numpy_helper.from_array(widened(tensor), tensor.name))
    for graph in source.graphs(made.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in FLOATS:
                value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for node in source.nodes(made):
        if node.domain in STANDARD:
            _widen(node)
    return made


def _widen(node: onnx.NodeProto) -> None:
    for entry in node.attribute:
        if entry.name in ("to", "dtype") and entry.i in FLOATS:
            entry.i = TensorProto.DOUBLE
    if node.op_type == "Constant":
        for entry in node.attribute:
            if entry.name in ("value_float", "value_floats"):
                value = np.array(helper.get_attribute_value(entry), dtype=np.float64)
                entry.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(value)))


class Evaluator:
    """Runs one model; values are let go when their last reader has run.

    Raises:
        FoldError: The model uses operators that are not defined by ONNX, or may run forever.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        endless = [n.op_type for n in source.nodes(model) if n.op_type in ENDLESS and n.domain in STANDARD]
        if endless:
            raise FoldError(f"it holds a {endless[0]}, whose end cannot be foreseen")
        self.outputs = [o.name for o in model.graph.output]
        self.nested = any(True for node in model.graph.node for _ in source.inside(node))
        self.last = {name: i for i, node in enumerate(model.graph.node) for name in reads(node)}
        try:
            self.reference = ReferenceEvaluator(model, new_ops=[BatchNormalization, ConvTranspose, MaxPool])
        except Exception as error:  # operators of unknown domains and damaged attributes: its errors are of all kinds
            raise FoldError(f"it cannot be computed without a runtime: {_short(error)}") from error

    def run(self, feeds: Mapping[str, np.ndarray], keep: Set[str]) -> dict[str, np.ndarray]:
        """The values of ``keep`` and of the outputs.

        Raises:
            FoldError: A node cannot be computed, or takes more than ``MEMORY_BYTES``.
        """
        wanted = set(keep) | set(self.outputs)
        values: dict[str, Any] = {"": None, **self.reference.rt_inits_, **feeds}
        with limited_memory(), np.errstate(all="ignore"):
            for index, node in enumerate(self.reference.rt_nodes_):
                try:
                    given = [values[name] for name in node.input]
                    context = {"context": values} if node.need_context() else {}
                    made = node.run(*given, **context)
                except MemoryError as error:
                    raise FoldError(f"{node.op_type!r} needs more than {MEMORY_BYTES >> 30} GiB of memory") from error
                except Exception as error:  # numpy's and the reference's errors on odd graphs are of all kinds
                    raise FoldError(f"{node.op_type!r} cannot be computed: {_short(error)}") from error
                values.update(zip(node.output, made, strict=False))
                if not self.nested:
                    for name in {*node.input, *node.output}:
                        if self.last.get(name, -1) <= index and name not in wanted:
                            values.pop(name, None)
        return {name: values[name] for name in wanted if name in values}


@contextlib.contextmanager
def limited_memory(more_bytes: int = MEMORY_BYTES) -> Iterator[None]:
    """Lets this process take at most so much more address space while the block runs, where the system can."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as stream:
            now = int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        before = resource.getrlimit(resource.RLIMIT_AS)
        limits = [v for v in (now + more_bytes, *before) if v != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(limits), before[1]))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _short(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."
