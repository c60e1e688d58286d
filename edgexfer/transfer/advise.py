"""Which of the four ways to transfer fits: measured on frozen features, said in words.

The textbook's square asks two questions: are there many pictures, and are they like those of pretraining? Both are
answered by measurements on the features of the training pictures, without training the network:

* *alike*: the share of the way from guessing to certainty that a linear probe on the frozen embedding goes,
  ``(probe - chance) / (1 - chance)``, and whether a shallower place of the network serves better than the embedding;
* *many*: pictures in all and a class.

What follows from them (``advice_from``) was fitted to measured cases, see ``benchmarks/advice.py``. It is bolder than
the textbook: with a head fitted first, slow early layers and kept BatchNorm statistics, retraining the whole network
measured best from some 150 pictures on; random weights did where the features fit badly and there are a thousand
pictures, or where the network's end serves far worse than its middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgexfer.training import Job, Listener, Recipe
from edgexfer.training.compute import clock
from edgexfer.training.leave import majority_share
from edgexfer.training.recipe import Facts, settle
from edgexfer.transfer.blocks import EMBEDDING, Place
from edgexfer.transfer.crossings import MOST_VIEWS
from edgexfer.transfer.features import Extractor, Rows
from edgexfer.transfer.head import fit_on_features, ready_student
from edgexfer.transfer.measures import Interval, h_score, knn_top1, logme, share_of
from edgexfer.transfer.probe import Probe, probe_by_depth, sampled
from edgexfer.transfer.strategy import WORDS

Ints = NDArray[np.int64]

ALIKE = 0.5
"""Share of the way from guessing to certainty from which pictures count as like those of pretraining."""
SHALLOWER_GAIN = 0.03
"""How much better a shallower place has to serve before the last layers count as too specialised."""
MANY = 150
"""Training pictures from which retraining the whole network, carefully, measured best."""
MANY_A_CLASS = 8
MANY_FOR_SCRATCH = 1_000
"""Training pictures from which random weights measured best where the features fit badly."""
FAR_GAIN = 0.2
"""How much better a shallower place has to serve before random weights measured best even for few pictures."""
USUAL_CUT, MOST_CUT = 0.3, 0.8
"""Share of the probe's error that ``classifier`` and ``full`` took off in the measured cases, usually and at most."""
TIMED = 16


@dataclass(frozen=True)
class Measurements:
    """What was measured on the frozen features of the training pictures.

    Attributes:
        images: Training pictures.
        classes: Classes.
        images_per_class: Mean number of training pictures of a class.
        rarest: Pictures of the class that has fewest.
        chance: Accuracy of always answering the most frequent class.
        probe: Cross-validated accuracy of a linear probe on the embedding.
        knn: Leave-one-out accuracy of the nearest neighbours by cosine.
        logme: See ``measures.logme``.
        h_score: See ``measures.h_score``.
        probe_by_depth: Accuracy of a probe at several places, the embedding last.
        per_class: Accuracy of the probe on each class, by name.
        seconds: Time that cross-validation and the fit of the head took.
    """

    images: int
    classes: int
    images_per_class: float
    rarest: int
    chance: float
    probe: Interval
    knn: Interval
    logme: float
    h_score: float
    probe_by_depth: tuple[Probe, ...] = ()
    per_class: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def alike(self) -> float:
        """Share of the way from guessing to certainty that the probe goes, 0 to 1."""
        return max(0.0, (self.probe.value - self.chance) / max(1e-9, 1 - self.chance))

    @property
    def shallower_gain(self) -> float:
        """How much better the best shallower place serves than the embedding; below 0 where none does."""
        inner = [probe.top1 for probe in self.probe_by_depth if probe.place != EMBEDDING]
        last = [probe.top1 for probe in self.probe_by_depth if probe.place == EMBEDDING]
        return max(inner) - last[0] if inner and last else 0.0


