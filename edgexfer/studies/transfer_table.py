"""``transfer-table``: accuracy and parameters of several backbones over several data sets.

The shape of Tan and Le 2019, table 5, on DATA and on whatever of that table's eight sets lies under the data root. The
ratio of a set is that of parameters: the most accurate backbone's over those of the smallest one at most a point
behind. Published values stand beside.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgexfer.data import Splits
from edgexfer.errors import DataError, TrainingError
from edgexfer.report.bars import Bars
from edgexfer.report.tables import Figure, Key, Row, Table
from edgexfer.report.values import amount, percent
from edgexfer.studies.drawing import draw_shares
from edgexfer.studies.networks import path_of
from edgexfer.studies.parts import OTHER_CLASSES, Parts, at_most, halves
from edgexfer.studies.published import EFFICIENTNET, GEOMETRIC_MEANS, SETS
from edgexfer.studies.stepping import picture_side
from edgexfer.studies.trainings import (
    by_strategy,
    check_starts,
    counting,
    hard_run,
    kept,
    labelled,
    quiet_job,
    study_recipe,
)
from edgexfer.studies.values import Claim, Lab, Numbers, Study, StudyResult, Telling
from edgexfer.studies.words import claim_words, percent_of
from edgexfer.training import Recipe
from edgexfer.words import counted
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start

OWN = ("conv_narrow", "conv_bn", "conv_wide")
MOST_TRAIN, MOST_SOURCE, MOST_HELD = 1_000, 2_000, 1_000
BEHIND = 0.01
"""How far behind the most accurate backbone a smaller one may be to count as its equal."""


def measure(lab: Lab) -> dict[str, Any]:
    """Every backbone, fine-tuned on every set that is there."""
    sets = {lab.splits.source: lab.splits, **present(lab)}
    count = len(lab.starts) or 2 * len(OWN)
    found: dict[str, Any] = {}
    with counting(lab, len(sets) * count) as progress:
        for number, (name, splits) in enumerate(sets.items()):
            work = lab.work / f"{number}"
            parts = _parts(lab, splits)
            target = parts.target
            side = picture_side(dataclasses.replace(lab, splits=splits))
            backbones: dict[str, Any] = {}
            starts = lab.starts or _pretrained(lab, parts.source, side, work, progress.step)
            for place, (label, start) in enumerate(labelled(starts).items()):
                recipe = _recipe(lab, len(target.train), None if lab.starts else side)
                out = work / f"network-{place}"
                scores = by_strategy(target, start, recipe, out, progress.step, ("full",))
                backbones[label] = scores["full"]
            _check_some_fit(name, backbones)
            facts = {"classes": len(target.classes), "train_images": len(target.train), "source_words": parts.words}
            found[name] = {**facts, "backbones": backbones}
    return {"sets": found, "pretrained_here": not lab.starts}


def _check_some_fit(name: str, backbones: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses a data set on which no backbone can be fine-tuned."""
    if not any("test_top1" in scores for scores in backbones.values()):
        reasons = "; ".join(f"{label}: {scores['refused']}" for label, scores in backbones.items())
        raise TrainingError(
            f"no backbone can be fine-tuned on {name!r} ({reasons}); name others with --model and --weights"
        )


def present(lab: Lab) -> dict[str, Splits]:
    """Those of the published table's sets that lie under the data root, with the names that they have there."""
    found = {}
    for name in SETS.values():
        if name == lab.data.source:
            continue
        root = Path(lab.data.data_root or "data")
        source = str(root / name) if name == "birdsnap" else name
        try:
            found[name] = DataChoice(source, lab.data.data_root, seed=lab.seed).load()
        except DataError:
            continue
    return found


