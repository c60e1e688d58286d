"""``bn-conv``: how much faster a convolutional network learns with batch norm, at 1, 5 and 30 times the learning rate.

The shape of Ioffe and Szegedy 2015, section 4.2 and figure 3, on a small scale: a baseline without batch norm, the same
with it at the baseline's rate, at 5 and at 30 times that, and at 5 times with sigmoids; and 5 times without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgexfer import nets
from edgexfer.report.tables import Figure, Key, Row, Table
from edgexfer.studies.drawing import Band, Panel, draw_panels, mean_table
from edgexfer.studies.networks import path_of
from edgexfer.studies.parts import held_split
from edgexfer.studies.stepping import even_looks, first_reaching, picture_side, step_job, train_steps
from edgexfer.studies.values import Claim, Lab, Numbers, Study, StudyResult, Telling
from edgexfer.studies.words import claim_words, joined, percent_of, seeds_words
from edgexfer.training import Job

RATES = (0.003, 0.01, 0.03)
BATCH = 32
BASELINE = "baseline"
VARIANTS = {
    "BN-baseline": ("conv_bn", 1),
    "BN-x5": ("conv_bn", 5),
    "BN-x30": ("conv_bn", 30),
    "BN-x5-sigmoid": ("conv_bn_sigmoid", 5),
    "x5 without BN": ("conv_plain", 5),
    "sigmoid without BN": ("conv_sigmoid", 1),
}
PUBLISHED = {
    "baseline": ("31.0 M", "72.2%"),
    "BN-baseline": ("13.3 M", "72.7%"),
    "BN-x5": ("2.1 M", "73.0%"),
    "BN-x30": ("2.7 M", "74.8%"),
    "BN-x5-sigmoid": ("never", "69.8%"),
    "x5 without BN": ("never", "parameters reached machine infinity"),
    "sigmoid without BN": ("never", "no better than chance"),
}


def measure(lab: Lab) -> dict[str, Any]:
    """The baseline at three rates, and every variant at a multiple of the one that learns fastest."""
    steps, count, most = (100, 5, (600, 150)) if lab.fast else (800, 25, (4_000, 500))
    job = step_job(lab, picture_side(lab), BATCH // 2 if lab.fast else BATCH, most)
    when = even_looks(steps, count)
    plain = [_run(job, "conv_plain", rate, when, lab) for rate in (RATES[1:2] if lab.fast else RATES)]
    baseline = max(plain, key=_speed)
    runs = {BASELINE: baseline}
    for name, (network, times) in VARIANTS.items():
        runs[name] = _run(job, network, times * baseline["rate"], when, lab)
    return {"steps": when, "baseline_rates": plain, "runs": runs}


def _speed(run: Mapping[str, Any]) -> float:
    """How fast a network learns: its mean validation accuracy over the training, 0 where that broke off."""
    return 0.0 if run["diverged"] else float(np.mean(run["val_top1"]))


def _run(job: Job, network: str, rate: float, when: Sequence[int], lab: Lab) -> dict[str, Any]:
    """One training: accuracy at each look, until its end or until the loss is no number any more."""
    held = held_split(job.splits)
    found: dict[str, list[float]] = {"val": [], "test": []}

    def look(_: int, student: nets.Normalized) -> None:
        found["val"].append(job.predictions(student, "val").top1)
        found["test"].append(job.predictions(student, held).top1)
        lab.listener.advance(len(found["val"]), f"validation {found['val'][-1]:.1%}")

    lab.listener.begin(f"{network}, learning rate {rate:g}", len(when))
    variant = dataclasses.replace(job, model=path_of(network))
    student = train_steps(variant, rate, when[-1], when, look)
    lab.listener.end()
    return {"rate": rate, "diverged": student is None, "val_top1": found["val"], "test_top1": found["test"]}


def best(run: Mapping[str, Any]) -> tuple[float, float]:
    """The best validation accuracy of a training, and the test accuracy at that look."""
    place = int(np.argmax(run["val_top1"]))
    return run["val_top1"][place], run["test_top1"][place]


def steps_to_best(numbers: Numbers, name: str) -> int | None:
    """Steps to the baseline's best validation accuracy; ``None`` where a variant never gets there."""
    run = numbers["runs"][name]
    target = best(numbers["runs"][BASELINE])[0]
    return first_reaching(numbers["steps"][: len(run["val_top1"])], run["val_top1"], target)


def _sooner(numbers: Numbers, name: str) -> float:
    baseline, taken = steps_to_best(numbers, BASELINE), steps_to_best(numbers, name)
    return 0.0 if taken is None or baseline is None else baseline / max(1, taken)


def _lead(numbers: Numbers, name: str, other: str) -> float:
    return best(numbers["runs"][name])[1] - best(numbers["runs"][other])[1]


