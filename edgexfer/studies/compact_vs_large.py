"""``compact-vs-large``: Tiny-darknet and a larger network before and after transfer.

Each is pretrained on half of the classes and transferred to the others by every strategy; "before" is the same network
from random weights on the others alone. The mechanism is also ``benchmarks/compact_vs_large.py``'s, at a larger scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.data import Splits
from edgexfer.report.bars import Bars
from edgexfer.report.tables import Figure, Key, Row, Table
from edgexfer.report.values import percent
from edgexfer.runs import Run
from edgexfer.studies.drawing import draw_shares
from edgexfer.studies.parts import at_most, halves
from edgexfer.studies.trainings import by_strategy, counting, kept
from edgexfer.studies.values import Claim, Lab, Numbers, Study, StudyResult, Telling
from edgexfer.studies.words import claim_words, listed, percent_of
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import STRATEGIES, Strategy
from edgexfer.workflows.train import Start, Target, transfer_splits

COMPACT, LARGE = "tiny-darknet", "resnet18"
PUBLISHED = {"Tiny-darknet": (0.5119, 0.6502), "ResNet-50": (0.4178, 0.7158)}
SIDE, PER_CLASS, MOST_SOURCE, MOST_HELD = 32, 20, 1_000, 500


def measure(lab: Lab) -> dict[str, Any]:
    """Both networks: pretrained, then every strategy on the other classes."""
    parts = halves(lab.splits, lab.seed)
    source = at_most(parts.source, 150 if lab.fast else MOST_SOURCE, MOST_HELD, lab.seed)
    target = at_most(parts.target, PER_CLASS * len(parts.target.classes), 60 if lab.fast else MOST_HELD, lab.seed)
    networks = (COMPACT,) if lab.fast else (COMPACT, LARGE)
    found: dict[str, Any] = {}
    with counting(lab, len(networks) * (1 + len(STRATEGIES))) as progress:
        for network in networks:
            work = lab.work / network
            recipe = Recipe(
                image_size=SIDE, epochs=2 if lab.fast else 8, batch_size=32, precision="float32", seed=lab.seed
            )
            run = pretrain(network, source, recipe, work / "pretrained")
            progress.step(f"{network} pretrained: {run.scores['val_top1']:.1%}")
            wishes = Recipe(image_size=SIDE, epochs=2 if lab.fast else 20, precision="float32", seed=lab.seed)
            start = Start(network, str(work / "pretrained"))
            scores = by_strategy(target, start, wishes, work, progress.step)
            found[network] = {"pretrained_val_top1": run.scores["val_top1"], "strategies": scores}
    return {
        "target": list(target.classes),
        "source_words": parts.words,
        "source_images": len(source.train),
        "target_images": len(target.train),
        "networks": found,
    }


def pretrain(network: str, source: Splits, recipe: Recipe, out: Path) -> Run:
    """The network from random weights on ``source``, made once."""

    def make(folder: Path) -> Run:
        record = {"command": "study"}
        return transfer_splits(source, Start(network), recipe, Strategy("scratch"), Target(folder), Silent(), record)

    return kept(out, make)


def networks_of(numbers: Numbers) -> list[str]:
    """The networks that were measured, the compact one first."""
    return [name for name in (COMPACT, LARGE) if name in numbers["networks"]]


def top1(numbers: Numbers, network: str, strategy: str) -> float:
    """Test accuracy; 0 where a strategy does not fit the network."""
    return float(numbers["networks"][network]["strategies"][strategy].get("test_top1", 0.0))


def after(numbers: Numbers, network: str) -> tuple[str, float]:
    """The strategy of transfer that validation prefers, and its test accuracy."""
    tried: Mapping[str, Mapping[str, Any]] = numbers["networks"][network]["strategies"]
    found = {name: scores for name, scores in tried.items() if name != "scratch" and "val_top1" in scores}
    best = max(found, key=lambda name: (found[name]["val_top1"], -found[name]["val_nll"]))
    return best, top1(numbers, network, best)


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over the seeds of ``{"network", "strategy", "seed", "test_top1"}`` rows."""
    found = []
    for network in dict.fromkeys(row["network"] for row in rows):
        for strategy in STRATEGIES:
            scores = [row["test_top1"] for row in rows if (row["network"], row["strategy"]) == (network, strategy)]
            if scores:
                spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
                row = {"network": network, "strategy": strategy, "seeds": len(scores)}
                found.append({**row, "test_top1_mean": float(np.mean(scores)), "test_top1_std": spread})
    return found


