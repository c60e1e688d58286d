"""A float32 artifact becomes int8: calibrated on real pictures, chosen among candidates, proven; never with torch.

Static QDQ. For ``x86`` activations are uint8 and weights int8 kept to 7 bits: a processor without VNNI adds two 8-bit
products in 16 bits and would saturate, so 8-bit weights would answer differently from machine to machine. For
``arm64`` both are int8. Every candidate (how ranges are chosen, one weight scale a channel or a tensor) is tried on
training pictures, and the one whose class probabilities stay closest to float32's is taken; the figures reported come
from other pictures.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import onnx

from edgexfer.errors import QuantizationError
from edgexfer.export import figures, graph, qdq
from edgexfer.export.calibrate import Calibration, calibrate
from edgexfer.export.golden import SEED, golden_of, golden_pixels, tolerance_of
from edgexfer.export.metadata import TARGETS, ArtifactInfo, Proof
from edgexfer.export.plan import METHODS, QuantizationPlan
from edgexfer.export.runtime import open_session, run
from edgexfer.export.speed import Race, race

LOST_POINT = 0.01
LEAST_AGREEMENT = 0.5
ENOUGH_IMAGES = 16
NO_FASTER = 1.05
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
        logits: The float32 artifact's answers on them ``(N, K)``; computed when ``None``.
    """

    images: np.ndarray
    labels: np.ndarray
    logits: np.ndarray | None = None


@dataclass(frozen=True)
class Int8:
    """An int8 artifact that is not written yet, with what it was judged by.

    Attributes:
        content: The file's bytes.
        info: Its metadata.
        plan: How it was made.
        top1: Accuracy on the labelled pictures, ``None`` without any.
        top1_float32: The same of the float32 artifact.
        race: float32 against int8 on this machine, ``None`` when it was made for another.
        islands: Operators that compute in float32 between 8-bit layers.
        verdict: Sentences in plain words, the bad ones too.
    """

    content: bytes
    info: ArtifactInfo
    plan: QuantizationPlan
    top1: float | None
    top1_float32: float | None
    race: Race | None
    islands: dict[str, int]
    verdict: tuple[str, ...]


def host_target() -> str:
    """The target that this machine is: ``"arm64"`` or ``"x86"``."""
    return "arm64" if platform.machine().lower() in ("aarch64", "arm64") else "x86"


def quantize(
    source: Source,
    witnesses: Witnesses,
    calibration: Iterable[np.ndarray],
    *,
    target: str | None = None,
    plan: QuantizationPlan | None = None,
    say: Say = lambda _: None,
) -> Int8:
    """Makes and judges the int8 form of a float32 artifact.

    Args:
        source: The float32 artifact.
        witnesses: Held-out pictures.
        calibration: Batches of uint8 ``(n, H, W, 3)`` from the training split, taken once; not needed with ``plan``.
        target: One of ``TARGETS``; default this machine's.
        plan: A plan to repeat instead of calibrating.
        say: Takes each sentence of the talk.

    Raises:
        QuantizationError: The options do not fit each other, there is nothing to calibrate on, or the result answers
            so differently that it is of no use.
    """
    plan, trial = _settle(source, calibration, target, plan, say)
    say(f"int8: {plan.describe()}")
    made = qdq.quantize(source.model, plan)
    images = witnesses.images if len(witnesses.images) else trial
    wanted = witnesses.logits if witnesses.logits is not None and len(witnesses.images) else None
    if wanted is None:
        wanted = _answers(source.content, images, source.info)
    content = graph.to_bytes(made)
    found = _answers(content, images, source.info, plan.target)
    model, info = graph.attach(made, _label(source, plan, content, witnesses, found, wanted))
    _check(content, images, found, info)
    final = graph.to_bytes(model)
    timed = None
    if plan.target == host_target():
        timed = race(source.content, final, images[:1], info.preprocessing, info.input)
    scores = [figures.top1(a, witnesses.labels) if len(witnesses.labels) else None for a in (found, wanted)]
    islands = qdq.float_islands(made)
    result = Int8(final, info, plan, scores[0], scores[1], timed, islands, ())
    return replace(result, verdict=tuple(_verdict(result)))


