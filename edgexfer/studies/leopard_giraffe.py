"""``leopard-giraffe``: the shape of the lecture's case: a class that the pretraining knew and one that it did not.

The lecture retrained GoogLeNet on leopards (415 pictures, known to ImageNet) and giraffes (394, not known), 80 to 20,
in batches of 64 for 500 iterations. Here a network is pretrained on half of the classes and gets a new output layer for
one of those and one of the others; with networks named by the user, for two classes drawn by the seed.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.data import Splits
from edgexfer.errors import DataError
from edgexfer.report.bars import Bars
from edgexfer.report.tables import Figure, Key
from edgexfer.report.values import duration, percent
from edgexfer.studies.drawing import draw_shares
from edgexfer.studies.networks import path_of
from edgexfer.studies.parts import FEWEST_TO_HALVE, at_most, halves, held_split, with_classes
from edgexfer.studies.stepping import picture_side
from edgexfer.studies.trainings import (
    check_starts,
    counting,
    hard_run,
    kept,
    labelled,
    network_of,
    quiet_job,
    scores_of_run,
    study_recipe,
)
from edgexfer.studies.values import Claim, Lab, Numbers, Study, StudyResult, Telling
from edgexfer.studies.words import claim_words, percent_of
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import Strategy
from edgexfer.workflows.train import Start, Target, prepare_start, transfer_splits

NETWORK = "conv_bn"
PER_CLASS, MOST_SOURCE, MOST_HELD = 320, 2_000, 500
"""The case trains on some 320 pictures of each class."""


def measure(lab: Lab) -> dict[str, Any]:
    """A new output layer for two classes on each network: accuracy of each class, and the time that it took."""
    side = picture_side(lab)
    known, unknown, source = pair(lab)
    target = at_most(with_classes(lab.splits, [known, unknown]), 2 * PER_CLASS, MOST_HELD, lab.seed)
    networks: dict[str, Any] = {}
    with counting(lab, 1 + (len(lab.starts) or 1)) as progress:
        starts = lab.starts
        if not starts:
            some = at_most(source, 300 if lab.fast else MOST_SOURCE, MOST_HELD, lab.seed)
            job = quiet_job(some, NETWORK, study_recipe(lab, len(some.train), side))
            run = kept(lab.work / "pretrained", lambda out: hard_run(job, out))
            starts = (Start(path_of(NETWORK), str(lab.work / "pretrained")),)
            progress.step(f"pretrained: {run.scores['val_top1']:.1%}")
        for number, (label, start) in enumerate(labelled(starts).items()):
            networks[label] = _two(lab, target, start, side, lab.work / f"network-{number}")
            progress.step(label)
    names = lab.splits.classes
    return {
        "known": names[known], "unknown": names[unknown], "pretrained_here": not lab.starts,
        "train_images": len(target.train), "first": next(iter(networks)), "networks": networks,
    }  # fmt: skip


def check(lab: Lab) -> None:
    """Refuses networks that cannot be used, and classes too few to keep half of them from the pretraining."""
    check_starts(lab)
    count = len(lab.splits.classes)
    if not lab.starts and count < FEWEST_TO_HALVE:
        raise DataError(
            f"{lab.splits.source!r} has {count} classes; to pretrain on half of them and leave one unknown takes"
            f" {FEWEST_TO_HALVE} or more: take other pictures, or name a network with its weights by --model and"
            " --weights"
        )


def pair(lab: Lab) -> tuple[int, int, Splits]:
    """A class that the pretraining sees, one that it does not, and what it sees; drawn by the seed."""
    parts = halves(lab.splits, lab.seed)
    names = list(lab.splits.classes)
    if lab.starts:
        first, second = np.random.default_rng(lab.seed).permutation(len(names))[:2].tolist()
        return int(first), int(second), parts.source
    return names.index(parts.source.classes[0]), names.index(parts.target.classes[0]), parts.source


def _two(lab: Lab, target: Splits, start: Start, side: int, out: Path) -> dict[str, Any]:
    """The new output layer on frozen features, and the share of each class that it gets right."""
    recipe = Recipe(image_size=None if lab.starts else side, precision="float32", seed=lab.seed)
    record = {"command": "study"}
    run = kept(out, lambda out: transfer_splits(target, start, recipe, Strategy("head"), Target(out), Silent(), record))
    job = prepare_start(target, start, recipe, Silent())
    said = job.predictions(network_of(out, job), held_split(target))
    right = said.logits.argmax(axis=1) == said.labels
    by_class = [float(right[said.labels == label].mean()) if (said.labels == label).any() else 0.0 for label in (0, 1)]
    return {**scores_of_run(run), "known_top1": by_class[0], "unknown_top1": by_class[1]}


def _first(numbers: Numbers, key: str) -> float:
    return float(numbers["networks"][numbers["first"]][key])


def judge(numbers: Sequence[Numbers]) -> list[Claim]:
    """Both classes are told apart, the unknown one about as well, in seconds."""
    lead = tuple(_first(one, "known_top1") - _first(one, "unknown_top1") for one in numbers)
    return [
        Claim("A new output layer on frozen features tells the two classes apart.", "Test accuracy",
              tuple(_first(one, "test_top1") for one in numbers), "share", 0.9, 0.5),
        Claim("The class that the pretraining never saw is recognised about as well as the one it knew.",
              "Share of the known class that is right, less that of the unknown one", lead, "points", 0.05,
              at_most=True),
    ]  # fmt: skip


def tell(result: StudyResult) -> Telling:
    """Accuracy by class for each network."""
    networks = list(result.numbers[0]["networks"])
    kinds = {"the class it knew": "known_top1", "the class it did not know": "unknown_top1"}
    rows = []
    for network in networks:
        values = [
            100 * statistics.fmean(float(one["networks"][network][key]) for one in result.numbers)
            for key in kinds.values()
        ]
        rows.append(Bars(network, values, [f"{kind}: {v:.1f}%" for kind, v in zip(kinds, values, strict=True)]))
    title = "Share of each class that is right, with a new output layer"
    wide, narrow = draw_shares("two", rows, description=title, axis="%")
    pairs = "; ".join(f"{one['known']} and {one['unknown']}" for one in result.numbers)
    caption = f"Known and unknown, seed by seed: {pairs}. {result.numbers[0]['train_images']:,} training pictures."
    if not result.numbers[0]["pretrained_here"]:
        caption += (
            " Whether the named networks knew either class is not checked; the first of each pair counts as known."
        )
    figure = Figure(title, caption, wide, narrow, None, [Key(kind, i) for i, kind in enumerate(kinds)])
    return Telling([figure], _seen(result), _LITERATURE, _DIFFERS)


def _seen(result: StudyResult) -> str:
    apart, alike = result.claims
    seconds = duration(statistics.fmean(_first(one, "seconds") for one in result.numbers))
    known, unknown = (percent_of([_first(one, f"{k}_top1") for one in result.numbers]) for k in ("known", "unknown"))
    spread = max(apart.values) - min(apart.values)
    between = "" if len(apart.values) < 2 else f" (the seeds, each with another pair, lie {percent(spread)} apart)"
    return (
        f"The two classes were told apart with {apart.measured}{between}, {claim_words(apart)}: the class that the"
        f" pretraining knew was right for {known}, the other for {unknown}, {claim_words(alike)}. It took {seconds} on"
        " average, with every picture seen by the network once."
    )


_LITERATURE = (
    "The lecture retrained GoogLeNet on 415 pictures of leopards, which ImageNet has, and 394 of giraffes, which it has"
    " not, 80% of them in batches of 64 for 500 iterations: about 30 s on a Ryzen 7 with 8 cores, 5 minutes on a"
    " Raspberry Pi 3. It gives no accuracy. benchmarks/head_transfer.py times that very case."
)
_DIFFERS = (
    "Unless networks with weights are named (--model googlenet --weights imagenet), the network is one of six"
    " convolutions, pretrained on half of the data's classes. The output layer is fitted on cached features by"
    " regularised logistic regression, not in 500 iterations through the network, so that the times do not compare."
)

STUDY = Study(measure, judge, tell, check)
