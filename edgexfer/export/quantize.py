"""A float32 artifact becomes int8: calibrated on real pictures, chosen among candidates, proven; never with torch.

Static QDQ. For ``x86`` activations are uint8 and weights int8 kept to 7 bits: a processor without VNNI adds two 8-bit
products in 16 bits and would saturate, so 8-bit weights would answer differently from machine to machine. For
``arm64`` both are int8. How is chosen in ``choose``, on other pictures than those that the reported figures come from.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from edgexfer.errors import QuantizationError
from edgexfer.export import figures, graph, qdq
from edgexfer.export.calibrate import calibrate
from edgexfer.export.choose import Search, methods_of, symmetries_of
from edgexfer.export.golden import SEED, golden_of, golden_pixels, tolerance_of
from edgexfer.export.islands import island_seconds
from edgexfer.export.judge import Judge, answers
from edgexfer.export.metadata import TARGETS, ArtifactInfo, Proof
from edgexfer.export.plan import QuantizationPlan
from edgexfer.export.prepare import prepare
from edgexfer.export.progress import Bar, NoBar
from edgexfer.export.runtime import open_session, run
from edgexfer.export.speed import Race, race, thread_counts
from edgexfer.export.verdict import recommended, verdict_of

LEAST_AGREEMENT = 0.5
ENOUGH_IMAGES = 16
CHECKED_IMAGES = 8

Say = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """The float32 artifact that is quantized.

    Attributes:
        model: The graph.
        info: Its metadata.
        content: The file's bytes.
    """

    model: onnx.ModelProto
    info: ArtifactInfo
    content: bytes


@dataclass(frozen=True)
class Witnesses:
    """Pictures on which int8 and float32 are compared.

    Attributes:
        images: uint8 ``(N, H, W, 3)``; N may be 0, then the training pictures of the trial serve.
        labels: int64 ``(N,)``.
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Options:
    """What may be chosen on the way to int8.

    Attributes:
        target: One of ``TARGETS``; default this machine's.
        calibration: ``"auto"``, ``"minmax"``, ``"entropy"`` or ``"percentile"``.
        symmetry: ``"auto"``, ``"asymmetric"`` or ``"symmetric"``: whether the ranges of activations lie around zero.
        max_drop: Points of accuracy that may be lost; the most sensitive layers stay in float32 for it.
        tuning: Labelled pictures to choose on, none of them among the witnesses; else those of the calibration serve.
    """

    target: str | None = None
    calibration: str = "auto"
    symmetry: str = "auto"
    max_drop: float = 1.0
    tuning: Witnesses | None = None


@dataclass(frozen=True)
class Int8:
    """An int8 artifact that is not written yet, with what it was judged by.

    Attributes:
        content: The file's bytes.
        info: Its metadata.
        plan: How it was made.
        top1: Accuracy on the labelled pictures, ``None`` without any.
        top1_float32: The same of the float32 artifact.
        races: float32 against int8 on this machine, on one thread and on all cores; none when made for another.
        islands: Operators that compute in float32 between 8-bit layers, with their number.
        island_s: Seconds that they take here for one picture on one thread; ``None`` when made for another machine.
        drop: Accuracy lost on the labelled pictures, paired, with its interval; ``None`` without any.
        max_drop: Points of accuracy that may be lost.
        trace: What was tried on the way to the plan.
        verdict: Sentences in plain words, the bad ones too.
        recommended: ``"int8"`` or ``"float32"``; ``None`` where its speed is not known.
    """

    content: bytes
    info: ArtifactInfo
    plan: QuantizationPlan
    top1: float | None
    top1_float32: float | None
    races: tuple[Race, ...]
    islands: dict[str, int]
    island_s: dict[str, float] | None
    drop: figures.Drop | None
    max_drop: float
    trace: list[dict[str, Any]]
    verdict: tuple[str, ...] = ()
    recommended: str | None = None

    @property
    def speedup(self) -> float | None:
        """How many times faster than float32 it is here on one thread; ``None`` when it was made for another."""
        return self.races[0].speedup if self.races else None

    @property
    def speedups(self) -> dict[str, float]:
        """The same for each number of threads."""
        return {str(timed.threads): timed.speedup for timed in self.races}


