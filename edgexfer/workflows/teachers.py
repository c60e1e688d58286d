"""Teachers as a user names them: a run folder, a network with a weight file, or a network to be fine-tuned first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgexfer import nets
from edgexfer.data import Splits
from edgexfer.distill import Teacher, from_run, from_weights
from edgexfer.nets.weights import load_with_its_classes
from edgexfer.runs import is_run
from edgexfer.training import Listener, Recipe
from edgexfer.transfer import finetune
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start, pair_weights, prepare_start


def pair_teachers(names: Sequence[str], weights: Sequence[str]) -> list[Start]:
    """Pairs ``--teacher`` and ``--teacher-weights`` in their order.

    Raises:
        RecipeError: There are more weights than teachers, or some but not as many.
    """
    pairs = pair_weights("--teacher", names, "--teacher-weights", weights, "none")
    return [Start(name, weight) for name, weight in pairs]


def make_teachers(
    data: DataChoice, splits: Splits, starts: Sequence[Start], recipe: Recipe, folder: Path, listener: Listener
) -> tuple[Teacher, ...]:
    """Every teacher, in the order given; those that are fine-tuned first lie in ``folder``."""
    return tuple(
        _teacher(data, splits, start, recipe, folder / f"{number}-{Path(start.model).name.replace(':', '-')}", listener)
        for number, start in enumerate(starts)
    )


def _teacher(
    data: DataChoice, splits: Splits, start: Start, recipe: Recipe, folder: Path, listener: Listener
) -> Teacher:
    """A run as it is, a weight file that already fits the classes as it is, anything else fine-tuned first."""
    path = Path(start.model)
    if path.is_dir():
        return from_run(path, splits.classes)
    if start.model not in nets.names() and ":" not in start.model:
        nets.preprocessing_for(start.model)  # raises, naming the networks there are
    weights = Path(start.weights)
    if weights.is_file() and _classes_in(start) == len(splits.classes):
        listener.say(f"teacher {start.model}: {weights.name} fits the {len(splits.classes)} classes, used as it is")
        size = recipe.image_size
        return from_weights(
            start.model, weights, splits.classes, nets.preprocessing_for(start.model, size, start.mean, start.std)
        )
    if not is_run(folder):
        listener.say(f"teacher {start.model}: a network's name, so it is fine-tuned on this data first")
        job = prepare_start(splits, start, recipe, listener)
        finetune(job, folder, listener, record=data.record("finetune", []))
    return from_run(folder, splits.classes)


def _classes_in(start: Start) -> int:
    """How many classes the weight file of ``start`` was made for."""
    net = nets.build(start.model, 2, nets.preprocessing_for(start.model).input_size)
    load_with_its_classes(net, start.weights)
    return net.num_classes
