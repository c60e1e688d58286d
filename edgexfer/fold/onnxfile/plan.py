"""The plan for an ONNX graph: which BatchNorm melts into which layer, and for every other one the reason why not.

The rules are those of ``edgexfer.fold.plan``: a BatchNorm may melt into the layer before it if that layer's output
goes nowhere else, and into the layer after it if it is that layer's only input and no padding invents zeros between.
What may stand between: identities, dropout, a constant added or multiplied per channel (taken up too), BatchNorms that
have melted, and, on the way to a layer after it, global average pooling and flattening. A weight that several nodes
share is no obstacle in a file: each node that changes gets its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx
from onnx import numpy_helper

from edgexfer.fold.onnxfile import algebra, source
from edgexfer.fold.onnxfile.algebra import Affine
from edgexfer.fold.onnxfile.layers import (
    BATCHNORM,
    LINEAR,
    TAKES_BEFORE,
    Border,
    Layer,
    No,
    constant_affine,
    read_batchnorm,
    read_layer,
)
from edgexfer.fold.onnxfile.view import STANDARD, View, attribute, averages_channels, input_of
from edgexfer.fold.values import Fold, FoldPlan, Kept

SCALED = "; made a product and a sum"
SUMMED = "; made a sum, its scale is in that layer"


@dataclass(frozen=True)
class Step:
    """One BatchNorm that vanishes.

    Attributes:
        layer: The node that takes it up.
        batchnorm: The BatchNorm's node.
        side: ``"after"`` or ``"before"``, seen from the layer.
        through: Nodes between the two that vanish with it.
    """

    layer: int
    batchnorm: int
    side: Literal["after", "before"]
    through: tuple[int, ...] = ()


@dataclass(frozen=True)
class GraphPlan:
    """A plan, and everything that carrying it out needs.

    Attributes:
        plan: What is folded and kept, by name.
        steps: The folds in the order in which they are made.
        layers: The changed layers in float64, by node.
        scales: BatchNorms that become a product and a sum, by node, with their number of dimensions.
        borders: Those of ``scales`` whose scale a padded convolution took up, so that only a sum is left; by node, with
            the convolution.
    """

    plan: FoldPlan
    steps: tuple[Step, ...] = ()
    layers: Mapping[int, Layer] = field(default_factory=dict)
    scales: Mapping[int, tuple[Affine, int]] = field(default_factory=dict)
    borders: Mapping[int, int] = field(default_factory=dict)


def is_scaled(kept: Kept) -> bool:
    """Whether a kept BatchNorm stands in the graph as a product and a sum, or as a sum alone."""
    return kept.reason.endswith((SCALED, SUMMED))


def make_plan(view: View, *, scale_shift: bool = False) -> GraphPlan:
    """The plan for a graph.

    Args:
        view: The graph.
        scale_shift: Make a product and a sum of each BatchNorm that no layer can take up.
    """
    return _Planner(view).plan(scale_shift)


@dataclass
class _Planner:
    view: View
    batchnorms: dict[int, Layer] = field(default_factory=dict)
    layers: dict[int, Layer] = field(default_factory=dict)
    melted: dict[int, Step] = field(default_factory=dict)
    absorbed: set[int] = field(default_factory=set)
    offsets: dict[int, tuple[Affine, int]] = field(default_factory=dict)
    borders: dict[int, int] = field(default_factory=dict)

    def plan(self, scale_shift: bool) -> GraphPlan:
        found = [i for i in range(len(self.view.nodes)) if self.view.is_a(i, BATCHNORM)]
        kept: dict[int, str] = {}
        for index in found:
            try:
                self.batchnorms[index] = read_batchnorm(self.view, index)
                self._melt_after(index)
            except No as no:
                kept[index] = str(no)
        for index, reason in kept.copy().items():
            if index not in self.batchnorms:
                continue
            try:
                self._melt_before(index)
                del kept[index]
            except Border as border:
                made = scale_shift and self._melt_scale(index, border.layer)
                kept[index] = f"{reason}; {border}" + SUMMED * made
            except No as no:
                kept[index] = f"{reason}; {no}"
        scales = self._scales(kept) | self.offsets if scale_shift else {}
        steps = tuple(sorted(self.melted.values(), key=lambda step: step.side))  # "after" first
        labels = self.view.labels
        folds = tuple(Fold(labels[s.layer], labels[s.batchnorm], s.side) for s in steps)
        reasons = [Kept(labels[i], reason) for i, reason in kept.items()] + list(self._inside())
        changed = {i: layer for i, layer in self._changed(steps).items() if i not in scales}
        return GraphPlan(FoldPlan(folds, tuple(reasons)), steps, changed, scales, self.borders)

    def _changed(self, steps: tuple[Step, ...]) -> dict[int, Layer]:
        gone = {step.batchnorm for step in steps}
        touched = ({step.layer for step in steps} | set(self.borders.values())) - gone
        return {index: self._layer(index) for index in sorted(touched)}

    def _layer(self, index: int) -> Layer:
        if index in self.batchnorms:
            return self.batchnorms[index]
        if index not in self.layers:
            self.layers[index] = read_layer(self.view, index)
        return self.layers[index]

    def _take(self, step: Step, layer: Layer) -> None:
        """Notes that ``layer`` now does the work of the step's BatchNorm too."""
        if (lost := layer.misfit()) is not None:
            raise No(f"the folded weights of {self.view.called(step.layer)} would {lost} in {layer.dtype}")
        (self.batchnorms if step.layer in self.batchnorms else self.layers)[step.layer] = layer
        self.melted[step.batchnorm] = step

    def _melt_after(self, index: int) -> None:
        value, child, through = self.view.nodes[index].input[0], index, list[int]()
        affine = self.batchnorms[index].affine
        while True:
            above = self._source(value, child)
            if self._is_layer(above):
                break
            through.append(above)
            if above not in self.melted and above not in self.absorbed:
                extra = constant_affine(self.view, above, self._data_input(above), len(affine.scale))
                affine = affine if extra is None else extra.then(affine)
            value, child = self._data_input(above), above
        layer = self._layer(above)
        if layer.channels != len(affine.scale):
            raise No(f"{self.view.called(above)} has {layer.channels} channels, it has {len(affine.scale)}")
        self._take(Step(above, index, "after", tuple(through)), layer.followed_by(affine))
        self.absorbed.update(through)

    def _source(self, value: str, child: int) -> int:
        """The node that makes ``value`` for ``child`` and nobody else."""
        view = self.view
        above = view.producer.get(value)
        if above is None:
            what = "a constant" if view.tensor(value) is not None else "the file's own input"
            raise No(f"its input comes from {what}")
        if not self._is_layer(above) and not self._is_nothing(above) and not self._adds_constant(above):
            raise No(f"its input comes from {view.called(above)}")
        others = view.users.get(value, []).copy()
        others.remove(child)
        if others:
            raise No(f"the output of {view.called(above)} also goes to {view.called(others[0])}")
        if value in view.outputs:
            raise No(f"the output of {view.called(above)} is an output of the file")
        return above

    def _adds_constant(self, index: int) -> bool:
        if not self.view.is_a(index, "Add", "Sub", "Mul", "Div"):
            return False
        value = self._data_input(index)
        other = [n for n in self.view.nodes[index].input if n != value]
        number = self.view.numbers(other[0]) if other else None
        return number is not None and constant_affine(self.view, index, value, max(number.size, 1)) is not None

    def _data_input(self, index: int) -> str:
        """The input of a node that is no constant; for most nodes the first."""
        node = self.view.nodes[index]
        if self.view.is_a(index, "Add", "Mul", "Sub") and self.view.tensor(node.input[0]) is not None:
            return str(node.input[1])
        return str(node.input[0])

    def _melt_before(self, index: int) -> None:
        bn, flat, value = self.batchnorms[index], False, self.view.nodes[index].output[0]
        while True:
            follower = self._only_user(value)
            if self._takes_before(follower, value):
                break
            flattens = self._flattens(follower)
            averages = averages_channels(self.view, follower)
            if not (flattens or averages or self._is_nothing(follower)):
                raise No(f"its output goes to {self.view.called(follower)}")
            flat = flat or flattens or averages and not attribute(self.view.nodes[follower], "keepdims", 1)
            value = self.view.nodes[follower].output[0]
        layer = self._layer(follower)
        self._check_before(layer, bn.affine, flat or self.view.ranks.get(value) == 2)
        self._take(Step(follower, index, "before"), layer.preceded_by(bn.affine))

    def _only_user(self, value: str) -> int:
        users = self.view.users.get(value, [])
        if len(users) != 1 or value in self.view.outputs:
            shown = [self.view.called(u) for u in users[:3]]
            shown += ["the file's output"] if value in self.view.outputs else []
            raise No(f"its output goes to {' and '.join(shown) or 'nothing'}")
        return users[0]

    def _check_before(self, layer: Layer, bn: Affine, flat: bool) -> None:
        node, what = self.view.nodes[layer.index], self.view.called(layer.index)
        if layer.kind != "Conv":
            rows = layer.weight.shape[1 if layer.transposed else 0]
            if not flat or attribute(node, "transA", 0) or rows % len(bn.scale):
                raise No(f"the channels of its input are not known to be the columns that {what} multiplies")
            return
        if layer.weight.shape[1] * layer.groups != len(bn.scale):
            raise No(f"{what} takes {layer.weight.shape[1] * layer.groups} channels, it has {len(bn.scale)}")
        if bool(bn.shift.any()) and _pads(node, layer.weight.shape[2:]):
            raise Border(f"{what} after it pads with zeros, so the shift would be missing at the border", layer)

    def _melt_scale(self, index: int, layer: Layer) -> bool:
        """``conv(pad(s x + t)) = conv'(pad(x + t/s))``: the layer takes the scale, and a sum stays before it."""
        bn, rank = self.batchnorms[index], self.view.ranks.get(self.view.nodes[index].input[0], 0)
        affine = bn.affine
        if rank < 3 or not affine.scale.all():
            return False
        offset = affine.shift / affine.scale
        scaled = layer.preceded_by(Affine(affine.scale, np.zeros_like(offset)))
        if algebra.fit(offset, bn.dtype) is None or scaled.misfit() is not None:
            return False
        self.layers[layer.index] = scaled
        self.offsets[index] = (Affine(np.ones_like(offset), offset), rank)
        self.borders[index] = layer.index
        return True

    def _takes_before(self, index: int, value: str) -> bool:
        node = self.view.nodes[index]
        once = list(node.input).count(value) == 1 and node.input[0] == value
        return once and self.view.is_a(index, *TAKES_BEFORE)

    def _is_layer(self, index: int) -> bool:
        """Whether a node is a layer that is still there and can take up what follows it."""
        if index in self.melted:
            return False
        return self.view.is_a(index, *LINEAR) or index in self.batchnorms

    def _is_nothing(self, index: int) -> bool:
        """Whether a node hands its input on: an identity, dropout outside training, a BatchNorm that has melted."""
        if index in self.melted or self.view.is_a(index, "Identity"):
            return True
        node = self.view.nodes[index]
        if not self.view.is_a(index, "Dropout") or any(self.view.users.get(o) for o in node.output[1:]):
            return False
        return not input_of(node, 2) and (self.view.opset >= 7 or bool(attribute(node, "is_test", 0)))

    def _flattens(self, index: int) -> bool:
        """Whether a node makes one row a picture of its input, channel after channel."""
        node = self.view.nodes[index]
        if self.view.is_a(index, "Flatten"):
            return int(attribute(node, "axis", 1)) == 1
        if not self.view.is_a(index, "Reshape") or attribute(node, "allowzero", 0):
            return False
        shape = self.view.tensor(input_of(node, 1))
        return shape is not None and np.array_equal(numpy_helper.to_array(shape), [0, -1])

    def _scales(self, kept: dict[int, str]) -> dict[int, tuple[Affine, int]]:
        waiting = [i for i in kept if i in self.batchnorms and i not in self.offsets]
        ranks = {i: self.view.ranks.get(self.view.nodes[i].input[0], 0) for i in waiting}
        fitting = {i for i in ranks if ranks[i] >= 2 and self._writes(self.batchnorms[i])}
        made = {i: (self.batchnorms[i].affine, ranks[i]) for i in sorted(fitting)}
        for index in made:
            kept[index] += SCALED
        return made

    def _writes(self, bn: Layer) -> bool:
        values = (bn.affine.scale, bn.affine.shift)
        return all(algebra.fit(value, bn.dtype) is not None for value in values)

    def _inside(self) -> list[Kept]:
        return [
            Kept(node.name or BATCHNORM, f"it stands in a graph inside {self.view.called(index)}")
            for index, outer in enumerate(self.view.nodes)
            for graph in source.inside(outer)
            for node in graph.node
            if node.op_type == BATCHNORM and node.domain in STANDARD
        ]


def _pads(node: onnx.NodeProto, kernel: tuple[int, ...]) -> bool:
    """Whether a convolution pads its input with zeros."""
    auto = attribute(node, "auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        return any(k > 1 for k in kernel)
    return auto != b"VALID" and any(attribute(node, "pads", []))
