"""A network's Python as a graph, and modules made of parts of that graph.

A trace keeps what Python saw of ``training``: from training mode, a functional dropout would stay on for good. What is
used frozen is therefore traced in inference mode; what learns is traced in both, where they differ.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import fx, nn

from edgexfer.errors import NetworkError
from edgexfer.nets import Network
from edgexfer.torchvision_import import import_torchvision

_CONSTANT = "edgexfer constant"


class _Tracer(fx.Tracer):
    """Stochastic depth stays a layer, as dropout does, and so follows ``train()`` and ``eval()``."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether ``m`` is called as it is, its Python not looked into."""
        stochastic_depth = import_torchvision().ops.StochasticDepth
        return isinstance(m, stochastic_depth) or super().is_leaf_module(m, module_qualified_name)


def trace(net: Network, method: str = "forward", *, learns: bool = False) -> fx.Graph:
    """The graph of a method, as it is in inference mode, or in training mode where the network ``learns``.

    Tensors that the network's Python makes on its way are kept in the graph, and the network is left as it was.

    Raises:
        NetworkError: The network's Python cannot be traced.
    """
    tracer = _Tracer()
    tracer.traced_func_name = method
    before = set(vars(net))
    modes = {module: module.training for module in net.modules()}
    net.train(learns)
    try:
        graph = tracer.trace(net)
        made = set(vars(net)) - before  # what the tracer hangs onto the network
        for node in graph.nodes:
            if node.op == "get_attr" and node.target in made:
                node.meta[_CONSTANT] = getattr(net, str(node.target))
    except Exception as error:  # the network's own code runs here: anything can be raised
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NetworkError(
            f"{type(net).__name__} cannot be taken apart ({reason[:160]}); the strategies head and full need no cut"
        ) from error
    finally:
        for name in set(vars(net)) - before:
            delattr(net, name)
        for module, mode in modes.items():
            module.training = mode
    return graph


def module_of(net: Network, graph: fx.Graph) -> fx.GraphModule:
    """A graph of ``net``, or a part of one, as a module that shares the network's layers."""
    constants = {str(node.target): node.meta[_CONSTANT] for node in graph.nodes if _CONSTANT in node.meta}
    try:
        for name, value in constants.items():
            setattr(net, name, value)
        return fx.GraphModule(net, graph)
    finally:
        for name in constants:
            delattr(net, name)


def by_mode(net: Network, infers: fx.Graph, learns: fx.Graph) -> nn.Module:
    """A module that runs one graph in inference mode and the other in training mode; one module where they agree."""
    if str(learns.python_code("self").src) == str(infers.python_code("self").src):
        return module_of(net, infers)
    return _ByMode(module_of(net, learns), module_of(net, infers))


class _ByMode(nn.Module):
    """Two graphs that share their layers, which are those of the one that learns."""

    def __init__(self, learns: fx.GraphModule, infers: fx.GraphModule) -> None:
        super().__init__()
        self.learns = learns
        self._infers = [infers]  # in a list: its layers count once

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the graph of the present mode gives."""
        part = self.learns if self.training else self._infers[0]
        return cast(torch.Tensor, part(x))
