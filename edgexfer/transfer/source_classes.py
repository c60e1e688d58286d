"""What a pretrained network already calls the new pictures: the nearest of its own classes to each new class.

A class that the network answers with one of its own classes is known to it under another name (the leopard of
ImageNet); one that it scatters over many is new to it (the giraffe).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgexfer import nets
from edgexfer.data import eval_pixels
from edgexfer.data.augment import to_floats
from edgexfer.nets.weights import load_with_its_classes
from edgexfer.runs import is_run, read_run
from edgexfer.torchvision_import import import_torchvision
from edgexfer.training import Job

IMAGENET_CLASSES = 1_000
MOST_PICTURES = 32
SHOWN = 3


@dataclass(frozen=True)
class Nearest:
    """The source classes nearest to one new class.

    Attributes:
        name: The new class.
        source: Names of the source classes, nearest first, with the mean probability that the network gives each.
    """

    name: str
    source: tuple[tuple[str, float], ...]


def source_names(job: Job) -> tuple[str, ...] | None:
    """Names of the classes that the job's weights know; ``None`` where they cannot be told."""
    path = Path(job.weights)
    folder = path if path.is_dir() else path.parent
    if is_run(folder) and job.weights not in ("none", "imagenet"):
        return read_run(folder).classes
    if job.weights == "none":
        return None
    if job.weights == "imagenet" or _classes_in(job) == IMAGENET_CLASSES:
        return tuple(import_torchvision().models._meta._IMAGENET_CATEGORIES)
    return None


@torch.no_grad()
def nearest_source_classes(job: Job, names: Sequence[str]) -> list[Nearest]:
    """For each new class the source classes that the network, with its own head, gives its pictures.

    Args:
        job: The network, its weights and the pictures.
        names: Names of the source classes, in the order of the weights' own head.
    """
    network = _with_its_own_head(job).eval()
    train, store = job.splits.train, job.stores["train"]
    found = []
    for label, name in enumerate(job.splits.classes):
        members = np.flatnonzero(train.labels == label)[:MOST_PICTURES]
        if not len(members):
            continue
        pixels = to_floats(eval_pixels(store, members.tolist(), job.preprocessing).numpy()).to(job.device)
        shares = network(pixels).float().softmax(1).mean(0)
        top = shares.topk(min(SHOWN, len(names)))
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        found.append(Nearest(name, tuple((names[index], float(share)) for index, share in pairs)))
    return found


def _with_its_own_head(job: Job) -> nets.Normalized:
    file = _file_of(job)
    net = nets.build(job.model, 2, job.preprocessing.input_size)
    load_with_its_classes(net, file)
    return nets.Normalized(net, job.preprocessing).to(job.device)


def _classes_in(job: Job) -> int:
    return _with_its_own_head(job).net.num_classes


def _file_of(job: Job) -> str | Path:
    if job.weights == "imagenet" and not Path(job.weights).is_file():
        from edgexfer.nets.published import imagenet_file

        return imagenet_file(job.model)
    return job.weights
