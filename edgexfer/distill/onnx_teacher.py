"""A teacher that is an ONNX file: a black box with pictures in and scores out, run by ONNX Runtime.

An artifact of edgexfer says what it expects and which classes it knows; of any other file the input's form is read from
its graph, and mean, std and class names have to be told. A file that ends in a softmax gives probabilities, whose
logarithm serves in place of logits, since a softmax of either is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from edgexfer.errors import TeacherError
from edgexfer.onnxruntime_import import import_onnxruntime

_PROBED = 2


@dataclass(frozen=True)
class OnnxInput:
    """What the file's only input takes.

    Attributes:
        name: Of the input.
        is_bytes: uint8 ``(N, H, W, 3)``, pixels as they are; else float32 ``(N, 3, H, W)``, normalised here.
        batch: The only batch size that it takes; ``None`` for any.
        size: ``(H, W)``; ``None`` where any will do.
    """

    name: str
    is_bytes: bool
    batch: int | None
    size: tuple[int, int] | None


class OnnxNetwork(torch.nn.Module):
    """Takes pixels from 0 to 1, ``(N, 3, h, w)``, and gives scores ``(N, K)``; scales and normalises by itself.

    Args:
        path: The file.
        mean: Per channel, on pixels from 0 to 1; for a float input.
        std: Likewise.
        input_size: ``(H, W)`` where the file takes any.

    Attributes:
        input: What its input takes.
        input_size: ``(H, W)`` that pictures are scaled to.
        classes: K.
        gives_probabilities: Whether its outputs are probabilities.

    Raises:
        TeacherError: The file cannot be run, or its input or output is not a picture's or a classifier's.
    """

    def __init__(
        self,
        path: Path,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        input_size: tuple[int, int],
    ) -> None:
        super().__init__()
        self._session = _open(path)
        self.input = _input_of(self._session, path)
        self.input_size = self.input.size or input_size
        self._mean = torch.tensor(mean).view(1, 3, 1, 1)
        self._std = torch.tensor(std).view(1, 3, 1, 1)
        names = [output.name for output in self._session.get_outputs()]
        self._output = "logits" if "logits" in names else names[0]
        self.gives_probabilities = False
        probe = torch.rand(_PROBED, 3, *self.input_size, generator=torch.Generator().manual_seed(0))
        try:
            scores = self.forward(probe)
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise TeacherError(f"{str(path)!r} cannot be run on a picture: {str(error).splitlines()[0]}") from error
        if scores.ndim != 2 or scores.shape[0] != _PROBED or scores.shape[1] < 2:
            raise TeacherError(
                f"{str(path)!r} gives {tuple(scores.shape)} for {_PROBED} pictures; a teacher gives (N, K), one score"
                " for each class"
            )
        self.classes = int(scores.shape[1])
        sums = scores.sum(dim=1)
        self.gives_probabilities = bool((scores >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Scores ``(N, K)``, float32, on the device of the pixels."""
        device = pixels.device
        x = pixels.detach().float().cpu()
        if tuple(x.shape[-2:]) != self.input_size:
            x = functional.interpolate(x, self.input_size, mode="bilinear", align_corners=False, antialias=True)
        if self.input.is_bytes:
            fed = (x * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
        else:
            fed = ((x - self._mean) / self._std).contiguous().numpy()
        scores = torch.from_numpy(self._run(fed)).float()
        if self.gives_probabilities:
            scores = scores.clamp_min(1e-12).log()
        return scores.to(device)

    def _run(self, fed: np.ndarray) -> np.ndarray:
        size = self.input.batch
        if size is None:
            found: np.ndarray = self._session.run([self._output], {self.input.name: fed})[0]
            return found
        parts = []
        for start in range(0, len(fed), size):
            part = fed[start : start + size]
            padded = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
            parts.append(self._session.run([self._output], {self.input.name: padded})[0][: len(part)])
        return np.concatenate(parts)


def _open(path: Path) -> Any:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise TeacherError(
            f"ONNX Runtime cannot open the teacher {str(path)!r}: {str(error).splitlines()[0]}"
        ) from error


def _input_of(session: Any, path: Path) -> OnnxInput:
    inputs = session.get_inputs()
    taken = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
    refused = TeacherError(
        f"the teacher {str(path)!r} takes {taken}; one input is read, float32 (N, 3, H, W) or uint8 (N, H, W, 3)"
    )
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise refused
    batch, *rest = (side if isinstance(side, int) else None for side in inputs[0].shape)
    if inputs[0].type == "tensor(uint8)" and rest[2] in (3, None):
        is_bytes, height, width = True, rest[0], rest[1]
    elif inputs[0].type == "tensor(float)" and rest[0] in (3, None):
        is_bytes, height, width = False, rest[1], rest[2]
    else:
        raise refused
    size = None if height is None or width is None else (height, width)
    return OnnxInput(inputs[0].name, is_bytes, batch, size)
