"""The graph of a network whose Python asks for shapes, by way of `torch.export`.

`torch.export` runs the network with tensors that have a shape but no values, so a branch on a shape takes the side
that the example's shape takes (the graph holds for that shape and any batch size), and a branch on a value fails.
What it gives is one operator after the other; an operator that one layer's call made, with that layer's own tensors,
is turned back into a call of the layer, so that planning reads one kind of graph.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgexfer.errors import FoldError
from edgexfer.fold import modules

_LAYERS: dict[str, tuple[type[nn.Module], ...]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), modules.CONVOLUTIONS),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), modules.TRANSPOSED),
    "linear": (nn.Linear,),
    "batch_norm": modules.BATCHNORMS,
    "dropout": modules.DROPOUTS,
}


class _Method(nn.Module):
    """One method of a network as a module, since only modules can be exported."""

    def __init__(self, net: nn.Module, method: str) -> None:
        super().__init__()
        self.net, self.method = net, method

    def forward(self, x: Tensor) -> Any:
        return self.net(x) if self.method == "forward" else getattr(self.net, self.method)(x)


def exported_graph(net: nn.Module, method: str, example: Tensor) -> fx.Graph:
    """The graph of one method, with a ``call_module`` for each call of a layer that folding knows.

    Args:
        net: The network.
        method: Which of its methods.
        example: What the method takes ``(N, ...)``; two copies are used, so that one picture is not taken as a rule.

    Raises:
        FoldError: The network has hooks (which leave no trace here) or operators that hide others.
    """
    if any(modules.has_hooks(module) for module in net.modules()):
        raise FoldError(f"{type(net).__name__} has forward hooks")
    wrapped = _Method(net, method)
    wrapped.training = net.training  # not train(), which would set every layer of the network
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        batches = ({0: torch.export.Dim.AUTO},)
        program = torch.export.export(wrapped, (torch.cat([example] * 2),), dynamic_shapes=batches, strict=False)
    signature = program.graph_signature
    paths = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    return _Layers(net, {name: path.removeprefix("net.") for name, path in paths.items()}).build(program.graph)


class _Layers:
    """Copies an exported graph, and makes operators calls of their layers on the way."""

    def __init__(self, net: nn.Module, paths: Mapping[str, str]) -> None:
        self.net = net
        self.paths = paths
        self.names: dict[int, str] = {id(module): name for name, module in net.named_modules()}
        self.tensors = dict(net.named_parameters(remove_duplicate=False)) | dict(
            net.named_buffers(remove_duplicate=False)
        )
        self.graph = fx.Graph()
        self.made: dict[fx.Node, fx.Node] = {}

    def build(self, exported: fx.Graph) -> fx.Graph:
        for node in exported.nodes:
            layer = self._layer(node)
            if layer is not None:
                source = node.args[0]
                self.made[node] = self.graph.call_module(layer, (self._copy(source),))
            elif node.op == "placeholder" and node.name in self.paths:
                continue  # read where it is used
            else:
                self._refuse_hiding(node)
                self.made[node] = self.graph.node_copy(node, self._copy)
        return self.graph

    def _copy(self, node: Any) -> fx.Node:
        if node not in self.made:
            self.made[node] = self.graph.create_node("get_attr", self.paths[node.name])
        return self.made[node]

    def _layer(self, node: fx.Node) -> str | None:
        """The layer that ``node`` is the call of; ``None`` for any other operator."""
        stack = node.meta.get("nn_module_stack")
        kinds = _LAYERS.get(operator_name(node)) if node.op == "call_function" else None
        if kinds is None or not stack:
            return None
        path = str(list(stack.values())[-1][0]).partition("@")[0].removeprefix("net.")
        try:
            module = self.net.get_submodule(path)
        except AttributeError:
            return None
        if type(module) in modules.DROPOUTS and modules.passes_through(module):
            return self.names[id(module)]
        own = {id(tensor) for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))}
        used = {id(self.tensors[self.paths[i.name]]) for i in node.all_input_nodes if i.name in self.paths}
        matches = modules.is_plain(module) and isinstance(module, kinds) and used <= own
        return self.names[id(module)] if matches and bool(used) == bool(own) else None

    def _refuse_hiding(self, node: fx.Node) -> None:
        """Operators that call graphs of their own would hide who uses what."""
        hides = node.op in {"get_attr", "call_module"} or isinstance(node.target, torch._ops.HigherOrderOperator)
        if hides:
            raise FoldError(f"{type(self.net).__name__} uses the operator {operator_name(node)!r}, which hides others")


def operator_name(node: fx.Node) -> str:
    """``conv2d`` for ``aten.conv2d.default``."""
    return str(getattr(node.target, "__name__", node.target)).partition(".")[0]
