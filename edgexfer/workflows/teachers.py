"""Teachers as a user names them: a run folder, a network with a weight file, or a network to be fine-tuned first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgexfer import nets
from edgexfer.data import Splits
from edgexfer.distill import Teacher, from_onnx, from_run, from_weights
from edgexfer.errors import TeacherError
from edgexfer.export.graph import load_model
from edgexfer.export.metadata import info_of
from edgexfer.files import remove
from edgexfer.preprocessing import IMAGENET_MEAN, IMAGENET_STD, square
from edgexfer.runs import is_run, read_run
from edgexfer.training import Listener, Recipe
from edgexfer.training.leave import identity_of_weights
from edgexfer.training.ranks import current_ranks
from edgexfer.transfer import AUTO, Strategy
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start, Target, pair_weights, transfer_splits


@dataclass(frozen=True)
class Told:
    """What a user tells of teachers whose files do not say it.

    Attributes:
        mean: Of the input, on pixels from 0 to 1; the network's usual one, or ImageNet's, if ``None``.
        std: Likewise.
    """

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


def pair_teachers(names: Sequence[str], weights: Sequence[str], told: Told | None = None) -> list[Start]:
    """Pairs ``--teacher`` and ``--teacher-weights`` in their order.

    Raises:
        RecipeError: There are more weights than teachers, or some but not as many.
    """
    told = told or Told()
    pairs = pair_weights("--teacher", names, "--teacher-weights", weights, "none")
    return [Start(name, weight, told.mean, told.std) for name, weight in pairs]


def at_hand(
    splits: Splits, starts: Sequence[Start], recipe: Recipe, listener: Listener, names_file: Path | None = None
) -> list[Teacher | None]:
    """Those teachers that are there already, in the order given; ``None`` for each that has to be fine-tuned first.

    Args:
        splits: What they are to know the classes of.
        starts: A run folder, an ONNX file or a network with its weights each.
        recipe: Wishes for the training of those that are fine-tuned first.
        listener: Hears which they are.
        names_file: Names of a foreign ONNX file's outputs.

    Raises:
        TeacherError: A teacher does not know every class of the data, or cannot be used.
    """
    return [_at_hand(splits, start, recipe, listener, names_file) for start in starts]


def make_missing(
    data: DataChoice,
    splits: Splits,
    starts: Sequence[Start],
    ready: Sequence[Teacher | None],
    recipe: Recipe,
    folder: Path,
    listener: Listener,
) -> tuple[Teacher, ...]:
    """Every teacher, in the order given, those that ``at_hand`` did not find fine-tuned on the data.

    One that was made on the way before serves again, if it was asked for in the same way on the same pictures.
    """
    return tuple(
        teacher or _made_first(data, splits, start, recipe, folder_of(folder, number, start), listener)
        for number, (start, teacher) in enumerate(zip(starts, ready, strict=True))
    )


def folder_of(folder: Path, number: int, start: Start) -> Path:
    """Where a teacher lies that is fine-tuned first, in the folder of all of them."""
    return folder / f"{number}-{Path(start.model).name.replace(':', '-')}"


def _at_hand(
    splits: Splits, start: Start, recipe: Recipe, listener: Listener, names_file: Path | None
) -> Teacher | None:
    """An ONNX file or a run as it is, a weight file that already fits the classes as it is; ``None`` for the others."""
    path, weights = Path(start.model), Path(start.weights)
    if path.suffix.casefold() == ".onnx":
        return _onnx_teacher(path, start, splits, names_file, listener)
    if path.is_dir():
        return from_run(path, splits.classes)
    nets.preprocessing_for(start.model)  # raises where there is no such network, naming those that there are
    if weights.is_file() and nets.with_its_classes(start.model, weights).num_classes == len(splits.classes):
        listener.say(f"teacher {start.model}: {weights.name} fits the {len(splits.classes)} classes, used as it is")
        size = recipe.image_size
        return from_weights(
            start.model, weights, splits.classes, nets.preprocessing_for(start.model, size, start.mean, start.std)
        )
    return None


def _made_first(
    data: DataChoice, splits: Splits, start: Start, recipe: Recipe, folder: Path, listener: Listener
) -> Teacher:
    """A teacher fine-tuned on the data; the one in ``folder`` where it was asked for in the same way."""
    ranks, asked = current_ranks(), _asked(start, recipe)
    run = ranks.once(lambda: read_run(folder) if is_run(folder) else None)
    if run is not None and (run.splits_fingerprint, run.recipe.get("asked")) != (splits.fingerprint, asked):
        listener.say(
            f"teacher {start.model}: the one in {str(folder)!r} was made from other pictures or with other settings, so"
            " it is made anew"
        )
        ranks.once(lambda: remove(folder))
        run = None
    if run is None:
        listener.say(f"teacher {start.model}: a network's name, so it is fine-tuned on this data first")
        record = {**data.record("finetune", []), "asked": asked}
        transfer_splits(splits, start, recipe, Strategy(AUTO), Target(folder), listener, record)
    return from_run(folder, splits.classes)


def _asked(start: Start, recipe: Recipe) -> dict[str, Any]:
    """What decides, beside the pictures, what a teacher becomes, as JSON holds it."""
    wishes = {key: value for key, value in asdict(recipe).items() if key not in ("workers", "device")}
    weights = identity_of_weights(start.weights)
    told = {"mean": start.mean and list(start.mean), "std": start.std and list(start.std)}
    return {"code_sha256": nets.source_sha256(start.model), "model": start.model, "weights": weights, **told, **wishes}


def _onnx_teacher(path: Path, start: Start, splits: Splits, names_file: Path | None, listener: Listener) -> Teacher:
    """An artifact of edgexfer, which says all of itself, or a foreign file, of which the names have to be told."""
    model = load_model(path)
    parameters = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    info = info_of(model, str(path))
    if info is not None:
        return from_onnx(path, info.classes, splits.classes, info.preprocessing, parameters=parameters)
    if names_file is None:
        raise TeacherError(
            f"the teacher {str(path)!r} was not written by edgexfer and carries no class names; pass --teacher-classes"
            f" FILE with the name of each output, one a line, in their order (the data has {', '.join(splits.classes)})"
        )
    try:
        known = names_file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TeacherError(f"cannot read the class names {str(names_file)!r}: {error}") from error
    usual = square(min(splits.image_size), mean=start.mean or IMAGENET_MEAN, std=start.std or IMAGENET_STD)
    teacher = from_onnx(
        path, [name.strip() for name in known if name.strip()], splits.classes, usual, parameters=parameters
    )
    listener.say(f"teacher {path.name}: fed at {teacher.preprocessing.input_size}, mean {usual.mean}, std {usual.std}")
    return teacher
