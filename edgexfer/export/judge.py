"""The pictures that decide about an int8 form: how far it is from float32, and what it loses, on few of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from edgexfer.export import figures, graph
from edgexfer.export.kernels import slower_in_8_bits
from edgexfer.export.metadata import ArtifactInfo
from edgexfer.export.runtime import open_session, run

LOST_OF_CHANGED = 0.1
"""Of the answers that rounding to 8 bits changes, the share that accuracy loses, about: mostly they were uncertain."""


@dataclass(frozen=True)
class Loss:
    """What an int8 form loses.

    Attributes:
        measured: Points of accuracy on the pictures, or of pictures with another class where there are no labels.
        points: The same as far as it can be told from so few pictures, see ``steadied``; what the budget is held to.
    """

    measured: float
    points: float


@dataclass(frozen=True)
class Judge:
    """The pictures that decide, and float32's answers on them.

    Attributes:
        info: The float32 artifact's metadata.
        target: Whose arithmetic.
        images: uint8 ``(N, H, W, 3)``.
        labels: int64 ``(N,)`` or ``None``.
        wanted: float32's logits ``(N, K)``.
        timed: Whether this machine is the target, so that its times count.
    """

    info: ArtifactInfo
    target: str
    images: np.ndarray
    labels: np.ndarray | None
    wanted: np.ndarray
    timed: bool

    def divergence(self, model: onnx.ModelProto, count: int) -> float:
        """How far the class probabilities are from float32's, on ``count`` pictures from the whole of them."""
        some = spread(len(self.images), count)
        return figures.divergence(self.wanted[some], self._answers(model, self.images[some]))

    def loss(self, model: onnx.ModelProto) -> Loss:
        """What a model loses on all pictures."""
        found = self._answers(model, self.images)
        if not np.isfinite(found).all():
            return Loss(100.0, 100.0)
        changed = 100 * (1 - figures.agreement(found, self.wanted))
        if self.labels is None:
            return Loss(changed, changed)
        lost = 100 * (figures.top1(self.wanted, self.labels) - figures.top1(found, self.labels))
        return Loss(lost, steadied(lost, changed, len(self.labels)))

    def slower(self, model: onnx.ModelProto, wrapped: onnx.ModelProto) -> list[str]:
        """The layers whose kernels take longer in 8 bits here, see ``slower_in_8_bits``."""
        return slower_in_8_bits(model, wrapped, self.images[:1], self.info.preprocessing, self.info.input)

    def _answers(self, model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
        return answers(graph.to_bytes(model), images, self.info, self.target)


def steadied(measured: float, changed: float, images: int) -> float:
    """A loss measured on few pictures, drawn towards what as many changed answers usually lose.

    Each changed answer moves accuracy by one picture up, down or not at all, so the measured loss has a standard error
    of sqrt(changed / images) at most: with 256 pictures of which 12% change their class, two points, and the luck of
    the draw would decide. What they usually lose is ``LOST_OF_CHANGED`` of them, give or take as much. Both are weighed
    by their variances (a normal prior and a normal measurement; Gelman et al., Bayesian Data Analysis, section 2.5).

    Args:
        measured: Points of accuracy lost.
        changed: Points of pictures that get another class.
        images: How many pictures.
    """
    usual = LOST_OF_CHANGED * changed
    if not usual:
        return measured
    variance = 100 * changed / images
    return (measured * usual**2 + usual * variance) / (usual**2 + variance)


def spread(length: int, count: int) -> np.ndarray:
    """At most ``count`` of the places below ``length``, evenly over all: pictures often lie class by class."""
    return np.arange(length) if length <= count else np.arange(count) * length // count


def answers(content: bytes, images: np.ndarray, info: ArtifactInfo, target: str | None = None) -> np.ndarray:
    """Logits ``(N, K)`` as the target computes them: arm64 never saturates, so x86 must not either."""
    session = open_session(content, exact=target == "arm64")
    return run(session, images, info.preprocessing, info.input)[0]
