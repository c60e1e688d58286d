"""Which int8 form an artifact gets: ranges, scales, and the layers that stay in float32; decided on pictures, measured.

1. Every candidate (how ranges are chosen, one weight scale a channel or a tensor) is tried; the one whose class
   probabilities stay closest to float32's, by Kullback and Leibler, is taken. Its weights are rounded to the nearest,
   or so that each output keeps its sum, whichever is closer: a network that learned with rounding learned the former.
2. The first layers stay in float32 as long as that makes the file faster on this machine: a convolution over three
   channels can be slower in 8 bits, and is the most sensitive. So do further layers whose own 8-bit kernel is slower
   than that in float32, where the file as a whole gains by it.
3. Where the loss is above the budget, each layer's part in it is measured by leaving it alone in float32, and what it
   costs; the fewest layers with the largest gain for their cost stay in float32 until the loss is within the budget.

The loss is accuracy on labelled pictures where there are labels, steadied where they are few, else the share of
pictures that get another class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import onnx

from edgexfer.errors import QuantizationError
from edgexfer.export import graph, qdq
from edgexfer.export.held import weighted_layers
from edgexfer.export.judge import Judge
from edgexfer.export.plan import METHODS, SYMMETRIES, QuantizationPlan
from edgexfer.export.progress import Bar, NoBar
from edgexfer.export.speed import cpu_seconds

FRONTS = (1, 2, 3, 4, 6, 8, 12)
LARGEST_FRONT = 4
"""A quarter of the layers at most."""
MOST_SLOW = 8
TIMES = 3
FASTER = 0.99
CANDIDATE_IMAGES = 256
RANKING_IMAGES = 32
PRUNED = 8

Say = Callable[[str], None]
Candidate = tuple[float, QuantizationPlan, onnx.ModelProto]
"""A distance from float32, the plan, and what it makes."""


@dataclass
class Search:
    """One choice in the making.

    Attributes:
        base: The prepared float32 model.
        judge: The pictures that decide.
        max_drop: Points of accuracy that may be lost.
        say: Takes each sentence.
        bar: Shows how far it is.
        trace: Everything that was tried, for the proof file.
    """

    base: onnx.ModelProto
    judge: Judge
    max_drop: float
    say: Say = lambda _: None
    bar: Bar = field(default_factory=NoBar)
    trace: list[dict[str, Any]] = field(default_factory=list)

    def choose(
        self,
        digest: str,
        ranges: Mapping[str, Mapping[str, tuple[float, float]]],
        methods: Sequence[str],
        symmetries: Sequence[str] = SYMMETRIES[:1],
    ) -> QuantizationPlan:
        """The plan.

        Args:
            digest: Of the float32 artifact.
            ranges: For each method, lowest and highest value of every activation.
            methods: Those of ``METHODS`` that may be used.
            symmetries: Those of ``SYMMETRIES`` that may be.

        Raises:
            QuantizationError: Every candidate answers with NaN.
        """
        plan, wrapped = self._candidate(digest, ranges, list(product(methods, symmetries, (True, False))))
        layers = weighted_layers(self.base)
        faster = self._front(wrapped, layers)
        faster += self._slow(wrapped, layers, faster)
        left = self._sensitive(wrapped, layers, faster)
        return replace(plan, float_layers=tuple(name for name in layers if name in {*faster, *left}))

    def _candidate(
        self,
        digest: str,
        ranges: Mapping[str, Mapping[str, tuple[float, float]]],
        tried: Sequence[tuple[str, str, bool]],
    ) -> tuple[QuantizationPlan, onnx.ModelProto]:
        best: Candidate | None = None
        self.bar.begin("int8 candidates", len(tried) + 1)
        for number, (method, symmetry, per_channel) in enumerate(tried, 1):
            symmetric = symmetry == "symmetric"
            plan = QuantizationPlan(digest, self.judge.target, method, per_channel, ranges[method], symmetric=symmetric)
            best = self._closer(plan, best)
            self.bar.advance(number, method)
        if best is not None:
            best = self._closer(replace(best[1], balanced=True), best)
            self.bar.advance(len(tried) + 1, "balanced")
        self.bar.end()
        if best is None:
            raise QuantizationError("every int8 candidate answers with NaN; use the float32 file")
        self.say(
            f"int8: of {len(tried) + 1} candidates the closest to float32 was {best[1].method},"
            f" {'symmetric, ' * best[1].symmetric}one scale a {'channel' if best[1].per_channel else 'tensor'}"
            f"{', balanced weights' * best[1].balanced}"
        )
        return best[1], best[2]

    def _closer(self, plan: QuantizationPlan, best: Candidate | None) -> Candidate | None:
        """The candidate that a plan is, where it is closer to float32 than ``best``; else ``best``."""
        wrapped = qdq.wrap(self.base, plan)
        apart = self.judge.divergence(self._with(wrapped, ()), CANDIDATE_IMAGES)
        kinds = {"per_channel": plan.per_channel, "symmetric": plan.symmetric, "balanced": plan.balanced}
        self._note("candidate", method=plan.method, **kinds, divergence=apart)
        return (apart, plan, wrapped) if np.isfinite(apart) and (best is None or apart < best[0]) else best

    def _front(self, wrapped: onnx.ModelProto, layers: Sequence[str]) -> list[str]:
        """The first layers, as many as make the file faster in float32 on this machine."""
        if not self.judge.timed:
            return []
        best, speedup, worse = 0, 1.0, 0
        most = min(max(1, len(layers) // LARGEST_FRONT), len(layers) - 1)  # one layer at least has to be int8
        for count in (c for c in FRONTS if c <= most):
            gain = self._gain("front", wrapped, layers[:best], layers[:count])
            best, speedup, worse = (count, speedup * gain, 0) if gain > 1 else (best, speedup, worse + 1)
            if worse == 2:
                break
        if best:
            named = layers[0] if best == 1 else f"the first {best} layers"
            self.say(f"int8: {named} in float32, {speedup:.2f}x faster here than in 8 bits too")
        return list(layers[:best])

    def _slow(self, wrapped: onnx.ModelProto, layers: Sequence[str], front: list[str]) -> list[str]:
        """Layers after the first ones that make the file faster in float32 on this machine, each tried alone."""
        room = min(MOST_SLOW, len(layers) - 1 - len(front))  # one layer at least has to be int8
        if not self.judge.timed or room < 1:
            return []
        tried = [name for name in self.judge.slower(self.base, self._with(wrapped, ())) if name not in front][:room]
        if not tried:
            return []
        left: list[str] = []
        self.bar.begin("int8 layers by time", len(tried))
        for number, name in enumerate(tried, 1):
            left += [name] if self._gain("slow", wrapped, [*front, *left], [*front, *left, name]) > 1 else []
            self.bar.advance(number, name)
        self.bar.end()
        if left:
            self.say(f"int8: {', '.join(left)} in float32, because the file is faster so here")
        return left

    def _gain(self, step: str, wrapped: onnx.ModelProto, names: Sequence[str], more: Sequence[str]) -> float:
        """How many times faster the file is with ``more`` layers in float32 than with ``names``; 1 if it is not.

        It must be so each time: two sessions of one and the same file can be a percent apart for as long as they live.
        """
        models = [self._with(wrapped, names), self._with(wrapped, more)]
        pairs: list[tuple[float, float]] = []
        while len(pairs) < TIMES and all(more_s < FASTER * now_s for now_s, more_s in pairs):
            now_s, more_s = self._seconds(models)
            pairs.append((now_s, more_s))
        now_s, more_s = pairs[-1]
        is_faster = more_s < FASTER * now_s
        if is_faster:
            now_s, more_s = sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]
        self._note(step, float_layers=list(more), cpu_s=more_s, against_cpu_s=now_s, times=len(pairs))
        return now_s / more_s if is_faster else 1.0

    def _sensitive(self, wrapped: onnx.ModelProto, layers: Sequence[str], front: list[str]) -> list[str]:
        """Further layers that stay in float32 so that the loss is within the budget."""
        loss = self._loss("loss", wrapped, front)
        if loss <= self.max_drop:
            return []
        ranked = self._ranked(wrapped, [name for name in layers if name not in front], front)
        chosen = self._fewest(wrapped, ranked, front)
        left = chosen if chosen is not None else []
        if chosen is None:
            self.say(
                f"int8 loses {loss:.1f} points, and no choice of layers in float32 brings that to {self.max_drop:g}"
            )
        else:
            self.say(
                f"int8 lost {loss:.1f} points; with {', '.join(left)} in float32 it keeps within {self.max_drop:g}"
            )
        return left

    def _ranked(self, wrapped: onnx.ModelProto, layers: Sequence[str], front: list[str]) -> list[str]:
        """The layers by what leaving each alone in float32 gains for what it costs."""
        base = self._with(wrapped, front)
        whole, base_s = self.judge.divergence(base, RANKING_IMAGES), self._seconds([base])[0]
        scores: dict[str, float] = {}
        self.bar.begin("int8 sensitivity", len(layers))
        for number, name in enumerate(layers, 1):
            tried = self._with(wrapped, [*front, name])
            gain = whole - self.judge.divergence(tried, RANKING_IMAGES)
            cost_s = max(self._seconds([tried])[0] - base_s, 0.005 * base_s) if self.judge.timed else 1.0
            scores[name] = gain / cost_s
            self._note("layer", layer=name, gain=gain, cost_s=cost_s if self.judge.timed else None)
            self.bar.advance(number, name)
        self.bar.end()
        return sorted(layers, key=lambda name: -scores[name])

    def _fewest(self, wrapped: onnx.ModelProto, ranked: Sequence[str], front: list[str]) -> list[str] | None:
        """The fewest of the ranked layers that keep the loss within the budget; ``None`` if none do."""

        def fits(names: Sequence[str]) -> bool:
            return self._loss("search", wrapped, [*front, *names]) <= self.max_drop

        most = len(ranked) - 1  # one layer at least has to be int8
        sizes = [*(2**power for power in range(most.bit_length()) if 2**power < most), most] if most > 0 else []
        high = next((size for size in sizes if fits(ranked[:size])), None)
        if high is None:
            return None
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(ranked[:middle]) else (middle, high)
        chosen = list(ranked[:high])
        for name in chosen[::-1][1 : PRUNED + 1]:
            without = [other for other in chosen if other != name]
            chosen = without if without and fits(without) else chosen
        return chosen

    def _loss(self, step: str, wrapped: onnx.ModelProto, names: list[str]) -> float:
        loss = self.judge.loss(self._with(wrapped, names))
        self._note(step, float_layers=names, loss_points=loss.points, measured_points=loss.measured)
        return loss.points

    def _with(self, wrapped: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
        return qdq.completed(wrapped, self.base, names)

    def _seconds(self, models: Sequence[onnx.ModelProto]) -> list[float]:
        if not self.judge.timed:
            return [1.0] * len(models)
        contents = [graph.to_bytes(model) for model in models]
        return cpu_seconds(contents, self.judge.images[:1], self.judge.info.preprocessing, self.judge.info.input)

    def _note(self, step: str, **found: Any) -> None:
        finite = {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in found.items()}
        self.trace.append({"step": step, **finite})


def methods_of(name: str) -> tuple[str, ...]:
    """The calibration methods that a name stands for: ``auto`` for all, ``percentile`` for both.

    Raises:
        QuantizationError: No method has that name.
    """
    found = METHODS if name == "auto" else tuple(m for m in METHODS if m.split()[0] == name)
    if not found:
        allowed = ", ".join(dict.fromkeys(["auto", *(m.split()[0] for m in METHODS)]))
        raise QuantizationError(f"calibration is {name!r}; allowed: {allowed}")
    return found


def symmetries_of(name: str, target: str) -> tuple[str, ...]:
    """What ``auto`` or one of ``SYMMETRIES`` stands for.

    On x86 only ranges as they are: a zero point costs nothing there, and ranges around zero waste levels. For arm64
    both are tried.

    Raises:
        QuantizationError: None has that name.
    """
    if name == "auto":
        return SYMMETRIES[:1] if target == "x86" else SYMMETRIES
    if name not in SYMMETRIES:
        raise QuantizationError(f"symmetry is {name!r}; allowed: auto, {', '.join(SYMMETRIES)}")
    return (name,)
