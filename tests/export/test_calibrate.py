"""The ranges that calibration finds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edgexfer.export import calibrate, qdq
from edgexfer.export.plan import METHODS
from edgexfer.export.quantize import Source
from tests.export.nets import TALL, coloured


def test_calibration_takes_a_stream_and_keeps_little(source: Source) -> None:
    taken = []

    def stream() -> Iterator[np.ndarray]:
        for i in range(9):
            taken.append(i)
            yield coloured(8, seed=40 + i)[0]

    seen = calibrate.calibrate(source.model, stream(), source.info.preprocessing, "uint8")
    assert seen.images == 72 and len(taken) == 9 and len(seen.trial) == calibrate.TRIAL_IMAGES
    assert set(seen.ranges) == set(METHODS)
    for name, (low, high) in seen.ranges["minmax"].items():
        for method in METHODS[1:]:
            inner = seen.ranges[method][name]
            assert low <= inner[0] <= inner[1] <= high
    assert set(seen.ranges["minmax"]) == set(qdq.activations(source.model))


def test_minmax_ranges_are_those_of_the_values(source: Source) -> None:
    pixels, _ = coloured(8, seed=50)
    seen = calibrate.calibrate(source.model, [pixels[:3], pixels[3:]], source.info.preprocessing, "uint8")
    mean, std = np.array(TALL.mean), np.array(TALL.std)
    first = ((pixels / 255.0) - mean) / std
    conv = next(n for n in source.model.graph.node if n.op_type == "Conv")
    assert seen.ranges["minmax"][conv.input[0]] == pytest.approx((first.min(), first.max()), abs=1e-5)