def judge(numbers: Sequence[Numbers]) -> list[Claim]:
    """Sooner with batch norm, sooner still at five times the rate; and what only batch norm makes possible."""
    ratio = "Steps of the baseline to its best validation accuracy, divided by those of {} (0: never reached)"
    lead = "Test accuracy of {} less that of {}, each at its best look on validation"
    return [
        Claim(
            "At the same rate, batch norm reaches the baseline's best accuracy in fewer steps.",
            ratio.format("BN-baseline"), tuple(_sooner(one, "BN-baseline") for one in numbers), "times", 1.5, 1.0,
        ),
        Claim(
            "With batch norm, five times the rate gets there in fewer steps than the baseline, too.",
            ratio.format("BN-x5"), tuple(_sooner(one, "BN-x5") for one in numbers), "times", 1.5, 1.0,
        ),
        Claim(
            "With batch norm, even thirty times the rate gets there in fewer steps than the baseline.",
            ratio.format("BN-x30"), tuple(_sooner(one, "BN-x30") for one in numbers), "times", 1.5, 1.0,
        ),
        Claim(
            "Batch norm ends more accurate than the baseline.",
            lead.format("BN-x5", "the baseline"), tuple(_lead(one, "BN-x5", BASELINE) for one in numbers), "points",
            0.005,
        ),
        Claim(
            "Five times the rate fails without batch norm.",
            lead.format("the baseline", "x5 without BN"),
            tuple(_lead(one, BASELINE, "x5 without BN") for one in numbers), "points", 0.05,
        ),
        Claim(
            "Sigmoids can be trained with batch norm where they cannot without.",
            lead.format("BN-x5-sigmoid", "sigmoid without BN"),
            tuple(_lead(one, "BN-x5-sigmoid", "sigmoid without BN") for one in numbers), "points", 0.2,
        ),
    ]  # fmt: skip


def tell(result: StudyResult) -> Telling:
    """Accuracy against steps, and the table of steps and best accuracies beside the published one."""
    return Telling([_curves(result)], _seen(result), _LITERATURE, _DIFFERS, [_table(result)])


def _curves(result: StudyResult) -> Figure:
    names = [BASELINE, *VARIANTS]
    steps = result.numbers[0]["steps"]
    bands = [
        Band(name, steps, [one["runs"][name]["val_top1"] for one in result.numbers], i) for i, name in enumerate(names)
    ]
    title = "Validation accuracy against steps"
    rates, tried = joined_rates(result), len(result.numbers[0]["baseline_rates"])
    chosen = f"the one of {tried} at which it learns fastest" if tried > 1 else "given"
    caption = (
        f"{seeds_words(result)} The baseline's rate is {rates}, {chosen}; x5 and x30 are multiples of it. A line that"
        " ends early broke off: its loss was no number any more."
    )
    panels = [Panel("validation accuracy", bands, fraction=True)]
    wide, narrow = draw_panels("curves", panels, x="steps", description=title, height=340)
    values = mean_table(title, "steps", bands, fraction=True)
    return Figure(title, caption, wide, narrow, values, [Key(name, i) for i, name in enumerate(names)])


def joined_rates(result: StudyResult) -> str:
    """The baseline's rates, without repeating one."""
    return " or ".join(sorted({f"{one['runs'][BASELINE]['rate']:g}" for one in result.numbers}))


def _table(result: StudyResult) -> Table:
    rows = []
    for name in (BASELINE, *VARIANTS):
        runs = [one["runs"][name] for one in result.numbers]
        taken = [steps_to_best(one, name) for one in result.numbers]
        tested = percent_of([best(run)[1] for run in runs])
        broke = sum(run["diverged"] for run in runs)
        rows.append(
            Row(name, [joined(taken), tested, f"{broke} of {len(runs)}" if broke else "none", *PUBLISHED[name]])
        )
    heads = (
        "",
        "steps to the baseline's best",
        "best test accuracy",
        "broke off",
        "published steps (ImageNet)",
        "published best",
    )
    return Table("Steps and best accuracies, here and published", heads, rows)


def _seen(result: StudyResult) -> str:
    same, five, thirty, ends, fails, sigmoid = result.claims
    taken = {name: joined([steps_to_best(one, name) for one in result.numbers]) for name in [BASELINE, *VARIANTS]}
    tested = {
        name: percent_of([best(one["runs"][name])[1] for one in result.numbers]) for name in [BASELINE, *VARIANTS]
    }
    return (
        f"Seed by seed, the baseline's best validation accuracy was reached after {taken[BASELINE]} steps by itself,"
        f" after {taken['BN-baseline']} with batch norm at the same rate, {claim_words(same)}, after {taken['BN-x5']}"
        f" at five times the rate, {claim_words(five)}, and after {taken['BN-x30']} at thirty times"
        f", {claim_words(thirty)}. Test accuracy at the best look was {tested[BASELINE]} for the baseline and"
        f" {tested['BN-x5']} for BN-x5: {claim_words(ends)}. Without batch norm five times the rate gave"
        f" {tested['x5 without BN']}: {claim_words(fails)}. Sigmoids gave {tested['sigmoid without BN']} without batch"
        f" norm and {tested['BN-x5-sigmoid']} with it: {claim_words(sigmoid)}."
    )


_LITERATURE = (
    "Ioffe and Szegedy (2015, figure 3) on ImageNet: Inception reached 72.2% after 31.0 million steps, with batch norm"
    " after 13.3 million, at five times the rate after 2.1 and at thirty times after 2.7, where it ended best (74.8%)."
    " Five times the rate without batch norm drove the parameters to machine infinity; Inception with sigmoids stayed"
    " at chance without batch norm and reached 69.8% with it."
)
_DIFFERS = (
    "This network has six 3x3 convolutions and no dropout, learns from at most 4,000 small pictures for 800 steps of 32"
    " (600 pictures and 100 steps of 16 in the short form) and keeps its rate. The baseline's rate is the fastest of"
    " three with Nesterov momentum 0.9, so that 30 times it lies far out; the paper does not say how its rate was"
    " found. There, x5 and x30 also came with a faster decay of the rate, less regularisation and a better shuffling,"
    " so that those figures are not of batch norm alone. Steps are counted in looks, 25 in all (5 in the short form),"
    " and the baseline's best is that of a few hundred validation pictures."
)

STUDY = Study(measure, judge, tell)
