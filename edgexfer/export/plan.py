"""The quantization plan: every decision and every range, so that an int8 file can be made again byte for byte."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.errors import QuantizationError
from edgexfer.export.metadata import TARGETS
from edgexfer.files import FORMAT, read_json, write_json

METHODS = ("minmax", "entropy", "percentile 99.99", "percentile 99.9")
SYMMETRIES = ("asymmetric", "symmetric")
SEVEN_BITS = 64
"""The largest weight, up and down, where activations are uint8."""


@dataclass(frozen=True)
class QuantizationPlan:
    """How a float32 artifact becomes int8.

    Attributes:
        artifact_digest: Digest of the float32 artifact that it was made for.
        target: ``"x86"`` (uint8 activations, int8 weights of 7 bits) or ``"arm64"`` (int8 both).
        method: How the ranges were chosen, one of ``METHODS``.
        per_channel: One weight scale a channel, or one a tensor.
        ranges: Lowest and highest value of every quantized activation.
        float_layers: Names of the layers with weights that stay in float32, in the order of the graph; what only
            follows them stays with them.
        symmetric: Whether the 8-bit range of every activation lies around zero, as some accelerators want it.
        balanced: Whether weights are rounded so that each output keeps its sum, see ``rounding``; else to the nearest.
    """

    artifact_digest: str
    target: str
    method: str
    per_channel: bool
    ranges: Mapping[str, tuple[float, float]]
    float_layers: tuple[str, ...] = ()
    symmetric: bool = False
    balanced: bool = False

    @property
    def largest_weight(self) -> int:
        """What a weight's 8-bit number may be, up and down."""
        return SEVEN_BITS if self.reduce_range else 127

    @property
    def reduce_range(self) -> bool:
        """Whether weights keep to 7 bits: on x86, where 8-bit products saturate on processors without VNNI."""
        return self.target == "x86"

    def describe(self) -> str:
        """The decisions in a few words."""
        activations = f"{'symmetric ' * self.symmetric}{'uint8' if self.target == 'x86' else 'int8'}"
        weights = f"{'balanced ' * self.balanced}{'7-bit ' * self.reduce_range}int8"
        scale = "channel" if self.per_channel else "tensor"
        left = f", {len(self.float_layers)} layers in float32" if self.float_layers else ""
        how = f"{activations} activations ({self.method}), {weights} weights, one scale a {scale}"
        return f"{how}{left}, for {self.target}"


def write_plan(path: Path, plan: QuantizationPlan) -> None:
    """Writes a plan as JSON, whole or not at all."""
    write_json(
        path,
        {
            "format": FORMAT,
            "artifact_digest": plan.artifact_digest,
            "target": plan.target,
            "method": plan.method,
            "per_channel": plan.per_channel,
            "symmetric": plan.symmetric,
            "balanced": plan.balanced,
            "ranges": {name: list(pair) for name, pair in plan.ranges.items()},
            "float_layers": list(plan.float_layers),
        },
    )


def read_plan(path: Path) -> QuantizationPlan:
    """Reads what ``write_plan`` wrote.

    Raises:
        FormatError: The file is missing, damaged, or of a newer format.
        QuantizationError: A value is missing or not allowed.
    """
    value = read_json(path, "quantization plan")
    try:
        plan = QuantizationPlan(
            artifact_digest=str(value["artifact_digest"]),
            target=value["target"],
            method=value["method"],
            per_channel=value["per_channel"],
            ranges={str(name): _range(pair) for name, pair in value["ranges"].items()},
            float_layers=tuple(str(name) for name in value.get("float_layers", ())),
            symmetric=value.get("symmetric", False),
            balanced=value.get("balanced", False),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise QuantizationError(
            f"the plan {str(path)!r} is incomplete or malformed: {error!r}; make it anew"
        ) from error
    known = plan.target in TARGETS and plan.method in METHODS
    switches = (plan.per_channel, plan.symmetric, plan.balanced)
    if not known or not all(isinstance(switch, bool) for switch in switches):
        raise QuantizationError(
            f"the plan {str(path)!r} has target {plan.target!r}, method {plan.method!r}, per_channel"
            f" {plan.per_channel!r}, symmetric {plan.symmetric!r}, balanced {plan.balanced!r}; allowed:"
            f" {', '.join(TARGETS)}; {', '.join(METHODS)}; true or false (the last three)"
        )
    return plan


def _range(pair: Any) -> tuple[float, float]:
    low, high = (float(v) for v in pair)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"range {pair!r}")
    return low, high
