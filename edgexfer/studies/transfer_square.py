"""``transfer-square``: data set size against similarity, all four strategies in all four corners, advice on top.

One small network is pretrained twice: on other classes of the same data (alike), and on pictures unlike them. From each
it is transferred to few and to many pictures of the remaining classes, by each strategy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgexfer.data import Splits
from edgexfer.runs import Run
from edgexfer.studies.networks import path_of
from edgexfer.studies.parts import at_most, halves, unlike
from edgexfer.studies.stepping import picture_side
from edgexfer.studies.trainings import Progress, by_strategy, counting, kept
from edgexfer.studies.transfer_square_told import CORNERS, LECTURE, accuracies, gain, lost_by_advice, tell
from edgexfer.studies.values import Claim, Lab, Numbers, Study
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import STRATEGIES, Strategy
from edgexfer.transfer.advise import advise
from edgexfer.workflows.train import Start, Target, prepare_start, transfer_splits

NETWORK = "conv_bn"
FEW_A_CLASS, MOST_MANY, MOST_SOURCE, MOST_HELD = 5, 2_000, 2_000, 500
PASSES = 12_000
"""Pictures that a network sees in each training, about; 8 to 40 times each."""


def measure(lab: Lab) -> dict[str, Any]:
    """Two pretrainings, and by each the four strategies on few and on many pictures."""
    side, held = picture_side(lab), 100 if lab.fast else MOST_HELD
    parts = halves(lab.splits, lab.seed)
    other, other_words = unlike(lab.splits, lab.seed)
    classes = len(parts.target.classes)
    sizes = {"few": FEW_A_CLASS * classes, "many": 160 if lab.fast else MOST_MANY}
    sources = {"alike": parts.source, "unlike": other}
    corners: dict[str, Any] = {}
    with counting(lab, 2 + 2 * (1 + 2 * (len(STRATEGIES) - 1))) as progress:
        pretrained = {name: _pretrained(lab, name, source, side, progress) for name, source in sources.items()}
        for size, most in sizes.items():
            target = at_most(parts.target, most, held, lab.seed)
            recipe = _recipe(lab, len(target.train), side)
            start = Start(path_of(NETWORK))
            work = lab.work / size
            scratch = by_strategy(target, start, recipe, work, progress.step, ("scratch",))
            for similarity in sources:
                start = Start(path_of(NETWORK), str(lab.work / similarity))
                found = by_strategy(target, start, recipe, work / similarity, progress.step, STRATEGIES[:-1])
                advice = advise(prepare_start(target, start, recipe, Silent()), Silent())
                corners[f"{size}, {similarity}"] = {
                    "strategies": {**found, **scratch},
                    "train_images": len(target.train),
                    "advised": advice.strategy,
                    "probe_top1": advice.measured.probe.value,
                    "alike": advice.measured.alike,
                }
    return {
        "target": list(parts.target.classes),
        "alike_words": parts.words,
        "unlike_words": other_words,
        "pretrained": {name: run.scores["val_top1"] for name, run in pretrained.items()},
        "corners": corners,
    }


def _recipe(lab: Lab, images: int, side: int) -> Recipe:
    """The library's own defaults for each strategy, with the same number of epochs for all."""
    passes, fewest = (400, 2) if lab.fast else (PASSES, 8)
    epochs = max(fewest, min(40, round(passes / images)))
    return Recipe(image_size=side, epochs=epochs, patience=epochs, precision="float32", seed=lab.seed)


def _pretrained(lab: Lab, name: str, source: Splits, side: int, progress: Progress) -> Run:
    """The network on a source, from random weights."""
    some = at_most(source, 200 if lab.fast else MOST_SOURCE, MOST_HELD, lab.seed)

    def make(out: Path) -> Run:
        recipe = _recipe(lab, len(some.train), side)
        return transfer_splits(
            some, Start(path_of(NETWORK)), recipe, Strategy("scratch"), Target(out), Silent(), {"command": "study"}
        )

    run = kept(lab.work / name, make)
    progress.step(f"pretrained, {name}: {run.scores['val_top1']:.1%}")
    return run


def _lead(numbers: Numbers, corner: str) -> float:
    """How much better the lecture's strategy is than the best other one."""
    scores = accuracies(numbers, corner)
    return scores[LECTURE[corner]] - max(value for name, value in scores.items() if name != LECTURE[corner])


def _most(numbers: Numbers) -> float:
    """What transfer gains with many alike pictures, and more than with few: the smaller of the two."""
    many, few = gain(numbers, "many, alike"), gain(numbers, "few, alike")
    return min(many, many - few)


def judge(numbers: Sequence[Numbers]) -> list[Claim]:
    """The lecture's strategy in each corner, where transfer gains most, and what following the advice costs."""
    claims = [
        Claim(
            f"{corner[0].upper()}{corner[1:]}: {LECTURE[corner]} is best.",
            f"Test accuracy of {LECTURE[corner]} less that of the best other strategy",
            tuple(_lead(one, corner) for one in numbers), "points", 0.005,
        )
        for corner in CORNERS
    ]  # fmt: skip
    most = tuple(_most(one) for one in numbers)
    gained = (
        "Gain of the best transfer over random weights with many alike pictures, or that less the gain with few,"
        " whichever is smaller"
    )
    lost = tuple(max(0.0, lost_by_advice(one)) for one in numbers)
    return [
        *claims,
        Claim("Transfer gains most with many alike pictures.", gained, most, "points", 0.005),
        Claim("Following the advice costs little.",
              "Test accuracy of the best strategy less that of the advised one, mean over the corners", lost, "points",
              0.03, at_most=True),
    ]  # fmt: skip


STUDY = Study(measure, judge, tell)