def judge(numbers: Sequence[Numbers]) -> list[Claim]:
    """Both gain; the larger one gains more, and ends better."""
    networks = networks_of(numbers[0])
    gains = {name: tuple(after(one, name)[1] - top1(one, name, "scratch") for one in numbers) for name in networks}
    told = "Test accuracy after transfer (strategy by validation) less that from random weights"
    claims = [Claim(f"Transfer helps {name}.", told, gains[name], "points", 0.01) for name in networks]
    if len(networks) < 2:
        return claims
    before = tuple(top1(one, COMPACT, "scratch") - top1(one, LARGE, "scratch") for one in numbers)
    ends = tuple(after(one, LARGE)[1] - after(one, COMPACT)[1] for one in numbers)
    more = tuple(large - compact for large, compact in zip(gains[LARGE], gains[COMPACT], strict=True))
    return [
        *claims,
        Claim("Before transfer the compact network is the better one.",
              f"Test accuracy of {COMPACT} less that of {LARGE}, both from random weights", before, "points", 0.01),
        Claim("The larger network gains more from transfer.",
              f"Gain of {LARGE} less gain of {COMPACT}", more, "points", 0.01),
        Claim("After transfer the larger network is the better one.",
              f"Test accuracy after transfer of {LARGE} less that of {COMPACT}", ends, "points", 0.01),
    ]  # fmt: skip


def tell(result: StudyResult) -> Telling:
    """Bars of every strategy for both networks, and before and after beside the published figures."""
    return Telling([_strategies(result)], _seen(result), _LITERATURE, _differs(result), [_table(result)])


def _mean(result: StudyResult, read: Callable[[Numbers], float]) -> float:
    return float(np.mean([read(one) for one in result.numbers]))


def _strategies(result: StudyResult) -> Figure:
    networks = networks_of(result.numbers[0])
    rows = []
    for strategy in STRATEGIES:
        values = [_mean(result, lambda one, n=name, s=strategy: top1(one, n, s)) for name in networks]  # type: ignore[misc]
        tips = [f"{name}: {percent(value)}" for name, value in zip(networks, values, strict=True)]
        label = f"{strategy} (before: random weights)" if strategy == "scratch" else strategy
        rows.append(Bars(label, [100 * value for value in values], tips))
    first, title = result.numbers[0], "Test accuracy by strategy"
    caption = (
        f"Pretrained on {first['source_images']:,} pictures ({first['source_words']}), transferred to"
        f" {first['target_images']:,} pictures of {len(first['target'])} classes. Means over the seeds."
    )
    wide, narrow = draw_shares("strategies", rows, description=title)
    return Figure(title, caption, wide, narrow, None, [Key(name, i) for i, name in enumerate(networks)])


def _table(result: StudyResult) -> Table:
    rows = []
    for network in networks_of(result.numbers[0]):
        parameters = result.numbers[0]["networks"][network]["strategies"]["scratch"].get("parameters", 0)
        ends = [after(one, network) for one in result.numbers]
        rows.append(
            Row(network, [
                f"{parameters:,}", percent_of([top1(one, network, "scratch") for one in result.numbers]),
                percent_of([value for _, value in ends]), listed([name for name, _ in ends]),
            ])
        )  # fmt: skip
    rows += [Row(f"published: {name}", ["", f"{a:.2%}", f"{b:.2%}", "not said"]) for name, (a, b) in PUBLISHED.items()]
    heads = ("network", "parameters", "before transfer", "after transfer", "strategy, seed by seed")
    return Table("Before and after transfer, here and published (another data set)", heads, rows, frozenset({4}))


def _seen(result: StudyResult) -> str:
    parts = []
    for network, claim in zip(networks_of(result.numbers[0]), result.claims, strict=False):
        before = percent_of([top1(one, network, "scratch") for one in result.numbers])
        ends = percent_of([after(one, network)[1] for one in result.numbers])
        parts.append(f"{network} went from {before} to {ends}, {claim.measured}, {claim_words(claim)}.")
    if len(result.claims) > len(parts):
        before_claim, more, end = result.claims[len(parts) :]
        parts.append(
            f"From random weights {COMPACT} was {before_claim.measured} ahead of {LARGE}, {claim_words(before_claim)};"
            f" the larger network's gain was {more.measured} larger, {claim_words(more)}, and after transfer it was"
            f" {end.measured} ahead, {claim_words(end)}."
        )
    return " ".join(parts)


_LITERATURE = (
    "The lecture reports, on one data set that it does not describe, Tiny-darknet at 51.19% before and 65.02% after"
    " transfer and ResNet-50 at 41.78% and 71.58%: both gain, the larger one more, and it overtakes the compact one."
)


def _differs(result: StudyResult) -> str:
    return (
        f"The pretraining here is at most 1,000 pictures ({result.numbers[0]['source_words']}), not ImageNet: features"
        " learned from so few are narrow, and what transfer gains is bounded by them. The larger network is a ResNet-18"
        " (11 million parameters), pictures are 32 x 32, and 20 a class are transferred to. 'Before' is read as the"
        " same network trained from random weights, since the lecture does not say what it was. The same on CIFAR-10 at"
        " ten times the pretraining: benchmarks/results/compact_vs_large.json."
    )


STUDY = Study(measure, judge, tell)
