"""The first convolution of an int8 file on the pixels as they are, a block of four at a time; no runtime.

Pixels are 8-bit numbers already. Normalised in float32 and rounded again they lose a little, and the way there takes
ONNX Runtime as long as some layers. With mean ``m`` and deviation ``d`` of a channel (in pixels) the convolution is

    sum w (p - m) / d  =  sum (w / d) p  -  sum (w / d) m

so ``w / d`` takes the place of ``w``, and the second sum goes into the bias, after the weights have been rounded: what
rounding changes is multiplied with ``p - m`` then, which is small, and not with ``p``.

ONNX Runtime's quick 8-bit kernels want a multiple of four channels, and pixels have three. Four pixels that lie side by
side in a row have twelve, in the same place in memory. A convolution over blocks gives all columns of a block at once,
each as channels of its own, with zeros for the pixels that a column does not see: several times the products, and still
less time. For a width of k = 3 and a stride of 2, a block ``p0 p1 p2 p3`` after the block ``n0 n1 n2 n3`` gives

    first column:   w0 n3 + w1 p0 + w2 p1
    second column:  w0 p1 + w1 p2 + w2 p3

Zero padding of normalised values is padding with the mean, which has no single 8-bit number: rows and blocks of the
rounded means are put around the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgexfer.export.held import drop_unread, node_names, sort_nodes
from edgexfer.export.plan import SEVEN_BITS
from edgexfer.export.rounding import balanced
from edgexfer.fold.onnxfile.shapes import put
from edgexfer.fold.onnxfile.view import View, attribute, input_of, widened

PIXELS = 4
"""How many pixels make a block."""
CHANNELS = 3
WHITE = 255
STRIDES = (1, 2, 4)
"""Those that divide a block."""
NORMALISING = ("Add", "Sub", "Mul", "Div")
LARGEST_BIAS = 2**30
"""In steps: that of a channel without weights would leave 32 bits."""


def in_blocks(model: onnx.ModelProto, float32: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an int8 model whose first convolution reads blocks of pixels; itself where it cannot.

    It can where the file takes uint8 pixels in rows that blocks divide, normalises them, and gives them to one 8-bit
    convolution whose stride divides a block; with uint8 activations, since ONNX Runtime's convolutions have one type.

    Args:
        model: The int8 model.
        float32: The model that it was made of, for the weights before rounding.
    """
    first = _first(View(model))
    if first is None:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    constants = {t.name: t for t in float32.graph.initializer}
    source = float32.graph.node[node_names(float32).index(first.label)]
    weight = widened(constants[source.input[1]])
    bias = widened(constants[source.input[2]]) if input_of(source, 2) else np.zeros(len(weight))
    parts = _Parts(first, (source.input[1], input_of(source, 2) or f"{source.input[1]}_bias"))
    parts.build(weight, bias)
    put(made.graph.node, [*(n for n in made.graph.node if first.output not in n.output), *parts.nodes])
    made.graph.initializer.extend(parts.tensors)
    drop_unread(made)
    sort_nodes(made)
    return made


@dataclass(frozen=True)
class _First:
    """The first convolution, and what it is fed.

    Attributes:
        image: The file's input, uint8 ``(N, H, W, 3)``.
        size: H and W.
        gain: What a pixel of each channel is multiplied with, ``(3,)``.
        shift: What is added then, ``(3,)``.
        output: The convolution's output.
        label: The convolution's name.
        rounding: Scale and zero point of its output.
        per_channel: Whether its weights have one scale a channel.
        kernel: Height and width.
        strides: Down and across.
        pads: Top, left, bottom, right.
    """

    image: str
    size: tuple[int, int]
    gain: np.ndarray
    shift: np.ndarray
    output: str
    label: str
    rounding: tuple[str, str]
    per_channel: bool
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def columns(self) -> int:
        """Width of the output."""
        return self._outputs(1)

    @property
    def rows(self) -> int:
        """Height of the output."""
        return self._outputs(0)

    def _outputs(self, axis: int) -> int:
        return (self.size[axis] + self.pads[axis] + self.pads[axis + 2] - self.kernel[axis]) // self.strides[axis] + 1


