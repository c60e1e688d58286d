"""Small ONNX graphs with BatchNorm statistics that matter, written by hand as other tools write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgexfer.fold.onnxfile.folding import FoldedGraph, fold_graph


class Net:
    """Builds a graph node by node; each method gives the name of its output."""

    def __init__(self, *shape: int | str, seed: int = 0, dtype: type = np.float32, prefix: str = "") -> None:
        self.prefix = prefix
        self.rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.shape = shape
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def tensor(self, value: np.ndarray, name: str = "") -> str:
        name = name or f"{self.prefix}t{len(self.tensors)}"
        value = value.astype(self.dtype) if value.dtype.kind == "f" else value
        self.tensors.append(numpy_helper.from_array(value, name))
        return name

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        made = [f"{self.prefix}v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, made, name=f"{self.prefix}n{len(self.nodes)}", **attributes))
        return made[0]

    def weight(self, *shape: int) -> str:
        return self.tensor(self.rng.normal(0, 1 / np.sqrt(max(np.prod(shape[1:]), 1)), shape))

    def conv(self, x: str, out: int, inner: int, kernel: Sequence[int] = (3, 3), bias: bool = True, **a: object) -> str:
        extra = [self.weight(out)] if bias else []
        return self.add("Conv", x, self.weight(out, inner, *kernel), *extra, **a)

    def bn(self, x: str, channels: int, **attributes: object) -> str:
        rng = self.rng
        gamma = rng.uniform(0.5, 1.5, channels) * np.where(rng.random(channels) < 0.3, -1, 1)
        rest = (rng.normal(0, 0.4, channels), rng.normal(0, 0.4, channels), rng.uniform(0.4, 2, channels))
        return self.add("BatchNormalization", x, *(self.tensor(v) for v in (gamma, *rest)), **attributes)

    def model(self, *outputs: str, opset: int = 17, ir: int = 8, domain: str = "") -> onnx.ModelProto:
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        inputs = [helper.make_tensor_value_info("x", kind, self.shape)]
        if ir < 4:
            inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.tensors]
        results = [helper.make_tensor_value_info(name, kind, None) for name in outputs or [self.nodes[-1].output[0]]]
        graph = helper.make_graph(self.nodes, "g", inputs, results, self.tensors)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
        if domain:
            made.opset_import.add(domain=domain, version=1)
        inferred = onnx.shape_inference.infer_shapes(made)
        for mine, its in zip(made.graph.output, inferred.graph.output, strict=True):
            mine.CopyFrom(its)
            if not mine.type.tensor_type.HasField("shape"):
                mine.CopyFrom(helper.make_tensor_value_info(mine.name, kind, ["a", "b", "c", "d"]))
        onnx.checker.check_model(made)
        return made


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))


def fold(model: onnx.ModelProto, folded: int, *reasons: str, **options: object) -> FoldedGraph:
    """Folds and checks what must hold for every graph: the count, the reasons, and ONNX Runtime's answers."""
    before = model.SerializeToString()
    result = fold_graph(model, **options)  # type: ignore[arg-type]
    assert model.SerializeToString() == before
    assert result.plan.folded == folded, result.plan
    assert len(result.plan.kept) == len(reasons), result.plan.kept
    for kept, reason in zip(result.plan.kept, reasons, strict=True):
        assert reason in kept.reason, kept.reason
    left = sum(n.op_type == "BatchNormalization" for n in result.model.graph.node)
    assert left == sum(n.op_type == "BatchNormalization" for n in model.graph.node) - folded - result.scaled
    assert result.proof.max_rel_error_f64 <= 1e-10
    onnx.checker.check_model(result.model, full_check=True)
    kind = model.graph.input[0].type.tensor_type
    dims = [d.dim_value or 2 for d in kind.shape.dim]
    x = np.random.default_rng(5).normal(0, 1, dims).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    for wanted, found in zip(run(model, x), run(result.model, x), strict=True):
        limit = {TensorProto.FLOAT16: 0.02, TensorProto.FLOAT: 1e-5}[kind.elem_type]
        assert np.abs(wanted.astype(float) - found).max() <= limit * np.abs(wanted.astype(float)).max()
    return result
