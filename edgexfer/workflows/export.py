"""``edgexfer export``: a run becomes a proven artifact, with the pictures of its own data as witnesses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer import nets
from edgexfer.data import Splits, map_labels
from edgexfer.errors import ExportError
from edgexfer.export.exporter import PARITY_IMAGES, ExportRequest, Pictures, export_network
from edgexfer.export.fold_file import fold_file
from edgexfer.export.quantize import Witnesses
from edgexfer.preprocessing import Preprocessing
from edgexfer.runs import Run, read_run, weights_sha256
from edgexfer.training import Listener
from edgexfer.training.pictures import tell_of
from edgexfer.workflows.data import held_out, in_batches, spread_sample
from edgexfer.workflows.remembered import cut_of, load_remembered, warn_of_changed_network

WITNESSES = (512, 2048)
"""Held-out pictures that int8 is compared with float32 on, at most: of large pictures and of small ones."""
TUNING = (256, 1024)
"""Labelled pictures that int8 is chosen on, at most, likewise."""
SMALL_PICTURE = 96 * 96
"""Pixels of pictures of which the larger number is looked at; of larger ones fewer, as they take longer."""
CALIBRATING = ("--calibration", "--calibration-images", "--symmetry")


@dataclass(frozen=True)
class ExportChoice:
    """What a user says of an export.

    Attributes:
        fold_bn: Whether BatchNorm is folded into the convolutions.
        scale_shift: Whether a BatchNorm that no layer can take up becomes a product and a sum.
        int8: Whether an int8 file is written beside.
        target: The machine it is for, by name; ``None`` for this one.
        runtime_version: The oldest ONNX Runtime that has to read it; ``None`` for 1.16.
        plan: An int8 plan to repeat.
        calibration: How int8 ranges are chosen: ``auto``, ``minmax``, ``entropy`` or ``percentile``.
        symmetry: Whether int8 ranges of activations lie around zero: ``auto``, ``asymmetric`` or ``symmetric``.
        calibration_images: Training pictures that int8 is calibrated on, at most.
        max_drop: Points of accuracy that int8 may lose.
        input: ``uint8`` or ``float``.
        data: The run's data, where it lies elsewhere now.
        data_root: Where torchvision's data sets lie now.
    """

    fold_bn: bool = True
    scale_shift: bool = False
    int8: bool = False
    target: str | None = None
    runtime_version: str | None = None
    plan: Path | None = None
    calibration: str = "auto"
    symmetry: str = "auto"
    calibration_images: int = 256
    max_drop: float = 1.0
    input: str = "uint8"
    data: str | None = None
    data_root: str | None = None


def export_run(
    folder: Path, out: Path, choice: ExportChoice, listener: Listener, *, force: bool = False
) -> dict[str, Any]:
    """Writes the network of a run as ``out``; see ``edgexfer.export.exporter.export_network``.

    Returns:
        What ``edgexfer export --json`` prints.

    Raises:
        ExportError: An option would do nothing.
    """
    _refuse_idle(choice)
    run = read_run(folder)
    splits = load_remembered(run, choice.data, choice.data_root, listener)
    tell_of(splits, listener)
    warn_of_changed_network(run, listener)
    request = ExportRequest(
        model=run.model,
        classes=run.classes,
        preprocessing=run.preprocessing,
        parent_sha256=weights_sha256(folder),
        fold_bn=choice.fold_bn,
        scale_shift=choice.scale_shift,
        int8=choice.int8,
        target=choice.target,
        runtime_version=choice.runtime_version,
        plan=choice.plan,
        calibration=choice.calibration,
        symmetry=choice.symmetry,
        max_drop=choice.max_drop,
        input=choice.input,
        force=force,
        cut=cut_of(run),
    )
    pictures = _pictures(run, splits, choice)
    made = export_network(nets.of_run(folder, run), request, out, pictures=pictures, say=listener.say, bar=listener)
    return made.to_json()


def export_file(
    path: Path,
    out: Path,
    choice: ExportChoice,
    listener: Listener,
    *,
    input_shape: tuple[int, ...] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Folds the BatchNorms of an ONNX file; see ``edgexfer.export.fold_file``.

    Raises:
        ExportError: The options are for a run.
    """
    given = [option for option in _given(choice) if option not in ("--fold-bn", "--scale-shift")]
    if given:
        raise ExportError(
            f"{str(path)!r} is a file: of it, only BatchNorm is folded (--fold-bn, --scale-shift, --input-shape);"
            f" {', '.join(given)} {'is' if len(given) == 1 else 'are'} for a run folder"
        )
    if not choice.fold_bn:
        raise ExportError(f"{str(path)!r} is an ONNX file already; without --fold-bn there is nothing to do")
    return fold_file(path, out, input_shape=input_shape, scale_shift=choice.scale_shift, force=force, say=listener.say)


def _given(choice: ExportChoice) -> list[str]:
    """The options that are not as they are by default."""
    usual = vars(ExportChoice()).items()
    return [f"--{name.replace('_', '-')}" for name, value in usual if getattr(choice, name) != value]


def _refuse_idle(choice: ExportChoice) -> None:
    """Refuses options that shape a part of the way to int8 that is not gone."""
    given = [option for option in _given(choice) if option in CALIBRATING]
    if given and choice.plan is not None:
        raise ExportError(f"--plan repeats how int8 was made; without it, {' and '.join(given)} can be chosen")
    given += ["--max-drop"] if "--max-drop" in _given(choice) else []
    if given and not choice.int8:
        raise ExportError(f"{', '.join(given)} shape{'s' * (len(given) == 1)} the int8 file; add --int8")


def _pictures(run: Run, splits: Splits, choice: ExportChoice) -> Pictures:
    """Held-out pictures as witnesses; for int8, training pictures to calibrate on and labelled ones to choose on.

    What int8 is chosen on is never what its figures are reported on: validation pictures where there is a test split,
    else training pictures.
    """
    witnesses = as_many(WITNESSES, run.preprocessing) if choice.int8 else PARITY_IMAGES
    view = spread_sample(held_out(splits), witnesses)
    view = map_labels(view, splits.classes, run.classes, splits.source)
    images = next(in_batches(view, run.preprocessing, len(view)))
    if not choice.int8 or choice.plan is not None:
        return Pictures(images, view.labels)
    batches = in_batches(spread_sample(splits.train, choice.calibration_images), run.preprocessing)
    chosen = spread_sample(splits.train if splits.test is None else splits.val, as_many(TUNING, run.preprocessing))
    chosen = map_labels(chosen, splits.classes, run.classes, splits.source)
    tuning = Witnesses(next(in_batches(chosen, run.preprocessing, len(chosen))), chosen.labels)
    return Pictures(images, view.labels, batches, tuning)


def as_many(bounds: tuple[int, int], preprocessing: Preprocessing) -> int:
    """How many pictures are looked at: the more, the smaller they are."""
    least, most = bounds
    height, width = preprocessing.input_size
    return max(least, min(most, most * SMALL_PICTURE // (height * width)))
