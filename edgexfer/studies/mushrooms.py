"""``mushrooms``: the shape of a published case: many new kinds, few pictures of each, accuracy after every epoch.

Korean Institute of Information Scientists, Computing Practices, 2018: VGG-16 and AlexNet, 38 kinds of mushroom, 1,288
pictures to train and 190 to test. Any folder of many classes works. ``benchmarks/mushrooms.py`` has the same mechanism.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgexfer import nets
from edgexfer.data import Splits
from edgexfer.errors import EdgexferError
from edgexfer.report.tables import Figure, Key, Row, Table
from edgexfer.report.values import percent
from edgexfer.runs import METRICS_FILE, read_lines
from edgexfer.studies.drawing import Band, Panel, draw_panels, mean_table
from edgexfer.studies.networks import path_of
from edgexfer.studies.parts import OTHER_CLASSES, at_most, halves
from edgexfer.studies.stepping import picture_side
from edgexfer.studies.trainings import check_starts, counting, hard_run, kept, labelled, quiet_job, study_recipe
from edgexfer.studies.values import Claim, Lab, Numbers, Study, StudyResult, Telling
from edgexfer.studies.words import claim_words, percent_of, seeds_words
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import STRATEGIES, Strategy
from edgexfer.workflows.train import Start, Target, prepare_start, transfer_splits

NETWORK, EPOCHS = "conv_bn", 4
PER_CLASS, MOST_SOURCE, MOST_HELD = 34, 2_000, 1_000
"""The case has 34 training pictures a kind."""


def measure(lab: Lab) -> dict[str, Any]:
    """The strategies on each network, epoch by epoch."""
    side = picture_side(lab)
    parts = halves(lab.splits, lab.seed)
    whole = lab.splits if lab.starts else parts.target
    target = at_most(whole, PER_CLASS * len(whole.classes), MOST_HELD, lab.seed)
    networks: dict[str, Any] = {}
    with counting(lab, (len(lab.starts) or 1) + (not lab.starts)) as progress:
        starts = lab.starts
        if not starts:
            source = at_most(parts.source, 300 if lab.fast else MOST_SOURCE, MOST_HELD, lab.seed)
            job = quiet_job(source, NETWORK, study_recipe(lab, len(source.train), side))
            run = kept(lab.work / "pretrained", lambda out: hard_run(job, out))
            progress.step(f"pretrained: {run.scores['val_top1']:.1%}")
            starts = (Start(path_of(NETWORK), str(lab.work / "pretrained")),)
        for number, (label, start) in enumerate(labelled(starts).items()):
            recipe = Recipe(
                epochs=EPOCHS, image_size=None if lab.starts else side, patience=EPOCHS, precision="float32",
                seed=lab.seed,
            )  # fmt: skip
            networks[label] = by_epoch(target, start, recipe, lab.work / f"network-{number}")
            progress.step(label)
    facts = {"classes": len(target.classes), "train_images": len(target.train), "first": next(iter(networks))}
    return {**facts, "source_words": parts.words, "networks": networks}


def by_epoch(splits: Splits, start: Start, recipe: Recipe, work: Path) -> dict[str, Any]:
    """What each strategy has after every epoch.

    Args:
        splits: The new kinds.
        start: The pretrained network.
        recipe: Wishes for the training.
        work: Where the runs lie.

    Returns:
        ``{"fresh_head": top1 of a new output layer that learned nothing, "strategies": {name: {"val_top1_by_epoch":
        {epoch: top1}, "test_top1": ..., "val_top1": ...}}}``; epoch 0 is a head that was fitted on frozen features.
    """
    job = prepare_start(splits, start, recipe, Silent())
    student = job.new_student()
    nets.reset_head(student.net, len(splits.classes), job.settings.seed)  # a file of as many classes brings its own
    found: dict[str, Any] = {"fresh_head": job.predictions(student, "val").top1, "strategies": {}}
    for name in STRATEGIES:
        out = work / name
        try:
            run = kept(
                out,
                lambda out, name=name: transfer_splits(  # type: ignore[misc]
                    splits, start, recipe, Strategy(name), Target(out), Silent(), {"command": "study"}
                ),
            )
        except EdgexferError as error:
            found["strategies"][name] = {"refused": str(error)}
            continue
        lines = {f"{line['epoch']}": line["val_top1"] for line in read_lines(out / METRICS_FILE)}
        scores = {"val_top1": run.scores["val_top1"], "test_top1": run.scores["test_top1"]}
        found["strategies"][name] = {**scores, "val_top1_by_epoch": lines}
    return found


def _first(numbers: Numbers) -> Mapping[str, Any]:
    """The first network's part: what the claims are made of."""
    found: Mapping[str, Any] = numbers["networks"][numbers["first"]]
    return found


