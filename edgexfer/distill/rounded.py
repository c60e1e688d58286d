"""A student that computes as its int8 file will: the same rounding, in float32, with gradients.

Each weight w of a layer, BatchNorm already in it (channel c), and each value x between layers is rounded to a grid,

    w_q = s_c clamp(round(w / s_c), -64, 64),          s_c = max |w_c| / 64
    x_q = s (clamp(round(x / s) + z, 0, 255) - z),     s = (high - low) / 255,  z = round(-low / s)

and gradients pass the rounding as if it were not there, within the range (Jacob et al., "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, sections 2.1 and 3). The range (low, high)
of a value is a moving average over batches of its lowest and highest, with 0 in it. Weights have 7 bits, as int8 files
for x86 have; arm64's have 8, which is easier.

BatchNorm stays as it is at inference, and its gamma and beta learn through the weights that they are folded into, so
what comes out is an ordinary network: it is exported, folded and quantized like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from edgexfer import nets
from edgexfer.errors import FoldError, TrainingError
from edgexfer.fold import FoldPlan, algebra, modules
from edgexfer.fold.exported import operator_name
from edgexfer.fold.folding import plan_and_graphs
from edgexfer.preprocessing import Preprocessing

WEIGHT_STEPS = 64
VALUE_STEPS = 255
MOMENTUM = 0.1
"""How far a range moves towards that of each batch."""
CLOSE = 1e-3
"""Largest difference, of the largest logit, that running the graph may make before anything is rounded."""
_LAYERS = (*modules.CONVOLUTIONS, nn.Linear)
_CLAMPS = (nn.ReLU, nn.ReLU6)
_MOVING_LAYERS = (*modules.DROPOUTS, nn.Identity, nn.MaxPool1d, nn.MaxPool2d, nn.Flatten, nn.AdaptiveMaxPool2d)
_MOVING = frozenset(
    "chunk contiguous detach dropout expand flatten getitem max_pool2d permute reshape split squeeze stochastic_depth"
    " transpose unsqueeze view".split()
)


class Rounded(nets.Normalized):
    """A network between its pixels and its logits, computed with the rounding of int8.

    Its state dict is the network's and, beside it, ``ranges``; ``net`` itself is never changed in form.

    Args:
        net: The network with its first weights; it goes to inference mode and stays there.
        preprocessing: Its input size, mean and std.

    Raises:
        TrainingError: The network cannot be followed layer by layer.
    """

    ranges: Tensor

    def __init__(self, net: nets.Network, preprocessing: Preprocessing) -> None:
        super().__init__(net.eval(), preprocessing)
        self.rounds = True
        example = torch.randn((2, 3, *preprocessing.input_size), generator=torch.Generator().manual_seed(0))
        plan, graphs = _followed(net, example)
        self.graphs = {name: graphs[name] for name in ("embed", "classify")}
        self.folds: dict[str, list[str]] = {}
        for fold in plan.folds:
            if fold.side == "after" and isinstance(net.get_submodule(fold.conv), _LAYERS):
                self.folds.setdefault(fold.conv, []).append(fold.batchnorm)
        self.melted = frozenset(name for names in self.folds.values() for name in names)
        found = [f"{method}.{node}" for method, graph in self.graphs.items() for node in self._rounded_nodes(graph)]
        self.slots = {name: slot for slot, name in enumerate(found)}
        self.register_buffer("ranges", torch.full((len(found), 2), float("nan")))
        self._prove(example)

    def train(self, mode: bool = True) -> Rounded:
        """Training mode, in which ranges move; BatchNorm stays in inference mode."""
        super().train(mode)
        for module in self.net.modules():
            if modules.is_batchnorm(module):
                module.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, K) from pixels 0..1 (N, 3, h, w); those of the network itself where ``rounds`` is off."""
        if not self.rounds:
            return super().forward(pixels)
        embedding = _Rounding(self, "embed").run(self.normalise(pixels))
        return cast(Tensor, _Rounding(self, "classify").run(embedding))

    @torch.no_grad()
    def observe(self, batches: Iterable[Tensor]) -> None:
        """Sets the ranges by pictures, pixels 0..1 (N, 3, h, w) a batch.

        Raises:
            TrainingError: With rounding, the network does not give finite logits.
        """
        self.ranges.fill_(float("nan"))
        self.train()
        for pixels in batches:
            if not bool(torch.isfinite(self(pixels)).all()):
                raise TrainingError(
                    f"{type(self.net).__name__} with int8's rounding gives NaN or infinite logits; distil it without"
                    " --quantization-aware"
                )

    def round_value(self, value: Tensor, slot: int) -> Tensor:
        """``value`` on the 8-bit grid of its range; in training mode the range follows it first."""
        if self.training:
            with torch.no_grad():
                low, high = torch.aminmax(value)
                now = torch.stack((low.clamp(max=0), high.clamp(min=0))).float()
                kept = self.ranges[slot]
                self.ranges[slot] = torch.where(kept.isnan(), now, torch.lerp(kept, now, MOMENTUM))
        low, high = self.ranges[slot].unbind()
        scale = ((high - low) / VALUE_STEPS).clamp_min(torch.finfo(torch.float32).tiny)
        zero = torch.round(-low / scale).clamp(0, VALUE_STEPS).to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(value, scale, zero, 0, VALUE_STEPS)

    def folded(self, layer: nn.Module, name: str) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of a layer with its BatchNorms in them, with gradients to all of their parameters."""
        weight, bias = cast(Tensor, layer.weight), cast("Tensor | None", layer.bias)
        for batchnorm in self.folds.get(name, ()):
            bn: Any = self.net.get_submodule(batchnorm)
            numbers = algebra.affine(bn.weight, bn.bias, bn.running_mean, bn.running_var, float(bn.eps))
            weight, bias = algebra.after(weight, bias, numbers)
        return weight.float(), None if bias is None else bias.float()

    def _rounded_nodes(self, graph: fx.Graph) -> list[str]:
        """Names of the nodes whose value an int8 file rounds."""
        return [node.name for node in graph.nodes if self._computes(node) and not self._goes_on_unrounded(node)]

    def _computes(self, node: fx.Node) -> bool:
        """Whether the node makes new numbers, and does not only hand on or rearrange what there is."""
        if node.op == "call_module":
            return not isinstance(self.net.get_submodule(str(node.target)), _MOVING_LAYERS)
        if node.op in ("call_function", "call_method"):
            return operator_name(node) not in _MOVING
        return node.op == "placeholder"

    def _goes_on_unrounded(self, node: fx.Node) -> bool:
        """Whether what follows is a part of the same 8-bit operation, or the network's output."""
        users = list(node.users)
        if all(user.op == "output" for user in users):
            return True
        if len(users) != 1:
            return False
        user = users[0]
        if user.op == "call_module":
            return str(user.target) in self.melted or isinstance(self.net.get_submodule(str(user.target)), _CLAMPS)
        return operator_name(user) in ("relu", "relu_", "relu6")

    @torch.no_grad()
    def _prove(self, example: Tensor) -> None:
        """The graphs compute what the network computes, as long as nothing is rounded."""
        self.eval()
        example = example.to(next(self.net.parameters()).device)
        wanted = self.net(example)
        followed = _Following(self, "classify").run(_Following(self, "embed").run(example))
        apart = float((followed - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12))
        if not apart <= CLOSE:
            raise TrainingError(
                f"{type(self.net).__name__} followed layer by layer gives other logits ({apart:.2g} of the largest"
                " apart), so it cannot learn with int8's rounding; distil it without --quantization-aware"
            )