def _first(view: View) -> _First | None:
    """The convolution, where its like can be written in blocks."""
    image = view.model.graph.input[0]
    kind = image.type.tensor_type
    size = tuple(d.dim_value for d in kind.shape.dim)
    if kind.elem_type != onnx.TensorProto.UINT8 or len(size) != 4 or size[3] != CHANNELS or size[2] % PIXELS:
        return None
    found = _normalised(view, image.name)
    if found is None or not size[1] or not size[2]:  # a size that is left open is 0
        return None
    value, gain, shift = found
    if not gain.all() or not (np.abs(-shift / gain - WHITE / 2) <= WHITE / 2).all():  # no pixel is the mean
        return None
    rounded = _only(view, value, "QuantizeLinear")
    dequantized = rounded and _only(view, rounded.output[0], "DequantizeLinear")
    conv = dequantized and _only(view, dequantized.output[0], "Conv")
    after = conv and _only(view, conv.output[0], "QuantizeLinear")
    if conv is None or after is None:
        return None
    zero = view.tensor(after.input[2])
    weights = view.nodes[view.producer[conv.input[1]]] if conv.input[1] in view.producer else None
    if zero is None or zero.data_type != onnx.TensorProto.UINT8 or weights is None:
        return None
    stored, scale = view.tensor(weights.input[0]), view.tensor(weights.input[1])
    if weights.op_type != "DequantizeLinear" or stored is None or scale is None or len(stored.dims) != 4:
        return None
    strides = tuple(attribute(conv, "strides", [1, 1]))
    is_plain = attribute(conv, "group", 1) == 1 and set(attribute(conv, "dilations", [1])) == {1}
    if not is_plain or attribute(conv, "auto_pad", b"NOTSET") != b"NOTSET" or strides[1] not in STRIDES:
        return None
    return _First(
        image.name,
        (size[1], size[2]),
        gain,
        shift,
        conv.output[0],
        conv.name,
        (after.input[1], after.input[2]),
        len(scale.dims) == 1,
        (stored.dims[2], stored.dims[3]),
        (strides[0], strides[1]),
        tuple(attribute(conv, "pads", [0, 0, 0, 0])),
    )


def _normalised(view: View, name: str) -> tuple[str, np.ndarray, np.ndarray] | None:
    """The value that pixels become by normalising, and by which factor and summand, each ``(3,)``."""
    gain, shift, moved = np.ones(CHANNELS), np.zeros(CHANNELS), False
    while True:
        users = view.users.get(name, [])
        if len(users) != 1:
            return None
        node = view.nodes[users[0]]
        if node.op_type == "QuantizeLinear":
            return (name, gain, shift) if moved else None
        if node.op_type == "Transpose" and not moved and attribute(node, "perm") == [0, 3, 1, 2]:
            moved = True
        elif node.op_type in NORMALISING and moved and node.input[0] == name:
            number = per_channel(view.numbers(node.input[1]))
            if number is None:
                return None
            if node.op_type in ("Mul", "Div"):
                factor = number if node.op_type == "Mul" else 1 / number
                gain, shift = gain * factor, shift * factor
            else:
                shift = shift + (number if node.op_type == "Add" else -number)
        elif node.op_type != "Cast":
            return None
        name = node.output[0]


def per_channel(number: np.ndarray | None) -> np.ndarray | None:
    """A constant that broadcasts to ``(N, 3, H, W)`` as ``(3,)``, where it is the same for all pixels."""
    if number is None or number.ndim > 4:
        return None
    number = number.reshape((1,) * (4 - number.ndim) + number.shape)
    first = number[:1, :, :1, :1]
    if number.shape[1] not in (1, CHANNELS) or not (number == first).all():
        return None
    return np.broadcast_to(first.reshape(-1), CHANNELS)


