"""What every network here is: a body that gives an embedding, and a head that gives logits from it.

``net(x) == net.classify(net.embed(x))`` up to rounding, for every network in the registry, so that transfer can cache
embeddings, an artifact can output them, and a device can learn new classes from them.
"""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import nn

from edgexfer.errors import NetworkError

_NORMALISING = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


class Network(nn.Module):
    """A classifier in two parts.

    Attributes:
        head_name: Name of the submodule that gives logits from an embedding: an ``nn.Linear``, or a 1x1
            ``nn.Conv2d`` that is applied to the pooled features.
        embedding_dim: ``D``, the length of an embedding.
        num_classes: ``K``, the number of logits.
    """

    head_name: str = "head"
    embedding_dim: int
    num_classes: int

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """The features that the head sees: normalised pixels (N, 3, H, W) in, (N, D) out."""
        raise NotImplementedError

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) from embeddings (N, D)."""
        head = getattr(self, self.head_name)
        if isinstance(head, nn.Conv2d):
            return cast(torch.Tensor, head(embedding[:, :, None, None]).flatten(1))
        return cast(torch.Tensor, head(embedding))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) from normalised pixels (N, 3, H, W)."""
        return self.classify(self.embed(x))

    def replace_head(self, num_classes: int) -> nn.Module:
        """Puts a fresh head of the same kind, with a bias, for ``num_classes`` classes, and returns it."""
        old = getattr(self, self.head_name)
        head: nn.Module
        if isinstance(old, nn.Conv2d):
            head = nn.Conv2d(self.embedding_dim, num_classes, 1)
        else:
            head = nn.Linear(self.embedding_dim, num_classes)
        setattr(self, self.head_name, head.to(old.weight))
        self.num_classes = num_classes
        return cast(nn.Module, getattr(self, self.head_name))

    def file_classes(self, state: Mapping[str, torch.Tensor]) -> int | None:
        """Number of classes in a weight file's tensors (by this network's own keys); ``None`` if it has no head."""
        weight = state.get(f"{self.head_name}.weight")
        return None if weight is None or weight.ndim == 0 or len(weight) == 0 else len(weight)

    def match_head(self, state: Mapping[str, torch.Tensor]) -> None:
        """Gives the head the form and class count of a weight file."""
        classes = self.file_classes(state)
        if classes not in (None, self.num_classes):
            self.replace_head(classes)

    def own_keys(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A weight file's tensors under this network's own keys; the file may use those or its author's."""
        return dict(state)

    def may_lack(self) -> frozenset[str]:
        """Own keys that a weight file may leave out, to be read as zeros."""
        return frozenset()

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As ``nn.Module`` does it; a mapping that lost torch's version marks (safetensors) is read as current."""
        if not hasattr(state_dict, "_metadata"):
            state_dict = OrderedDict(state_dict)
            state_dict._metadata = self.state_dict()._metadata  # type: ignore[attr-defined]
        return super().load_state_dict(state_dict, *args, **kwargs)


def reset_head(net: Network, num_classes: int, seed: int = 0) -> None:
    """Replaces the head by a fresh one for ``num_classes`` classes, in place.

    Weights are uniform within ``1 / sqrt(D)`` of zero, biases zero: early predictions are near uniform. The same seed
    gives the same head, on any device. A network that squashes its logits (SqueezeNet as published) gets global
    pooling and a linear layer here, so ``embedding_dim`` may change.

    Raises:
        NetworkError: ``num_classes`` is below 1.
    """
    check_classes(num_classes)
    with seeded(seed):  # a fresh layer draws values at once, from the generator that everybody shares
        head = net.replace_head(num_classes)
    init_head(head, torch.Generator().manual_seed(seed))


def initialise(net: Network, slope: float = 0.0) -> None:
    """Draws the first weights of a network of convolutions that are followed by LeakyReLU, in place.

    Weights are normal with He's variance by fan-out (He et al., "Delving Deep into Rectifiers", ICCV 2015, section
    2.2), biases zero; the head is filled by ``init_head``.

    Args:
        net: The network.
        slope: LeakyReLU's slope below zero; 0 is a ReLU.
    """
    head = getattr(net, net.head_name)
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module is not head:
            nn.init.kaiming_normal_(module.weight, a=slope, mode="fan_out", nonlinearity="leaky_relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    init_head(head)


def init_head(head: nn.Module, generator: torch.Generator | None = None) -> None:
    """Fills a head: weights uniform within ``1 / sqrt(D)`` of zero, biases zero."""
    weight, bias = head.weight, head.bias
    if not isinstance(weight, torch.Tensor) or not isinstance(bias, torch.Tensor):
        raise NetworkError(f"a head needs a weight and a bias; found {head!r}")
    bound = 1 / math.sqrt(weight[0].numel())
    with torch.no_grad():
        draw = torch.rand(weight.shape, generator=generator, device="cpu", dtype=torch.float32)
        weight.copy_((2 * draw - 1) * bound)
        bias.zero_()


def head_parameters(net: Network) -> list[nn.Parameter]:
    """The parameters of the head; all the others are the body's.

    Empty for a network whose published classifier squashes its logits (SqueezeNet at its own 1,000 classes), where
    ``classify`` is the identity: call ``reset_head`` before training a head on it.
    """
    head = getattr(net, net.head_name, None)
    return [] if head is None else list(head.parameters())


def count_parameters(net: nn.Module) -> int:
    """Number of trainable values, whether or not they are frozen now (BatchNorm's running statistics excluded)."""
    return sum(p.numel() for p in net.parameters())


def is_normalised(net: nn.Module) -> bool:
    """Whether a layer keeps what is between the others in range; without, a network bears small learning rates only."""
    return any(isinstance(module, _NORMALISING) for module in net.modules())


def check_classes(num_classes: int) -> None:
    """Refuses a number of classes that is not one.

    Raises:
        NetworkError: ``num_classes`` is no whole number above 0.
    """
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 1:
        raise NetworkError(f"the number of classes is {num_classes!r}; it has to be a whole number, at least 1")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Runs a block under ``seed`` and leaves torch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
