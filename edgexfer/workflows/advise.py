"""``edgexfer advise``: which strategy fits, which backbone, and whether that turns out true."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.data import Splits
from edgexfer.errors import EdgexferError, RecipeError
from edgexfer.training import Listener, Recipe
from edgexfer.training.compute import within_memory
from edgexfer.transfer import STRATEGIES, Strategy, transfer
from edgexfer.transfer.advise import Advice, advise, seconds_by_strategy
from edgexfer.transfer.source_classes import Nearest, nearest_source_classes
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start, prepare_start

BRIEF_EPOCHS = 4


@dataclass(frozen=True)
class Trial:
    """What one strategy measured when it was tried.

    Attributes:
        strategy: Its name.
        val_top1: Accuracy on validation; ``None`` where it could not run.
        test_top1: Accuracy on test; ``None`` without a test split.
        seconds: How long it took.
        problem: Why it could not run; empty where it did.
    """

    strategy: str
    val_top1: float | None
    test_top1: float | None
    seconds: float
    problem: str = ""


@dataclass(frozen=True)
class AdvisedModel:
    """One backbone with what was measured on it.

    Attributes:
        model: Name of the network.
        weights: Where its weights come from.
        advice: The strategy that fits.
        seconds: Expected seconds of each strategy on this machine.
        nearest: Nearest source classes of each new class, where the backbone's classes have names.
        trials: What each strategy measured, where that was asked for.
    """

    model: str
    weights: str
    advice: Advice
    seconds: dict[str, float]
    nearest: tuple[Nearest, ...] = ()
    trials: tuple[Trial, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What ``advise --json`` prints of one backbone."""
        value = {"model": self.model, "weights": self.weights, **self.advice.to_dict()}
        value["expected_seconds"] = self.seconds
        value["nearest_source_classes"] = {
            nearest.name: [{"name": name, "share": share} for name, share in nearest.source] for nearest in self.nearest
        }
        if self.trials:
            value["trials"] = [dataclasses.asdict(trial) for trial in self.trials]
        return value


@within_memory("lower --image-size or pass --device cpu")
def advise_data(
    data: DataChoice, starts: Sequence[Start], recipe: Recipe, listener: Listener, *, verify: bool = False
) -> list[AdvisedModel]:
    """Measures each backbone on the data; the best comes first.

    Args:
        data: The pictures.
        starts: Backbones with their weights.
        recipe: Wishes; of use are the input size, the device and the seed, and the epochs of a verification.
        listener: Hears how it goes.
        verify: Whether every strategy is tried, briefly, on the same split.

    Returns:
        The backbones by the accuracy of their probe, then by LogME.

    Raises:
        RecipeError: A backbone has random weights, so that there is nothing to transfer.
    """
    untrained = [start.model for start in starts if start.weights == "none"]
    if untrained:
        raise RecipeError(
            f"{', '.join(untrained)}: without trained weights there is nothing to transfer; pass --weights imagenet or"
            " a weight file, or train with edgexfer finetune --strategy scratch"
        )
    splits = data.load(listener)
    found = [_advise_one(splits, start, recipe, listener, verify) for start in starts]
    return sorted(found, key=lambda one: (-one.advice.measured.probe.value, -one.advice.measured.logme))


def _advise_one(splits: Splits, start: Start, recipe: Recipe, listener: Listener, verify: bool) -> AdvisedModel:
    job = prepare_start(splits, start, recipe, listener)
    advice = advise(job, listener)
    return AdvisedModel(
        start.model,
        start.weights,
        advice,
        seconds_by_strategy(job, advice.measured),
        tuple(nearest_source_classes(job)),
        tuple(try_strategies(splits, start, recipe, listener)) if verify else (),
    )


def try_strategies(splits: Splits, start: Start, recipe: Recipe, listener: Listener) -> list[Trial]:
    """Trains by each strategy for a few epochs, in a folder that is thrown away."""
    brief = recipe if recipe.epochs else dataclasses.replace(recipe, epochs=BRIEF_EPOCHS)
    trials = []
    for name in STRATEGIES:
        began = dataclasses.replace(start, weights="none") if name == "scratch" else start
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="edgexfer-advise-") as folder:
            try:
                job = prepare_start(splits, began, brief, listener)
                run = transfer(job, Strategy(name), Path(folder) / name, listener, record={"command": "advise"})
            except EdgexferError as error:
                listener.warn(f"{name}: {error}")
                trials.append(Trial(name, None, None, time.perf_counter() - started, str(error)))
                continue
        trials.append(Trial(name, run.scores["val_top1"], run.scores["test_top1"], time.perf_counter() - started))
    return trials
