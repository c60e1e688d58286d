"""Chooses how a training computes, by a few steps each way where that is left open and the training is long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgexfer import nets
from edgexfer.data import Loader
from edgexfer.training.compute import (
    CANDIDATES,
    MEASURED_STEPS,
    WORTH_MEASURING,
    Compute,
    fastest,
    recall_compute,
    remember_compute,
    seconds_a_step,
)
from edgexfer.training.learner import Step
from edgexfer.training.listener import Listener

if TYPE_CHECKING:
    from edgexfer.training.job import Job

HARD_LABELS = "hard labels"
"""What is taught without a teacher."""


def choose_compute(
    job: Job,
    student: nets.Normalized,
    step_in: Callable[[Compute], Step],
    batches: Loader,
    folder: Path,
    listener: Listener,
    *,
    taught: str = HARD_LABELS,
) -> Compute:
    """How a training computes: as the settings say; where they leave it open, and it is worth it, what is fastest here.

    A choice that was measured is kept in ``folder`` for a resumed training and in the cache for the next one of its
    kind, so that the same command gives the same weights on the same machine.

    Args:
        job: What is trained on.
        student: Who learns; a copy takes the steps.
        step_in: The step in a way of computing, with all that it asks beside the student in that memory format.
        batches: Training batches.
        folder: Where a training that can be resumed keeps its state.
        listener: Hears what was measured.
        taught: What the steps learn from, as far as it takes time; with the network and the batch it makes the kind.
    """
    if job.settings.precision != "auto":
        return Compute(job.settings.precision, channels_last=job.settings.precision == "bfloat16")
    work = 3 * nets.count_operations(student.net, job.preprocessing.input_size)
    if work * len(job.splits.train) * job.settings.epochs < WORTH_MEASURING or job.device.type == "mps":
        return Compute()
    kind = _kind(job, batches, taught)
    kept = job.ranks.once(lambda: recall_compute(folder, kind))
    if kept is None:
        seconds = {
            compute: seconds_a_step(student, step_in(compute), batches, compute, job.device, steps=MEASURED_STEPS)
            for compute in CANDIDATES
        }
        kept = job.ranks.once(lambda: fastest(seconds))
        told = ", ".join(f"{compute.name} {taken * 1e3:.0f} ms" for compute, taken in seconds.items())
        listener.say(f"one step takes: {told}; {kept.name} it is")
    if job.ranks.is_writer:
        remember_compute(folder, kind, kept)
    return kept


def _kind(job: Job, batches: Loader, taught: str) -> str:
    """Everything that decides which way is the fastest, on one machine."""
    share = f"{batches.batch_size}/{job.ranks.count}" if job.ranks.are_several else f"{batches.batch_size}"
    code = nets.source_sha256(job.model) or ""
    return f"{job.model}{code[:12]}-{job.preprocessing.input_size}-{share}-{job.device}-{taught}"
