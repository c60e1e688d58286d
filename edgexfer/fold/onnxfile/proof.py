"""The proof: an ONNX graph before and after folding, layer by layer and end to end in float64, and as it is.

Errors are relative to the largest value, as in ``edgexfer.fold.proof``; a fold above ``LIMIT`` in float64 is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgexfer.errors import FoldError
from edgexfer.fold.onnxfile.float64 import Evaluator, limited_memory, to_float64
from edgexfer.fold.onnxfile.plan import GraphPlan
from edgexfer.fold.onnxfile.rewrite import fold
from edgexfer.fold.onnxfile.view import FLOATS, View
from edgexfer.fold.values import LIMIT, FoldProof
from edgexfer.onnxruntime_import import import_onnxruntime

SIZES = (224, 64, 32, 299, 28, 8)
IMAGES = 2
MOST_VALUES = 2**26
SEED = 0
WHOLE = tuple(getattr(TensorProto, kind) for kind in "UINT8 INT8 UINT16 INT16 UINT32 INT32 UINT64 INT64 BOOL".split())


@dataclass(frozen=True)
class Example:
    """Inputs that the graph runs on, made from a seed; one dictionary a run."""

    feeds: tuple[Mapping[str, np.ndarray], ...]


def relative_error(expected: np.ndarray, found: np.ndarray) -> float:
    """``max|expected - found| / max|expected|``; infinite if shapes differ or a value is not finite."""
    if expected.shape != found.shape:
        return float("inf")
    if expected.size == 0:
        return 0.0
    if expected.dtype.kind not in "fiu" and expected.dtype not in FLOATS.values():
        return 0.0 if expected.dtype == found.dtype and np.array_equal(expected, found) else float("inf")
    with np.errstate(all="ignore"):
        wide, other = expected.astype(np.float64), found.astype(np.float64)
        difference, largest = float(np.abs(wide - other).max()), float(np.abs(wide).max())
    if difference == 0.0:
        return 0.0
    error = difference / largest if largest > 0 else float("inf")
    return error if np.isfinite(error) else float("inf")


def examples(model: onnx.ModelProto, shape: Sequence[int] | None) -> Iterator[Example]:
    """Inputs to try, in turn: the file's own sizes, and several where it leaves them open.

    Args:
        model: The model.
        shape: The first input's shape, where the user says it.

    Raises:
        FoldError: An input is of a kind that no numbers can be made up for.
    """
    held = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in held]
    free = any(d.dim_value <= 0 for i in inputs for d in i.type.tensor_type.shape.dim[1:])
    for size in SIZES if free and shape is None else SIZES[:1]:
        for batch in (1, IMAGES):
            runs = IMAGES // batch
            rng = np.random.Generator(np.random.PCG64(SEED))
            made = [
                {v.name: _values(v, batch, size, shape if i == 0 else None, rng) for i, v in enumerate(inputs)}
                for _ in range(runs)
            ]
            yield Example(tuple(made))


def _values(
    value: onnx.ValueInfoProto, batch: int, size: int, shape: Sequence[int] | None, rng: np.random.Generator
) -> np.ndarray:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type not in (*FLOATS, *WHOLE):
        raise FoldError(f"the input {value.name!r} is no tensor of numbers, so no example of it can be made")
    sizes = [max(d.dim_value, 0) for d in kind.shape.dim]
    dims = [known or (batch if axis == 0 else size) for axis, known in enumerate(sizes)]
    if shape is not None:
        wrong = len(shape) != len(dims) or any(
            d.dim_value not in (0, s) for d, s in zip(kind.shape.dim, shape, strict=False)
        )
        if wrong:
            raise FoldError(f"--input-shape is {list(shape)}, but the input {value.name!r} is {_shown(value)}")
        dims = list(shape)
    if np.prod(dims, dtype=np.float64) > MOST_VALUES:
        raise FoldError(
            f"the input {value.name!r} is {dims}, more than {MOST_VALUES:,} numbers; give a smaller --input-shape"
        )
    if kind.elem_type in FLOATS:
        made: np.ndarray = rng.standard_normal(dims).astype(FLOATS[kind.elem_type])
        return made
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    if kind.elem_type == TensorProto.UINT8:
        return rng.integers(0, 256, dims, dtype=np.uint8)
    return np.ones(dims, dtype)


def _shown(value: onnx.ValueInfoProto) -> list[object]:
    return [d.dim_value or d.dim_param or "?" for d in value.type.tensor_type.shape.dim]


def prove(model: onnx.ModelProto, plan: GraphPlan, folded: onnx.ModelProto, shape: Sequence[int] | None) -> FoldProof:
    """Proves that ``folded``, made of ``model`` by ``plan``, computes the same.

    Raises:
        FoldError: It does not, or nothing can be proven because the graph cannot be computed in float64, or because its
            outputs are beyond the file's own precision.
    """
    wide = to_float64(model)
    wide_folded = fold(wide, plan, float64=True)
    sites = _sites(plan, wide, wide_folded)
    before, after = Evaluator(wide), Evaluator(wide_folded)
    errors, images = _compare(before, after, sites, examples(model, shape))
    worst = max(errors, key=lambda name: errors[name])
    if errors[worst] > LIMIT:
        raise FoldError(
            f"folding changed the file: relative error {errors[worst]:.1e} at {worst!r}, allowed {LIMIT:.0e}; nothing"
            " was written, please report this file"
        )
    own = _own_precision(model, folded, examples(model, shape))
    if not np.isfinite(own):
        raise FoldError(
            "its outputs in the file's own precision are not finite on the example, or zero before folding only;"
            " nothing can be proven and nothing was written: fold the file in a wider precision, such as float32"
        )
    layers = tuple((name, errors[name]) for name in sites)
    return FoldProof(errors[worst], layers, images, own, images)


def _sites(plan: GraphPlan, wide: onnx.ModelProto, folded: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the values that folding must not change: where a layer that took something up hands its work on."""
    view = View(wide)
    there = {name for node in folded.graph.node for name in node.output}
    names = [view.nodes[s.batchnorm if s.side == "after" else s.layer].output[0] for s in plan.steps]
    names += [view.nodes[plan.borders.get(index, index)].output[0] for index in plan.scales]
    before = {step.batchnorm for step in plan.steps if step.side == "before"} | set(plan.borders)
    before |= {step.batchnorm for step in plan.steps if step.layer in plan.borders}  # its output is that one's now
    unequal = {view.nodes[index].output[0] for index in before}
    return tuple(name for name in dict.fromkeys(names) if name in there and name not in unequal)


