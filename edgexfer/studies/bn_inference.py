"""``bn-inference``: batch norm once the training is over: whose mean and variance normalise a picture.

Ioffe and Szegedy 2015, section 3.1 and algorithm 2: in training those of the batch, at inference those of the whole
training set, with which batch norm is a fixed affine map that folds into the layer before it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch

from edgexfer import nets
from edgexfer.fold import fold_batchnorm
from edgexfer.report.bars import Bars
from edgexfer.report.tables import Figure, Key
from edgexfer.report.values import percent
from edgexfer.studies.drawing import Band, Panel, draw_panels, draw_shares, mean_table
from edgexfer.studies.exported import exported_in_training_mode
from edgexfer.studies.networks import path_of
from edgexfer.studies.parts import held_split
from edgexfer.studies.stepping import looks, picture_side, step_job, train_steps
from edgexfer.studies.values import Claim, Lab, Numbers, Study, StudyResult, Telling
from edgexfer.studies.words import claim_words, percent_of, seeds_words
from edgexfer.training import Job
from edgexfer.training.optim import batchnorms
from edgexfer.transfer.batchnorm import reestimate

RATE, BATCH = 0.03, 32
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
MOMENTA = (0.1, 0.01)
EARLY = 40
"""Step at which the averages are compared early in training."""
ESTIMATED = 32
"""Training batches that exact statistics are taken over."""
SORTED = 32
"""Batch size at which pictures are shown class by class, or the largest that there are pictures for."""
COMPANY = 8
"""Batch size at which the same pictures are shown in other company."""


def measure(lab: Lab) -> dict[str, Any]:
    """One network, trained once with each momentum: the same weights, other running averages."""
    steps, most = (80, (600, 150)) if lab.fast else (500, (4_000, 500))
    job = dataclasses.replace(step_job(lab, picture_side(lab), BATCH, most), model=path_of("conv_bn"))
    when = sorted({*looks(steps, 5 if lab.fast else 14), EARLY})
    averages = {f"{momentum:g}": _trained(job, momentum, when, lab) for momentum in MOMENTA}
    student = averages[f"{MOMENTA[0]:g}"][1]
    pixels, labels = held_out_pixels(job)
    return {
        "steps": when,
        "averages": {momentum: found for momentum, (found, _) in averages.items()},
        "batches": by_batch(student, pixels, labels, lab.seed),
        "folding": folding(student, pixels),
        "export": exported_in_training_mode(student.net, job.preprocessing, student.normalise(pixels), labels),
    }


def _trained(job: Job, momentum: float, when: Sequence[int], lab: Lab) -> tuple[dict[str, Any], nets.Normalized]:
    """Test accuracy against steps with running averages of this momentum, and with exact statistics."""
    held = held_split(job.splits)
    found: dict[str, list[float]] = {"running": [], "exact": []}
    student = job.new_student()
    for layer in batchnorms(student.modules()):
        layer.momentum = momentum  # type: ignore[assignment]

    def look(step: int, net: nets.Normalized) -> None:
        found["running"].append(job.predictions(net, held).top1)
        if momentum == MOMENTA[0]:
            found["exact"].append(job.predictions(exact(net, job), held).top1)
        lab.listener.advance(len(found["running"]), f"test {found['running'][-1]:.1%}")

    lab.listener.begin(f"momentum {momentum:g}", len(when))
    train_steps(job, RATE, when[-1], when, look, student)
    lab.listener.end()
    return found, student


def exact(net: nets.Normalized, job: Job) -> nets.Normalized:
    """A copy whose statistics are those of training pictures, exactly."""
    copied = copy.deepcopy(net)
    batches = job.train_batches()
    batches.set_epoch(0)
    reestimate(copied, islice(iter(batches), ESTIMATED), job.device)
    return copied


def held_out_pixels(job: Job) -> tuple[torch.Tensor, np.ndarray]:
    """What is held out, as pixels 0..1 ``(N, 3, H, W)`` and labels ``(N,)``."""
    batches = list(job.plain_batches(held_split(job.splits)))
    pixels = torch.cat([batch["inputs"] for batch in batches]).to(job.device)
    return pixels, torch.cat([batch["labels"] for batch in batches]).numpy()


@torch.no_grad()
def by_batch(net: nets.Normalized, pixels: torch.Tensor, labels: np.ndarray, seed: int) -> dict[str, Any]:
    """Accuracy with running averages, and with the statistics of batches of each size, shuffled and class by class."""
    rng = np.random.default_rng(seed)
    first, second = rng.permutation(len(labels)), rng.permutation(len(labels))
    copied = copy.deepcopy(net).eval()
    running = copied(pixels).argmax(1).cpu().numpy()
    for layer in batchnorms(copied.modules()):
        layer.train()

    def answers(order: np.ndarray, size: int) -> np.ndarray:
        said = np.empty(len(labels), dtype=np.int64)
        for start in range(0, len(order), size):
            part = order[start : start + size]
            said[part] = copied(pixels[torch.from_numpy(part)]).argmax(1).cpu().numpy()
        return said

    sizes = [size for size in SIZES if size <= len(labels)]
    alone = {size: answers(first, size) for size in {*sizes, COMPANY}}
    by_class = np.argsort(labels, kind="stable")
    return {
        "sizes": sizes,
        "running": float((running == labels).mean()),
        "shuffled": [float((alone[size] == labels).mean()) for size in sizes],
        "by_class": [float((answers(by_class, size) == labels).mean()) for size in sizes],
        "changed_in_other_company": float((alone[COMPANY] != answers(second, COMPANY)).mean()),
    }


@torch.no_grad()
def folding(net: nets.Normalized, pixels: torch.Tensor) -> dict[str, Any]:
    """What folding changes: layers, the largest difference of a logit, the share of answers."""
    inputs = net.normalise(pixels).cpu()
    plain = copy.deepcopy(net.net).cpu().eval()
    folded = fold_batchnorm(plain, inputs[:4])
    before, after = plain(inputs), folded.module.eval()(inputs)
    return {
        "folded": len(folded.plan.folds),
        "batchnorms": folded.plan.total,
        "max_rel_error_f64": folded.proof.max_rel_error_f64,
        "max_abs_logit_difference": float((before - after).abs().max()),
        "largest_logit": float(before.abs().max()),
        "answers_changed": float((before.argmax(1) != after.argmax(1)).double().mean()),
    }


def _sorted_place(sizes: Sequence[int]) -> int:
    """Where batches of 32 stand, or the largest that there are pictures for."""
    return len([size for size in sizes if size <= SORTED]) - 1


def shared_sizes(numbers: Sequence[Numbers]) -> list[int]:
    """The batch sizes that every seed had pictures for."""
    sizes: list[int] = min((one["batches"]["sizes"] for one in numbers), key=len)
    return sizes


def _early(numbers: Numbers, kind: str, momentum: float) -> float:
    place = numbers["steps"].index(EARLY)
    return float(numbers["averages"][f"{momentum:g}"][kind][place])


def judge(numbers: Sequence[Numbers]) -> list[Claim]:
    """Batches, averages, folding, export."""
    batches, sizes = [one["batches"] for one in numbers], shared_sizes(numbers)
    last, place = len(sizes) - 1, _sorted_place(sizes)
    at_one = tuple(one["running"] - one["shuffled"][0] for one in batches)
    at_most = tuple(abs(one["running"] - one["shuffled"][last]) for one in batches)
    by_class = tuple(one["running"] - one["by_class"][place] for one in batches)
    slow, fast = MOMENTA[1], MOMENTA[0]
    lag = tuple(_early(one, "exact", fast) - _early(one, "running", slow) for one in numbers)
    end = tuple(abs(one["averages"]["0.1"]["exact"][-1] - one["averages"]["0.1"]["running"][-1]) for one in numbers)
    wrong = tuple(one["export"]["right"]["1"] - one["export"]["training_mode"]["1"] for one in numbers)
    running = "Test accuracy with running averages less that with the statistics of"
    largest, apart = sizes[last], sizes[place]
    shift = f"Difference in test accuracy between running averages and batches of {largest}, without its sign"
    early = f"Test accuracy after {EARLY} steps with exact statistics less that with momentum {slow:g}"
    exported = "Test accuracy at batch 1 of the right file less that of the file exported in training mode"
    changed = tuple(one["folding"]["answers_changed"] for one in numbers)
    return [
        Claim("One picture's own statistics are no substitute for those of training.",
              f"{running} single pictures", at_one, "points", 0.05),
        Claim("Large shuffled batches do about as well as running averages.", shift, at_most, "points", 0.02,
              at_most=True),
        Claim("Batches of one class mislead their own statistics.",
              f"{running} {apart} pictures that come class by class", by_class, "points", 0.05),
        Claim("Early in training a slow running average lags behind exact statistics.", early, lag, "points", 0.05),
        Claim("At the end of training momentum 0.1 and exact statistics do equally well.",
              "Difference in final test accuracy between the two, without its sign", end, "points", 0.02, at_most=True),
        Claim("Folding batch norm into the convolutions changes no answer.", "Share of test answers that changed",
              changed, "share", 0.0, at_most=True),
        Claim("A file exported in training mode answers single pictures worse.", exported, wrong, "points", 0.05),
    ]  # fmt: skip


def tell(result: StudyResult) -> Telling:
    """Accuracy by batch size, by step and average, and of the two files."""
    return Telling([_sizes(result), _averages(result), _files(result)], _seen(result), _LITERATURE, _DIFFERS)


def _sizes(result: StudyResult) -> Figure:
    found = [one["batches"] for one in result.numbers]
    sizes = shared_sizes(result.numbers)
    lines = {
        "running averages": [[one["running"]] * len(sizes) for one in found],
        "the batch's own, shuffled": [one["shuffled"] for one in found],
        "the batch's own, class by class": [one["by_class"] for one in found],
    }
    bands = [Band(name, range(len(sizes)), values, i, dotted=True) for i, (name, values) in enumerate(lines.items())]
    title = "Test accuracy by whose statistics normalise, and by batch size"
    panels, ticks = [Panel("test accuracy", bands, fraction=True)], [(i, f"{size}") for i, size in enumerate(sizes)]
    wide, narrow = draw_panels("sizes", panels, x="pictures a batch", description=title, ticks=ticks)
    table = mean_table(title, "batch", [dataclasses.replace(band, x=sizes) for band in bands], fraction=True)
    caption = f"The same weights throughout. {seeds_words(result)}"
    return Figure(title, caption, wide, narrow, table, [Key(name, i) for i, name in enumerate(lines)])


def _averages(result: StudyResult) -> Figure:
    steps = result.numbers[0]["steps"]
    lines = {
        "momentum 0.1": [one["averages"]["0.1"]["running"] for one in result.numbers],
        "momentum 0.01": [one["averages"]["0.01"]["running"] for one in result.numbers],
        "exact, re-estimated": [one["averages"]["0.1"]["exact"] for one in result.numbers],
    }
    bands = [Band(name, steps, values, i) for i, (name, values) in enumerate(lines.items())]
    title = "Test accuracy against steps, by how the statistics for inference are had"
    panels = [Panel("test accuracy", bands, fraction=True)]
    wide, narrow = draw_panels("averages", panels, x="steps", description=title, log_from=10)
    caption = (
        f"At each step the three share their weights: a momentum changes nothing that is learned. {seeds_words(result)}"
        " The axis of steps is logarithmic from 10 on."
    )
    table = mean_table(title, "steps", bands, fraction=True)
    return Figure(title, caption, wide, narrow, table, [Key(name, i) for i, name in enumerate(lines)])


def _files(result: StudyResult) -> Figure:
    title = "Test accuracy of an ONNX file, exported rightly and in training mode"
    names = {"right": "exported by edgexfer", "training_mode": "exported in training mode"}
    rows = []
    for kind, name in names.items():
        for size in ("1", "64"):
            mean = float(np.mean([one["export"][kind][size] for one in result.numbers]))
            rows.append(Bars(f"{name}, {size} at a time", [100 * mean], [f"{percent(mean)} right"]))
    wide, narrow = draw_shares("files", rows, description=title)
    return Figure(title, "ONNX Runtime on the test pictures in shuffled order; means over the seeds.", wide, narrow)


def _seen(result: StudyResult) -> str:
    alone, large, sorted_, lag, end, folds, wrong = result.claims
    batches = [one["batches"] for one in result.numbers]
    fold = [one["folding"] for one in result.numbers]
    sizes = shared_sizes(result.numbers)
    apart = sizes[_sorted_place(sizes)]
    company = percent_of([one["changed_in_other_company"] for one in batches])
    export = [one["export"] for one in result.numbers]
    return (
        f"With running averages the network was right for {percent_of([one['running'] for one in batches])} of the test"
        f" pictures; normalised by each picture's own statistics it lost {alone.amount}, {claim_words(alone)}; in"
        f" batches of {max(sizes)} it differed by {large.measured}, {claim_words(large)}; in batches of"
        f" {apart} that came class by class it lost {sorted_.amount}, {claim_words(sorted_)}. In other company"
        f" {company} of the answers changed at batches of {COMPANY}. After {EARLY} steps a momentum of 0.01 was"
        f" {lag.amount} behind exact statistics, {claim_words(lag)}; at the end momentum 0.1 differed by {end.measured}"
        f", {claim_words(end)}. Folding took {fold[0]['folded']} of {fold[0]['batchnorms']} batch norms away; the"
        f" largest difference of a logit was {max(one['max_abs_logit_difference'] for one in fold):.1e} where logits"
        f" reach {max(one['largest_logit'] for one in fold):.0f}, and {folds.measured} of the answers changed"
        f", {claim_words(folds)}. Exported in training mode, the file lost {wrong.amount} on single pictures"
        f", {claim_words(wrong)}; {_checked(export)}"
    )


def _checked(export: Sequence[Any]) -> str:
    """Whether edgexfer's own check saw it."""
    seen = [one["refused"] for one in export if one["refused"]]
    if len(seen) < len(export):
        return "edgexfer's check of files let it pass."
    return f"edgexfer's check of what it writes refuses such a file ({seen[0].split(':')[0]})."


_LITERATURE = (
    "Ioffe and Szegedy (2015, section 3.1) normalise by the batch in training and by the population at inference, so"
    " that an answer depends on its picture alone; batch norm is then affine and can be composed with the layer before"
    " it. Ioffe (2017, batch renormalization) shows that small batches, and batches that are not drawn independently,"
    " spoil the statistics; Wu and Johnson (2021, rethinking batch) find averages by momentum poor while weights move"
    " fast, and exact statistics better there."
)
_DIFFERS = (
    "The network is small (six convolutions), so a picture's own statistics still average over its places; in a dense"
    " network a batch of one has none at all. Exact statistics are taken over at most 1,024 training pictures. The"
    " wrong file is written by torch's older exporter with its switch for training mode: the newer one quietly exports"
    " inference, as edgexfer's always does."
)

STUDY = Study(measure, judge, tell)
