"""The four ways to transfer, by name.

| name         | what is retrained                                   | meant for                              |
| ------------ | --------------------------------------------------- | -------------------------------------- |
| `head`       | the output layer, on frozen features                | few pictures, like those of pretraining |
| `classifier` | everything above the feature extractor              | few pictures, unlike                   |
| `full`       | the whole pretrained network                        | many pictures, like                    |
| `scratch`    | the whole network from random weights               | many pictures, unlike                  |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgexfer.errors import RecipeError

BATCHNORM_POLICIES = ("frozen", "adapt", "train")
STRATEGIES = ("head", "classifier", "full", "scratch")
AUTO = "auto"
LAYER_DECAY = 0.8
WORDS = {
    "head": "the pretrained network stays as it is, only a new output layer is fitted",
    "classifier": "the feature extractor stays as it is, everything above it is retrained",
    "full": "the whole pretrained network is retrained, late layers faster than early ones",
    "scratch": "the network learns from random weights",
}
_ONLY = {
    "cut": ("classifier",),
    "views": ("head", "classifier"),
    "bn": ("classifier", "full"),
    "layer_decay": ("full",),
    "gradual": ("full",),
    "reestimate_bn": ("classifier", "full", "scratch"),
}


@dataclass(frozen=True)
class Strategy:
    """How much of a pretrained network is retrained, and how.

    Attributes:
        name: One of ``STRATEGIES``.
        cut: Block above which ``classifier`` retrains; found if ``None``.
        views: Views of each picture that ``head`` and ``classifier`` compute; by the strategy if ``None``.
        bn: BatchNorm policy, one of ``BATCHNORM_POLICIES``; by the number of pictures if ``None``.
        layer_decay: Rate of each group of layers beside the one above it, for ``full``.
        gradual: Whether groups of layers join one epoch after another, for ``full``.
        balance: Whether every class counts the same, however many pictures it has.
        reestimate_bn: Whether BatchNorm is re-estimated at the end where validation gains.
    """

    name: str
    cut: str | None = None
    views: int | None = None
    bn: str | None = None
    layer_decay: float = LAYER_DECAY
    gradual: bool = True
    balance: bool = False
    reestimate_bn: bool = False

    def __post_init__(self) -> None:
        mistakes = list(self._mistakes())
        if mistakes:
            raise RecipeError.gathered(mistakes)

    def _mistakes(self) -> Iterator[str]:
        if self.name not in (*STRATEGIES, AUTO):
            yield f"strategy is {self.name!r}; allowed: {', '.join((*STRATEGIES, AUTO))}"
            return
        for key, where in _ONLY.items():
            if key in self.to_dict() and self.name not in (*where, AUTO):
                yield f"{_option(key)} does not apply to the strategy {self.name}; it does to {' and '.join(where)}"
        if self.bn is not None and self.bn not in BATCHNORM_POLICIES:
            yield f"--bn is {self.bn!r}; allowed: {', '.join(BATCHNORM_POLICIES)}"
        if self.views is not None and self.views < 1:
            yield f"--views is {self.views}; it must be at least 1"
        if not 0 < self.layer_decay <= 1:
            yield f"--layer-decay is {self.layer_decay}; it must lie above 0 and not above 1"

    def settled(self, name: str) -> Strategy:
        """The same with ``auto`` replaced by what was advised; options of other strategies fall away."""
        others = {key for key, where in _ONLY.items() if name not in where}
        return Strategy(name, **{key: value for key, value in self.to_dict().items() if key not in {"name", *others}})

    def to_dict(self) -> dict[str, Any]:
        """The strategy as a run's recipe keeps it: what was chosen, without what was left open."""
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        return {key: value for key, value in vars(self).items() if value != usual[key]}


def _option(key: str) -> str:
    return f"--{key.replace('_', '-')}"