@dataclass(frozen=True)
class Advice:
    """The strategy that fits, and why.

    Attributes:
        strategy: What is advised.
        runner_up: What would be next.
        corner: Where the data stands in the square, ``("few" | "many", "alike" | "unlike")``.
        reasons: Sentences for a person.
        measured: What they rest on.
        expected: Accuracy that the advised strategy is expected to reach.
    """

    strategy: str
    runner_up: str
    corner: tuple[str, str]
    reasons: tuple[str, ...]
    measured: Measurements
    expected: Interval

    def to_dict(self) -> dict[str, Any]:
        """The advice as JSON holds it."""
        measured = self.measured
        return {
            "strategy": self.strategy,
            "runner_up": self.runner_up,
            "corner": list(self.corner),
            "many_from": MANY,
            "alike_from": ALIKE,
            "reasons": list(self.reasons),
            "expected_top1": self.expected.value,
            "expected_top1_interval": [self.expected.low, self.expected.high],
            "images": measured.images,
            "images_per_class": measured.images_per_class,
            "rarest_class_images": measured.rarest,
            "classes": measured.classes,
            "chance": measured.chance,
            "alike": measured.alike,
            "probe_top1": measured.probe.value,
            "probe_top1_interval": [measured.probe.low, measured.probe.high],
            "knn_top1": measured.knn.value,
            "knn_top1_interval": [measured.knn.low, measured.knn.high],
            "logme": measured.logme,
            "h_score": measured.h_score,
            "probe_by_depth": [asdict(probe) for probe in measured.probe_by_depth],
            "per_class": dict(measured.per_class),
        }


def advise(job: Job, listener: Listener) -> Advice:
    """Measures the frozen features of the job's training pictures, and says which strategy fits."""
    return advice_from(measure_job(job, listener))


def measure_job(job: Job, listener: Listener) -> Measurements:
    """The measurements on the frozen features of the job's training pictures."""
    student = ready_student(job)
    extract = Extractor(student, job.preprocessing, job.device, model=job.model, with_depths=True)
    train = job.splits.train
    rows = extract(train, job.stores["train"], listener)
    return measure(
        rows, train.labels, job.splits.classes, extract.depths, groups=train.groups, seed=job.settings.seed,
        listener=listener,
    )  # fmt: skip


def measure(
    rows: Rows,
    labels: Ints,
    classes: Sequence[str],
    places: Sequence[Place],
    *,
    groups: Ints | None = None,
    seed: int = 0,
    listener: Listener | None = None,
) -> Measurements:
    """All measurements, from features.

    Args:
        rows: Features ``(N, D)`` by place; ``embedding`` is among them.
        labels: ``(N,)``.
        classes: Names, ``K``.
        places: The places in ``rows``, from shallow to deep, without the embedding.
        groups: Pictures with the same number are held out together; each alone if ``None``.
        seed: Of folds and draws.
        listener: Hears how it goes.
    """
    embedding = rows[EMBEDDING]
    count, counts = len(labels), np.bincount(labels, minlength=len(classes))
    fitted = fit_on_features(embedding, labels, len(classes), groups=groups, seed=seed, listener=listener)
    chosen = sampled(count, seed)
    together = None if groups is None else groups[chosen]
    probes = probe_by_depth(rows, places, labels, len(classes), seed, groups) if fitted.top1 is not None else []
    chance = majority_share(labels)
    return Measurements(
        images=count,
        classes=len(classes),
        images_per_class=count / len(classes),
        rarest=int(counts[counts > 0].min()),
        chance=chance,
        probe=fitted.top1 or Interval(chance, 0.0, 1.0),
        knn=share_of(knn_top1(embedding[chosen], labels[chosen], groups=together) * len(chosen), len(chosen)),
        logme=logme(embedding[chosen], labels[chosen]),
        h_score=h_score(embedding[chosen], labels[chosen]),
        probe_by_depth=tuple(probes),
        per_class={} if fitted.validation is None else _by_class(fitted.validation.predicted, labels, classes),
        seconds=fitted.seconds,
    )


def _by_class(predicted: Ints, labels: Ints, classes: Sequence[str]) -> dict[str, float]:
    """Share of right answers ``(repeats, N)`` by class, where a picture of it was held out."""
    asked = {name: (predicted >= 0) & (labels == index) for index, name in enumerate(classes)}
    return {name: float((predicted == labels)[here].mean()) for name, here in asked.items() if here.any()}


