"""BatchNorms that the network had to keep, folded in the exported graph.

In a file each call of a layer is a node of its own: a layer called twice, a BatchNorm before pooling and a linear
layer, and the like, can be folded there although the module could not; what stays even then can be made a product and
a sum. What is done here is planned and proven by ``edgexfer.fold.onnxfile`` like any other file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from edgexfer.errors import FoldError
from edgexfer.fold import FoldProof, Kept
from edgexfer.fold.onnxfile.folding import fold_graph
from edgexfer.fold.onnxfile.layers import BATCHNORM
from edgexfer.fold.onnxfile.plan import is_scaled
from edgexfer.fold.onnxfile.view import View, input_of


@dataclass(frozen=True)
class SecondPass:
    """What came of it.

    Attributes:
        model: The model, folded further where it could be.
        kept: The BatchNorms that still stand, by their path in the network.
        proof: Of this pass; ``None`` where nothing was folded.
        given_up: Why nothing could be, although something might; ``None`` where that is not so.
    """

    model: onnx.ModelProto
    kept: tuple[Kept, ...]
    proof: FoldProof | None = None
    given_up: str | None = None


def fold_rest(model: onnx.ModelProto, kept: tuple[Kept, ...], *, scale_shift: bool = False) -> SecondPass:
    """Folds in the graph what was kept in the network.

    Args:
        model: The exported model.
        kept: What the network kept, with reasons.
        scale_shift: Make a product and a sum of each BatchNorm that stays otherwise.
    """
    paths = _paths(model)
    if not paths:
        return SecondPass(model, kept)
    try:
        folded = fold_graph(model, scale_shift=scale_shift)
    except FoldError as error:  # nothing can be proven, so nothing may be changed
        return SecondPass(model, kept, given_up=str(error))
    if not folded.plan.folded and not folded.scaled:
        return SecondPass(model, kept)
    standing = {paths.get(k.name, k.name): k for k in folded.plan.kept}
    told = (Kept(k.name, standing[k.name].reason) if is_scaled(standing.get(k.name, k)) else k for k in kept)
    left = tuple(k for k in told if k.name in standing or k.name not in set(paths.values()))
    return SecondPass(folded.model, left, folded.proof)


def _paths(model: onnx.ModelProto) -> Mapping[str, str]:
    """For each BatchNorm node its module's path in the network, told by the name of its running mean."""
    view = View(model)
    return {
        view.labels[i]: input_of(node, 3).removeprefix("net.").removesuffix(".running_mean")
        for i, node in enumerate(view.nodes)
        if view.is_a(i, BATCHNORM)
    }
