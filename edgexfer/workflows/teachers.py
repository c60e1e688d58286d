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
from edgexfer.errors import RecipeError, TeacherError
from edgexfer.export.graph import load_model
from edgexfer.export.metadata import info_of
from edgexfer.files import remove
from edgexfer.preprocessing import IMAGENET_MEAN, IMAGENET_STD, square
from edgexfer.runs import read_run
from edgexfer.training import Listener, Recipe
from edgexfer.training.leave import identity_of_weights
from edgexfer.training.ranks import current_ranks
from edgexfer.transfer import AUTO, Strategy
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.remembered import warn_of_changed_network
from edgexfer.workflows.train import Start, Target, finished_run, folder_name, pair_weights, transfer_splits

USUAL_SIDE = 224
"""Pixels of the square that a foreign ONNX file of any size is fed at most, where nobody says."""
_FOREIGN = "an ONNX file that edgexfer did not write"
_ASKED_BY = {
    "--teacher-classes": f"{_FOREIGN}, or a weight file with as many outputs as there are names",
    "--teacher-mean": f"a network's name, a weight file or {_FOREIGN}",
    "--teacher-std": f"a network's name, a weight file or {_FOREIGN}",
    "--teacher-image-size": f"a network's name, a weight file or {_FOREIGN} and that takes any size",
    "--teacher-epochs": "a network that is fine-tuned first",
}
"""Which teachers make use of what a user tells of them."""
_STATISTICS = frozenset({"--teacher-mean", "--teacher-std"})


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
        RecipeError: There are more weights than teachers, or some but not as many; or some stand beside a teacher that
            brings its own.
    """
    told = told or Told()
    pairs = pair_weights("--teacher", names, "--teacher-weights", weights, "none")
    mistakes = [
        f"--teacher {name} brings its own weights, and --teacher-weights {weight} stands beside it; they pair in order,"
        " so give none for a run folder or an ONNX file"
        for name, weight in pairs
        if weight != "none" and (_is_onnx(name) or Path(name).is_dir())
    ]
    if mistakes:
        raise RecipeError.gathered(mistakes)
    return [Start(name, weight, told.mean, told.std) for name, weight in pairs]


def at_hand(
    splits: Splits, starts: Sequence[Start], recipe: Recipe, listener: Listener, names_file: Path | None = None
) -> list[Teacher | None]:
    """Those teachers that are there already, in the order given; ``None`` for each that has to be fine-tuned first.

    Args:
        splits: What they are to know the classes of.
        starts: A run folder, an ONNX file or a network with its weights each.
        recipe: Wishes for the training of those that are fine-tuned first; its image size is also that of a weight file
            and of a foreign ONNX file.
        listener: Hears which they are.
        names_file: Names of the outputs of a foreign ONNX file or a weight file.

    Raises:
        TeacherError: A teacher does not know every class of the data, or cannot be used.
        RecipeError: Something is told that no teacher makes use of.
    """
    names = None if names_file is None else _names_in(names_file)
    found = [_at_hand(splits, start, recipe, listener, names) for start in starts]
    told = {
        "--teacher-classes": names is not None,
        "--teacher-mean": any(start.mean for start in starts),
        "--teacher-std": any(start.std for start in starts),
        "--teacher-image-size": recipe.image_size is not None,
        "--teacher-epochs": recipe.epochs is not None,
    }
    taken = frozenset[str]().union(*(asks for _, asks in found))
    idle = [
        f"{option} is for {_ASKED_BY[option]}, and no --teacher is one; leave it out"
        for option, is_told in told.items()
        if is_told and option not in taken
    ]
    if idle:
        raise RecipeError.gathered(idle)
    return [teacher for teacher, _ in found]


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
    return folder / f"{number}-{folder_name(start.model)}"


def _is_onnx(name: str) -> bool:
    return Path(name).suffix.casefold() == ".onnx"


def _names_in(file: Path) -> list[str]:
    """The class names in a file, one a line.

    Raises:
        TeacherError: It cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TeacherError(f"cannot read the class names {str(file)!r}: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _at_hand(
    splits: Splits, start: Start, recipe: Recipe, listener: Listener, names: Sequence[str] | None
) -> tuple[Teacher | None, frozenset[str]]:
    """An ONNX file or a run as it is, a weight file that already fits the classes as it is; ``None`` for the others.

    Beside it, which of the options of ``_ASKED_BY`` it makes use of.
    """
    path = Path(start.model)
    if _is_onnx(start.model):
        return _onnx_teacher(path, start, splits, recipe, names, listener)
    if path.is_dir():
        warn_of_changed_network(read_run(path), listener)
        return from_run(path, splits.classes), frozenset()
    nets.preprocessing_for(start.model)  # raises where there is no such network, naming those that there are
    if Path(start.weights).is_file():
        teacher = _weights_teacher(start, splits, recipe, names, listener)
        if teacher is not None:
            asks = {"--teacher-image-size"} if names is None else {"--teacher-image-size", "--teacher-classes"}
            return teacher, _STATISTICS | asks
    return None, _STATISTICS | {"--teacher-image-size", "--teacher-epochs"}


