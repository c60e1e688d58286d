"""``bn-dense``: a dense network of sigmoids with and without batch norm, and where one unit's input goes in training.

Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift", ICML
2015, section 4.1 and figure 1: MNIST, three hidden layers of 100 sigmoids, batches of 60. The lecture draws one hidden
layer, 784-100-10; both are measured, at three learning rates each.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from edgexfer import nets
from edgexfer.report.tables import Figure, Key
from edgexfer.studies.drawing import Band, Panel, draw_panels, mean_table
from edgexfer.studies.networks import path_of
from edgexfer.studies.parts import held_split
from edgexfer.studies.stepping import first_reaching, looks, sigmoids, step_job, train_steps
from edgexfer.studies.values import Claim, Lab, Numbers, Study, StudyResult, Telling
from edgexfer.studies.words import claim_words, joined, percent_of, seeds_words
from edgexfer.training import Job
from edgexfer.transfer.batchnorm import reestimate

DEPTHS = {"dense_1": "784-100-K", "dense_3": "784-100-100-100-K"}
RATES = (0.02, 0.1, 0.5)
BATCH = 60
PERCENTILES = (15, 50, 85)
MOST, NEARLY_ALL = 0.9, 0.98
"""Shares of the plain network's best accuracy that steps are counted to."""
LAST = 3
"""Looks at the end whose mean is the final accuracy."""


def measure(lab: Lab) -> dict[str, Any]:
    """Every network at every rate: accuracy against steps, and the percentiles of a unit's input."""
    steps, most = (300, (1_500, 300)) if lab.fast else (1_500, (10_000, 1_000))
    rates = RATES[1:2] if lab.fast else RATES
    job = step_job(lab, 28, BATCH, most)
    when = looks(steps, 12 if lab.fast else 30)
    runs = {}
    for depth in DEPTHS:
        for kind in ("plain", "bn"):
            name = depth if kind == "plain" else f"{depth}_bn"
            variant = dataclasses.replace(job, model=path_of(name))
            runs[name] = [_run(variant, rate, steps, when, lab) for rate in rates]
    return {"steps": when, "runs": runs}


