"""The shapes that a student can have: a network, as wide as it is called, at an input size; timed before it is trained.

How long a network takes does not depend on what it has learned. So an untrained network of each shape is exported, in
float32 and quantized by the real quantizer, and measured; only what fits the budget is worth a training.

Within a family (one network, one activation, several widths) more width and more pixels cost time and buy accuracy. Of
two shapes of a family that fit, one at least as wide and at least as large as the other, only the larger is trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgexfer import nets
from edgexfer.data import Splits
from edgexfer.errors import QuantizationError
from edgexfer.export import graph
from edgexfer.export.exporter import ExportRequest, Pictures, export_network
from edgexfer.export.quantize import Options, Source, Witnesses, quantize
from edgexfer.export.targets import target_of
from edgexfer.files import write_bytes
from edgexfer.training import Listener
from edgexfer.workflows.data import in_batches, spread_sample
from edgexfer.workflows.train import folder_name, folder_names

PRECISIONS = ("float32", "int8")
NETWORKS = (
    "tiny-darknet", "tiny-darknet-0.75", "tiny-darknet-0.5", "tiny-darknet-0.25",
    "tiny-darknet+relu", "tiny-darknet-0.75+relu", "tiny-darknet-0.5+relu", "tiny-darknet-0.25+relu",
    "mobilenet-v1", "mobilenet-v1-0.5", "mobilenet-v1-0.25",
)  # fmt: skip
SIZES = (0.5, 0.75, 1.0, 1.25)
"""Input sizes to try, beside that of the pictures."""
STEP = 8
CALIBRATION_IMAGES = 8
"""Few enough that nobody asks an untrained network for sensible answers."""
ANY_LOSS = 100.0
_WIDTH = re.compile(r"(?P<base>.+?)-(?P<width>[01]?\.\d+)(?P<rest>\+\w+)?")


@dataclass(frozen=True, order=True)
class Shape:
    """A network at an input size.

    Attributes:
        network: Its name, with width and activation.
        image_size: Side of the square input, in pixels.
    """

    network: str
    image_size: int

    @property
    def name(self) -> str:
        """A name for folders and tables."""
        return f"{folder_name(self.network)}@{self.image_size}"

    @property
    def family(self) -> tuple[str, float]:
        """The network without its width, and the width."""
        found = _WIDTH.fullmatch(self.network)
        if found is None:
            return self.network, 1.0
        return found["base"] + (found["rest"] or ""), float(found["width"])


def shapes_of(networks: Sequence[str], sizes: Sequence[int], picture_size: tuple[int, int]) -> list[Shape]:
    """Every network at every size that it takes.

    Args:
        networks: Names.
        sizes: Sides in pixels; ``SIZES`` times the pictures' own if empty.
        picture_size: Typical ``(H, W)`` of the pictures.

    Raises:
        UnknownNameError: There is no such network.
        RecipeError: Two networks have one name as a folder.
    """
    folder_names(list(dict.fromkeys(networks)), "rename a file, or search for each in a command of its own")
    wanted = sizes or default_sizes(picture_size)
    found = [Shape(name, nets.nearest_input_size(name, size)) for name in networks for size in wanted]
    return list(dict.fromkeys(found))


def default_sizes(picture_size: tuple[int, int]) -> list[int]:
    """Sides to try for pictures of a size, multiples of ``STEP``; the pictures are taken as 224 at most."""
    own = min(224, max(32, min(picture_size)))
    return sorted({max(STEP, round(share * own / STEP) * STEP) for share in SIZES})


def worth_training(fitting: Iterable[Shape]) -> dict[Shape, str]:
    """For each shape that fits why it is not worth a training; an empty text where it is."""
    shapes = list(fitting)
    reasons = {}
    for shape in shapes:
        family, width = shape.family
        larger = [o for o in shapes if o != shape and o.family[0] == family and _at_least(o, width, shape.image_size)]
        best = max(larger, key=lambda o: (o.image_size, o.family[1]), default=None)
        reasons[shape] = "" if best is None else f"{best.name}, of the same family, fits too"
    return reasons


def _at_least(other: Shape, width: float, image_size: int) -> bool:
    return other.family[1] >= width and other.image_size >= image_size


def untrained(
    shape: Shape,
    splits: Splits,
    folder: Path,
    listener: Listener,
    *,
    target: str | None = None,
) -> Mapping[str, Path]:
    """Writes a network of ``shape`` with random weights, to be timed.

    Args:
        shape: What to write.
        splits: Classes and a few pictures to calibrate on.
        folder: Where it goes; what is there already is not made again.
        listener: Hears what cannot be made.
        target: The machine it is for, by name; ``None`` for this one.

    Returns:
        The file for each precision; an int8 file that cannot be made is missing.
    """
    paths = {precision: folder / f"{shape.name}.{precision}.onnx" for precision in PRECISIONS}
    if all(path.is_file() for path in paths.values()):
        return paths
    preprocessing = nets.preprocessing_for(shape.network, shape.image_size)
    net = nets.create(shape.network, len(splits.classes), input_size=preprocessing.input_size).eval()
    images = next(in_batches(spread_sample(splits.train, CALIBRATION_IMAGES), preprocessing, CALIBRATION_IMAGES))
    request = ExportRequest(shape.network, splits.classes, preprocessing, "0" * 64, force=True, target=target)
    float32 = paths["float32"]
    none = np.zeros(0, np.int64)
    made = export_network(net, request, float32, pictures=Pictures(images[:0], none))
    made.proof_file.unlink()
    machine = target_of(target)
    options = Options(machine.arithmetic if machine else None, "minmax", "asymmetric", ANY_LOSS)
    source = Source(graph.load_model(float32), made.info, float32.read_bytes())
    try:
        write_bytes(paths["int8"], quantize(source, Witnesses(images[:0], none), [images], options=options).content)
    except QuantizationError as error:
        listener.warn(f"{shape.name} is not tried in int8: {error}")
        del paths["int8"]
    return paths
