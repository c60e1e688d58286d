"""BatchNorm folding: the algebra, the plan with its reasons, the rewrite, the proof."""

from edgexfer.fold.folding import Folded, fold_batchnorm
from edgexfer.fold.plan import Fold, FoldPlan, Kept
from edgexfer.fold.proof import FoldProof

__all__ = ["Fold", "FoldPlan", "FoldProof", "Folded", "Kept", "fold_batchnorm"]