def advice_from(measured: Measurements) -> Advice:
    """The rule: from measurements to a strategy; pure, so that it can be tested and drawn."""
    many = measured.images >= MANY and measured.images_per_class >= MANY_A_CLASS
    alike = measured.alike >= ALIKE and measured.shallower_gain < SHALLOWER_GAIN
    corner = ("many" if many else "few", "alike" if alike else "unlike")
    lost = measured.alike < ALIKE and measured.images >= MANY_FOR_SCRATCH
    if lost or measured.shallower_gain >= FAR_GAIN:
        strategy, runner_up = "scratch", "full" if many else "classifier"
    elif many:
        strategy, runner_up = "full", "classifier"
    else:
        strategy, runner_up = ("head", "classifier") if alike else ("classifier", "full")
    reasons = tuple(_reasons(measured, corner, strategy))
    return Advice(strategy, runner_up, corner, reasons, measured, expected_top1(measured, strategy))


def expected_top1(measured: Measurements, strategy: str) -> Interval:
    """What a strategy is expected to reach on held-out pictures: the probe is ``head``; the others cut its error."""
    probe = measured.probe
    if strategy == "head":
        return probe
    low = measured.chance if strategy == "scratch" else probe.low
    return Interval(probe.value + USUAL_CUT * (1 - probe.value), low, probe.high + MOST_CUT * (1 - probe.high))


def seconds_by_strategy(job: Job, measured: Measurements) -> dict[str, float]:
    """Rough time of each strategy on this machine, from a timed batch: a step costs three times a forward pass."""
    student = ready_student(job).eval()
    pixels = torch.zeros(TIMED, 3, *job.preprocessing.input_size, device=job.device)
    with torch.no_grad():
        student(pixels)
        started = clock(job.device)
        student(pixels)
    forward = (clock(job.device) - started) / TIMED * measured.images
    epochs = job.settings.epochs
    scratch = settle(Recipe(), Facts(measured.images, job.splits.image_size, 224, False))[0].epochs
    return {
        "head": forward + measured.seconds,
        "classifier": min(epochs, MOST_VIEWS) * forward + epochs * forward,
        "full": forward + measured.seconds + 3 * epochs * forward,
        "scratch": 3 * scratch * forward,
    }


def _reasons(measured: Measurements, corner: tuple[str, str], strategy: str) -> list[str]:
    many, fits = corner[0], measured.alike >= ALIKE
    probe, chance = measured.probe, measured.chance
    told = [
        f"{measured.images} training pictures of {measured.classes} classes, {measured.images_per_class:.0f} a class"
        f" (the rarest has {measured.rarest}): that is {many}",
        f"a linear probe on the frozen features is right for {probe.value:.1%} of held-out pictures (95% interval"
        f" {probe.low:.1%} to {probe.high:.1%}), where guessing gives {chance:.1%}: {measured.alike:.0%} of the way"
        f" from guessing to certainty, so the features fit these pictures {'well' if fits else 'badly'}",
        f"the nearest neighbours are right for {measured.knn.value:.1%}: "
        + (
            "classes lie in separate clouds already"
            if measured.knn.value > probe.value - 0.05
            else "classes are mixed in the raw features, and a fitted head separates them"
        ),
    ]
    inner = [probe for probe in measured.probe_by_depth if probe.place != EMBEDDING]
    if inner:
        best = max(inner, key=lambda probe: probe.top1)
        gain = measured.shallower_gain
        if gain >= SHALLOWER_GAIN:
            verdict = f"{gain:.1%} better than its end: its last layers are too specialised for these pictures"
        elif gain > 0:
            verdict = "hardly better than its end: features are general to the last layers"
        else:
            verdict = "no better than its end: features are general to the last layer"
        told.append(f"the best place inside the network is {best.place} with {best.top1:.1%}, {verdict}")
    told.append(f"so {strategy}: {WORDS[strategy]}")
    return told