def host_target() -> str:
    """The target that this machine is: ``"arm64"`` or ``"x86"``."""
    return "arm64" if platform.machine().lower() in ("aarch64", "arm64") else "x86"


def quantize(
    source: Source,
    witnesses: Witnesses,
    calibration: Iterable[np.ndarray],
    *,
    plan: QuantizationPlan | None = None,
    options: Options | None = None,
    say: Say = lambda _: None,
    bar: Bar | None = None,
) -> Int8:
    """Makes and judges the int8 form of a float32 artifact.

    Args:
        source: The float32 artifact.
        witnesses: Held-out pictures.
        calibration: Batches of uint8 ``(n, H, W, 3)`` from the training split, taken once; not needed with ``plan``.
        plan: A plan to repeat instead of calibrating.
        options: What may be chosen.
        say: Takes each sentence of the talk.
        bar: Shows how far the search is.

    Raises:
        QuantizationError: The options do not fit each other, there is nothing to calibrate on, or the result answers
            so differently that it is of no use.
    """
    options = options or Options()
    base = prepare(source.model)
    plan, trial, trace = _settle(source, base, calibration, plan, options, say, bar or NoBar())
    say(f"int8: {plan.describe()}")
    made = qdq.quantize(base, plan)
    images = witnesses.images if len(witnesses.images) else trial
    wanted = answers(source.content, images, source.info)
    content = graph.to_bytes(made)
    found = answers(content, images, source.info, plan.target)
    model, info = graph.attach(made, _label(source, plan, content, witnesses, found, wanted))
    _check(content, (images, found, wanted), source.info, info)
    final = graph.to_bytes(model)
    counts = thread_counts() if plan.target == host_target() else ()
    races = tuple(race(source.content, final, images[:1], info.preprocessing, info.input, n) for n in counts)
    drop = figures.paired_drop(wanted, found, witnesses.labels) if len(witnesses.labels) else None
    scores = [figures.top1(a, witnesses.labels) if len(witnesses.labels) else None for a in (found, wanted)]
    islands = qdq.float_islands(made)
    island_s = island_seconds(made, images[:1], info.preprocessing, info.input) if races else None
    result = Int8(final, info, plan, scores[0], scores[1], races, islands, island_s, drop, options.max_drop, trace)
    return replace(result, verdict=tuple(verdict_of(result, host_target())), recommended=recommended(result))


def _settle(
    source: Source,
    base: onnx.ModelProto,
    calibration: Iterable[np.ndarray],
    plan: QuantizationPlan | None,
    options: Options,
    say: Say,
    bar: Bar,
) -> tuple[QuantizationPlan, np.ndarray, list[dict[str, Any]]]:
    """The plan, the pictures it was chosen on (the golden ones when it was given), and what was tried."""
    target = options.target
    if target is not None and target not in TARGETS:
        raise QuantizationError(f"target is {target!r}; allowed: {', '.join(TARGETS)}")
    if source.info.precision != "float32":
        raise QuantizationError(f"this artifact is {source.info.precision} already; quantize the float32 one")
    methods = methods_of(options.calibration)
    symmetries = symmetries_of(options.symmetry, target or host_target())
    if plan is not None:
        if target not in (None, plan.target):
            raise QuantizationError(f"the plan is for {plan.target}, but --target is {target}; drop one of the two")
        if plan.artifact_digest != source.info.digest:
            raise QuantizationError(
                f"the plan was made for the artifact {plan.artifact_digest[:12]}, this one is"
                f" {source.info.digest[:12]}; export without --plan to make a new plan"
            )
        return plan, golden_pixels(SEED, source.info.preprocessing), []
    if target is None:
        say(f"int8 target: {host_target()}, the kind of this machine (--target chooses another)")
    seen = calibrate(base, calibration, source.info.preprocessing, source.info.input)
    say(f"int8: calibrated on {seen.images} training pictures")
    judge = _judge(source, seen.trial, options.tuning, target or host_target())
    search = Search(base, judge, options.max_drop, say, bar)
    return search.choose(source.info.digest, seen.ranges, methods, symmetries), seen.trial, search.trace


