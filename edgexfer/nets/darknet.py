"""Darknet's own ``.weights`` files, for Tiny Darknet.

A header of three int32 (major, minor, revision) and the number of pictures seen (int64 from version 0.2 on, int32
before), then float32 only. Per convolution with BatchNorm: biases (beta), scales (gamma), rolling means, rolling
variances, weights; per convolution without: biases, weights. Nothing is named, so the size has to fit exactly; it also
tells the number of classes.

Darknet divides by ``sqrt(variance) + 1e-6``, PyTorch by ``sqrt(variance + eps)``. The quotient of the two is put into
gamma, so that the loaded network is the same function:
``gamma' = gamma * sqrt(variance + eps) / (sqrt(variance) + 1e-6)``.

The published ``tiny.weights`` takes pixels from 0 to 1 as they are: mean 0, standard deviation 1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgexfer.errors import WeightsError
from edgexfer.files import write_bytes
from edgexfer.nets.network import seeded
from edgexfer.nets.tiny_darknet import TinyDarknet

_EPSILON = 1e-6
_VERSION = (0, 2, 0)
_REMEDY = "get the file anew (Tiny Darknet's is tiny.weights, beside tiny.cfg)"


def load_darknet(net: TinyDarknet, path: Path) -> None:
    """Loads a ``.weights`` file into ``net``, in place; the head gets the file's number of classes.

    Raises:
        WeightsError: The file cannot be read, has a header that is not Darknet's, or does not have the size that Tiny
            Darknet needs at any number of classes.
    """
    values = _read(path)
    classes = _classes(net, values, path)
    if not np.isfinite(values).all():
        raise WeightsError(f"{str(path)!r} holds values that are not finite; {_REMEDY}")
    if classes != net.num_classes:
        with seeded(0):  # what a fresh head draws is overwritten, and must not move the shared generator
            net.replace_head(classes)
    parts = _Parts(values)
    with torch.no_grad():
        for conv, norm in net.units():
            _fill_unit(conv, norm, parts)
        parts.fill(_tensor(net.head.bias))
        parts.fill(net.head.weight)


def darknet_classes(net: TinyDarknet, path: Path) -> int:
    """Number of classes of a ``.weights`` file, which its size tells.

    Raises:
        WeightsError: As ``load_darknet``.
    """
    return _classes(net, _read(path), path)


def save_darknet(net: TinyDarknet, path: Path, seen: int = 0) -> None:
    """Writes ``net`` as Darknet reads it, whole or not at all; the inverse of ``load_darknet`` up to float32."""
    chunks = [struct.pack("<iiiq", *_VERSION, seen)]
    for tensor in _tensors(net):
        chunks.append(tensor.detach().to("cpu", torch.float32).numpy().astype("<f4").tobytes())
    write_bytes(path, b"".join(chunks))


class _Parts:
    """Hands out a file's numbers one tensor after the other."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self._next = 0

    def fill(self, tensor: torch.Tensor) -> None:
        part = self._values[self._next : self._next + tensor.numel()]
        self._next += tensor.numel()
        tensor.copy_(torch.from_numpy(part.astype(np.float32)).view_as(tensor))


def _read(path: Path) -> np.ndarray:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {str(path)!r}: {error.strerror}") from error
    too_short = f"{str(path)!r} has {len(content)} bytes, less than Darknet's header; {_REMEDY}"
    if len(content) < 16:
        raise WeightsError(too_short)
    major, minor, _ = struct.unpack_from("<iii", content)
    if not (0 <= major < 1000 and 0 <= minor < 1000):
        raise WeightsError(f"{str(path)!r} has the version {major}.{minor}, which is not Darknet's; {_REMEDY}")
    header = 20 if major * 10 + minor >= 2 else 16
    if len(content) < header:
        raise WeightsError(too_short)
    if (len(content) - header) % 4:
        raise WeightsError(f"{str(path)!r} has {len(content)} bytes, which is not whole numbers; {_REMEDY}")
    return np.frombuffer(content, dtype="<f4", offset=header)


def _classes(net: TinyDarknet, values: np.ndarray, path: Path) -> int:
    fixed = sum(_size(conv) for conv, _ in net.units())
    per_class = net.embedding_dim + 1
    classes, rest = divmod(len(values) - fixed, per_class)
    if rest or classes < 1:
        raise WeightsError(
            f"{str(path)!r} holds {len(values)} numbers; Tiny Darknet takes {fixed} and {per_class} for each class;"
            f" {_REMEDY}"
        )
    return classes


def _fill_unit(conv: nn.Conv2d, norm: nn.BatchNorm2d, parts: _Parts) -> None:
    mean, variance = _tensor(norm.running_mean), _tensor(norm.running_var)
    for tensor in (norm.bias, norm.weight, mean, variance, conv.weight):
        parts.fill(tensor)
    if (variance < 0).any():
        raise WeightsError(f"a rolling variance is negative ({variance.min().item():.3g}); {_REMEDY}")
    norm.weight.copy_(norm.weight.double() * _ratio(variance, norm.eps))


def _tensors(net: TinyDarknet) -> Iterator[torch.Tensor]:
    for conv, norm in net.units():
        mean, variance = _tensor(norm.running_mean), _tensor(norm.running_var)
        yield from (norm.bias, norm.weight.double() / _ratio(variance, norm.eps), mean, variance, conv.weight)
    yield from (_tensor(net.head.bias), net.head.weight)


def _ratio(variance: torch.Tensor, eps: float) -> torch.Tensor:
    """What PyTorch divides by, over what Darknet divides by, in float64."""
    exact = variance.double()
    return (exact + eps).sqrt() / (exact.sqrt() + _EPSILON)


def _size(conv: nn.Conv2d) -> int:
    return conv.weight.numel() + 4 * conv.out_channels


def _tensor(value: torch.Tensor | None) -> torch.Tensor:
    if value is None:
        raise WeightsError("Darknet's format needs running statistics and a classifier with bias")
    return value
