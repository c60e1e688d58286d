"""What a student is asked to match: the loss, its temperature and weights, chosen by the user or for him.

``Objective`` holds the wishes (``None``: choose for me); ``settle`` leaves nothing open, refuses what has no signal at
the number of classes, and says why it chose what it chose.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgexfer.distill.losses.standardise import BASE_TEMPERATURE
from edgexfer.errors import RecipeError

LOSSES = ("auto", "kd", "dkd", "dist")
SURE = 0.95
"""A teacher that gives its own class at least this much, on average, leaves Hinton's loss little to say of the rest."""
MANY_CLASSES = 100
"""From here on the other classes say much; dkd was measured at 100 and 1,000, and loses to kd at 10."""

DKD_ALPHA, DKD_BETA = 1.0, 8.0
HINT_WEIGHT = 1.0
_TEMPERATURE = 4.0
_ALPHA = {"kd": 0.9, "dkd": 0.5, "dist": 0.5}


@dataclass(frozen=True)
class Hint:
    """A pair of inner layers.

    Attributes:
        student_layer: Name of the student's module, as ``named_modules`` gives it.
        teacher_layer: Name of the teacher's.
    """

    student_layer: str
    teacher_layer: str

    @classmethod
    def parse(cls, text: str) -> Hint:
        """Reads ``STUDENT_LAYER=TEACHER_LAYER``.

        Raises:
            RecipeError: It has another form.
        """
        student, sign, teacher = text.partition("=")
        if not sign or not student.strip() or not teacher.strip():
            raise RecipeError(f"hint is {text!r}; it must be STUDENT_LAYER=TEACHER_LAYER, such as body.6=layer3")
        return cls(student.strip(), teacher.strip())


@dataclass(frozen=True)
class Objective:
    """The wishes of a user; ``None`` leaves the choice to ``settle``.

    Attributes:
        loss: One of ``LOSSES``.
        temperature: T of both softmaxes.
        alpha: Weight of the soft term; the hard term has ``1 - alpha``.
        standardise: Whether logits are standardised before they are softened; ``None`` does it where the loss is
            chosen too and the teachers are sure of themselves.
        dkd_alpha: Weight of "target or not" in ``dkd``.
        dkd_beta: Weight of "which of the others" in ``dkd``.
        hints: Pairs of layers.
        hint_weight: Weight of the hints' loss, added to the others.
    """

    loss: str = "auto"
    temperature: float | None = None
    alpha: float | None = None
    standardise: bool | None = None
    dkd_alpha: float = DKD_ALPHA
    dkd_beta: float = DKD_BETA
    hints: tuple[Hint, ...] = ()
    hint_weight: float = HINT_WEIGHT

    def __post_init__(self) -> None:
        mistakes = list(self._mistakes())
        if mistakes:
            raise RecipeError.gathered(mistakes)

    def _mistakes(self) -> Iterator[str]:
        if self.loss not in LOSSES:
            yield f"loss is {self.loss!r}; allowed: {', '.join(LOSSES)}"
        if self.temperature is not None and not 0 < self.temperature <= 100:
            yield f"temperature is {self.temperature}; it must lie above 0 and at most at 100"
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            yield f"alpha is {self.alpha}; it must lie from 0 to 1"
        for name in ("dkd_alpha", "dkd_beta", "hint_weight"):
            if not 0 <= getattr(self, name) < 1e6:
                yield f"{name} is {getattr(self, name)}; it must be at least 0"
        if self.hint_weight != HINT_WEIGHT and not self.hints:
            yield f"hint_weight is {self.hint_weight} and there is no hint; pass --hint, or leave --hint-weight out"
        if self.loss in ("kd", "dist") and (self.dkd_alpha, self.dkd_beta) != (DKD_ALPHA, DKD_BETA):
            yield (
                f"dkd_alpha is {self.dkd_alpha} and dkd_beta {self.dkd_beta}, which weigh the terms of dkd, and the"
                f" loss is {self.loss}; pass --loss dkd, or leave them out"
            )


