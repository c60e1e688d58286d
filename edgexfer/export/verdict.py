"""What an int8 file is worth, in plain words: the accuracy it lost, the speed it won, and whether to use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edgexfer.export.speed import Race

if TYPE_CHECKING:
    from edgexfer.export.quantize import Int8

REPLACEABLE = frozenset(("HardSwish", "Swish"))
"""The float islands among the activations that ``--activation relu`` replaces (``edgexfer.nets.activations``)."""


def recommended(result: Int8) -> str | None:
    """``"int8"`` where it is within the budget and faster here however it runs, else ``"float32"``.

    A race that nobody can tell anything from counts for neither; ``None`` where there is no other.
    """
    if too_much_lost(result):
        return "float32"
    told = {timed.outcome for timed in result.races} - {"unclear"}
    if not told:
        return None
    return "int8" if told == {"faster"} else "float32"


def recommended_by_threads(result: Int8) -> dict[str, str | None]:
    """The same for each number of threads that was timed; ``None`` where its race tells nothing."""
    return {str(timed.threads): recommended(replace(result, races=(timed,))) for timed in result.races}


def too_much_lost(result: Int8) -> bool:
    """Whether more accuracy was lost than the budget allows."""
    return result.drop is not None and result.drop.points > result.max_drop


def verdict_of(result: Int8, host: str) -> Iterator[str]:
    """The sentences.

    Args:
        result: What was made and measured.
        host: The kind of this machine.
    """
    proof = result.info.proof
    seen = f"{proof.images} held-out images" if proof.images else "training pictures only"
    yield (
        f"int8 against float32 on {seen}: top-1 agreement {proof.top1_agreement:.4f}, largest logit difference"
        f" {proof.max_abs_error:.3g}"
    )
    if result.drop is not None and result.top1 is not None and result.top1_float32 is not None:
        low, high = result.drop.interval
        yield (
            f"int8 top-1 {result.top1:.4f}, float32 {result.top1_float32:.4f}: {result.drop.points:.1f} points lost"
            f" (95% interval {low:.1f} to {high:.1f}, paired)"
        )
        if too_much_lost(result):
            yield (
                f"int8 loses {result.drop.points:.1f} points of accuracy, {result.max_drop:g} are allowed: that is no"
                " improvement, ship the float32 file, or teach the network with int8's rounding (edgexfer distill"
                " --quantization-aware)"
            )
    if result.races:
        yield from _speeds(result.races, advise=not too_much_lost(result))
    else:
        yield f"int8 was made for {result.plan.target} and this machine is {host}: measure its speed there"
    if result.islands:
        took = {kind: f" ({1000 * s:.2f} ms)" for kind, s in (result.island_s or {}).items()}
        named = ", ".join(f"{kind} x{count}{took.get(kind, '')}" for kind, count in sorted(result.islands.items()))
        swappable = REPLACEABLE & result.islands.keys() and not result.info.model.endswith("+relu")
        swap = "; a network with ReLU instead would be faster (edgexfer distill --activation relu)" * bool(swappable)
        yield f"computed in float32 between the int8 layers: {named}{swap}"


def _speeds(races: Sequence[Race], advise: bool) -> Iterator[str]:
    """What each race says, and where they disagree on how many threads int8 wins; advice where accuracy allows any."""
    won = [timed for timed in races if timed.outcome == "faster"]
    lost = [timed for timed in races if timed.outcome in ("same", "slower")]
    yield from (_speed_words(timed, advise=advise and not won) for timed in races)
    if won and lost and advise:
        yield (
            f"int8 wins on {' and '.join(_threads(t) for t in won)} only: ship it where it runs so, and the float32"
            f" file where it runs on {' or '.join(_threads(t) for t in lost)}"
        )


def _threads(timed: Race) -> str:
    return "one thread" if timed.threads == 1 else f"{timed.threads} threads"


def _speed_words(timed: Race, advise: bool) -> str:
    first, second = (1000 * s for s in timed.medians_s)
    figures_ms = f"{second:.2f} ms against {first:.2f} ms, one picture on {_threads(timed)}"
    if timed.outcome == "unclear":
        low, high = timed.interval
        return (
            f"whether int8 is faster than float32 here cannot be told ({figures_ms}; {low:.2f}x to {high:.2f}x as fast"
            f" over {len(timed.first_s)} rounds): measure again when the machine has nothing else to do"
        )
    if timed.outcome == "faster":
        return f"int8 is {timed.speedup:.2f}x faster than float32 here ({figures_ms})"
    if timed.outcome == "slower":
        told, advice = f"{1 / timed.speedup:.2f}x slower", ": ship the float32 file"
    else:
        told, advice = "no faster", ": ship the float32 file, or int8 only for its smaller size"
    return f"int8 is {told} than float32 here ({figures_ms})" + advice * advise
