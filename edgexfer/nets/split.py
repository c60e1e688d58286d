"""Cuts any classifier in two at its last layer: the body gives an embedding, the head gives logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import nn

from edgexfer.errors import NetworkError
from edgexfer.nets.network import Network


class SplitNetwork(Network):
    """A classifier whose last linear layer has become ``head``; the rest, with identity in its place, is ``body``.

    Dropout before the last layer stays in the body. A head without bias gets one of zeros, which changes nothing.

    Args:
        model: The whole classifier; it is taken over, not copied.
        head_path: Where in ``model`` the last layer is (``"classifier.6"``).
        num_classes: Number of logits.

    Raises:
        NetworkError: The layer at ``head_path`` is neither an ``nn.Linear`` nor an ungrouped 1x1 ``nn.Conv2d``.
    """

    def __init__(self, model: nn.Module, head_path: str, num_classes: int) -> None:
        super().__init__()
        head = model.get_submodule(head_path)
        if not is_head(head):
            raise NetworkError(f"{head_path!r} is {head!r}; a head is an nn.Linear or a 1x1 nn.Conv2d")
        self.head_path = head_path
        self.embedding_dim = int(cast(torch.Tensor, head.weight).shape[1])
        self.num_classes = num_classes
        model.set_submodule(head_path, nn.Identity())
        self.body = model
        self.bias_added = head.bias is None
        self.head = _with_bias(head)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D) of normalised pixels (N, 3, H, W)."""
        return cast(torch.Tensor, self.body(x)).flatten(1)

    def own_keys(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A file's tensors under ``body.`` and ``head.``, whether it uses those or the uncut network's keys."""
        own = self.state_dict().keys()
        uncut = {self._own_key(key): value for key, value in state.items()}
        return uncut if len(own & uncut.keys()) > len(own & state.keys()) else dict(state)

    def may_lack(self) -> frozenset[str]:
        """The head's bias, where the uncut network has none."""
        return frozenset({"head.bias"} if self.bias_added else ())

    def _own_key(self, key: str) -> str:
        prefix = self.head_path + "."
        return "head." + key.removeprefix(prefix) if key.startswith(prefix) else "body." + key


def is_head(module: nn.Module) -> bool:
    """Whether a layer can be a head: an ``nn.Linear``, or an ungrouped 1x1 ``nn.Conv2d`` with stride 1."""
    if isinstance(module, nn.Conv2d):
        return (
            module.kernel_size == (1, 1)
            and module.stride == (1, 1)
            and module.groups == 1
            and module.padding in (0, (0, 0))
        )
    return isinstance(module, nn.Linear)


def last_linear(model: nn.Module) -> str:
    """Path of the last ``nn.Linear`` in the order of registration.

    Raises:
        NetworkError: There is none.
    """
    paths: list[str] = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not paths:
        raise NetworkError(f"{type(model).__name__} has no nn.Linear to cut at")
    return paths[-1]


def _with_bias(head: nn.Module) -> nn.Module:
    if not isinstance(head, nn.Linear | nn.Conv2d) or head.bias is not None:
        return head
    weight = head.weight
    fresh: nn.Linear | nn.Conv2d
    if isinstance(head, nn.Conv2d):
        fresh = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    else:
        fresh = nn.Linear(weight.shape[1], weight.shape[0])
    fresh.to(weight)
    fresh.weight = weight
    with torch.no_grad():
        cast(nn.Parameter, fresh.bias).zero_()
    return fresh