def _weights_teacher(
    start: Start, splits: Splits, recipe: Recipe, names: Sequence[str] | None, listener: Listener
) -> Teacher | None:
    """A weight file with an output for each name that was told, or each class of the data; ``None`` for any other."""
    weights = Path(start.weights)
    outputs = nets.with_its_classes(start.model, weights).num_classes
    if names is not None and outputs == len(splits.classes) != len(names):
        raise TeacherError(
            f"the weights {str(weights)!r} have {outputs} outputs, and {len(names)} class names were given for them;"
            " name every output, in their order"
        )
    known = splits.classes if names is None else names
    if outputs != len(known):
        return None
    whose = "classes" if names is None else "names"
    listener.say(f"teacher {start.model}: {weights.name} fits the {len(known)} {whose}, used as it is")
    preprocessing = nets.preprocessing_for(start.model, recipe.image_size, start.mean, start.std)
    return from_weights(start.model, weights, splits.classes, preprocessing, known)


def _made_first(
    data: DataChoice, splits: Splits, start: Start, recipe: Recipe, folder: Path, listener: Listener
) -> Teacher:
    """A teacher fine-tuned on the data; the one in ``folder`` where it was asked for in the same way."""
    ranks, asked = current_ranks(), _asked(start, recipe)
    run = ranks.once(lambda: finished_run(folder))
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
    wishes = {key: value for key, value in asdict(recipe).items() if key not in ("workers", "device", "compile")}
    weights = identity_of_weights(start.weights)
    told = {"mean": start.mean and list(start.mean), "std": start.std and list(start.std)}
    return {"code_sha256": nets.source_sha256(start.model), "model": start.model, "weights": weights, **told, **wishes}


def _onnx_teacher(
    path: Path, start: Start, splits: Splits, recipe: Recipe, names: Sequence[str] | None, listener: Listener
) -> tuple[Teacher, frozenset[str]]:
    """An artifact of edgexfer, which says all of itself, or a foreign file, of which the names have to be told.

    Beside it, which options it makes use of. A foreign file that takes any size is fed as large as its pictures are, up
    to the usual side: photographs are larger than what any network has learned from.
    """
    model = load_model(path)
    parameters = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    info = info_of(model, str(path))
    if info is not None:
        return from_onnx(path, info.classes, splits.classes, info.preprocessing, parameters=parameters), frozenset()
    if names is None:
        raise TeacherError(
            f"the teacher {str(path)!r} was not written by edgexfer and carries no class names; pass --teacher-classes"
            f" FILE with the name of each output, one a line, in their order (the data has {', '.join(splits.classes)})"
        )
    side = recipe.image_size or min(USUAL_SIDE, *splits.image_size)
    usual = square(side, mean=start.mean or IMAGENET_MEAN, std=start.std or IMAGENET_STD)
    teacher = from_onnx(path, names, splits.classes, usual, parameters=parameters)
    size = teacher.preprocessing.input_size
    listener.say(f"teacher {path.name}: fed at {size}, mean {usual.mean}, std {usual.std}")
    asks = {"--teacher-classes"} | ({"--teacher-image-size"} if size == (side, side) else set())
    return teacher, _STATISTICS | asks
