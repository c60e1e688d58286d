"""How the plan of an int8 file was found: the trace of the search, as its proof file keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgexfer.report.bars import Bars, draw_bars
from edgexfer.report.measured import objects
from edgexfer.report.records import Found, FoundArtifact
from edgexfer.report.tables import Figure, Row, Table
from edgexfer.report.values import MISSING, Value, duration, is_number, plain, shown, small, times

MOST_BARS = 14
Step = tuple[int, Mapping[str, Any]]
_CANDIDATES = (
    "Each way to choose the ranges of the activations, with one scale for each channel or for the whole tensor: how far"
    " its answers are from those of float32 (mean Kullback-Leibler divergence; less is better). The first was taken."
)
_LAYERS = (
    "What leaving one layer alone in float32 brings back of the divergence, the most for its cost first; what is"
    " negative is better off in int8."
)


@dataclass(frozen=True)
class Search:
    """The search for one int8 file.

    Attributes:
        name: File name.
        verdict: What it came to, in the exporter's own sentences.
        figures: Candidates, and layers by what they gain in float32.
        kept: Which layers were tried in float32, what that did, and what stayed so; ``None`` where none was tried.
    """

    name: str
    verdict: Sequence[str]
    figures: Sequence[Figure]
    kept: Table | None


def searches(found: Found) -> list[Search]:
    """One entry for each int8 file whose proof tells how it was found."""
    told = [(artifact, _trace(artifact)) for artifact in found.artifacts]
    return [_search(number, artifact, trace) for number, (artifact, trace) in enumerate(told) if trace]


def _trace(artifact: FoundArtifact) -> list[Step]:
    return list(enumerate(objects(artifact.int8_proof, "trace")))


def _search(number: int, artifact: FoundArtifact, trace: Sequence[Step]) -> Search:
    origin = f"{artifact.proof_label}#/int8/trace"
    verdict = artifact.int8_proof.get("verdict")
    figures = [_candidates(f"int8-{number}", trace, origin), _layers(f"int8-{number}-layers", trace, origin)]
    return Search(
        name=artifact.label.rsplit("/", 1)[-1],
        verdict=[str(one) for one in verdict] if isinstance(verdict, list) else [],
        figures=[figure for figure in figures if figure is not None],
        kept=_kept(artifact, trace, origin),
    )


def _candidates(name: str, trace: Sequence[Step], origin: str) -> Figure | None:
    tried = [(i, s) for i, s in trace if s.get("step") == "candidate" and is_number(s.get("divergence"))]
    if not tried:
        return None
    tried.sort(key=lambda step: float(step[1]["divergence"]))
    titles = [
        f"{s.get('method')}, {'symmetric, ' if s.get('symmetric') else ''}"
        f"one scale a {'channel' if s.get('per_channel') else 'tensor'}{', balanced weights' * bool(s.get('balanced'))}"
        for _, s in tried
    ]
    bars = [
        Bars(title, [s["divergence"]], [f"{title}: {small(s['divergence'])}"])
        for title, (_, s) in zip(titles, tried, strict=True)
    ]
    rows = [
        Row(title, (shown(s["divergence"], small, f"{origin}/{i}/divergence"), "taken" if place == 0 else ""))
        for place, (title, (i, s)) in enumerate(zip(titles, tried, strict=True))
    ]
    described = f"Divergence from float32 of {len(tried)} candidates, the closest is {titles[0]}"
    table = Table("Candidates", ("candidate", "divergence", ""), rows, frozenset({2}))
    return _figure(name, "How the ranges were chosen", _CANDIDATES, bars, "divergence from float32", described, table)


def _layers(name: str, trace: Sequence[Step], origin: str) -> Figure | None:
    tried = [(i, s) for i, s in trace if s.get("step") == "layer" and is_number(s.get("gain"))]
    if not tried:
        return None
    tried.sort(key=lambda step: -_worth(step[1]))
    bars = [
        Bars(str(s.get("layer")), [s["gain"]], [f"{s.get('layer')}: gains {small(s['gain'])}"])
        for _, s in tried[:MOST_BARS]
    ]
    rows = [
        Row(
            str(s.get("layer")),
            (
                shown(s["gain"], small, f"{origin}/{i}/gain"),
                shown(s.get("cost_s"), duration, f"{origin}/{i}/cost_s"),
            ),
        )
        for i, s in tried
    ]
    described = f"What each of {len(tried)} layers gains in float32; {tried[0][1].get('layer')} the most for its cost"
    table = Table("Layers in float32", ("layer", "gain", "cost"), rows)
    title = "Which layers suffer from 8 bits"
    return _figure(name, title, _LAYERS, bars, "divergence that float32 brings back", described, table)


def _figure(
    name: str, title: str, caption: str, bars: Sequence[Bars], axis: str, description: str, table: Table
) -> Figure:
    wide, narrow = (
        draw_bars(f"{name}-{kind}", bars, [0], axis=axis, write=small, width=width, description=description)
        for kind, width in (("wide", 460), ("narrow", 320))
    )
    return Figure(title, caption, wide, narrow, table)


def _worth(step: Mapping[str, Any]) -> float:
    cost = step.get("cost_s")
    return float(step["gain"]) / (cost if is_number(cost) and cost > 0 else 1.0)


def _kept(artifact: FoundArtifact, trace: Sequence[Step], origin: str) -> Table | None:
    """Every choice of layers that was tried in float32, in the order of the trying."""
    rows = [_tried(i, step, origin, artifact) for i, step in trace if str(step.get("step")) in _SAID]
    if not rows:
        return None
    heads = ("layers in float32", "how many", "tried for", "time here", "against", "ratio", "points lost", "")
    return Table("Layers that were tried in float32", heads, rows, frozenset({2, 7}))


_SAID = {"front": "speed", "slow": "speed", "loss": "accuracy", "search": "accuracy"}


def _tried(place: int, step: Mapping[str, Any], origin: str, artifact: FoundArtifact) -> Row:
    layers = step.get("float_layers")
    names = [str(one) for one in layers] if isinstance(layers, list) else []
    mine, other = (shown(step.get(k), duration, f"{origin}/{place}/{k}") for k in ("cpu_s", "against_cpu_s"))
    ratio: Any = MISSING
    if mine.exact and other.exact:
        ratio = shown(mine.exact / other.exact, times, f"{mine.origin} ÷ {other.origin}")
    final = artifact.int8_proof.get("float_layers")
    is_kept = isinstance(final, list) and sorted(map(str, final)) == sorted(names)
    count = Value(plain(len(names)), len(names), f"{origin}/{place}/float_layers | count")
    lost = shown(step.get("loss_points"), lambda points: f"{points:.2f}", f"{origin}/{place}/loss_points")
    return Row(
        name=names[0] if len(names) == 1 else "none" if not names else f"{names[0]} to {names[-1]}",
        cells=(count, _SAID[str(step["step"])], mine, other, ratio, lost, "kept so" if is_kept else ""),
    )
