"""``soft-labels``: what a teacher's softened outputs say that a hard label does not, and what a student gains from it.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015: softened targets (section 2), the
experiment of section 3, in which a student that never saw a class knows it from the teacher's soft targets on the
others, and soft targets as what keeps a student of few pictures from overfitting (section 6).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgexfer.distill import Teachers, from_run
from edgexfer.distill.losses import soft_targets
from edgexfer.report.pictures import address_of
from edgexfer.runs import Run
from edgexfer.studies.networks import path_of
from edgexfer.studies.parts import at_most, held_split
from edgexfer.studies.soft_labels_told import USUAL_ALPHA, USUAL_TEMPERATURE, chosen, tell
from edgexfer.studies.stepping import picture_side
from edgexfer.studies.trainings import (
    VIEWS,
    Progress,
    counting,
    hard_run,
    kept,
    network_of,
    quiet_job,
    scores_of_run,
    soft_run,
    study_recipe,
    without_class,
)
from edgexfer.studies.values import Claim, Lab, Numbers, Study
from edgexfer.training import Job, Predictions

TEMPERATURES = (1.0, 2.0, 5.0, 10.0)
ALPHAS = (0.5, 0.9, 1.0)
SMOOTHING = 0.1
SHARE = 0.15
"""Share of the teacher's training pictures that its students see; the paper's section 6 gave them 3%."""
LEFT_OUT = 3
"""Position of the class that the transfer set lacks with seed 0; the paper left out the threes."""
SHOWN = 10
"""Classes of the one picture's outputs that are kept."""


def measure(lab: Lab) -> dict[str, Any]:
    """A teacher; students by temperature and weight, on hard and smoothed labels; and without a class."""
    side, most = picture_side(lab), (400, 150) if lab.fast else (4_000, 1_000)
    splits = at_most(lab.splits, *most, lab.seed)
    few = at_most(splits, max(2 * len(splits.classes), round(SHARE * len(splits.train))), most[1], lab.seed)
    whole = quiet_job(splits, "conv_wide", study_recipe(lab, len(splits.train), side))
    temperatures, alphas = ((5.0,), ()) if lab.fast else (TEMPERATURES, ALPHAS)
    pairs = dict.fromkeys(
        [*((t, USUAL_ALPHA) for t in temperatures), *((USUAL_TEMPERATURE, alpha) for alpha in alphas)]
    )
    with counting(lab, len(pairs) + 5) as progress:
        teacher = kept(lab.work / "teacher", lambda out: hard_run(whole, out))
        progress.step(f"teacher {teacher.scores['val_top1']:.1%}")
        job = quiet_job(few, "conv_narrow", study_recipe(lab, len(few.train), side))
        taught = Taught(lab, lab.work / "teacher", progress)
        students = [taught.softly(job, t, alpha) for t, alpha in pairs]
        plain = {
            "hard": taught.hard(job, "hard", 0.0),
            "smoothed": taught.hard(job, "smoothed", SMOOTHING),
        }
        label = (LEFT_OUT + lab.seed) % len(splits.classes)
        absent = taught.without(dataclasses.replace(whole, model=path_of("conv_narrow")), label)
    return {
        "classes": len(splits.classes),
        "teacher_images": len(splits.train),
        "student_images": len(few.train),
        "teacher": scores_of_run(teacher),
        "students": students,
        **plain,
        "absent": absent,
        "picture": one_picture(job, lab.work / "teacher"),
    }


@dataclasses.dataclass(frozen=True)
class Taught:
    """The students of one seed.

    Attributes:
        lab: Where they are trained.
        teacher: The teacher's run.
        progress: Counts them.
    """

    lab: Lab
    teacher: Path
    progress: Progress

    def softly(self, job: Job, temperature: float, alpha: float, name: str = "soft") -> dict[str, Any]:
        """A student of the teacher at a temperature and weight of the soft term."""
        out = self.lab.work / f"{name}-{temperature:g}-{alpha:g}"
        run = kept(out, lambda folder: self._distilled(job, temperature, alpha, folder))
        self.progress.step(f"T {temperature:g}, alpha {alpha:g}: {run.scores['val_top1']:.1%}")
        return {"temperature": temperature, "alpha": alpha, **scores_of_run(run)}

    def _distilled(self, job: Job, temperature: float, alpha: float, out: Path) -> Run:
        teachers = Teachers((from_run(self.teacher, job.splits.classes),))
        return soft_run(job, teachers, temperature, alpha, out)

    def hard(self, job: Job, name: str, smoothing: float) -> dict[str, Any]:
        """The same student, views and steps on hard labels, smoothed or not."""
        settings = dataclasses.replace(job.settings, views=VIEWS, label_smoothing=smoothing)
        run = kept(self.lab.work / name, lambda out: hard_run(dataclasses.replace(job, settings=settings), out))
        self.progress.step(f"{name}: {run.scores['val_top1']:.1%}")
        return scores_of_run(run)

    def without(self, job: Job, label: int) -> dict[str, Any]:
        """Students that never see a class, softly and on hard labels, before and after its bias is corrected."""
        splits = without_class(job.splits, label)
        recipe = study_recipe(self.lab, len(job.splits.train), job.preprocessing.input_size[0])
        lacking = quiet_job(splits, "conv_narrow", recipe)
        self.softly(lacking, USUAL_TEMPERATURE, 1.0, "absent-soft")
        self.hard(lacking, "absent-hard", 0.0)
        folders = {"soft": f"absent-soft-{USUAL_TEMPERATURE:g}-1", "hard": "absent-hard"}
        found = {kind: known_class(network_of(self.lab.work / name, job), job, label) for kind, name in folders.items()}
        return {"label": label, "name": job.splits.classes[label], **found}


