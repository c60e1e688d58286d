"""The registry of networks: by name, or from the user's own file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgexfer.errors import NetworkError
from edgexfer.nets import (
    cifar_resnet,
    cifar_resnet50,
    cifar_resnet_x4,
    cifar_wrn,
    own,
    published,
    tiny_darknet,
    torchvision_nets,
)
from edgexfer.nets.activations import replace_activations, split_name
from edgexfer.nets.cifar_mobilenet_v2 import CifarMobileNetV2
from edgexfer.nets.cifar_wrn import CifarWideResNet
from edgexfer.nets.mlperf_resnet8 import MlperfResNet8
from edgexfer.nets.mobilenet_v1 import WIDTHS, MobileNetV1
from edgexfer.nets.network import Network, check_classes, count_parameters, is_normalised, reset_head, seeded
from edgexfer.nets.table import STATISTICS, TABLE, Facts, facts
from edgexfer.nets.tiny_darknet import TinyDarknet
from edgexfer.nets.weights import load_with_its_classes
from edgexfer.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, square
from edgexfer.registry import Registry
from edgexfer.runs import WEIGHTS_FILE, Run

_OWN_SIZE = 224  # of the user's own network
Triple = tuple[float, float, float]


def _own_builders() -> dict[str, Callable[[int], Network]]:
    builders: dict[str, Callable[[int], Network]] = {
        "tiny-darknet": TinyDarknet,
        "tiny-darknet-relu": functools.partial(TinyDarknet, slope=0.0),
    }
    for width in tiny_darknet.WIDTHS[1:]:
        builders[f"tiny-darknet-{width}"] = functools.partial(TinyDarknet, width=width)
    for kind, slope in (("mobilenet-v1", 0.0), ("mobilenet-v1-leaky", 0.1)):
        for width in WIDTHS:
            name = kind if width == 1 else f"{kind}-{width}"
            builders[name] = functools.partial(MobileNetV1, width=width, slope=slope)
    for depth in cifar_resnet.DEPTHS:
        builders[f"cifar-resnet{depth}"] = functools.partial(cifar_resnet.cifar_resnet, depth=depth)
    for depth in cifar_resnet_x4.DEPTHS:
        builders[f"cifar-resnet{depth}x4"] = functools.partial(cifar_resnet_x4.cifar_resnet_x4, depth=depth)
    builders["cifar-resnet50"] = cifar_resnet50.cifar_resnet50
    for depth, widening in cifar_wrn.KINDS:
        builders[f"cifar-wrn-{depth}-{widening}"] = functools.partial(CifarWideResNet, depth=depth, widening=widening)
    builders["cifar-mobilenet-v2-0.5"] = CifarMobileNetV2
    builders["mlperf-resnet8"] = MlperfResNet8
    return builders


OWN = tuple(_own_builders())


def names() -> list[str]:
    """Every registered network: this package's own first, then torchvision's."""
    return list(TABLE)


def describe() -> list[dict[str, Any]]:
    """Every registered network with its parameters at 1,000 classes and its operations at its usual input size.

    Returns:
        ``{"name", "parameters", "operations", "input_size": [H, W]}`` each; operations are 2 x multiply-adds.
    """
    return [
        {
            "name": name,
            "parameters": known.parameters,
            "operations": known.operations,
            "input_size": [known.input_size, known.input_size],
        }
        for name, known in TABLE.items()
    ]


def build(name: str, num_classes: int, input_size: tuple[int, int]) -> Network:
    """Builds a network without weights, under torch's generator as it stands.

    Args:
        name: A registered name or ``path/to/net.py:build``, also with another activation: ``NAME+relu``.
        num_classes: Number of logits ``K``.
        input_size: ``(H, W)`` that it will be given.

    Raises:
        UnknownNameError: No network goes by that name.
        NetworkError: The user's own network cannot be built or cut, or there is no such activation to put in.
    """
    base, activation = split_name(name)
    net = _build_plain(base, num_classes, input_size)
    if activation is not None:
        replace_activations(net, activation, base)
    return net


def _build_plain(name: str, num_classes: int, input_size: tuple[int, int]) -> Network:
    if own.is_own(name):
        return own.build(name, num_classes, input_size)
    builders: Registry[Callable[[int], Network]] = Registry("network")
    for known, builder in _own_builders().items():
        builders.add(known, builder)
    if name in builders:
        return builders[name](num_classes)
    _registered(name)
    return torchvision_nets.build(name, num_classes, input_size)


def create(
    name: str,
    num_classes: int,
    *,
    weights: str | Path = "none",
    input_size: tuple[int, int] | None = None,
    seed: int = 0,
) -> Network:
    """Makes a network, in training mode, on the CPU.

    A weight file is loaded at its own number of classes; if that is not ``num_classes``, a new head, seeded, takes the
    place of the file's.

    Args:
        name: As for ``build``.
        num_classes: Number of logits ``K``.
        weights: ``"none"``, ``"imagenet"`` (torchvision's default weights for that name, downloaded once), a weight
            file, or the folder of a run.
        input_size: ``(H, W)`` that it will be given; the usual size if ``None``.
        seed: Seed of everything that is drawn.

    Raises:
        UnknownNameError: No network goes by that name.
        NetworkError: The network cannot take that input size or number of classes, or the user's own cannot be used.
        WeightsError: The weights cannot be had, read, or do not fit.
    """
    check_classes(num_classes)
    if input_size is None:
        input_size = preprocessing_for(name).input_size
    check_input_size(name, input_size)
    file = _weight_file(name, weights)
    with seeded(seed):
        net = build(name, num_classes, input_size)
    if file is not None:
        load_with_its_classes(net, file)
    if net.num_classes != num_classes:
        reset_head(net, num_classes, seed)
    return net.train()


def of_run(folder: Path, run: Run) -> Network:
    """The network of a run folder as it was trained, on the CPU, in inference mode.

    Raises:
        NetworkError: The user's own network cannot be used any more.
        WeightsError: The weights cannot be read, or do not fit.
    """
    weights, size = folder / WEIGHTS_FILE, run.preprocessing.input_size
    return create(run.model, len(run.classes), weights=weights, input_size=size).eval()


def with_its_classes(name: str, weights: str | Path, input_size: tuple[int, int] | None = None) -> Network:
    """The network of a weight file, with the file's own number of classes; on the CPU, in training mode.

    Raises:
        UnknownNameError: No network goes by that name.
        WeightsError: The weights cannot be had, read, or do not fit.
    """
    with seeded(0):
        net = build(name, 2, input_size or preprocessing_for(name).input_size)
    load_with_its_classes(net, _weight_file(name, weights) or weights)
    return net


def preprocessing_for(
    name: str, image_size: int | None = None, mean: Triple | None = None, std: Triple | None = None
) -> Preprocessing:
    """What the network usually expects of its input.

    Args:
        name: A registered name, or ``path/to/net.py:build`` (224 pixels, ImageNet's mean and std).
        image_size: Side of the square input, in pixels, in place of the usual.
        mean: Per channel, on pixels 0..1, in place of the usual.
        std: Per channel, on pixels 0..1, in place of the usual.

    Raises:
        UnknownNameError: No network goes by that name.
        NetworkError: The network cannot take that size.
        FormatError: ``mean`` or ``std`` is not usable.
    """
    if _is_own(name):
        size = _OWN_SIZE if image_size is None else image_size
        check_input_size(name, (size, size))
        return square(size, mean=mean or IMAGENET_MEAN, std=std or IMAGENET_STD)
    known = _registered(name)
    usual_mean, usual_std = STATISTICS[known.statistics]
    mean, std = mean or usual_mean, std or usual_std
    if image_size is None or image_size == known.input_size:
        usual = (known.input_size, known.input_size)
        return Preprocessing(usual, known.resize, "center", known.interpolation, mean, std)
    check_input_size(name, (image_size, image_size))
    return square(image_size, mean=mean, std=std, interpolation=known.interpolation)


def min_input_size(name: str) -> int:
    """Pixels of the smallest square input that the network can take; 1 for the user's own, which is tried instead.

    Raises:
        UnknownNameError: No network goes by that name.
    """
    return _known(name).minimum


def nearest_input_size(name: str, image_size: int) -> int:
    """Pixels of the side nearest to ``image_size`` that the network can take; between two, the smaller.

    Raises:
        UnknownNameError: No network goes by that name.
    """
    known = _known(name)
    steps = max(-(-known.minimum // known.multiple), (image_size + (known.multiple - 1) // 2) // known.multiple)
    return steps * known.multiple


def check_input_size(name: str, input_size: tuple[int, int]) -> None:
    """Refuses an input size that the network's structure cannot take.

    Raises:
        UnknownNameError: No network goes by that name.
        NetworkError: The size is too small, not a multiple of the network's patch or window, or not square where the
            network needs it; the message names what is allowed.
    """
    height, width = input_size
    known = _known(name)
    found = f"{name} cannot take {height} x {width} pixels: "
    if min(height, width) < known.minimum:
        raise NetworkError(f"{found}its smallest input is {known.minimum} x {known.minimum}; pass a larger image size")
    if height % known.multiple or width % known.multiple:
        below = max(min(height, width) // known.multiple, 1) * known.multiple
        raise NetworkError(
            f"{found}each side has to be a multiple of {known.multiple}; the nearest sizes are {below} and"
            f" {below + known.multiple}"
        )
    if known.square and height != width:
        raise NetworkError(f"{found}it takes square pictures only; pass one number as the image size")


def about(name: str) -> Facts:
    """What is known of a network; the user's own is built, and its parameters and normalising layers are looked up.

    Raises:
        UnknownNameError: No network goes by that name.
        NetworkError: The user's own network cannot be built.
    """
    known = _known(name)
    if not _is_own(name):
        return known
    net = create(name, 2)
    return replace(known, parameters=count_parameters(net), normalised=is_normalised(net))


def source_sha256(name: str) -> str | None:
    """SHA-256 of the user's own network file; ``None`` for a registered name."""
    base = split_name(name)[0]
    return own.source_sha256(base) if own.is_own(base) else None


def _is_own(name: str) -> bool:
    return own.is_own(split_name(name)[0])


def _known(name: str) -> Facts:
    """What the table holds of a network; the user's own has no bounds, and is tried instead."""
    return Facts.unbounded() if _is_own(name) else _registered(name)


def _registered(name: str) -> Facts:
    base = split_name(name)[0]
    own.refuse_missing_builder(base)
    return facts(base)


def _weight_file(name: str, weights: str | Path) -> Path | None:
    """The file to load; an existing path wins over the words ``none`` and ``imagenet``."""
    if not Path(weights).is_file():
        if weights == "none":
            return None
        if weights == "imagenet":
            return published.imagenet_file(split_name(name)[0])
    return Path(weights)