def _judge(source: Source, trial: np.ndarray, tuning: Witnesses | None, target: str) -> Judge:
    labelled = tuning is not None and len(tuning.images) >= ENOUGH_IMAGES
    images = tuning.images if tuning is not None and labelled else trial
    labels = tuning.labels if tuning is not None and labelled else None
    wanted = answers(source.content, images, source.info)
    return Judge(source.info, target, images, labels, wanted, target == host_target())


def _label(
    source: Source,
    plan: QuantizationPlan,
    content: bytes,
    witnesses: Witnesses,
    found: np.ndarray,
    wanted: np.ndarray,
) -> ArtifactInfo:
    """The int8 artifact's metadata."""
    info = source.info
    golden = answers(content, golden_pixels(SEED, info.preprocessing), info, plan.target)
    error = max(
        figures.max_abs_error(found, wanted), figures.max_abs_error(golden, np.array(info.golden.logits, np.float32))
    )
    agreement = figures.agreement(found, wanted)
    if not np.isfinite(error) or (agreement < LEAST_AGREEMENT and len(wanted) >= ENOUGH_IMAGES):
        raise QuantizationError(
            f"int8 names the same class as float32 on only {agreement:.1%} of {len(wanted)} pictures (largest logit"
            f" difference {error:.3g}): it is of no use and was not written; use the float32 file"
        )
    return replace(
        info,
        parent_sha256=hashlib.sha256(source.content).hexdigest(),
        precision="int8",
        target=plan.target,
        proof=Proof(info.proof.fold_max_rel_error_f64, error, agreement, len(witnesses.images)),
        golden=golden_of(golden, SEED, max(2 * error, tolerance_of(golden))),
        digest="",
    )


def _check(
    content: bytes, witnessed: tuple[np.ndarray, np.ndarray, np.ndarray], float32: ArtifactInfo, info: ArtifactInfo
) -> None:
    """The 8-bit kernels must compute what the file says: no saturation, no wrong fusion.

    What the file says is computed node by node, without 8-bit kernels. They may be as far from that as that is from
    float32: how they round is a part of what rounding to 8 bits costs. So nothing that they answer widens what they are
    allowed. Looked at are the pictures on which they are furthest from float32, and the golden samples; those, and
    pictures that are very few, may round well by luck, and are allowed what the others cost.

    Args:
        content: The int8 file's bytes.
        witnessed: Pictures uint8 ``(N, H, W, 3)``, the kernels' answers ``(N, K)`` and float32's.
        float32: The float32 artifact's metadata.
        info: The int8 artifact's.

    Raises:
        QuantizationError: They do not, on this machine.
    """
    session = open_session(content, optimised=False)
    apart = figures.farthest(witnessed[1], witnessed[2])[:CHECKED_IMAGES]
    golden = (np.array(i.golden.logits, np.float32) for i in (info, float32))
    looked_at = (tuple(part[apart] for part in witnessed), (golden_pixels(SEED, info.preprocessing), *golden))
    gaps, costs = [], []
    for images, found, wanted in looked_at:
        plain = run(session, images, info.preprocessing, info.input)[0]
        gaps.append(figures.max_abs_error(found, plain))
        costs.append(max(figures.max_abs_error(plain, wanted), tolerance_of(wanted)))
    costs = [costs[0] if len(apart) == CHECKED_IMAGES else max(costs), max(costs)]
    for gap, cost in zip(gaps, costs, strict=True):
        allowed = min(cost, info.golden.tolerance)
        if gap > allowed:
            raise QuantizationError(
                f"this machine's 8-bit arithmetic is off by {gap:.3g} from what the int8 file says, where"
                f" {allowed:.3g} is allowed: its products saturate; nothing was written, use the float32 file"
            )