def _run(job: Job, rate: float, steps: int, when: Sequence[int], lab: Lab) -> dict[str, Any]:
    """One training, looked at on the way; accuracies on validation and on what is held out."""
    held = held_split(job.splits)
    accuracy: dict[str, list[float]] = {"val": [], "test": []}
    inputs: list[np.ndarray] = []

    def look(_: int, student: nets.Normalized) -> None:
        accuracy["val"].append(job.predictions(student, "val").top1)
        accuracy["test"].append(job.predictions(student, held).top1)
        inputs.append(unit_inputs(student, job))
        lab.listener.advance(len(inputs), f"test {accuracy['test'][-1]:.1%}")

    lab.listener.begin(f"{job.model.rpartition(':')[2]}, learning rate {rate:g}", len(when))
    student = train_steps(job, rate, steps, when, look)
    lab.listener.end()
    bands = np.stack(inputs)
    wander = wandering(bands)
    unit = int(np.argsort(wander)[len(wander) // 2])
    return {
        "rate": rate,
        "diverged": student is None,
        "val_top1": accuracy["val"],
        "test_top1": accuracy["test"],
        "unit": unit,
        "percentiles": bands[:, unit].tolist(),
        "wandering": float(np.median(wander)),
    }


@torch.no_grad()
def unit_inputs(student: nets.Normalized, job: Job) -> np.ndarray:
    """Percentiles over the validation pictures of what each sigmoid of the last hidden layer is given, ``(U, 3)``.

    BatchNorm normalises by these very pictures, as in training it does by its batch; the student is left as it is.
    """
    copied = copy.deepcopy(student)
    reestimate(copied, job.plain_batches("val"), job.device)
    copied.eval()
    seen: list[torch.Tensor] = []

    def keep(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0].cpu())

    with sigmoids(copied)[-1].register_forward_pre_hook(keep):
        for batch in job.plain_batches("val"):
            copied(batch["inputs"].to(job.device))
    return np.asarray(np.percentile(torch.cat(seen).double().numpy(), PERCENTILES, axis=0).T)


def wandering(bands: np.ndarray) -> np.ndarray:
    """How far the percentiles ``(looks, U, 3)`` of each unit go in training, in widths of its last band, ``(U,)``.

    The range of each percentile over the looks, their mean, over the distance of the outer two at the end.
    """
    travelled = np.ptp(bands, axis=0).mean(axis=1)
    width = np.maximum(bands[-1, :, 2] - bands[-1, :, 0], 1e-9)
    return np.asarray(travelled / width)


def final(run: Mapping[str, Any], split: str) -> float:
    """Accuracy at the end of a training: the mean of its last looks."""
    return float(np.mean(run[f"{split}_top1"][-LAST:]))


def own_best(runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The training at the rate that ended best on validation."""
    return max(runs, key=lambda run: (not run["diverged"], final(run, "val")))


def pair(numbers: Numbers, depth: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Without and with BatchNorm at the same rate: the one that is best without."""
    plain = own_best(numbers["runs"][depth])
    return plain, next(run for run in numbers["runs"][f"{depth}_bn"] if run["rate"] == plain["rate"])


def reached(numbers: Numbers, depth: str, share: float) -> tuple[int | None, int | None]:
    """Steps to a share of the plain network's best accuracy, without and with BatchNorm, at the same rate."""
    plain, normalised = pair(numbers, depth)
    target, steps = share * max(plain["test_top1"]), numbers["steps"]
    without, with_it = (first_reaching(steps, run["test_top1"], target) for run in (plain, normalised))
    return without, with_it


def _sooner(numbers: Numbers, depth: str, share: float) -> float:
    without, with_it = reached(numbers, depth, share)
    return 0.0 if with_it is None or without is None else without / max(1, with_it)


def judge(numbers: Sequence[Numbers]) -> list[Claim]:
    """Sooner, nearly all the way sooner, better, steadier; and the same for the lecture's single hidden layer."""

    def sooner(expected: str, depth: str, share: float) -> Claim:
        quantity = (
            f"Steps to {share:.0%} of the plain network's best test accuracy, those without batch norm divided by those"
            " with it (0: never reached)"
        )
        values = tuple(_sooner(one, depth, share) for one in numbers)
        return Claim(expected, quantity, values, "times", 1.5, 1.0)

    final_gain = [
        final(own_best(one["runs"]["dense_3_bn"]), "test") - final(own_best(one["runs"]["dense_3"]), "test")
        for one in numbers
    ]
    steadier = [pair(one, "dense_3")[0]["wandering"] / pair(one, "dense_3")[1]["wandering"] for one in numbers]
    three = "Three hidden layers {} in fewer steps with batch norm, at the rate that is best without it."
    return [
        sooner(three.format("learn most of it"), "dense_3", MOST),
        sooner(three.format("learn nearly all of it"), "dense_3", NEARLY_ALL),
        Claim(
            "Three hidden layers end more accurate with batch norm, each at its own best rate.",
            "Final test accuracy with batch norm, less that without", tuple(final_gain), "points", 0.005,
        ),
        Claim(
            "With batch norm the input of a unit of the last hidden layer keeps its distribution in training.",
            "How far its percentiles travel, in widths of its band, without batch norm divided by with it",
            tuple(steadier), "times", 2.0, 1.0,
        ),
        sooner("A single hidden layer, too, learns most of it in fewer steps with batch norm.", "dense_1", MOST),
    ]  # fmt: skip


def tell(result: StudyResult) -> Telling:
    """Accuracy against steps for both depths, and the unit's input without and with batch norm."""
    figures = [_accuracy(result, depth) for depth in DEPTHS] + [_unit(result)]
    return Telling(figures, _seen(result), _LITERATURE, _DIFFERS)


def _accuracy(result: StudyResult, depth: str) -> Figure:
    pairs = [pair(one, depth) for one in result.numbers]
    steps = result.numbers[0]["steps"]
    names = ("without batch norm", "with batch norm")
    bands = [Band(name, steps, [p[i]["test_top1"] for p in pairs], i) for i, name in enumerate(names)]
    rates = sorted({f"{p[0]['rate']:g}" for p in pairs})
    title = f"{DEPTHS[depth]}: test accuracy against steps"
    panel = [Panel("test accuracy", bands, fraction=True)]
    wide, narrow = draw_panels(f"accuracy-{depth}", panel, x="steps", log_from=10, description=title)
    return Figure(
        title,
        f"Both at the learning rate that ended best on validation without batch norm ({' or '.join(rates)})."
        f" {seeds_words(result)} The axis of steps is logarithmic from 10 on.",
        wide,
        narrow,
        mean_table(title, "steps", bands, fraction=True),
        [Key(name, i) for i, name in enumerate(names)],
    )


def _unit(result: StudyResult) -> Figure:
    pairs, steps = [pair(one, "dense_3") for one in result.numbers], result.numbers[0]["steps"]
    first = pairs[0]
    panels = [
        Panel(f"input of a unit, {name}", _percentiles(steps, run["percentiles"]))
        for name, run in zip(("without batch norm", "with batch norm"), first, strict=True)
    ]
    title = "What one sigmoid of the last hidden layer is given"
    keys = [Key(f"{p}th percentile", i) for i, p in enumerate(PERCENTILES)]
    caption = (
        f"{DEPTHS['dense_3']}, seed {result.measured[0].seed}, over the validation pictures. The unit is the one whose"
        " percentiles travel a middling way among the 100 of its layer: it was not picked by eye."
    )
    wide, narrow = draw_panels("unit", panels, x="steps", log_from=10, description=title)
    return Figure(title, caption, wide, narrow, mean_table(title, "steps", [*panels[0].bands, *panels[1].bands]), keys)


def _percentiles(steps: Sequence[int], rows: Sequence[Sequence[float]]) -> list[Band]:
    """One line a percentile."""
    return [Band(f"{p}th percentile", steps, [[row[i] for row in rows]], i) for i, p in enumerate(PERCENTILES)]


def _seen(result: StudyResult) -> str:
    ends = {
        name: percent_of([final(own_best(one["runs"][name]), "test") for one in result.numbers])
        for name in ("dense_1", "dense_1_bn", "dense_3", "dense_3_bn")
    }

    def steps(depth: str, share: float) -> str:
        found = [reached(one, depth, share) for one in result.numbers]
        return f"{joined([w for w, _ in found])} steps without batch norm and {joined([b for _, b in found])} with it"

    most, nearly, better, steadier, shallow = result.claims
    return (
        f"With three hidden layers, {MOST:.0%} of the plain network's best accuracy took {steps('dense_3', MOST)}, seed"
        f" by seed: {claim_words(most)}. {NEARLY_ALL:.0%} of it took {steps('dense_3', NEARLY_ALL)}:"
        f" {claim_words(nearly)}. At the end, each at its own best rate, they were right for {ends['dense_3']} without"
        f" and {ends['dense_3_bn']} with it: {claim_words(better)}. The percentiles of a unit's input travelled"
        f" {steadier.measured} as far without it, in widths of their band: {claim_words(steadier)}. With a single"
        f" hidden layer {MOST:.0%} took {steps('dense_1', MOST)}, and the ends were {ends['dense_1']} and"
        f" {ends['dense_1_bn']}: {claim_words(shallow)}."
    )


_LITERATURE = (
    "Ioffe and Szegedy (2015, figure 1) trained three hidden layers of 100 sigmoids on MNIST for 50,000 steps of 60"
    " pictures: with batch norm the network learned faster and ended more accurate, and the 15th, 50th and 85th"
    " percentiles of a typical unit's input stayed where they were, while without it they changed in mean and width."
    " They report nothing on a single hidden layer. Their explanation, less internal covariate shift, is disputed:"
    " Santurkar et al. (NeurIPS 2018) found the gain also where noise behind batch norm brought the shift back, and"
    " explain it by a smoother loss."
)
_DIFFERS = (
    "This run takes 1,500 steps (300 in the short form), not 50,000, of SGD with Nesterov momentum 0.9 at a constant"
    " rate. The paper names no rate for this experiment; here each network is given three (one in the short form), and"
    " steps are compared at the one that is best without batch norm, which favours the plain network. Pictures are"
    " brought to 28 x 28 grey pixels and normalised by one mean and deviation. Accuracy uses running averages with"
    " momentum 0.1, which lag in the very first steps. The percentiles are taken over the validation pictures, not over"
    " a batch, and of a unit of the last hidden layer."
)

STUDY = Study(measure, judge, tell)
