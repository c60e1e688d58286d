"""Where a step gets the teachers' outputs from: the networks themselves, or what they said before.

With a limited number of views of each picture, the outputs of a view are computed when it is first seen and kept (see
``cache``); from then on, and in other runs on the same pictures, the teachers do not run at all. The first time already
uses the outputs as they are stored, in half precision, so that it makes no difference whether the cache was empty.

Processes that train together each compute the outputs of their own pictures, and find those of the others on the same
machine in the same files.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgexfer.data import Loader, Views
from edgexfer.data.index import cache_folder
from edgexfer.distill.cache import OutputCache, view_bytes
from edgexfer.distill.teacher import Teacher, Teachers
from edgexfer.training import Job, Listener
from edgexfer.training.compute import Compute
from edgexfer.training.learner import Batch
from edgexfer.words import counted, people_size

LARGEST_BYTES = 8 << 30
SHARE_OF_DISK = 0.2
SAMPLED_VIEWS, SAMPLED_PICTURES = 3, 16
TOLERANCE = {"float32": 0.01, "bfloat16": 0.15}
"""How far a recomputed probability may lie from the stored one: half precision, and sums in another order."""


@dataclass(frozen=True)
class Outputs:
    """The teachers' outputs for the batches of one training.

    Attributes:
        teachers: Who is asked.
        caches: One a member, or none at all.
    """

    teachers: Teachers
    caches: tuple[OutputCache, ...] = ()

    def logits(self, batch: Batch) -> torch.Tensor:
        """What every member says of a batch, up to a constant for each picture: ``(M, N, K)``."""
        if not self.caches:
            return self.teachers.logits(batch["inputs"])
        view, indices = int(batch["view"]), batch["index"].cpu().numpy()
        said = [
            _recalled(member, cache, batch["inputs"], view, indices)
            for member, cache in zip(self.teachers.members, self.caches, strict=True)
        ]
        return torch.stack(said).to(batch["inputs"].device)


@torch.no_grad()
def _recalled(
    member: Teacher, cache: OutputCache, pixels: torch.Tensor, view: int, indices: np.ndarray
) -> torch.Tensor:
    """Log-probabilities ``(N, K)`` from the cache; what it lacks is computed and kept."""
    found, known = cache.read(view, indices)
    if known.all():
        return found
    rows = np.flatnonzero(~known)
    found[rows] = cache.write(view, indices[rows], member.network(pixels[torch.from_numpy(rows).to(pixels.device)]))
    return found


def choose_views(epochs: int, images: int, classes: int, members: int, wanted: int | None = None) -> int:
    """How many views of each picture are shown: one an epoch, or as many as the disk has room for.

    Args:
        epochs: Of the training.
        images: Training pictures.
        classes: K.
        members: Number of teachers.
        wanted: What the user asked for.

    Returns:
        The number; 0 where no cache is to be kept, and every epoch has views of its own.
    """
    if wanted is not None:
        return min(wanted, epochs)
    allowance = min(LARGEST_BYTES, int(SHARE_OF_DISK * _free_bytes()))
    return min(epochs, allowance // (members * view_bytes(images, classes)))


def _free_bytes() -> int:
    folder = Path(cache_folder())
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(there).free


def open_outputs(teachers: Teachers, job: Job, compute: Compute, listener: Listener) -> Outputs:
    """The outputs for a job with views, from the caches that fit it; says how large they get, and checks a sample."""
    views = job.views
    if views is None:
        return Outputs(teachers)
    return job.ranks.first_on_each_machine(lambda: _opened(teachers, job, views, compute, listener))


def _opened(teachers: Teachers, job: Job, views: Views, compute: Compute, listener: Listener) -> Outputs:
    classes, images = len(job.splits.classes), len(job.splits.train)
    caches = tuple(OutputCache(_facts(member, job, views, compute), images, classes) for member in teachers.members)
    size = len(caches) * views.count * view_bytes(images, classes)
    batches = job.train_batches(whole=True)
    known = sum(
        _trusted(member, cache, batches, job, views, compute, listener)
        for member, cache in zip(teachers.members, caches, strict=True)
    )
    share = known / (len(caches) * views.count * images)
    listener.say(
        f"teacher outputs: {counted(views.count, 'view')} of {counted(images, 'picture')}, {people_size(size)} in"
        f" {str(caches[0].folder.parent)!r}, {share:.0%} of them known already"
    )
    return Outputs(teachers, caches)


def _trusted(
    member: Teacher, cache: OutputCache, batches: Loader, job: Job, views: Views, compute: Compute, listener: Listener
) -> int:
    """How many outputs are known; all are forgotten where a sample, computed again, says something else."""
    known = {view: found for view in range(views.count) if len(found := cache.known(view))}
    rng = np.random.default_rng(len(known))
    for view in rng.choice(list(known), min(SAMPLED_VIEWS, len(known)), replace=False) if known else ():
        part = np.sort(rng.choice(known[view], min(SAMPLED_PICTURES, len(known[view])), replace=False))
        stored, _ = cache.read(int(view), part)
        batch = compute.batch(batches.batch(int(view), part), job.device)
        with torch.no_grad(), compute.autocast(job.device):
            said = member.network.to(job.device)(batch["inputs"]).float().cpu()
        if float((said.softmax(dim=1) - stored.exp()).abs().max()) > TOLERANCE[compute.precision]:
            listener.warn(f"the stored outputs of {member.name} are not what it says now; they are made anew")
            cache.clear()
            return 0
    return sum(map(len, known.values()))


def _facts(member: Teacher, job: Job, views: Views, compute: Compute) -> dict[str, Any]:
    """Everything that decides what a teacher says of the training pictures."""
    seen = job.preprocessing.to_dict()
    return {
        "teacher": member.name,
        "weights_sha256": member.sha256,
        "teacher_preprocessing": member.preprocessing.to_dict(),
        "teacher_order": None if member.order is None else list(member.order),
        "classes": list(job.splits.classes),
        "source": job.splits.source,
        "pictures_sha256": _digest(job.splits.train.digests),
        "pixels": {key: seen[key] for key in ("input_size", "resize", "crop", "interpolation")},
        "augment": job.settings.augment,
        "mirrors": job.splits.mirrors,
        "mixup": job.settings.mixup,
        "views_seed": views.seed,
        "compute": asdict(compute),
    }


def _digest(contents: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(contents).encode("ascii")).hexdigest()
