"""Who feeds whom: the calls of a network's layers as a graph, for each method that takes a picture or features.

`torch.fx` runs the network's Python with symbols, so a branch that depends on the input cannot pass unnoticed: it
fails, and then nothing is folded. Parameters and buffers that are read by themselves (``self.conv.weight``) are
found too, since changing such a layer would change that reading. A network whose Python asks for shapes goes by way of
`torch.export` instead.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from edgexfer.errors import FoldError
from edgexfer.fold.exported import exported_graph, operator_name
from edgexfer.fold.modules import is_batchnorm, is_plain

METHODS = ("forward", "embed", "classify")


@dataclass(frozen=True)
class Trace:
    """The graphs of a network, one a method.

    Attributes:
        graphs: Nodes ``call_module`` name layers by their first path in ``named_modules()``.
        read: ``id`` of each parameter or buffer that is read outside its own layer.
    """

    graphs: tuple[fx.Graph, ...]
    read: frozenset[int]

    def calls(self) -> dict[str, list[fx.Node]]:
        """Every call of every layer, in the order of the graphs."""
        found: dict[str, list[fx.Node]] = {}
        for graph in self.graphs:
            for node in graph.nodes:
                if node.op == "call_module":
                    found.setdefault(str(node.target), []).append(node)
        return found


class _Tracer(fx.Tracer):
    """Stops at the layers that folding can change; sees buffers as well as parameters."""

    proxy_buffer_attributes = True

    def __init__(self, method: str) -> None:
        super().__init__()
        self.traced_func_name = method

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if is_plain(m) or (is_batchnorm(m) and next(m.children(), None) is None):
            return True
        return super().is_leaf_module(m, module_qualified_name)


def methods_of(net: nn.Module) -> tuple[str, ...]:
    """``forward`` and, where they are methods that take one value, ``embed`` and ``classify``."""
    return tuple(name for name in METHODS if name == "forward" or _takes_one_value(getattr(net, name, None)))


def trace(net: nn.Module, example: Tensor) -> Trace:
    """The graphs of ``net`` in its present mode.

    Raises:
        FoldError: A method can be run neither with symbols nor by `torch.export`; says which and why not.
    """
    graphs = []
    for method in methods_of(net):
        try:
            graphs.append(_graph(net, method))
        except FoldError as refused:
            try:
                graphs.append(exported_graph(net, method, _taken(net, method, example)))
            except Exception:  # the network's own code runs here: anything can be raised
                raise refused from refused.__cause__
    tensors = dict(net.named_parameters(remove_duplicate=False)) | dict(net.named_buffers(remove_duplicate=False))
    targets = {str(node.target) for graph in graphs for node in graph.nodes if node.op == "get_attr"}
    return Trace(tuple(graphs), frozenset(id(tensors[name]) for name in targets if name in tensors))


def _taken(net: nn.Module, method: str, example: Tensor) -> Tensor:
    """What ``method`` takes: the pictures, or for ``classify`` what ``embed`` makes of them."""
    if method != "classify" or "embed" not in methods_of(net):
        return example
    modes = {part: part.training for part in net.modules()}
    try:
        with torch.no_grad():
            embedded: Tensor = net.eval().embed(example)  # type: ignore[operator]
            return embedded
    finally:
        for part, mode in modes.items():
            part.training = mode


def reads_shape(node: fx.Node) -> bool:
    """Whether ``node`` asks a tensor for its shape or kind only."""
    if node.op == "call_method":
        return node.target in {"size", "dim", "ndimension", "numel"}
    if operator_name(node) in {"sym_size", "sym_numel", "sym_stride"}:
        return True
    reads = {"shape", "ndim", "dtype", "device"}
    return node.op == "call_function" and node.target is getattr and node.args[1] in reads


def may_write(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether ``node`` may write into a tensor that is there already.

    The tracer sees ``x += y`` as ``x + y``, so Python's arithmetic operators may write too.
    """
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    if node.op not in {"call_function", "call_method"}:
        return False
    if isinstance(node.target, torch._ops.OpOverload):
        return bool(node.target._schema.is_mutable)
    if node.op == "call_function" and getattr(operator, getattr(node.target, "__name__", ""), None) is node.target:
        return node.target is not operator.getitem
    name = str(getattr(node.target, "__name__", node.target))
    by_name = name.endswith("_") and not name.endswith("__")
    return by_name or any(arg is True for arg in (*node.args, node.kwargs.get("inplace"))) or "out" in node.kwargs


def _graph(net: nn.Module, method: str) -> fx.Graph:
    before = set(vars(net))
    parameters = list(inspect.signature(getattr(net, method)).parameters.values())[1:]
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    try:
        return _Tracer(method).trace(net, concrete_args=defaults or None)
    except Exception as error:  # the network's own code runs here: anything can be raised
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FoldError(f"{type(net).__name__}.{method} cannot be traced: {reason[:200]}") from error
    finally:
        for name in set(vars(net)) - before:  # constants that the tracer hangs onto the network
            delattr(net, name)


def _takes_one_value(method: object) -> bool:
    if not inspect.ismethod(method):
        return False
    needed = [
        p
        for p in inspect.signature(method).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    return len(needed) == 1