@dataclass(frozen=True)
class Settled:
    """An objective in which every choice is made; attributes as in ``Objective``, ``loss`` no longer ``auto``."""

    loss: str
    temperature: float
    alpha: float
    standardise: bool = False
    dkd_alpha: float = DKD_ALPHA
    dkd_beta: float = DKD_BETA
    hints: tuple[Hint, ...] = ()
    hint_weight: float = HINT_WEIGHT

    def to_dict(self) -> dict[str, Any]:
        """The choices as a run's recipe holds them; what the loss does not use is left out."""
        value = dataclasses.asdict(self)
        value["hints"] = [f"{hint.student_layer}={hint.teacher_layer}" for hint in self.hints]
        unused = {"dkd_alpha", "dkd_beta"} if self.loss != "dkd" else set()
        unused |= {"hints", "hint_weight"} if not self.hints else set()
        return {key: entry for key, entry in value.items() if key not in unused}


@dataclass(frozen=True)
class Choice:
    """What ``settle`` came to.

    Attributes:
        objective: The settled objective.
        reasons: Sentences that say why each choice was made.
        warnings: Sentences about what the choice loses.
    """

    objective: Settled
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def settle(wishes: Objective, classes: int, confidence: float) -> Choice:
    """Fills in what is left open.

    Args:
        wishes: Of the user.
        classes: K.
        confidence: Mean probability, at temperature 1, that the teachers give the class they name, on pictures as the
            student will see them.

    Raises:
        RecipeError: What was asked for has no signal at this number of classes.
    """
    if wishes.standardise and classes == 2:
        raise RecipeError(
            "standardised logits of 2 classes are 1 and -1 whatever the teacher says, so that nothing can be learned"
            " from them; leave --standardise out"
        )
    reasons = []
    loss = wishes.loss
    if loss == "auto":
        loss, why = _best_loss(classes, confidence)
        reasons.append(f"loss {loss} ({why})")
    temperature = wishes.temperature
    standardised = bool(wishes.standardise)
    if wishes.standardise is None and wishes.loss == "auto" and temperature is None:
        standardised = loss == "kd" and classes > 2 and confidence >= SURE
        if standardised:
            reasons.append("standardised logits (so sure a teacher would make the student as sure, and less right)")
    if temperature is None:
        temperature = BASE_TEMPERATURE if standardised else _TEMPERATURE
        usual = "standardised logits" if standardised else loss
        reasons.append(f"temperature {temperature:g} (usual for {usual})")
    alpha = wishes.alpha
    if alpha is None:
        alpha = _ALPHA[loss]
        reasons.append(f"alpha {alpha:g} (usual for {loss})")
    settled = Settled(
        loss,
        temperature,
        alpha,
        standardised,
        wishes.dkd_alpha,
        wishes.dkd_beta,
        wishes.hints,
        wishes.hint_weight,
    )
    return Choice(settled, tuple(reasons), tuple(_losses_of(settled, classes)))


def _best_loss(classes: int, confidence: float) -> tuple[str, str]:
    if classes == 2:
        return "kd", "with 2 classes dkd and dist lose half of what they match"
    told = f"the teacher gives its own class {confidence:.1%} on the training views"
    if confidence >= SURE and classes >= MANY_CLASSES:
        return "dkd", f"{told}, which would leave kd almost no weight for the other {classes - 1:,} classes"
    if classes < MANY_CLASSES:
        return "kd", f"{classes} classes; {told}"
    return "kd", f"{told}, and spreads the rest"


def _losses_of(settled: Settled, classes: int) -> Iterator[str]:
    """What the objective loses at this number of classes, and of what was asked for."""
    if classes == 2 and settled.loss == "dkd":
        yield "with 2 classes dkd's second term is zero, and its first is kd; --loss kd says the same more plainly"
    if classes == 2 and settled.loss == "dist":
        yield (
            "with 2 classes dist's relation between classes has no gradient, only the one between pictures is left;"
            " --loss kd uses all that the teacher says"
        )
    if settled.loss != "dkd" and (settled.dkd_alpha, settled.dkd_beta) != (DKD_ALPHA, DKD_BETA):
        yield f"dkd_alpha and dkd_beta do nothing, since the loss is {settled.loss}; pass --loss dkd, or leave them out"
    if settled.alpha == 0 and not settled.hints:
        yield "alpha is 0, so that nothing is learned from the teacher; leave --alpha out"
