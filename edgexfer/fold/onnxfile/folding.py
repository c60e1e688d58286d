"""Folding an ONNX file from end to end: plan, rewrite, proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from edgexfer.errors import FoldError
from edgexfer.fold.onnxfile import proof
from edgexfer.fold.onnxfile.layers import BATCHNORM
from edgexfer.fold.onnxfile.plan import make_plan
from edgexfer.fold.onnxfile.rewrite import fold
from edgexfer.fold.onnxfile.view import View
from edgexfer.fold.values import FoldPlan, FoldProof


@dataclass(frozen=True)
class FoldedGraph:
    """A folded copy of a model, what was done to it, and the proof that it computes the same."""

    model: onnx.ModelProto
    plan: FoldPlan
    proof: FoldProof
    scaled: int = 0


def fold_graph(
    model: onnx.ModelProto, *, input_shape: Sequence[int] | None = None, scale_shift: bool = False
) -> FoldedGraph:
    """Folds every BatchNormalization of ``model`` that can be folded exactly, and proves it.

    Args:
        model: As ``source.read_onnx`` reads it; not changed.
        input_shape: Shape of the first input for the proof, where the file leaves it open.
        scale_shift: Make a product and a sum of each BatchNorm that stays otherwise, for quantizers and runtimes
            that know no BatchNorm.

    Raises:
        FoldError: The proof failed, or nothing can be proven because the graph cannot be computed.
    """
    plan = make_plan(View(model), scale_shift=scale_shift)
    if not plan.steps and not plan.scales:
        return FoldedGraph(model, plan.plan, FoldProof(0.0, (), 0))
    folded = fold(model, plan)
    try:
        onnx.checker.check_model(folded)
    except onnx.checker.ValidationError as error:
        raise FoldError(f"folding made an invalid graph: {error}; please report this file") from error
    left = sum(n.op_type == BATCHNORM for n in folded.graph.node)
    found = sum(n.op_type == BATCHNORM for n in model.graph.node)
    if found - left != len(plan.steps) + len(plan.scales):
        raise FoldError(
            f"{found} BatchNorms became {left}, the plan says {len(plan.steps)} fewer; please report this file"
        )
    return FoldedGraph(folded, plan.plan, proof.prove(model, plan, folded, input_shape), len(plan.scales))
