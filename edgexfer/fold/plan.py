"""The plan: which BatchNorm melts into which layer, and for every other one the reason why it stays.

A BatchNorm may melt into the layer before it if every call of that layer ends in this BatchNorm and nowhere else, and
into the layer after it if every call of that layer starts from it and no zero padding stands between. Identities,
dropout outside training and BatchNorm layers that have melted already count as nothing on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Literal

from torch import fx, nn

from edgexfer.fold import modules
from edgexfer.fold.exported import operator_name
from edgexfer.fold.trace import Trace, may_write, reads_shape
from edgexfer.fold.values import Fold, FoldPlan, Kept


class _No(Exception):
    """Carries the reason why a BatchNorm does not melt into its neighbour."""


@dataclass
class _Planner:
    """The state of one planning: the calls, and the BatchNorm layers that have melted so far."""

    modules: dict[str, nn.Module]
    trace: Trace
    ranks: Mapping[str, Set[int]]
    converts: Mapping[str, str]
    calls: dict[str, list[fx.Node]] = field(init=False)
    melted: dict[str, list[Fold]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.calls = self.trace.calls()

    def plan(self) -> FoldPlan:
        names = [name for name, module in self.modules.items() if modules.is_batchnorm(module)]
        position = {name: place for place, name in enumerate(self.calls)}
        names.sort(key=lambda name: position.get(name, len(position)))
        kept = {name: reason for name in names if (reason := self._melt(name, "after")) is not None}
        for name, reason in kept.copy().items():
            if self._unfit(name) is not None:
                continue
            other = self._melt(name, "before")
            if other is None:
                del kept[name]
            else:
                kept[name] = f"{reason}; {other}"
        folds = tuple(fold for name in names for fold in self.melted.get(name, ()))
        return FoldPlan(folds, tuple(Kept(name, reason) for name, reason in kept.items()))

    def _melt(self, name: str, side: Literal["after", "before"]) -> str | None:
        """Folds ``name`` into its neighbours on one side; the reason if it cannot be."""
        try:
            reason = self._unfit(name)
            if reason is not None:
                raise _No(reason)
            find = self._layer_before if side == "after" else self._layer_after
            found = [find(call) for call in self.calls[name]]
            targets = list(dict.fromkeys(str(node.target) for node in found))
            for target in targets:
                self._check(target, name, found, side)
        except _No as no:
            return str(no)
        self.melted[name] = [Fold(target, name, side) for target in targets]
        return None

    def _unfit(self, name: str) -> str | None:
        reason = modules.batchnorm_obstacle(self.modules[name])
        if reason is not None:
            return f"it {reason}"
        if self._is_read(name):
            return "its parameters are read outside the layer"
        if name in self.converts:
            return f"it turns {self.converts[name]}, which no layer beside it would do"
        return None if name in self.calls else "the forward pass never calls it"

    def _check(self, target: str, name: str, found: list[fx.Node], side: str) -> None:
        """Raises unless the layer ``target`` can take up the BatchNorm ``name`` in each of its calls."""
        layer = self.modules[target]
        what = f"{target!r} ({type(layer).__name__})"
        reason = modules.obstacle(layer)
        if reason is not None:
            raise _No(f"{what} {reason}")
        if isinstance(layer, modules.BATCHNORMS) or modules.is_frozen_batchnorm(layer):
            if (reason := self._unfit(target)) is not None:
                raise _No(f"{what} comes before it, and {reason}")
        else:
            self._check_shape(target, name, what, side)
        if self._is_read(target):
            raise _No(f"the parameters of {what} are read outside the layer")
        if len({id(node) for node in found if node.target == target}) != len(self.calls[target]):
            raise _No(f"{what} is called {len(self.calls[target])} times, not always together with this BatchNorm")
        self._check_hooks(target, name)

    def _check_shape(self, target: str, name: str, what: str, side: str) -> None:
        layer, seen = self.modules[target], self.ranks.get(name, frozenset())
        if not seen:
            raise _No("the example never reached it")
        if seen != {modules.dimensions(layer)}:
            shown = " and ".join(f"{rank}-D" for rank in sorted(seen))
            raise _No(f"its input is {shown}, where the channels of {what} are not the BatchNorm's")
        if side == "before" and modules.pads_with_zeros(layer):
            raise _No(f"{what} after it pads with zeros, so the shift would be missing at the border")

    def _check_hooks(self, target: str, name: str) -> None:
        for inner in _ancestors(target) ^ _ancestors(name):
            if inner in self.modules and modules.has_hooks(self.modules[inner]):
                raise _No(f"a forward hook on {inner!r} looks between {target!r} and this BatchNorm")

    def _is_read(self, name: str) -> bool:
        module = self.modules[name]
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        return any(id(tensor) in self.trace.read for tensor in tensors)

    def _layer_before(self, call: fx.Node) -> fx.Node:
        """The call of the layer whose output, and nothing else's, ``call`` receives."""
        node = _source(call)
        while True:
            others = [user for user in node.users if user is not call and not reads_shape(user)]
            if not self._is_layer(node) and not self._is_nothing(node):
                raise _No(f"its input comes from {self._describe(node)}")
            if others:
                raise _No(f"the output of {self._describe(node)} also goes to {self._describe(others[0])}")
            if self._is_layer(node):
                return node
            call, node = node, _source(node)

    def _layer_after(self, call: fx.Node) -> fx.Node:
        """The call of the layer that receives the output of ``call``, with nobody else receiving it."""
        node = call
        while True:
            users = [user for user in node.users if not reads_shape(user)]
            if len(users) != 1:
                shown = " and ".join(self._describe(user) for user in users[:3]) or "nothing"
                raise _No(f"its output goes to {shown}")
            follower = users[0]
            if self._is_layer(follower) and isinstance(self.modules[str(follower.target)], _TAKES_BEFORE):
                self._check_writes(call, follower)
                return follower
            if not self._is_nothing(follower):
                raise _No(f"its output goes to {self._describe(follower)}")
            node = follower

    def _check_writes(self, call: fx.Node, follower: fx.Node) -> None:
        """An identity hands on its input itself, so nobody may write into any tensor until the layer has read it."""
        node = call.next
        while node is not follower:
            if may_write(node, self.modules):
                raise _No(f"{self._describe(node)} may write in place between it and {self._describe(follower)}")
            node = node.next

    def _is_layer(self, node: fx.Node) -> bool:
        """Whether ``node`` calls a layer that is still there (melted BatchNorm layers are not)."""
        if node.op != "call_module" or str(node.target) in self.melted:
            return False
        module = self.modules[str(node.target)]
        return isinstance(module, (*modules.LINEAR_LAYERS, *modules.BATCHNORMS)) or modules.is_batchnorm(module)

    def _is_nothing(self, node: fx.Node) -> bool:
        """Whether ``node`` hands its input on: an identity or a melted BatchNorm, without hooks."""
        if node.op != "call_module":
            return False
        module = self.modules[str(node.target)]
        return not modules.has_hooks(module) and (str(node.target) in self.melted or modules.passes_through(module))

    def _describe(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return f"{str(node.target)!r} ({type(self.modules[str(node.target)]).__name__})"
        if node.op == "placeholder":
            return "the network's own input"
        if node.op == "output":
            return "the network's output"
        name = operator_name(node)
        kinds = {"cat": "a concatenation", "add": "a sum", "iadd": "a sum", "add_": "a sum", "mul": "a product"}
        return kinds.get(name, f"the operation {name!r}")


_TAKES_BEFORE = (*modules.CONVOLUTIONS, nn.Linear)


def make_plan(
    net: nn.Module, trace: Trace, ranks: Mapping[str, Set[int]], converts: Mapping[str, str] | None = None
) -> FoldPlan:
    """The plan for ``net``.

    Args:
        net: The network in the mode in which it will be used.
        trace: Its graphs.
        ranks: For each BatchNorm, the numbers of dimensions its input had with the example.
        converts: For each BatchNorm that gave another precision or number of dimensions than it was given, from which
            to which.
    """
    return _Planner(dict(net.named_modules()), trace, ranks, converts or {}).plan()


def keep_all(net: nn.Module, reason: str) -> FoldPlan:
    """The plan that keeps every BatchNorm of ``net`` for one and the same reason."""
    return FoldPlan((), tuple(Kept(name, reason) for name, m in net.named_modules() if modules.is_batchnorm(m)))


def _source(call: fx.Node) -> fx.Node:
    """The node that makes the input of the layer call ``call``."""
    given = call.args[0] if call.args else next(iter(call.kwargs.values()), None)
    if not isinstance(given, fx.Node):
        raise _No("its input is no tensor of the network")
    return given


def _ancestors(name: str) -> frozenset[str]:
    parts = name.split(".")[:-1]
    return frozenset(".".join(parts[:length]) for length in range(1, len(parts) + 1))