def known_class(student: Any, job: Job, label: int) -> dict[str, float]:
    """Accuracy, and share of the absent class that is known, before and after its bias is corrected on validation."""
    val = job.predictions(student, "val")
    test = val if job.splits.test is None else job.predictions(student, "test")
    bias = best_bias(val, label)
    raised = test.logits.copy()
    raised[:, label] += bias
    corrected = Predictions(raised, test.labels)
    return {
        "bias": bias,
        "top1": test.top1,
        "known": known(test, label),
        "top1_corrected": corrected.top1,
        "known_corrected": known(corrected, label),
    }


def known(said: Predictions, label: int) -> float:
    """Share of a class's pictures that are called by its name."""
    of_it = said.labels == label
    return float((said.logits[of_it].argmax(axis=1) == label).mean()) if of_it.any() else 0.0


def best_bias(said: Predictions, label: int) -> float:
    """What to add to a class's logit so that most answers are right; the middle of the best range of values."""
    others = np.delete(said.logits, label, axis=1).max(axis=1)
    margins = (others - said.logits[:, label]).astype(np.float64)
    edges = np.sort(margins)
    between = np.concatenate([[edges[0] - 1], (edges[1:] + edges[:-1]) / 2, [edges[-1] + 1]])
    without = np.where(np.arange(said.logits.shape[1]) == label, -np.inf, said.logits).argmax(axis=1) == said.labels
    right = [float(np.where(margins < bias, said.labels == label, without).mean()) for bias in between]
    best = np.flatnonzero(np.isclose(right, max(right), atol=1e-12))
    return float(between[best[len(best) // 2]])


def one_picture(job: Job, teacher: Path) -> dict[str, Any]:
    """The held-out picture that the teacher is right about and least sure of, with its outputs at each temperature."""
    split = held_split(job.splits)
    said = job.predictions(network_of(teacher, job), split)
    shares = soft_targets(torch.from_numpy(said.logits)[None], 1.0).exp().numpy()
    right = said.logits.argmax(axis=1) == said.labels
    index = int(np.where(right, shares.max(axis=1), 2.0).argmin())
    logits = torch.from_numpy(said.logits[index : index + 1])
    outputs = {f"{t:g}": soft_targets(logits[None], t).exp()[0].tolist() for t in TEMPERATURES}
    order = np.argsort(said.logits[index])[::-1][:SHOWN].tolist()
    names = job.splits.classes
    return {
        "label": names[int(said.labels[index])],
        "image": address_of(job.view(split).read(index)),
        "classes": [names[i] for i in order],
        "outputs": {t: [values[i] for i in order] for t, values in outputs.items()},
    }


def judge(numbers: Sequence[Numbers]) -> list[Claim]:
    """Soft against hard, against smoothed, and the absent class."""
    soft = f"Test accuracy of the student taught softly (T = {USUAL_TEMPERATURE:g}) less that of"
    gain = tuple(chosen(one)["test_top1"] - one["hard"]["test_top1"] for one in numbers)
    beyond = tuple(chosen(one)["test_top1"] - one["smoothed"]["test_top1"] for one in numbers)
    surer = tuple(one["hard"]["test_nll"] - chosen(one)["test_nll"] for one in numbers)
    seen = tuple(one["absent"]["soft"]["known_corrected"] for one in numbers)
    more = tuple(one["absent"]["soft"]["known_corrected"] - one["absent"]["hard"]["known_corrected"] for one in numbers)
    loss = "Test loss (nats a picture) on hard labels less that of the softly taught student"
    recognised = "Share of the absent class that is recognised once its bias is corrected on validation"
    return [
        Claim("A student learns more from softened outputs than from hard labels.",
              f"{soft} the same student on hard labels", gain, "points", 0.005),
        Claim("Softened outputs say more than smoothed labels, which treat all wrong classes alike.",
              f"{soft} the same student on labels smoothed by {SMOOTHING:g}", beyond, "points", 0.005),
        Claim("The softly taught student's probabilities are better.",
              loss, surer, "number", 0.01),
        Claim("A student that never saw a class knows it from its teacher's soft outputs on the others.",
              recognised, seen, "share", 0.5),
        Claim("Hard labels on the same pictures tell nothing of the absent class.",
              "The same share, softly taught less on hard labels with the same correction", more, "points", 0.2),
    ]  # fmt: skip


STUDY = Study(measure, judge, tell)
