"""An exported classifier in Python: ``Classifier("student.onnx")("photo.jpg")``. No torch needed.

The code is the device's own, so that a picture gives here what it gives there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgexfer import device
from edgexfer.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from PIL import Image


@dataclass(frozen=True)
class Prediction:
    """What a picture shows.

    Attributes:
        label: The most probable class.
        probability: Its probability, from 0 to 1.
        probabilities: Of every class by its name, in the order of the model's outputs.
    """

    label: str
    probability: float
    probabilities: Mapping[str, float]


class Classifier:
    """An ONNX artifact, opened on the processor.

    Attributes:
        classes: Class names in the order of the outputs.
        input_size: ``(H, W)`` in pixels.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        """Opens ``path``.

        Args:
            path: An ONNX file that ``edgexfer export`` wrote.
            threads: Threads within one operator; ``None`` for every usable core.

        Raises:
            DeviceError: It cannot be opened, or edgexfer did not write it.
        """
        with _our_errors():
            self._model = device.load("_edgexfer_classify").open_classifier(os.fspath(path), threads)
        self.classes: tuple[str, ...] = self._model.artifact.classes
        self.input_size: tuple[int, int] = self._model.artifact.input_size

    def __call__(self, picture: str | os.PathLike[str] | Image.Image | np.ndarray) -> Prediction:
        """Classifies one picture.

        Args:
            picture: A file, a Pillow image, or uint8 RGB pixels ``(h, w, 3)`` of any size.

        Raises:
            DeviceError: The picture cannot be read.
        """
        softmax = device.load("_edgexfer_model").softmax
        shares = [float(p) for p in softmax(self.logits(self.pixels(picture)[None])[0])]
        best = max(range(len(shares)), key=shares.__getitem__)
        return Prediction(self.classes[best], shares[best], dict(zip(self.classes, shares, strict=True)))

    def pixels(self, picture: str | os.PathLike[str] | Image.Image | np.ndarray) -> np.ndarray:
        """The network's input of one picture, uint8 ``(H, W, 3)``: turned upright, scaled and cropped.

        Raises:
            DeviceError: The picture cannot be read.
        """
        pictures = device.load("_edgexfer_picture")
        preprocessing = self._model.artifact.preprocessing
        with _our_errors():
            if isinstance(picture, (str, os.PathLike)):
                made: np.ndarray = pictures.read(os.fspath(picture), preprocessing)
                return made
            try:
                made = pictures.prepare(_image(picture), preprocessing)
            except ValueError as error:
                raise DeviceError(f"the picture {error}") from error
        return made

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 ``(N, H, W, 3)`` at the network's size to float32 ``(N, K)``.

        Raises:
            DeviceError: The pixels have another shape or type.
        """
        with _our_errors():
            found: np.ndarray = self._model.logits(pixels)
        return found


def _image(picture: Any) -> Image.Image:
    from PIL import Image

    if isinstance(picture, Image.Image):
        return picture
    shape: tuple[int, ...] = getattr(picture, "shape", ())
    dtype = str(getattr(picture, "dtype", type(picture).__name__))
    if len(shape) != 3 or shape[2] != 3 or min(shape) < 1 or dtype != "uint8":
        raise ValueError(f"is {dtype} {shape}; expected a file, a Pillow image, or uint8 RGB pixels (h, w, 3)")
    return Image.fromarray(picture)


@contextmanager
def _our_errors() -> Iterator[None]:
    """The device's errors as the package's: the device's files know nothing of the package."""
    theirs: type[Exception] = device.load("_edgexfer_environment").DeviceError
    try:
        yield
    except theirs as error:
        raise DeviceError(str(error)) from error
