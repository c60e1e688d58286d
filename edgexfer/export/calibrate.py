"""The ranges of activations, gathered from a stream of real pictures in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from edgexfer.errors import QuantizationError
from edgexfer.export import graph, qdq
from edgexfer.export.golden import feed
from edgexfer.export.held import hold_outputs
from edgexfer.export.histogram import Histogram
from edgexfer.export.plan import METHODS
from edgexfer.export.runtime import open_session
from edgexfer.preprocessing import Preprocessing

AT_ONCE = 4
TRIAL_IMAGES = 64


@dataclass(frozen=True)
class Calibration:
    """What the stream left behind.

    Attributes:
        ranges: For each of ``METHODS``, lowest and highest value of every activation.
        trial: uint8 ``(n, H, W, 3)``, at most ``TRIAL_IMAGES`` pictures drawn evenly from the stream, to choose on.
        images: How many pictures went by.
    """

    ranges: Mapping[str, Mapping[str, tuple[float, float]]]
    trial: np.ndarray
    images: int


class _Reservoir:
    """An even draw of at most ``size`` pictures from a stream of unknown length (Vitter's algorithm R)."""

    def __init__(self, size: int) -> None:
        self.size, self.seen, self.kept = size, 0, list[np.ndarray]()
        self.generator = np.random.Generator(np.random.PCG64(0))

    def add(self, batch: np.ndarray) -> None:
        for picture in batch:
            self.seen += 1
            if len(self.kept) < self.size:
                self.kept.append(picture.copy())
            elif (place := int(self.generator.integers(self.seen))) < self.size:
                self.kept[place] = picture.copy()


def calibrate(
    model: onnx.ModelProto, batches: Iterable[np.ndarray], preprocessing: Preprocessing, kind: str
) -> Calibration:
    """Runs the float32 model over the stream and keeps a histogram of each activation.

    Args:
        model: The float32 artifact.
        batches: uint8 ``(n, H, W, 3)`` each, from the training split; taken once.
        preprocessing: The artifact's.
        kind: The artifact's input, ``"uint8"`` or ``"float"``.

    Raises:
        QuantizationError: The stream holds no picture, or pictures of another size.
    """
    names = qdq.activations(model)
    session = open_session(graph.to_bytes(_with_outputs(model, names)))
    histograms = {name: Histogram() for name in names}
    reservoir = _Reservoir(TRIAL_IMAGES)
    for batch in batches:
        _check(batch, preprocessing)
        reservoir.add(batch)
        for start in range(0, len(batch), AT_ONCE):
            part = feed(batch[start : start + AT_ONCE], preprocessing, kind)
            values = session.run(names, {session.get_inputs()[0].name: part})
            for name, value in zip(names, values, strict=True):
                histograms[name].add(value)
    if not reservoir.seen:
        raise QuantizationError(
            "int8 needs real pictures to calibrate on, and none were given: pass the training split"
        )
    ranges = {method: {name: histograms[name].range(method) for name in names} for method in METHODS}
    return Calibration(ranges, np.stack(reservoir.kept), reservoir.seen)


def _with_outputs(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    held = hold_outputs(model)
    present = {o.name for o in held.graph.output}
    values = {v.name: v for v in (*held.graph.value_info, *held.graph.input)}
    held.graph.output.extend(values[n] for n in names if n not in present)
    return held


def _check(batch: np.ndarray, preprocessing: Preprocessing) -> None:
    height, width = preprocessing.input_size
    if batch.dtype != np.uint8 or batch.shape[1:] != (height, width, 3):
        raise QuantizationError(
            f"calibration pictures are {batch.dtype} {batch.shape}; expected uint8 (n, {height}, {width}, 3)"
        )