def _only(view: View, name: str, kind: str) -> onnx.NodeProto | None:
    """The only reader of a value, where it is of that kind and reads it once, as its first input."""
    users = view.users.get(name, [])
    if len(users) != 1 or not view.is_a(users[0], kind) or name in view.outputs:
        return None
    node = view.nodes[users[0]]
    return node if node.input[0] == name else None


class _Parts:
    """What takes the place of a first convolution.

    Attributes:
        first: The convolution.
        names: Of its weights and bias in the float32 file.
        nodes: From the file's input to the convolution's output.
        tensors: Constants that they read.
    """

    def __init__(self, first: _First, names: tuple[str, str]) -> None:
        self.first = first
        self.names = names
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def build(self, weight: np.ndarray, bias: np.ndarray) -> None:
        """Adds everything, for float64 weights ``(C, 3, kh, kw)`` and a bias ``(C,)``."""
        first = self.first
        (height, width), across = first.size, first.strides[1]
        least, most = self._reach()
        columns = PIXELS // across
        blocks = -(-first.columns // columns)
        bottom = max(0, (first.rows - 1) * first.strides[0] + first.kernel[0] - first.pads[0] - height)
        seen = (first.columns - 1) * across + first.kernel[1] - first.pads[1]  # pixels from the left edge on
        left, right = -least, max(0, blocks + most - width // PIXELS)

        pixels = self._bordered(first.image, 1, first.pads[0], bottom, first.shift, "rows")
        pixels = self._shaped(pixels, [0, height + first.pads[0] + bottom, width // PIXELS, PIXELS * CHANNELS], "row")
        shown = right if seen > width else 0  # what lies further right is seen by no column that is kept
        pixels = self._bordered(pixels, 2, left, shown, np.tile(first.shift, PIXELS), "blocks")
        pixels = self._put("Transpose", [pixels], "turned", perm=[0, 3, 1, 2])
        unit = [self._constant("unit", np.float32(1)), self._constant("nothing", np.uint8(0))]
        pixels = self._put("DequantizeLinear", [pixels, *unit], "pixels")

        pads = [0, 0, 0, right - shown]
        found = self._put("Conv", [pixels, *self._weights(weight, bias)], "all", first.label, pads=pads,
                          kernel_shape=[first.kernel[0], most - least + 1], strides=[first.strides[0], 1])  # fmt: skip
        rounded = self._put("QuantizeLinear", [found, *first.rounding], "all_8_bit")
        found = self._put("DequantizeLinear", [rounded, *first.rounding], "all_rounded")
        found = self._put("Transpose", [found], "all_turned", perm=[0, 2, 3, 1])
        found = self._shaped(found, [0, first.rows, blocks * columns, len(weight)], "columns")
        if blocks * columns > first.columns:
            found = self._sliced(found, 2, first.columns, "cut")
        self.nodes.append(helper.make_node("Transpose", [found], [first.output], self._name("back"), perm=[0, 3, 1, 2]))

    def _reach(self) -> tuple[int, int]:
        """How many blocks to the left (negative) and to the right a block's columns see."""
        first = self.first
        last = PIXELS - first.strides[1] - first.pads[1] + first.kernel[1] - 1
        return -first.pads[1] // PIXELS, max(0, last // PIXELS)

    def _weights(self, weight: np.ndarray, bias: np.ndarray) -> list[str]:
        """Weights and bias of the blocks' convolution, rounded; for all columns the same."""
        first = self.first
        scaled = weight * first.gain[:, None, None]
        largest = np.abs(scaled).max((1, 2, 3) if first.per_channel else None, keepdims=True)
        step = np.maximum(largest / SEVEN_BITS, np.abs(bias)[:, None, None, None] / LARGEST_BIAS)
        step = np.where(step > 0, step, 1).astype(np.float32)  # that of the bias, too, since that of the pixels is 1
        rounded = balanced(scaled / step.astype(np.float64))
        means = (rounded * (first.shift / first.gain)[:, None, None]).sum((1, 2, 3))
        steps = np.broadcast_to(step.reshape(-1), len(weight))
        summands = np.round(bias / steps + means)
        columns = PIXELS // first.strides[1]
        return [
            self._stored(self.names[0], self._widened(rounded.astype(np.int8)), np.tile(steps, columns)),
            self._stored(self.names[1], np.tile(summands.astype(np.int32), columns), np.tile(steps, columns)),
        ]

    def _widened(self, weight: np.ndarray) -> np.ndarray:
        """Weights ``(C, 3, kh, kw)`` for all columns of a block, ``(columns * C, 12, kh, blocks)``."""
        (least, most), across = self._reach(), self.first.strides[1]
        count, _, height, width = weight.shape
        wide = np.zeros((PIXELS // across, count, PIXELS, CHANNELS, height, most - least + 1), weight.dtype)
        for column, tap in np.ndindex(len(wide), width):
            block, inner = divmod(column * across - self.first.pads[1] + tap, PIXELS)
            wide[column, :, inner, :, :, block - least] = weight[:, :, :, tap]
        return wide.reshape(len(wide) * count, PIXELS * CHANNELS, height, most - least + 1)

    def _stored(self, name: str, numbers: np.ndarray, step: np.ndarray) -> str:
        parts = {"": numbers, "_scale": step, "_zero_point": np.zeros(len(step), numbers.dtype)}
        names = [f"{name}_in_blocks{part}" for part in parts]
        self.tensors += [numpy_helper.from_array(v, n) for n, v in zip(names, parts.values(), strict=True)]
        read = f"{name}_in_blocks_read"
        self.nodes.append(helper.make_node("DequantizeLinear", names, [read], read, axis=0))
        return read

    def _bordered(self, pixels: str, axis: int, before: int, after: int, shift: np.ndarray, name: str) -> str:
        """``pixels`` with the rounded means put before and after along an axis; the batch is as large as theirs."""
        if not before and not after:
            return pixels
        gain = np.tile(self.first.gain, len(shift) // CHANNELS)
        means = np.round(-shift / gain).astype(np.uint8)
        edge = self._sliced(pixels, axis, 1, f"{name}_edge")
        mean = self._constant(f"{name}_mean", means.reshape(1, 1, 1, -1))
        borders = {}
        for count in sorted({before, after} - {0}):
            no = self._constant(f"{name}_not_{count}", np.zeros([count if a == axis else 1 for a in range(4)], bool))
            borders[count] = self._put("Where", [no, edge, mean], f"{name}_added_{count}")
        parts = ([borders[before]] if before else []) + [pixels] + ([borders[after]] if after else [])
        return self._put("Concat", parts, f"{name}_bordered", axis=axis)

    def _sliced(self, value: str, axis: int, end: int, name: str) -> str:
        bounds = (("begin", 0), ("end", end), ("axis", axis))
        return self._put("Slice", [value, *(self._constant(f"{name}_{n}", np.array([at])) for n, at in bounds)], name)

    def _shaped(self, value: str, shape: Sequence[int], name: str) -> str:
        return self._put("Reshape", [value, self._constant(f"{name}_shape", np.array(shape))], name)

    def _constant(self, name: str, value: Any) -> str:
        self.tensors.append(numpy_helper.from_array(np.asarray(value), self._name(name)))
        return self._name(name)

    def _put(self, kind: str, inputs: Sequence[str], name: str, label: str | None = None, **attributes: Any) -> str:
        output = self._name(name)
        self.nodes.append(helper.make_node(kind, inputs, [output], label or output, **attributes))
        return output

    def _name(self, name: str) -> str:
        return f"{self.first.output}_{name}"