def _parts(lab: Lab, splits: Splits) -> Parts:
    """What is pretrained on and transferred to; all is transferred to where the user brings pretrained weights."""
    parts = halves(splits, lab.seed)
    if lab.starts:
        return dataclasses.replace(parts, source=splits, target=at_most(splits, MOST_TRAIN, MOST_HELD, lab.seed))
    most = (150, 150) if lab.fast else (MOST_SOURCE, MOST_TRAIN)
    source = at_most(parts.source, most[0], MOST_HELD, lab.seed)
    target = at_most(parts.target, most[1], MOST_HELD, lab.seed)
    return dataclasses.replace(parts, source=source, target=target)


def _recipe(lab: Lab, images: int, side: int | None) -> Recipe:
    epochs = 2 if lab.fast else max(4, min(20, round(8_000 / images)))
    return Recipe(image_size=side, epochs=epochs, precision="float32", seed=lab.seed)


def _pretrained(lab: Lab, source: Splits, side: int, work: Path, done: Any) -> list[Start]:
    """The studies' own networks, pretrained on a source."""
    starts = []
    for network in OWN:
        recipe = study_recipe(lab, len(source.train) if not lab.fast else 10_000, side)
        job = quiet_job(source, network, recipe)
        out = work / f"pretrained-{network}"
        run = kept(out, lambda out, job=job: hard_run(job, out))  # type: ignore[misc]
        done(f"{network} pretrained: {run.scores['val_top1']:.1%}")
        starts.append(Start(path_of(network), str(out)))
    return starts


