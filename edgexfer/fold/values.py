"""What folding hands on: the plan and the proof as plain values, the same for PyTorch networks and ONNX files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LIMIT = 1e-10
"""Largest relative error in float64 that a fold may make."""


@dataclass(frozen=True)
class Fold:
    """One BatchNorm and the layer that takes it up.

    Attributes:
        conv: The layer: a convolution, transposed convolution, linear layer, or another BatchNorm.
        batchnorm: The BatchNorm that becomes an identity.
        side: Where the BatchNorm stands, seen from the layer.
    """

    conv: str
    batchnorm: str
    side: Literal["after", "before"] = "after"


@dataclass(frozen=True)
class Kept:
    """One BatchNorm that stays, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class FoldPlan:
    """What is folded and what is kept; a BatchNorm shared by several layers has one ``Fold`` a layer."""

    folds: tuple[Fold, ...] = ()
    kept: tuple[Kept, ...] = ()

    @property
    def folded(self) -> int:
        """How many BatchNorm layers are folded."""
        return len({fold.batchnorm for fold in self.folds})

    @property
    def total(self) -> int:
        """How many BatchNorm layers the network has."""
        return self.folded + len(self.kept)


@dataclass(frozen=True)
class FoldProof:
    """How far the folded network is from the given one.

    Attributes:
        max_rel_error_f64: The largest relative error in float64, of all layers and all outputs.
        layers: For each place of folding its name and its relative error in float64, in the order of the plan.
        images: Pictures compared end to end.
        max_rel_error_f32: End to end in the network's own precision (float32 as a rule), weights rounded to it.
        layer_images: Pictures compared layer by layer (fewer where their activations would fill the memory).
    """

    max_rel_error_f64: float
    layers: tuple[tuple[str, float], ...]
    images: int
    max_rel_error_f32: float = 0.0
    layer_images: int = 0
