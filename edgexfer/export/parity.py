"""ONNX Runtime against PyTorch: wrong exports exist without an error, so every export is compared.

The reference is the network as it was trained, not folded, called through its own ``forward`` on pixels normalised
by the textbook formula; nothing of the exported path is used to make it. Where the two are further apart than a
thousandth, PyTorch is asked in float64 too: golden samples are noise, and a network that has learned little may blow
that up until the roundings of float32 themselves show, in either runtime.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

from edgexfer.errors import ExportError
from edgexfer.export.figures import agreement, max_abs_error
from edgexfer.export.golden import feed, tolerance_of
from edgexfer.export.runtime import cuts, open_session, run
from edgexfer.export.torch_onnx import Network
from edgexfer.preprocessing import Preprocessing

EMBEDDED_BATCHES = 3
"""Batches whose embedding is compared too, one of each size; logits follow from it in all of them."""
ROUNDINGS = 16
"""How many times float32's own error in PyTorch another order of the same sums may make."""
MOST_EXPLAINED = 0.05
"""Of the largest value: where roundings alone would allow more than that, a comparison says nothing."""


@dataclass(frozen=True)
class Reference:
    """PyTorch's answers.

    Attributes:
        logits: ``(N, K)``.
        embedding: ``(M, D)`` of the first M pictures.
        in_float64: Computes the same in float64; ``None`` where that is what this is.
    """

    logits: np.ndarray
    embedding: np.ndarray
    in_float64: Callable[[], Reference] | None = None

    def rounding(self, name: str) -> float:
        """How far ``"logits"`` or ``"embedding"`` are from those in float64; 0 for a network that cannot compute so."""
        if self.in_float64 is None:
            return 0.0
        try:
            return max_abs_error(getattr(self, name), getattr(self.in_float64(), name))
        except ExportError:
            return 0.0


@dataclass(frozen=True)
class Parity:
    """How far two sets of answers are apart.

    Attributes:
        max_abs_error: Largest difference of a logit.
        top1_agreement: Fraction of pictures with the same first class.
        tolerance: What was allowed.
        logits: The artifact's own answers ``(N, K)``.
    """

    max_abs_error: float
    top1_agreement: float
    tolerance: float
    logits: np.ndarray


def reference(
    net: nn.Module, pixels: np.ndarray, preprocessing: Preprocessing, dtype: torch.dtype = torch.float32
) -> Reference:
    """PyTorch's answers on uint8 pixels ``(N, H, W, 3)``; the network's mode and device are left as they were.

    Args:
        net: The network, in ``dtype``.
        pixels: The pictures.
        preprocessing: The network's.
        dtype: What is computed in.

    Raises:
        ExportError: The network answers with NaN or infinity, or not at all.
    """
    was_training = [m for m in net.modules() if m.training]
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    logits, embedding = [], []
    net.eval()
    try:
        with torch.no_grad():
            for number, cut in enumerate(cuts(len(pixels))):
                x = torch.from_numpy(feed(pixels[cut], preprocessing, "float")).to(device, dtype)
                logits.append(net(x).to(dtype).cpu().numpy())
                if number < EMBEDDED_BATCHES:
                    embedding.append(_embed(net, x).to(dtype).cpu().numpy())
    except (RuntimeError, ValueError, IndexError, AttributeError) as error:
        size = "x".join(str(v) for v in preprocessing.input_size)
        raise ExportError(
            f"the network fails on pictures of {size} in batches of 1, 3 and 8, before any export: {error}"
        ) from error
    finally:
        for module in was_training:
            module.training = True
    exact = functools.cache(lambda: _in_float64(net, pixels, preprocessing)) if dtype is torch.float32 else None
    answers = Reference(np.concatenate(logits), np.concatenate(embedding), exact)
    if not (np.isfinite(answers.logits).all() and np.isfinite(answers.embedding).all()):
        raise ExportError("the network answers with NaN or infinity on real pictures; train it again before exporting")
    return answers


def compare(content: bytes, pixels: np.ndarray, expected: Reference, preprocessing: Preprocessing, kind: str) -> Parity:
    """Runs an ONNX file at batch 1, 3 and 8 and compares it with PyTorch.

    Args:
        content: The file's bytes.
        pixels: uint8 ``(N, H, W, 3)``.
        expected: PyTorch's answers on them.
        preprocessing: Mean and std for the float input.
        kind: ``"uint8"`` or ``"float"``.

    Raises:
        ExportError: An output is of another shape, or further off than a thousandth of its largest value, and more
            than roundings explain.
    """
    logits, embedding = run(open_session(content), pixels, preprocessing, kind)
    embedding = embedding[: len(expected.embedding)]
    tolerances = {}
    for name, found, wanted in (("embedding", embedding, expected.embedding), ("logits", logits, expected.logits)):
        if found.shape != wanted.shape:
            raise ExportError(f"ONNX Runtime gives {name} of shape {found.shape}, PyTorch {wanted.shape}")
        error, allowed = max_abs_error(found, wanted), tolerance_of(wanted)
        if not error <= allowed:
            explained = min(ROUNDINGS * expected.rounding(name), MOST_EXPLAINED * float(np.abs(wanted).max()))
            allowed = max(allowed, explained)
        tolerances[name] = allowed
        if not error <= allowed:
            raise ExportError(
                f"the exported file does not compute what the network computes: {name} differ by up to {error:.3g}"
                f" where {allowed:.3g} is allowed (largest value {np.abs(wanted).max():.3g}, {len(pixels)} pictures,"
                f" top-1 agreement {agreement(logits, expected.logits):.3f}); nothing was written"
            )
    return Parity(
        max_abs_error(logits, expected.logits),
        agreement(logits, expected.logits),
        tolerances["logits"],
        logits,
    )


def _in_float64(net: nn.Module, pixels: np.ndarray, preprocessing: Preprocessing) -> Reference:
    return reference(copy.deepcopy(net).double(), pixels, preprocessing, torch.float64)


def _embed(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return cast(Network, net).embed(x)