def by_size(backbones: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The backbones, the smallest first, and last those that could not be fine-tuned."""
    return sorted(backbones, key=lambda name: (backbones[name].get("parameters", math.inf), name))


def ratio(backbones: Mapping[str, Mapping[str, Any]]) -> tuple[str, str, float]:
    """The most accurate backbone, the smallest one that is about as good, and how many times as large the first is."""
    fitting = {name: scores for name, scores in backbones.items() if "test_top1" in scores}
    best = max(fitting, key=lambda name: (fitting[name]["test_top1"], -fitting[name]["parameters"]))
    close = [name for name in fitting if fitting[name]["test_top1"] >= fitting[best]["test_top1"] - BEHIND]
    small = min(close, key=lambda name: fitting[name]["parameters"])
    return best, small, fitting[best]["parameters"] / fitting[small]["parameters"]


def geometric_mean(values: Sequence[float]) -> float:
    """Exp of the mean of the logarithms."""
    return math.exp(statistics.fmean(math.log(value) for value in values))


def overall(numbers: Numbers) -> float:
    """Geometric mean of the ratio over the sets."""
    return geometric_mean([ratio(one["backbones"])[2] for one in numbers["sets"].values()])


def judge(numbers: Sequence[Numbers]) -> list[Claim]:
    """A smaller backbone is about as good as the most accurate one."""
    return [
        Claim(
            "A smaller backbone is about as accurate as the best one.",
            "Parameters of the most accurate backbone over those of the smallest one at most a point behind, geometric"
            " mean over the sets", tuple(overall(one) for one in numbers), "times", 1.5, 1.0,
        )
    ]  # fmt: skip


def tell(result: StudyResult) -> Telling:
    """Accuracy by set and backbone, the ratios, and the published table."""
    return Telling([_bars(result)], _seen(result), _LITERATURE, _differs(result), [_table(result), _published()])


def _by_seed(result: StudyResult, name: str, backbone: str) -> list[Mapping[str, Any]]:
    """What each seed says of a backbone on a data set."""
    return [one["sets"][name]["backbones"][backbone] for one in result.numbers]


def _tested(seeds: Sequence[Mapping[str, Any]]) -> list[float]:
    """Test accuracy of a backbone, of the seeds with which it could be fine-tuned."""
    return [scores["test_top1"] for scores in seeds if "test_top1" in scores]


def _bars(result: StudyResult) -> Figure:
    first = result.numbers[0]["sets"]
    names = by_size(next(iter(first.values()))["backbones"])
    rows = []
    for name in first:
        tested = [_tested(_by_seed(result, name, backbone)) for backbone in names]
        values = [100 * statistics.fmean(scores) if scores else math.nan for scores in tested]
        rows.append(Bars(name, values, [f"{b}: {v:.1f}%" for b, v in zip(names, values, strict=True)]))
    title = "Test accuracy after fine-tuning, by data set and backbone"
    wide, narrow = draw_shares("table", rows, description=title)
    return Figure(title, "Means over the seeds.", wide, narrow, None, [Key(name, i) for i, name in enumerate(names)])


def _table(result: StudyResult) -> Table:
    rows = []
    for name, one in result.numbers[0]["sets"].items():
        for backbone in by_size(one["backbones"]):
            rows.append(Row(f"{name}: {backbone}", _cells(_by_seed(result, name, backbone))))
        found = [ratio(numbers["sets"][name]["backbones"]) for numbers in result.numbers]
        told = ", ".join(f"{best} / {small} {value:.1f}x" for best, small, value in found)
        rows.append(Row(f"{name}: ratio, seed by seed", ["", "", told]))
    means = ", ".join(f"{overall(numbers):.1f}x" for numbers in result.numbers)
    rows.append(Row("geometric mean of ratio", ["", "", means]))
    heads = ("data set: backbone", "parameters", "test accuracy", "best / smallest as good")
    return Table("Accuracy and parameters, measured here", heads, rows, frozenset({3}))


def _cells(seeds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Parameters, accuracy, and why the backbone could not be fine-tuned, where it could not."""
    sizes, tested = [scores["parameters"] for scores in seeds if "parameters" in scores], _tested(seeds)
    refused = next((f"refused: {scores['refused']}" for scores in seeds if "refused" in scores), "")
    return [amount(sizes[0]) if sizes else "", percent_of(tested) if tested else "", refused]


def _published() -> Table:
    rows = [Row(name, list(cells)) for name, cells in EFFICIENTNET.items()]
    rows.append(
        Row("geometric mean of ratio", ["", "", "", "", GEOMETRIC_MEANS[0], "", "", "", "", GEOMETRIC_MEANS[1]])
    )
    heads = (
        "data set", "best public", "acc", "params", "EfficientNet", "acc, params (ratio)", "best reported", "acc",
        "params", "EfficientNet", "acc, params (ratio)",
    )  # fmt: skip
    return Table("Published: EfficientNet on transfer data sets (Tan and Le 2019, table 5)", heads, rows)


def _seen(result: StudyResult) -> str:
    (claim,) = result.claims
    sets = result.numbers[0]["sets"]
    parts = []
    for name in sets:
        best, small, value = ratio(sets[name]["backbones"])
        scores = sets[name]["backbones"]
        smaller = "no smaller one came within a point of it"
        if small != best:
            smaller = (
                f"{small}, {value:.1f} times smaller, came within a point of it ({percent(scores[small]['test_top1'])})"
            )
        told = percent(scores[best]["test_top1"])
        parts.append(f"On {name} (seed {result.measured[0].seed}) {best} was the most accurate ({told}); {smaller}.")
    count = counted(len(sets), "data set")
    return f"{' '.join(parts)} Over {count} the geometric mean of the ratio was {claim.measured}, {claim_words(claim)}."


_LITERATURE = (
    "Tan and Le (2019, table 5) fine-tuned EfficientNets, pretrained on ImageNet, on eight data sets: against the best"
    " public models they needed 4.7 times fewer parameters in the geometric mean at about the same accuracy, against"
    " the best reported ones 9.6 times fewer."
)


def _differs(result: StudyResult) -> str:
    sets = result.numbers[0]["sets"].values()
    words = " or ".join(dict.fromkeys(one.get("source_words", OTHER_CLASSES) for one in sets))
    return (
        "Their pretraining is ImageNet at full size. Unless networks with weights are named (--model, --weights), three"
        " sizes of one small network are pretrained here on half of each set and transferred to the other half"
        f" ({words}), at most 1,000 pictures of it, so that accuracies do not compare with the published ones; only the"
        " shape of the table does. Of the eight sets those count that lie under --data-root. The ratio is between the"
        " backbones that were tried, not against the best ones known."
    )


STUDY = Study(measure, judge, tell, check_starts)
