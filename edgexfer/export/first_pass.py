"""BatchNorm folded in the network, before it becomes a file, and what is known of folding from then on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import onnx
import torch
from torch import nn

from edgexfer.export.golden import SEED, feed, golden_pixels
from edgexfer.export.request import ExportRequest, Pictures
from edgexfer.export.second_pass import fold_rest
from edgexfer.fold import FoldProof, Kept
from edgexfer.fold.onnxfile.plan import is_scaled

NOT_ASKED = "folding was turned off (--no-fold-bn)"
FOLD_EXAMPLES = 2

Say = Callable[[str], None]


@dataclass(frozen=True)
class Folding:
    """How far folding has come.

    Attributes:
        module: The folded network, or the given one where nothing was to be folded.
        folded: How many BatchNorms were.
        kept: Those that were not, with reasons.
        proofs: Of the network, and of what was folded further in the file.
    """

    module: nn.Module
    folded: int
    kept: tuple[Kept, ...]
    proofs: tuple[FoldProof, ...] = ()

    @property
    def max_rel_error_f64(self) -> float | None:
        """The largest error in float64; ``None`` where nothing was folded."""
        return max((p.max_rel_error_f64 for p in self.proofs), default=None)

    def to_dict(self) -> dict[str, Any]:
        """What the proof file says of folding: each layer's error, and that in the network's own precision."""
        layers = [{"name": name, "rel_error_f64": error} for proof in self.proofs for name, error in proof.layers]
        return {
            "max_rel_error_f64": self.max_rel_error_f64,
            "max_rel_error": max((p.max_rel_error_f32 for p in self.proofs), default=None),
            "images": max((p.images for p in self.proofs), default=0),
            "layers": layers,
        }


def fold_network(net: nn.Module, request: ExportRequest, pictures: Pictures, say: Say) -> Folding:
    """Folds a copy of ``net`` as far as ``request`` asks.

    Raises:
        FoldError: The network does not run, or the proof failed.
    """
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    if not request.fold_bn:
        names = [name for name, module in net.named_modules() if isinstance(module, kinds)]
        say(f"BatchNorm: 0 of {len(names)} folded ({NOT_ASKED})")
        return Folding(net, 0, tuple(Kept(name, NOT_ASKED) for name in names))
    from edgexfer.fold import fold_batchnorm

    net = copy.deepcopy(net).cpu().float().eval()
    pixels = pictures.images[:FOLD_EXAMPLES]
    if not len(pixels):
        pixels = golden_pixels(SEED, request.preprocessing)
    folded = fold_batchnorm(net, torch.from_numpy(feed(pixels, request.preprocessing, "float")))
    count, kept = folded.plan.folded, folded.plan.kept
    say(f"BatchNorm: {count} of {folded.plan.total} folded" + (f", {_errors(folded.proof)}" if count else ""))
    for entry in kept:
        say(f"  kept {entry.name}: {entry.reason}")
    return Folding(folded.module, count, kept, (folded.proof,) if count else ())


def fold_further(
    model: onnx.ModelProto, folding: Folding, scale_shift: bool, say: Say
) -> tuple[onnx.ModelProto, Folding]:
    """Folds in the exported ``model`` what the network had to keep, where that is exact."""
    second = fold_rest(model, folding.kept, scale_shift=scale_shift)
    if second.given_up is not None:
        say(f"  nothing more folded in the file: {second.given_up}")
    if second.proof is None:
        return model, folding
    more, scaled = len(folding.kept) - len(second.kept), sum(map(is_scaled, second.kept))
    made = f", {scaled} made a product and a sum" * bool(scaled)
    say(f"BatchNorm: {more} more folded in the file{made}, {_errors(second.proof)}")
    proofs = (*folding.proofs, second.proof)
    return second.model, replace(folding, folded=folding.folded + more, kept=second.kept, proofs=proofs)


def _errors(proof: FoldProof) -> str:
    return (
        f"float64 error {proof.max_rel_error_f64:.1e} at {len(proof.layers)} layers and end to end,"
        f" {proof.max_rel_error_f32:.1e} in float32"
    )
