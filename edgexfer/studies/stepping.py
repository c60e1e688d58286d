"""Training by steps at a constant learning rate, looked at on the way: what the studies of BatchNorm have in common.

A schedule would reach its end at the same step whatever is compared, and hide which network is faster. The steps are
the library's own (``Learner.take_step``): SGD with Nesterov momentum 0.9.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from edgexfer import nets
from edgexfer.errors import TrainingError
from edgexfer.studies.networks import path_of
from edgexfer.studies.parts import at_most
from edgexfer.studies.values import Lab
from edgexfer.training import Extras, Job, Recipe, hard_label_step, prepare
from edgexfer.training.learner import Learner
from edgexfer.training.optim import training_mode

Look = Callable[[int, nets.Normalized], None]


def step_job(lab: Lab, image_size: int, batch_size: int, most: tuple[int, int]) -> Job:
    """Decoded pictures at one size, normalised by the training pictures' own mean and deviation.

    Args:
        lab: Where it is measured.
        image_size: Side in pixels.
        batch_size: Pictures a step.
        most: Training pictures and held-out pictures a split, at most; drawn by the seed, even over the classes.
    """
    splits = at_most(lab.splits, *most, lab.seed)
    recipe = Recipe(
        image_size=image_size, epochs=1, batch_size=batch_size, lr=0.1, optimizer="sgd", weight_decay=0.0,
        warmup_epochs=0, label_smoothing=0.0, patience=1, augment="none", precision="float32", seed=lab.seed,
    )  # fmt: skip
    half = (0.5, 0.5, 0.5)
    job = prepare(splits, path_of("dense_1"), "none", recipe, lab.listener, mean=half, std=half)
    pixels = np.concatenate([job.stores["train"][i].reshape(-1, 3) for i in range(len(splits.train))]) / 255.0
    mean, deviation = (float(v) for v in (pixels.mean(), max(pixels.std(), 1e-3)))
    preprocessing = dataclasses.replace(job.preprocessing, mean=(mean,) * 3, std=(deviation,) * 3)
    return dataclasses.replace(job, preprocessing=preprocessing)


def looks(steps: int, count: int) -> list[int]:
    """About ``count`` steps to look at, from 0 to ``steps``: dense at first, where most happens."""
    shares = np.linspace(0, 1, count) ** 2
    return sorted({round(float(share) * steps) for share in shares})


def train_steps(
    job: Job, rate: float, steps: int, when: Sequence[int], look: Look, student: nets.Normalized | None = None
) -> nets.Normalized | None:
    """Trains ``student``, or a new one of ``job``, on hard labels, and looks at it after the steps ``when``.

    Returns:
        The student; ``None`` where the loss became NaN or infinite before the end.
    """
    student = job.new_student() if student is None else student
    learner = Learner.of(student, dataclasses.replace(job.settings, lr=rate), Extras())
    batches, step, wanted = job.train_batches(), hard_label_step(0.0), set(when)
    if 0 in wanted:
        look(0, student)
    done, epoch = 0, 0
    while done < steps:
        batches.set_epoch(epoch)
        for batch in batches:
            training_mode(student)
            try:
                learner.take_step(step, batch, done, done / steps, rate, epoch, job.device)
            except TrainingError:
                return None
            done += 1
            if done in wanted:
                look(done, student)
            if done == steps:
                break
        epoch += 1
    return student


def even_looks(steps: int, count: int) -> list[int]:
    """``count`` steps to look at besides 0, evenly up to ``steps``."""
    return [0, *(round(steps * (i + 1) / count) for i in range(count))]


def picture_side(lab: Lab) -> int:
    """Side in pixels for the convolutional studies: 16 for tiny pictures, else 32."""
    return 16 if max(lab.splits.image_size) <= 16 else 32


def first_reaching(steps: Sequence[int], values: Sequence[float], target: float) -> int | None:
    """The first step at which ``values`` reaches ``target``; ``None`` where it never does."""
    return next((step for step, value in zip(steps, values, strict=True) if value >= target), None)


def sigmoids(net: nn.Module) -> list[nn.Module]:
    """The sigmoids of a network, first to last."""
    return [module for module in net.modules() if isinstance(module, nn.Sigmoid)]
