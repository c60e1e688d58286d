"""What another activation saves and costs: a student beside the same network with the activation of its design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from edgexfer import nets
from edgexfer.export import qdq
from edgexfer.export.calibrate import calibrate
from edgexfer.export.golden import SEED, golden_pixels
from edgexfer.export.graph import to_bytes
from edgexfer.export.plan import QuantizationPlan
from edgexfer.export.prepare import prepare
from edgexfer.export.quantize import host_target
from edgexfer.export.speed import cpu_seconds
from edgexfer.export.torch_onnx import to_onnx
from edgexfer.fold import fold_batchnorm
from edgexfer.preprocessing import Preprocessing
from edgexfer.runs import Run, is_run, read_run

KIND = "uint8"
_SCORES = ("val_top1", "test_top1")


@dataclass(frozen=True)
class Swap:
    """Both networks side by side.

    Attributes:
        before: Name of the network with its own activation.
        after: Name of the student.
        float32_s: Processor seconds of one picture on one thread of this machine, before and after.
        int8_s: The same with every layer in 8 bits that can be.
        scores_before: ``val_top1`` and ``test_top1`` of the run that the student began from; empty without one.
        scores_after: Of the student.
    """

    before: str
    after: str
    float32_s: tuple[float, float]
    int8_s: tuple[float, float]
    scores_before: Mapping[str, float | None]
    scores_after: Mapping[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """As ``edgexfer distill --json`` prints it."""
        return asdict(self)


def measure_swap(run: Run, weights: str) -> Swap | None:
    """What the student's activation changed; ``None`` for a network with its own.

    Speed does not ask for trained weights: both networks are timed with random ones, turn by turn.

    Args:
        run: The student's.
        weights: What it began from; the scores of a run with the network's own activation are those before.
    """
    before, activation = nets.split_name(run.model)
    if activation is None:
        return None
    classes, rule = len(run.classes), run.preprocessing
    contents = [content for name in (before, run.model) for content in _files(name, classes, rule)]
    seconds = cpu_seconds(contents, golden_pixels(SEED, rule)[:1], rule, KIND)
    began = read_run(Path(weights)) if is_run(Path(weights)) else None
    comparable = began is not None and began.model == before and began.splits_fingerprint == run.splits_fingerprint
    return Swap(
        before,
        run.model,
        (seconds[0], seconds[2]),
        (seconds[1], seconds[3]),
        {key: began.scores[key] for key in _SCORES} if began is not None and comparable else {},
        {key: run.scores[key] for key in _SCORES},
    )


def _files(name: str, classes: int, rule: Preprocessing) -> tuple[bytes, bytes]:
    """An untrained network of that shape as float32 and int8 ONNX."""
    net = nets.create(name, classes, input_size=rule.input_size).eval()
    folded = fold_batchnorm(net, torch.zeros(1, 3, *rule.input_size)).module
    model = prepare(to_onnx(folded, rule, KIND))
    ranges = calibrate(model, [golden_pixels(SEED, rule)], rule, KIND).ranges["minmax"]
    int8 = qdq.quantize(model, QuantizationPlan("", host_target(), "minmax", True, ranges))
    return to_bytes(model), to_bytes(int8)