def _compare(
    before: Evaluator, after: Evaluator, sites: tuple[str, ...], tries: Iterator[Example]
) -> tuple[dict[str, float], int]:
    """The largest error of every site and output, on the first example that the graph runs on."""
    trouble: FoldError | None = None
    for example in tries:
        try:
            first = before.run(_wide(example.feeds[0]), set(sites))
        except FoldError as failed:
            trouble = trouble or failed
            continue
        errors: dict[str, float] = {}
        for number, feeds in enumerate(example.feeds):
            wanted = first if number == 0 else before.run(_wide(feeds), set(sites))
            if not all(np.isfinite(wanted[n]).all() for n in before.outputs if wanted[n].dtype.kind == "f"):
                raise FoldError("its outputs are not finite on the example, so that nothing can be proven")
            found = after.run(_wide(feeds), set(sites))
            for name in wanted:
                error = relative_error(wanted[name], found[name]) if name in found else float("inf")
                errors[name] = max(errors.get(name, 0.0), error)
        return errors, sum(_batch(feeds) for feeds in example.feeds)
    raise FoldError(f"no example input runs in float64: {trouble}") from trouble


def _own_precision(model: onnx.ModelProto, folded: onnx.ModelProto, tries: Iterator[Example]) -> float:
    """The largest error of the outputs in the file's own precision, both files run without any optimisation.

    Raises:
        FoldError: ONNX Runtime runs neither.
    """
    trouble: Exception | None = None
    with limited_memory():
        sessions = [_session(m) for m in (model, folded)]
        for example in tries:
            try:
                results = [[s.run(None, dict(feeds)) for feeds in example.feeds] for s in sessions]
            except Exception as refused:  # the runtime's errors share no base class of their own
                trouble = trouble or refused
                continue
            pairs = zip(*([v for run in runs for v in run] for runs in results), strict=True)
            return max((relative_error(a, b) for a, b in pairs if a.dtype.kind == "f"), default=0.0)
    raise FoldError(f"ONNX Runtime cannot run it on any example input: {trouble}") from trouble


def _session(model: onnx.ModelProto):  # type: ignore[no-untyped-def]
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise FoldError(f"ONNX Runtime {onnxruntime.__version__} refuses it: {error}") from error


def _wide(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    wide = set(FLOATS.values())
    return {n: v.astype(np.float64) if v.dtype in wide else v for n, v in feeds.items()}


def _batch(feeds: Mapping[str, np.ndarray]) -> int:
    first = next(iter(feeds.values()), None)
    return int(first.shape[0]) if first is not None and first.ndim else 1
