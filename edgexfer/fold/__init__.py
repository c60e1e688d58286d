"""BatchNorm folding: the algebra, the plan with its reasons, the rewrite, the proof.

``fold_batchnorm`` folds a PyTorch network, ``edgexfer.fold.onnxfile`` an ONNX file (which needs no torch, so torch is
loaded only when a network is folded).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgexfer.fold.values import Fold, FoldPlan, FoldProof, Kept

if TYPE_CHECKING:
    from edgexfer.fold.folding import Folded, fold_batchnorm

__all__ = ["Fold", "FoldPlan", "FoldProof", "Folded", "Kept", "fold_batchnorm"]


def __getattr__(name: str) -> Any:
    if name in ("Folded", "fold_batchnorm"):
        from edgexfer.fold import folding

        return getattr(folding, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
