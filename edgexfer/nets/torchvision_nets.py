"""torchvision's classification networks by their own names, cut into body and head.

Auxiliary classifiers are off. ``transform_input`` is off too: GoogLeNet and Inception were trained on pixels with mean
and standard deviation 0.5, and here that is what their preprocessing says, which is the same function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from edgexfer.nets.network import Network, init_head
from edgexfer.nets.split import SplitNetwork, last_linear
from edgexfer.torchvision_import import import_torchvision

_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
_PUBLISHED = "classifier.1.weight"
_POSITIONS = "body.encoder.pos_embedding"
# Names that older published files use, and what they are called now.
_RENAMED = (
    (re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)"), r"\1\2"),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_2\."), r"\1.3."),
)


class TorchvisionNetwork(SplitNetwork):
    """One of torchvision's networks; reads the keys that torchvision's own files use, old ones too."""

    def own_keys(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As ``SplitNetwork``; drops auxiliary classifiers, brings a ViT's position embedding to this input size."""
        current = {_current_key(k): v for k, v in state.items() if not k.startswith(_AUXILIARY)}
        own = super().own_keys(current)
        if _POSITIONS in own:
            here = self.state_dict()[_POSITIONS]
            own[_POSITIONS] = _resized_positions(own[_POSITIONS], int(here.shape[1]))
        return own


class SqueezeNet(Network):
    """SqueezeNet (Iandola et al. 2016, arXiv:1602.07360) with global pooling and a linear layer as its head.

    The published classifier (a 1x1 convolution, ReLU, pooling) squashes its logits, so a network that learns anew gets
    a linear head. Published weights bring the published classifier with them, and with it exactly the published
    function; then ``embed`` gives the squashed class scores and ``classify`` is the identity, until ``reset_head``.

    Args:
        model: torchvision's SqueezeNet; it is taken over, not copied.
        num_classes: Number of logits.
    """

    def __init__(self, model: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.features = cast(nn.Sequential, model.features)
        published = cast(nn.Sequential, model.classifier)
        self.dropout = published[0]
        self.feature_dim = cast(nn.Conv2d, published[1]).in_channels
        self.classifier: nn.Sequential | None = None
        self.embedding_dim = self.feature_dim
        self.num_classes = num_classes
        self.head: nn.Module | None = nn.Linear(self.feature_dim, num_classes)
        init_head(self.head)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, 512), or the class scores (N, K) of the published classifier."""
        features = self.features(x)
        if self.classifier is not None:
            return cast(torch.Tensor, self.classifier(features)).flatten(1)
        return cast(torch.Tensor, self.dropout(features)).mean((2, 3))

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        """Logits (N, K); the embedding itself where the published classifier is in place."""
        return embedding if self.head is None else cast(torch.Tensor, self.head(embedding))

    def replace_head(self, num_classes: int) -> nn.Module:
        """Puts a fresh linear head after global pooling, and takes the published classifier away."""
        self.classifier = None
        head = nn.Linear(self.feature_dim, num_classes).to(next(self.features.parameters()))
        self.head = head
        self.embedding_dim = self.feature_dim
        self.num_classes = num_classes
        return head

    def file_classes(self, state: Mapping[str, torch.Tensor]) -> int | None:
        """Number of classes of the published classifier or of the linear head, whichever the file holds."""
        weight = state.get(_PUBLISHED)
        return super().file_classes(state) if weight is None or weight.ndim == 0 else len(weight)

    def match_head(self, state: Mapping[str, torch.Tensor]) -> None:
        """Puts the published classifier in place where the file holds one, else a linear head."""
        classes = self.file_classes(state)
        if _PUBLISHED not in state:
            if self.head is None or classes not in (None, self.num_classes):
                self.replace_head(classes or self.num_classes)
            return
        conv = nn.Conv2d(self.feature_dim, classes or self.num_classes, 1).to(next(self.features.parameters()))
        self.classifier = nn.Sequential(self.dropout, conv, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1))
        self.head = None
        self.embedding_dim = self.num_classes = conv.out_channels


def build(name: str, num_classes: int, input_size: tuple[int, int]) -> Network:
    """Builds one of torchvision's networks without weights, initialised as torchvision does."""
    models = import_torchvision().models
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        options = {"image_size": input_size[0]}
    elif name.startswith("maxvit"):
        options = {"input_size": input_size}
    model = models.get_model(name, weights=None, num_classes=num_classes, **options)
    if name.startswith("squeezenet"):
        return SqueezeNet(model, num_classes)
    return TorchvisionNetwork(model, last_linear(model), num_classes)


def _current_key(key: str) -> str:
    for pattern, replacement in _RENAMED:
        key = pattern.sub(replacement, key)
    return key


def _resized_positions(positions: torch.Tensor, length: int) -> torch.Tensor:
    """A ViT's position embedding (1, 1 + S * S, D), its square part resized bicubically to ``length - 1`` places."""
    if positions.ndim != 3 or positions.shape[1] == length or positions.shape[0] != 1 or positions[:, 1:].numel() == 0:
        return positions
    side, new = round((positions.shape[1] - 1) ** 0.5), round((length - 1) ** 0.5)
    if side * side != positions.shape[1] - 1:
        return positions
    token, grid = positions[:, :1], positions[:, 1:].float()
    square = grid.permute(0, 2, 1).reshape(1, -1, side, side)
    square = nn.functional.interpolate(square, (new, new), mode="bicubic", align_corners=True)
    return torch.cat([token, square.flatten(2).permute(0, 2, 1).to(token.dtype)], dim=1)
