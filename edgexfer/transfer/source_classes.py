"""What a pretrained network already calls the new pictures: the nearest of its own classes to each new class.

A class that the network answers with one of its own classes is known to it under another name (the leopard of
ImageNet); one that it scatters over many is new to it (the giraffe).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgexfer import nets
from edgexfer.runs import is_run, read_run
from edgexfer.torchvision_import import import_torchvision
from edgexfer.training import Job
from edgexfer.transfer.features import view_pixels

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


@torch.no_grad()
def nearest_source_classes(job: Job) -> list[Nearest]:
    """For each new class the source classes that the network, with its own head, gives its pictures.

    Returns:
        One entry a class that has training pictures; none at all where the weights' own classes have no known names.
    """
    if job.weights == "none":
        return []
    net = nets.with_its_classes(job.model, job.weights, job.preprocessing.input_size)
    names = _source_names(job.weights, net.num_classes)
    if names is None:
        return []
    network = nets.Normalized(net, job.preprocessing).to(job.device).eval()
    found = []
    for label, name in enumerate(job.splits.classes):
        members = np.flatnonzero(job.splits.train.labels == label)[:MOST_PICTURES]
        if not len(members):
            continue
        pixels = view_pixels(job.stores["train"], members.tolist(), job.preprocessing, None).to(job.device)
        shares = network(pixels).float().softmax(1).mean(0)
        top = shares.topk(min(SHOWN, len(names)))
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        found.append(Nearest(name, tuple((names[index], float(share)) for index, share in pairs)))
    return found


def _source_names(weights: str, count: int) -> tuple[str, ...] | None:
    """Names of the ``count`` classes that the weights know; ``None`` where they cannot be told."""
    path = Path(weights)
    folder = path if path.is_dir() else path.parent
    if path.exists() and is_run(folder):
        return read_run(folder).classes
    if count == IMAGENET_CLASSES:
        return tuple(import_torchvision().models._meta._IMAGENET_CATEGORIES)
    return None
