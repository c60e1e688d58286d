"""What a user may choose about a training, and the defaults that suit the size of the data.

A ``Recipe`` holds the wishes (``None``: choose for me); ``settle`` turns it into ``Settings``, in which nothing is left
open, and says why each default was chosen.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgexfer.data import AUGMENTS
from edgexfer.errors import RecipeError
from edgexfer.training.compute import DEVICES, PRECISIONS
from edgexfer.training.optim import OPTIMIZERS

PASSES_SCRATCH = 60_000
"""Pictures that a network with random weights sees in all, as a default."""
PASSES_SOFT = 480_000
"""The same for one that a teacher teaches, which goes on gaining where hard labels have long been learned by heart."""
PATIENT_EPOCHS = 40
"""From so many epochs on a taught network with random weights learns from mixed pictures, and to the end."""
SOFT_MIXUP = 0.5
"""Share of its pictures that are mixed then."""
SOFT_RATE = 2.0
"""Learning rate from soft labels beside the one from hard labels, for random weights."""
PASSES_PRETRAINED = 24_000
"""Pictures that a pretrained network sees in all, as a default."""

USUAL_PARAMETERS = 25_000_000
"""Of the networks whose usual fine-tuning rates are known (ResNet-50)."""
MOST_COMPACT_RATE = 10.0


@dataclass(frozen=True)
class Recipe:
    """The wishes of a user; ``None`` leaves the choice to ``settle``.

    Attributes:
        image_size: Input side in pixels.
        epochs: Passes over the training pictures.
        batch_size: Pictures a step, in all processes together.
        lr: Peak learning rate.
        optimizer: ``adamw`` or ``sgd``.
        weight_decay: Of weights; BatchNorm and biases have none.
        warmup_epochs: Epochs until the learning rate reaches its peak.
        label_smoothing: Share of each hard label that is spread over all classes.
        patience: Epochs without a better validation score until training stops.
        augment: ``none``, ``light`` or ``strong``.
        mixup: Share of the training pictures that are mixed with another one.
        ema: Decay of the running average of the weights, which is then what is validated and kept; 0 keeps none.
        precision: ``float32`` or ``bfloat16``; measured where it is left open and the training is long.
        compile: Whether the student computes in each step as ``torch.compile`` makes it.
        sync_bn: Whether BatchNorm takes its statistics over the parts of a batch in all processes.
        workers: Loader processes; 0 prepares batches in the training process.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        seed: Of initialisation, order and augmentation.
    """

    image_size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    optimizer: str | None = None
    weight_decay: float | None = None
    warmup_epochs: int | None = None
    label_smoothing: float | None = None
    patience: int | None = None
    augment: str | None = None
    mixup: float | None = None
    ema: float | None = None
    precision: str | None = None
    compile: bool = False
    sync_bn: bool = False
    workers: int = 0
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        mistakes = list(self._mistakes())
        if mistakes:
            raise RecipeError.gathered(mistakes)

    def _mistakes(self) -> Iterator[str]:
        for name in ("image_size", "epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                yield f"{name} is {value}; it must be at least 1"
        for name in ("weight_decay", "warmup_epochs", "workers", "seed"):
            value = getattr(self, name)
            if value is not None and value < 0:
                yield f"{name} is {value}; it cannot be negative"
        if self.lr is not None and not 0 < self.lr < 100:
            yield f"lr is {self.lr}; it must lie above 0 and below 100"
        if self.label_smoothing is not None and not 0 <= self.label_smoothing < 1:
            yield f"label_smoothing is {self.label_smoothing}; it must lie from 0 to below 1"
        if self.mixup is not None and not 0 <= self.mixup <= 1:
            yield f"mixup is {self.mixup}; it is a share of the pictures, from 0 to 1"
        if self.ema is not None and not 0 <= self.ema < 1:
            yield f"ema is {self.ema}; it must lie from 0 (off) to below 1, such as 0.999"
        if self.precision is not None and self.precision not in PRECISIONS:
            yield f"precision is {self.precision!r}; allowed: {', '.join(PRECISIONS)}"
        if self.optimizer is not None and self.optimizer not in OPTIMIZERS:
            yield f"optimizer is {self.optimizer!r}; allowed: {', '.join(OPTIMIZERS)}"
        if self.augment is not None and self.augment not in AUGMENTS:
            yield f"augment is {self.augment!r}; allowed: {', '.join(AUGMENTS)}"
        if self.device.split(":", 1)[0] not in DEVICES:
            yield f"device is {self.device!r}; allowed: {', '.join(DEVICES)}"


@dataclass(frozen=True)
class Settings:
    """A recipe in which every choice is made; attributes as in ``Recipe``.

    ``views`` says in how many ways each picture is seen; 0 for another one in every epoch.
    """

    image_size: int
    epochs: int
    batch_size: int
    lr: float
    optimizer: str
    weight_decay: float
    warmup_epochs: int
    label_smoothing: float
    patience: int
    augment: str
    seed: int
    mixup: float = 0.0
    ema: float = 0.0
    precision: str = "auto"
    views: int = 0
    sync_bn: bool = False
    compile: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Facts:
    """What the defaults depend on.

    Attributes:
        images: Training pictures.
        picture_size: Typical ``(H, W)`` of the pictures.
        usual_size: Side that the network is usually fed, in pixels.
        pretrained: Whether the network starts from trained weights.
        has_soft_labels: Whether a teacher teaches (its soft labels smooth enough by themselves).
        parameters: Of the network, about.
        normalised: Whether anything (BatchNorm and its like) normalises between the network's layers.
        processes: How many train it together.
    """

    images: int
    picture_size: tuple[int, int]
    usual_size: int
    pretrained: bool
    has_soft_labels: bool = False
    parameters: int = USUAL_PARAMETERS
    normalised: bool = True
    processes: int = 1


def settle(recipe: Recipe, facts: Facts) -> tuple[Settings, list[str]]:
    """Fills in what the recipe leaves open.

    Returns:
        The settings and, for each default that was chosen, a phrase ``"epochs 40 (...)"`` that says why.
    """
    optimizer = recipe.optimizer or "adamw"
    batch_size = recipe.batch_size or _batch_size(facts.images)
    epochs = recipe.epochs or _epochs(facts)
    defaults: dict[str, tuple[Any, str]] = {
        "image_size": (
            _image_size(facts),
            f"pictures of about {facts.picture_size[1]} x {facts.picture_size[0]} pixels",
        ),
        "epochs": (epochs, f"{facts.images} training pictures, {'trained' if facts.pretrained else 'random'} weights"),
        "batch_size": (batch_size, f"{facts.images} training pictures"),
        "optimizer": (optimizer, "robust without tuning"),
        "lr": (
            _learning_rate(optimizer, batch_size, facts),
            f"{optimizer} at batch {batch_size}{_rate_words(facts)}",
        ),
        "weight_decay": (0.05 if optimizer == "adamw" else 5e-4, f"usual for {optimizer}"),
        "warmup_epochs": _warmup(epochs, batch_size, facts),
        "label_smoothing": (0.0 if facts.has_soft_labels else 0.1, "soft labels" if facts.has_soft_labels else "usual"),
        "patience": _patience(epochs, facts),
        "augment": ("light", "safe for any pictures"),
        "mixup": _mixup(epochs, facts),
    }
    chosen: dict[str, Any] = {"seed": recipe.seed, "ema": recipe.ema or 0.0}
    chosen |= {"precision": recipe.precision or "auto", "compile": recipe.compile}
    chosen |= {"sync_bn": recipe.sync_bn and facts.processes > 1}
    reasons = []
    for name, (value, reason) in defaults.items():
        wish = getattr(recipe, name)
        chosen[name] = value if wish is None else wish
        if wish is None and reason:
            reasons.append(f"{name} {value:g} ({reason})" if isinstance(value, float) else f"{name} {value} ({reason})")
    return Settings(**chosen), reasons


def _image_size(facts: Facts) -> int:
    shorter = min(facts.picture_size)
    return min(facts.usual_size, max(32, shorter // 32 * 32))


def _batch_size(images: int) -> int:
    for limit, size in ((256, 16), (1_500, 32), (20_000, 64)):
        if images <= limit:
            return size
    return 128


def _epochs(facts: Facts) -> int:
    if facts.pretrained:
        passes, fewest, most = PASSES_PRETRAINED, 6, 20
    else:
        passes, fewest, most = PASSES_SOFT if facts.has_soft_labels else PASSES_SCRATCH, 10, 60
    return max(fewest, min(most, round(passes / facts.images)))


def _is_patient(epochs: int, facts: Facts) -> bool:
    return facts.has_soft_labels and not facts.pretrained and epochs >= PATIENT_EPOCHS


def _patience(epochs: int, facts: Facts) -> tuple[int, str]:
    if facts.pretrained:
        return epochs, "no early stop: trained weights first lose, then gain"
    if _is_patient(epochs, facts):
        return epochs, "no early stop: a patient student gains to the end"
    return max(10, epochs // 2), "half of the epochs"


def _mixup(epochs: int, facts: Facts) -> tuple[float, str]:
    """A teacher answers for a mixture as for any picture, so that what it says of one never wears out.

    Source: Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", CVPR 2022; measured in
    ``benchmarks/results/distill_accuracy_long.json``.
    """
    if _is_patient(epochs, facts):
        return SOFT_MIXUP, "a patient student learns from mixtures what the teacher says of them"
    return 0.0, ""


def _learning_rate(optimizer: str, batch_size: int, facts: Facts) -> float:
    """The peak for batches of 64, scaled by the square root for AdamW and linearly for SGD.

    Random weights take twice the rate from soft labels, whose gradients are less noisy than those of hard ones.
    Trained weights of a compact network bear more than those of a large one: the rate goes with the inverse root of
    the parameters, from that of a ResNet-50 up to ten times as much. Not where nothing normalises between its layers
    (SqueezeNet): there such rates destroy what was learned.
    """
    if facts.pretrained and not facts.normalised:
        times = 1.0
    elif facts.pretrained:
        compact = math.sqrt(USUAL_PARAMETERS / max(1, facts.parameters))
        times = min(MOST_COMPACT_RATE, max(1.0, compact))
    else:
        times = SOFT_RATE if facts.has_soft_labels else 1.0
    if optimizer == "adamw":
        return times * (3e-4 if facts.pretrained else 2e-3) * math.sqrt(batch_size / 64)
    return times * (0.005 if facts.pretrained else 0.05) * batch_size / 64


def _warmup(epochs: int, batch_size: int, facts: Facts) -> tuple[int, str]:
    """Epochs to the peak; longer for a batch that was made larger for several processes.

    The rate grows with the batch, and a large one needs the longer warm-up of Goyal et al., "Accurate, Large Minibatch
    SGD: Training ImageNet in 1 Hour", 2017, section 2.2.
    """
    if facts.processes > 1 and batch_size > _batch_size(facts.images):
        return min(5, epochs // 2), "a large batch"
    return min(3, epochs // 5), "a tenth or so of the epochs"


def _rate_words(facts: Facts) -> str:
    if facts.pretrained and not facts.normalised:
        return ", trained weights, nothing normalises between the layers"
    if facts.pretrained:
        return f", trained weights, {facts.parameters / 1e6:.2g} million parameters"
    return ", soft labels" if facts.has_soft_labels else ""
