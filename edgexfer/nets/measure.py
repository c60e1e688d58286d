"""Measures what ``table.py`` holds: ``python -m edgexfer.nets.measure`` prints its rows anew.

Parameters at 1,000 classes; operations at the usual input size; the smallest square input that the network runs on.
Everything runs on shapes alone, so that the largest networks take neither time nor memory.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import nn

from edgexfer.nets.catalogue import OWN, build, names
from edgexfer.nets.counting import count_operations, shapes_only, without_memory
from edgexfer.nets.network import count_parameters, is_normalised
from edgexfer.nets.table import Facts, facts
from edgexfer.torchvision_import import import_torchvision

_HALF_MEAN = ("googlenet", "inception_v3", "efficientnet_v2_l")
_LARGEST_MINIMUM = 80


def measure(name: str) -> Facts:
    """The facts about one registered network, measured and read from torchvision."""
    known = facts(name) if name in OWN else _published(name)
    size = (known.input_size, known.input_size)
    with without_memory():
        net = build(name, 1000, size)
    return Facts(
        parameters=count_parameters(net),
        operations=count_operations(net, size),
        input_size=known.input_size,
        resize=known.resize,
        minimum=max(known.multiple, smallest_input(net)) if known.multiple == 1 else known.multiple,
        multiple=known.multiple,
        square=known.square,
        interpolation=known.interpolation,
        statistics=known.statistics,
        file=known.file,
        normalised=is_normalised(net),
    )


def smallest_input(net: nn.Module) -> int:
    """The smallest square input, in pixels, that ``net`` gives finite shapes for."""
    shapes = shapes_only(net).eval()
    for size in range(1, _LARGEST_MINIMUM + 1):
        try:
            with torch.no_grad():
                shapes(torch.empty((1, 3, size, size), device="meta"))
            return size
        except (RuntimeError, ValueError):
            continue
    raise RuntimeError(f"no input up to {_LARGEST_MINIMUM} x {_LARGEST_MINIMUM} pixels fits {type(net).__name__}")


def _published(name: str) -> Facts:
    """What torchvision says about its default weights."""
    weights = import_torchvision().models.get_model_weights(name).DEFAULT
    rule: Any = weights.transforms()
    return Facts(
        parameters=0,
        operations=0,
        input_size=rule.crop_size[0],
        resize=rule.resize_size[0],
        minimum=0,
        multiple=_multiple(name),
        square=name.startswith("vit_"),
        interpolation=rule.interpolation.value,
        statistics="half" if name in _HALF_MEAN else "imagenet",
        file=PurePosixPath(weights.url).name,
    )


def _multiple(name: str) -> int:
    """Pixels that a side has to be a multiple of: a ViT's patch, MaxViT's windows of 7 at a 32nd of the size."""
    if name.startswith("vit_"):
        return int(name.rsplit("_", 1)[1])
    return 224 if name.startswith("maxvit") else 1


def row(name: str, known: Facts) -> str:
    """One line of ``table.py``; what is at its default is left out."""
    numbers = [f"{known.parameters:_}", f"{known.operations:_}"]
    numbers += [str(known.input_size), str(known.resize), str(known.minimum)]
    default = Facts(0, 0, 0, 0, 0)
    rest = [
        f'{field}="{value}"' if isinstance(value, str) else f"{field}={value}"
        for field, value in asdict(known).items()
        if value != getattr(default, field) and field in ("multiple", "square", "statistics", "normalised")
    ]
    texts = [f'"{known.file}"'] if known.file else []
    if known.interpolation != default.interpolation:
        texts.append(f'"{known.interpolation}"')
    return f'    "{name}": Facts({", ".join(numbers + texts + rest)}),'


def main() -> None:
    """Prints every row of ``table.py``."""
    for name in names():
        print(row(name, measure(name)), flush=True)


if __name__ == "__main__":
    main()