def after_two(numbers: Numbers, name: str) -> float:
    """Validation accuracy after at most two epochs; a strategy that has none (``head``) is fitted at once."""
    found = _first(numbers)["strategies"][name]
    epochs = {int(epoch): top1 for epoch, top1 in found.get("val_top1_by_epoch", {}).items() if int(epoch) <= 2}
    return float(epochs[max(epochs)] if epochs else found.get("val_top1", 0.0))


def judge(numbers: Sequence[Numbers]) -> list[Claim]:
    """Low at first, high after two epochs, and higher than without transfer."""
    fresh = tuple(_first(one)["fresh_head"] for one in numbers)
    chance = [1 / one["classes"] for one in numbers]
    return [
        Claim("At first a pretrained network guesses: its output layer for the kinds is new.",
              "Validation accuracy with a new output layer that learned nothing, less that of guessing",
              tuple(top1 - guess for top1, guess in zip(fresh, chance, strict=True)), "points", 0.1, at_most=True),
        Claim("After two epochs accuracy is high.",
              "Validation accuracy of the whole network, fine-tuned for two epochs",
              tuple(after_two(one, "full") for one in numbers), "share", 0.7),
        Claim("After two epochs transfer is far ahead of random weights.",
              "Validation accuracy after two epochs, fine-tuned less from random weights",
              tuple(after_two(one, "full") - after_two(one, "scratch") for one in numbers), "points", 0.1),
    ]  # fmt: skip


def tell(result: StudyResult) -> Telling:
    """Validation accuracy by epoch, for the first network."""
    lines = {}
    for name in ("classifier", "full", "scratch"):
        rows = [_first(one)["strategies"][name].get("val_top1_by_epoch", {}) for one in result.numbers]
        lines[name] = [[row.get(f"{epoch}") for epoch in range(EPOCHS + 1)] for row in rows]
    lines["new output layer alone"] = [
        [_first(one)["strategies"]["head"].get("val_top1")] * (EPOCHS + 1) for one in result.numbers
    ]
    for rows in (lines["scratch"], lines["classifier"]):
        for row, one in zip(rows, result.numbers, strict=True):
            row[0] = _first(one)["fresh_head"] if row[0] is None else row[0]
    bands = [Band(name, range(EPOCHS + 1), rows, i, dotted=True) for i, (name, rows) in enumerate(lines.items())]
    title = "Validation accuracy after each epoch"
    network = result.numbers[0]["first"]
    caption = (
        f"{network}, {result.numbers[0]['train_images']:,} training pictures of {result.numbers[0]['classes']} kinds."
        " Epoch 0 is a new output layer that learned nothing; for the whole network, one that was fitted on frozen"
        f" features first. {seeds_words(result)}"
    )
    panels, ticks = [Panel("validation accuracy", bands, fraction=True)], [(e, f"{e}") for e in range(EPOCHS + 1)]
    wide, narrow = draw_panels("epochs", panels, x="epoch", description=title, ticks=ticks)
    keys = [Key(name, i) for i, name in enumerate(lines)]
    figure = Figure(title, caption, wide, narrow, mean_table(title, "epoch", bands, fraction=True), keys)
    return Telling([figure], _seen(result), _LITERATURE, _differs(result), [_table(result)])


def _table(result: StudyResult) -> Table:
    rows = []
    for network, first in result.numbers[0]["networks"].items():
        for name in (name for name in STRATEGIES if name in first["strategies"]):
            found = [one["networks"][network]["strategies"][name] for one in result.numbers]
            scores = [one["test_top1"] for one in found if one.get("test_top1") is not None]
            told = percent_of(scores) if scores else "no test split"
            rows.append(Row(f"{network}: {name}", [percent_of([one.get("val_top1", 0.0) for one in found]), told]))
    heads = ("network: strategy", "validation, best epoch", "test")
    return Table("After all epochs, by network and strategy", heads, rows)


def _seen(result: StudyResult) -> str:
    fresh, high, ahead = result.claims
    first = percent(statistics.fmean(_first(one)["fresh_head"] for one in result.numbers))
    return (
        f"With a new output layer that had learned nothing the network was right for {first} of the validation"
        f" pictures, {claim_words(fresh)}. After two epochs the fine-tuned network had {high.measured},"
        f" {claim_words(high)}, that is {ahead.measured} against the same from random weights, {claim_words(ahead)}."
    )


_LITERATURE = (
    "The published case (VGG-16 and AlexNet, 38 kinds, 1,288 pictures to train and 190 to test) reports accuracy that"
    " is low at first, since the kinds are not among the old classes, and high after about 2 epochs; it gives no"
    " figures to hold against these."
)


def _differs(result: StudyResult) -> str:
    words = result.numbers[0].get("source_words", OTHER_CLASSES)
    return (
        "Unless networks with weights are named (--model vgg16 --weights imagenet), the network is one of six"
        f" convolutions, pretrained here on half of the data, and tried on the other half ({words}). Fine-tuning fits"
        " the output layer on frozen features before its first epoch, so that it starts high, where plain fine-tuning"
        " starts at guessing."
    )


STUDY = Study(measure, judge, tell, check_starts)
