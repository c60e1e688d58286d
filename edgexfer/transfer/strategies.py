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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.errors import RecipeError
from edgexfer.runs import Run
from edgexfer.training import Job, Listener
from edgexfer.transfer.classifier import train_classifier
from edgexfer.transfer.finetune import BATCHNORM_POLICIES, LAYER_DECAY, Careful, finetune
from edgexfer.transfer.head import train_head

STRATEGIES = ("head", "classifier", "full", "scratch")
AUTO = "auto"
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
    layer_decay: float | None = None
    gradual: bool | None = None
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
            if (
                getattr(self, key) not in (None, False) or (key == "gradual" and self.gradual is False)
            ) and self.name not in (*where, AUTO):
                yield f"{_option(key)} does not apply to the strategy {self.name}; it does to {' and '.join(where)}"
        if self.bn is not None and self.bn not in BATCHNORM_POLICIES:
            yield f"--bn is {self.bn!r}; allowed: {', '.join(BATCHNORM_POLICIES)}"
        if self.views is not None and self.views < 1:
            yield f"--views is {self.views}; it must be at least 1"
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            yield f"--layer-decay is {self.layer_decay}; it must lie above 0 and not above 1"

    def settled(self, name: str) -> Strategy:
        """The same with ``auto`` replaced by what was advised; options of other strategies fall away."""
        dropped = {key: None for key, where in _ONLY.items() if name not in where}
        if "reestimate_bn" in dropped:
            dropped["reestimate_bn"] = False  # type: ignore[assignment]
        return dataclasses.replace(self, name=name, **dropped)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """The strategy as a run's recipe keeps it: what was chosen, without what was left open."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value not in (None, False)}


def transfer(
    job: Job,
    strategy: Strategy,
    out: Path,
    listener: Listener,
    *,
    record: Mapping[str, Any],
    extra_scores: Mapping[str, Any] | None = None,
) -> Run:
    """Trains the network of ``job`` by a strategy and leaves a run in ``out``.

    Raises:
        RecipeError: The strategy is still ``auto``: ask ``advise`` first.
        EdgexferError: The training cannot start or go on.
    """
    record = {**record, "strategy": strategy.to_dict()}
    listener.say(f"strategy {strategy.name}: {WORDS[strategy.name]}" if strategy.name in WORDS else strategy.name)
    if strategy.name == "head":
        return train_head(
            job, out, listener, record=record, views=strategy.views or 1, balance=strategy.balance,
            extra_scores=extra_scores,
        )  # fmt: skip
    if strategy.name == "classifier":
        return train_classifier(
            job, out, listener, record=record, cut=strategy.cut, views=strategy.views, bn=strategy.bn,
            balance=strategy.balance, reestimate_bn=strategy.reestimate_bn, extra_scores=extra_scores,
        )  # fmt: skip
    if strategy.name not in STRATEGIES:
        raise RecipeError(f"strategy is {strategy.name!r}; allowed here: {', '.join(STRATEGIES)}")
    careful = None
    if strategy.name == "full":
        decay = LAYER_DECAY if strategy.layer_decay is None else strategy.layer_decay
        careful = Careful(strategy.bn, decay, strategy.gradual is not False)
    return finetune(
        job, out, listener, record=record, careful=careful, balance=strategy.balance,
        reestimate_bn=strategy.reestimate_bn, extra_scores=extra_scores,
    )  # fmt: skip


WORDS = {
    "head": "the pretrained network stays as it is, only a new output layer is fitted",
    "classifier": "the feature extractor stays as it is, everything above it is retrained",
    "full": "the whole pretrained network is retrained, late layers faster than early ones",
    "scratch": "the network learns from random weights",
}


def _option(key: str) -> str:
    return f"--{key.replace('_', '-')}"