def _settle(
    source: Source, calibration: Iterable[np.ndarray], target: str | None, plan: QuantizationPlan | None, say: Say
) -> tuple[QuantizationPlan, np.ndarray]:
    """The plan, and the pictures it was chosen on (the golden ones when it was given)."""
    if target is not None and target not in TARGETS:
        raise QuantizationError(f"target is {target!r}; allowed: {', '.join(TARGETS)}")
    if source.info.precision != "float32":
        raise QuantizationError(f"this artifact is {source.info.precision} already; quantize the float32 one")
    if plan is not None:
        if target not in (None, plan.target):
            raise QuantizationError(f"the plan is for {plan.target}, but --target is {target}; drop one of the two")
        if plan.artifact_digest != source.info.digest:
            raise QuantizationError(
                f"the plan was made for the artifact {plan.artifact_digest[:12]}, this one is"
                f" {source.info.digest[:12]}; export without --plan to make a new plan"
            )
        return plan, golden_pixels(SEED, source.info.preprocessing)
    if target is None:
        say(f"int8 target: {host_target()}, the kind of this machine (--target chooses another)")
    seen = calibrate(source.model, calibration, source.info.preprocessing, source.info.input)
    return _choose(source, seen, target or host_target(), say), seen.trial


def _choose(source: Source, seen: Calibration, target: str, say: Say) -> QuantizationPlan:
    """The candidate whose probabilities stay closest to float32's on pictures of the calibration."""
    wanted = _answers(source.content, seen.trial, source.info)
    best: tuple[float, QuantizationPlan] | None = None
    for plan in _candidates(source.info.digest, seen, target):
        content = graph.to_bytes(qdq.quantize(source.model, plan))
        apart = figures.divergence(wanted, _answers(content, seen.trial, source.info, target))
        if np.isfinite(apart) and (best is None or apart < best[0]):
            best = apart, plan
    if best is None:
        raise QuantizationError("every int8 candidate answers with NaN; use the float32 file")
    say(
        f"int8: calibrated on {seen.images} training pictures; of {2 * len(METHODS)} candidates the closest to float32"
        f" was {best[1].method}, one scale a {'channel' if best[1].per_channel else 'tensor'}"
    )
    return best[1]


def _candidates(digest: str, seen: Calibration, target: str) -> Iterator[QuantizationPlan]:
    for method, per_channel in product(METHODS, (True, False)):
        yield QuantizationPlan(digest, target, method, per_channel, seen.ranges[method])


def _answers(content: bytes, images: np.ndarray, info: ArtifactInfo, target: str | None = None) -> np.ndarray:
    """Logits ``(N, K)`` as the target computes them: arm64 never saturates, so x86 must not either."""
    session = open_session(content, exact=target == "arm64")
    return run(session, images, info.preprocessing, info.input)[0]


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
    golden = _answers(content, golden_pixels(SEED, info.preprocessing), info, plan.target)
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


def _check(content: bytes, images: np.ndarray, found: np.ndarray, info: ArtifactInfo) -> None:
    """The 8-bit kernels must compute what the file says: no saturation, no wrong fusion.

    Raises:
        QuantizationError: They do not, on this machine.
    """
    session = open_session(content, optimised=False)
    plain = run(session, images[:CHECKED_IMAGES], info.preprocessing, info.input)[0]
    gap = figures.max_abs_error(found[:CHECKED_IMAGES], plain)
    if gap > info.golden.tolerance:
        raise QuantizationError(
            f"this machine's 8-bit arithmetic is off by {gap:.3g} from what the int8 file says, where"
            f" {info.golden.tolerance:.3g} is allowed: its products saturate; nothing was written, use the float32 file"
        )


def _verdict(result: Int8) -> Iterator[str]:
    proof = result.info.proof
    seen = f"{proof.images} held-out images" if proof.images else "training pictures only"
    yield (
        f"int8 against float32 on {seen}: top-1 agreement {proof.top1_agreement:.4f}, largest logit difference"
        f" {proof.max_abs_error:.3g}"
    )
    if result.top1 is not None and result.top1_float32 is not None:
        lost = result.top1_float32 - result.top1
        yield f"int8 top-1 {result.top1:.4f}, float32 {result.top1_float32:.4f}"
        if lost > LOST_POINT:
            yield f"int8 loses {100 * lost:.1f} points of accuracy: that is no improvement, ship the float32 file"
    if result.race is None:
        yield f"int8 was made for {result.plan.target} and this machine is {host_target()}: measure its speed there"
    else:
        yield _speed_words(result.race)
    if result.islands:
        named = ", ".join(f"{kind} x{count}" for kind, count in sorted(result.islands.items()))
        yield f"computed in float32 between the int8 layers: {named}; a network with ReLU instead would be faster"


def _speed_words(timed: Race) -> str:
    first, second = (1000 * s for s in timed.medians_s)
    figures_ms = f"{second:.2f} ms against {first:.2f} ms, one picture on one thread"
    if timed.speedup >= NO_FASTER:
        return f"int8 is {timed.speedup:.2f}x faster than float32 here ({figures_ms})"
    if timed.speedup <= 1 / NO_FASTER:
        return f"int8 is {1 / timed.speedup:.2f}x slower than float32 here ({figures_ms}): ship the float32 file"
    return f"int8 is no faster than float32 here ({figures_ms}): its gain is the smaller file"
