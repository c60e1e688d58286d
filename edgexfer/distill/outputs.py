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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgexfer.data import Loader, Views
from edgexfer.data.index import cache_folder
from edgexfer.distill.cache import OutputCache, kept_with, view_bytes
from edgexfer.distill.teacher import Teacher, Teachers
from edgexfer.training import Job, Listener
from edgexfer.training.compute import Compute
from edgexfer.training.learner import Batch
from edgexfer.words import counted, people_size

LARGEST_BYTES = 8 << 30
SHARE_OF_DISK = 0.2
SAMPLED_VIEWS, SAMPLED_PICTURES = 3, 16
_SHOWN = 80
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


def choose_views(job: Job, members: Sequence[Teacher], wanted: int | None = None) -> int:
    """How many views of each picture are shown: one an epoch, or as many as the disk has room for.

    What is kept already for such a training counts as free, so that the same command comes to the same number again.
    Pictures that are not varied look alike in every view, so that one is enough.

    Args:
        job: The training.
        members: The teachers.
        wanted: What the user asked for.

    Returns:
        The number; 0 where no cache is to be kept, and every epoch has views of its own.
    """
    most = job.settings.epochs if job.settings.augment != "none" or job.settings.mixup > 0 else 1
    if wanted is not None:
        return min(wanted, most)
    kept = sum(kept.size_bytes for member in members for kept in kept_with(_facts(member, job)))
    allowance = min(LARGEST_BYTES, int(SHARE_OF_DISK * (_free_bytes() + kept)))
    return min(most, allowance // (len(members) * view_bytes(len(job.splits.train), len(job.splits.classes))))


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
    classes, images, warn = len(job.splits.classes), len(job.splits.train), _first_of(listener.warn)
    facts = [{**_facts(member, job), "compute": asdict(compute)} for member in teachers.members]
    caches = tuple(
        OutputCache(known, images, classes, names={"teacher": member.name, "source": job.splits.source}, warn=warn)
        for member, known in zip(teachers.members, facts, strict=True)
    )
    size = len(caches) * views.count * view_bytes(images, classes)
    _warn_of_no_room(size - sum(cache.kept.size_bytes for cache in caches), caches[0].folder.parent, listener)
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
    others = None if known else next(filter(None, map(_nearest_others, facts)), None)
    if others is not None:
        listener.say(f"the teacher runs again: what is kept of it on these pictures does not serve here ({others})")
    return Outputs(teachers, caches)


def _first_of(warn: Callable[[str], None]) -> Callable[[str], None]:
    """Passes on the first warning alone: what keeps one teacher's outputs from the disk keeps them all."""
    said: list[str] = []

    def first(text: str) -> None:
        if not said:
            warn(text)
        said.append(text)

    return first


def _warn_of_no_room(missing: int, folder: Path, listener: Listener) -> None:
    free = _free_bytes()
    if missing > free:
        listener.warn(
            f"the teacher outputs take {people_size(missing)} more in {str(folder)!r}, where {people_size(free)} are"
            " free: the teachers answer again in every epoch to what finds no room; pass a smaller --views, or set"
            " EDGEXFER_CACHE to a folder on another disk"
        )


def _nearest_others(facts: Mapping[str, Any]) -> str | None:
    """How those of the same teacher's kept outputs for the same pictures differ that differ least, if there are any."""
    same = {key: facts[key] for key in ("weights_sha256", "architecture", "pictures_sha256")}
    found = (list(_differing(kept.facts, facts)) for kept in kept_with(same))
    nearest = min(filter(None, found), key=lambda differing: len(differing), default=None)
    return None if nearest is None else ", ".join(nearest)


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], whose: str = "") -> Iterator[str]:
    for key in now:
        mine, theirs = now[key], before.get(key)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            yield from _differing(theirs, mine, "the teacher's " if key == "teacher_preprocessing" else whose)
        elif mine != theirs:
            told = f"{whose}{key} was {theirs}, now {mine}"
            yield told if len(told) <= _SHOWN else f"another {whose}{key}"


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


def _facts(member: Teacher, job: Job) -> dict[str, Any]:
    """Everything but the arithmetic that decides what a teacher says of the training pictures."""
    seen = job.preprocessing.to_dict()
    return {
        "weights_sha256": member.sha256,
        "architecture": member.architecture,
        "teacher_preprocessing": member.preprocessing.to_dict(),
        "teacher_order": None if member.order is None else list(member.order),
        "classes": list(job.splits.classes),
        "pictures_sha256": _digest(job.splits.train.digests),
        "pixels": {key: seen[key] for key in ("input_size", "resize", "crop", "interpolation")},
        "augment": job.settings.augment,
        "mirrors": job.splits.mirrors,
        "mixup": job.settings.mixup,
        "views_seed": (job.views or Views(1)).seed,
    }


def _digest(contents: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(contents).encode("ascii")).hexdigest()