class _Following(fx.Interpreter):
    """Runs one method of a network node by node, each BatchNorm folded into its layer."""

    def __init__(self, student: Rounded, method: str) -> None:
        super().__init__(student.net, graph=student.graphs[method])
        self.student, self.method = student, method

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = str(target)
        if name in self.student.melted:
            return args[0]
        layer = self.student.net.get_submodule(name)
        if not isinstance(layer, _LAYERS):
            return super().call_module(target, args, kwargs)
        weight, bias = self.student.folded(layer, name)
        weight = self.rounded_weight(weight)
        if isinstance(layer, nn.Linear):
            return functional.linear(args[0], weight, bias)
        return layer._conv_forward(args[0], weight, bias)

    def rounded_weight(self, weight: Tensor) -> Tensor:
        return weight


class _Rounding(_Following):
    """The same with int8's rounding."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        slot = self.student.slots.get(f"{self.method}.{n.name}")
        if slot is None or not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        return self.student.round_value(value, slot)

    def rounded_weight(self, weight: Tensor) -> Tensor:
        with torch.no_grad():
            scale = weight.abs().flatten(1).amax(1).div(WEIGHT_STEPS).clamp_min(torch.finfo(torch.float32).tiny)
            zero = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -WEIGHT_STEPS, WEIGHT_STEPS)


def _followed(net: nets.Network, example: Tensor) -> tuple[FoldPlan, dict[str, fx.Graph]]:
    try:
        return plan_and_graphs(net, example)
    except FoldError as error:
        raise TrainingError(
            f"{error}; without its layers one by one it cannot learn with int8's rounding; distil it without"
            " --quantization-aware"
        ) from error
