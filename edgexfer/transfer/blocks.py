"""Where a network can be cut in two, and how deep each place lies.

A place is fit for a cut when a single tensor crosses it: everything behind it follows from that tensor alone. Such
places are found in the graph that ``torch.fx`` traces, so that residual sums, concatenations and functional calls are
respected, and named after the block that ends there (``layer2.1``, ``features.7``, ``inception4a``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import fx, nn
from torch.nn import functional

from edgexfer.errors import NetworkError
from edgexfer.nets import Network
from edgexfer.transfer.tracing import by_mode, module_of, trace

EMBEDDING = "embedding"
DENSE_LAYERS = "the dense layers"
MOST_PLACES = 12


@dataclass(frozen=True)
class Place:
    """A place where a network can be cut.

    Attributes:
        name: The block that ends there, without the leading ``body.``.
        node: Name of the graph's node whose value crosses.
        depth: Share of the body's parameters that lie before it, 0 to 1.
    """

    name: str
    node: str
    depth: float


@dataclass(frozen=True)
class Cut:
    """A network in two parts that share its layers: ``suffix(prefix(x)) == net(x)`` in inference mode.

    Attributes:
        place: Where it was cut.
        prefix: Normalised pixels ``(N, 3, H, W)`` to what crosses the cut; for use in inference mode.
        suffix: What crosses the cut to logits ``(N, K)``; its dropout follows ``train()`` and ``eval()``.
    """

    place: Place
    prefix: nn.Module
    suffix: nn.Module


def places(net: Network, most: int = MOST_PLACES) -> list[Place]:
    """At most ``most`` places where ``net`` can be cut, from its input to its embedding, ends of whole blocks.

    Raises:
        NetworkError: The network's Python cannot be traced.
    """
    found = list(_ends_of_blocks(net, trace(net)))
    if len(found) <= most:
        return found
    keep = {round(i * (len(found) - 1) / (most - 1)) for i in range(most)}
    return [place for i, place in enumerate(found) if i in keep]


def cut_at(net: Network, name: str) -> Cut:
    """Cuts ``net`` behind the block ``name``.

    Raises:
        NetworkError: There is no such place; the message lists those there are.
    """
    graph = trace(net)
    place = _place(net, graph, name)
    if place is None:
        found = ", ".join(p.name for p in _ends_of_blocks(net, graph))
        raise NetworkError(f"the network cannot be cut behind {name!r}; allowed: {found}")
    return _cut(net, graph, place)


def before_dense_layers(net: Network) -> Cut | None:
    """``net`` cut before its dense layers; ``None`` where the head is the only one, and the cut a choice of depth."""
    graph = trace(net)
    place = _place(net, graph, DENSE_LAYERS)
    return None if place is None else _cut(net, graph, place)


def depth_taps(net: Network, found: list[Place]) -> nn.Module:
    """A module that gives, for normalised pixels, the value at each place and then the embedding, as a tuple.

    It shares the network's layers; it is for use in inference mode.
    """
    graph = trace(net, "embed")
    output = next(node for node in graph.nodes if node.op == "output")
    by_name = {node.name: node for node in graph.nodes}
    # the embedding's own graph has the same nodes as the whole network's, up to the head
    output.args = ((*(by_name[place.node] for place in found), output.args[0]),)
    graph.lint()
    return module_of(net, graph)


def pooled(value: torch.Tensor) -> torch.Tensor:
    """One vector a picture, ``(N, C)``: the mean over places of a map ``(N, C, H, W)`` or of tokens ``(N, L, C)``.

    A map whose channels stand last ``(N, H, W, C)``, as in the Swin transformers, is told by its equal H and W.
    """
    if value.ndim == 4:
        channels_last = value.shape[1] == value.shape[2] != value.shape[3]
        return value.mean((1, 2)) if channels_last else value.mean((2, 3))
    return value.mean(1) if value.ndim == 3 else value.flatten(1)


def _place(net: Network, graph: fx.Graph, name: str) -> Place | None:
    """The place behind the block ``name``, or before the dense layers, in a graph of the network, if it is there."""
    if name != DENSE_LAYERS:
        return next((place for place in _ends_of_blocks(net, graph) if place.name == name), None)
    modules = dict(net.named_modules())
    called = [node for node in graph.nodes if node.op == "call_module"]
    dense = [node for node in called if isinstance(modules[str(node.target)], nn.Linear)]
    behind = called[called.index(dense[0]) :] if dense else []
    learned = [node for node in behind if list(modules[str(node.target)].parameters())]
    if len(dense) < 2 or learned != dense:
        return None
    feeds = dense[0].all_input_nodes[0]
    while _is_dropout(modules, feeds):
        feeds = feeds.all_input_nodes[0]  # dropout is retrained with what it protects
    return Place(DENSE_LAYERS, feeds.name, 1.0) if feeds in _crossed_alone(graph) else None


def _is_dropout(modules: Mapping[str, nn.Module], node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], nn.Dropout)
    return node.op == "call_function" and node.target is functional.dropout


def _crossed_alone(graph: fx.Graph) -> list[fx.Node]:
    """The nodes whose value is all that the rest of the graph needs of the picture."""
    nodes = list(graph.nodes)
    last = {used: i for i, node in enumerate(nodes) for used in node.all_input_nodes}
    depends: set[fx.Node] = set()
    alive: set[fx.Node] = set()
    found = []
    for i, node in enumerate(nodes):
        if node.op == "output" or (node.op != "placeholder" and not depends.intersection(node.all_input_nodes)):
            continue
        depends.add(node)
        alive = {other for other in {*alive, node} if last.get(other, -1) > i}
        if alive == {node}:
            found.append(node)
    return found


def _ends_of_blocks(net: Network, graph: fx.Graph) -> Iterator[Place]:
    """The places behind whole blocks that leave something of the body to retrain."""
    narrow = set(_crossed_alone(graph))
    order = list(graph.nodes)
    total = max(1, sum(p.numel() for name, p in net.named_parameters() if not name.startswith(f"{net.head_name}.")))
    counted: set[str] = set()
    seen = 0
    for node, following in pairwise(order):
        if node.op == "call_module" and node.target not in counted:
            counted.add(str(node.target))
            seen += sum(p.numel() for p in net.get_submodule(str(node.target)).parameters())
        if node not in narrow or not 0 < seen < total:
            continue
        block = _block_between(net, node, following)
        if block not in ("", "body"):
            yield Place(block.removeprefix("body."), node.name, seen / total)


def _block_between(net: Network, node: fx.Node, following: fx.Node) -> str:
    """Path of the outermost module that ends with ``node``; empty where a block still goes on.

    A block goes on while the next layer has no weights of its own to learn filters with (activation, pooling,
    BatchNorm), unless that layer opens another block, as in pre-activation networks.
    """
    parts, after = _path(node).split("."), _path(following).split(".")
    shared = next((i for i, (a, b) in enumerate(zip(parts, after, strict=False)) if a != b), len(after))
    if shared >= len(parts):
        return ""
    block, parent = ".".join(parts[: shared + 1]), net.get_submodule(".".join(parts[:shared]))
    is_leaf = not list(net.get_submodule(block).children())
    if is_leaf and not (isinstance(parent, nn.Sequential) or parent in (net, getattr(net, "body", None))):
        return ""
    if following.op != "call_module":
        return "" if is_leaf else block
    layer = net.get_submodule(str(following.target))
    if any(p.ndim > 1 for p in layer.parameters()):
        return block
    return block if not is_leaf and list(layer.parameters()) else ""


def _path(node: fx.Node) -> str:
    """Path of the module whose Python runs when ``node`` does; the module itself for a layer's call."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(next(reversed(stack.values()))[0]) if stack else ""


def _cut(net: Network, frozen: fx.Graph, place: Place) -> Cut:
    """The cut at a place of the graph that the network has in inference mode.

    The part behind learns as the network's Python says that it does in training mode, as long as that has the place.
    """
    front, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in frozen.nodes:
        copies[node] = front.node_copy(node, lambda used: copies[used])
        if node.name == place.node:
            front.output(copies[node])
            break
    infers, learning = _behind(frozen, place), trace(net, learns=True)
    same = _place(net, learning, place.name)
    learns = infers if same is None else _behind(learning, same)
    return Cut(place, module_of(net, front), by_mode(net, infers, learns))


def _behind(graph: fx.Graph, place: Place) -> fx.Graph:
    """What follows from the value at a place."""
    order = list(graph.nodes)
    crossing = next(node for node in order if node.name == place.node)
    back = fx.Graph()
    copies = {crossing: back.placeholder("crossing")}
    for node in order[order.index(crossing) + 1 :]:
        copies[node] = back.node_copy(node, lambda used: _or_constant(back, copies, used))
    back.lint()
    return back


def _or_constant(graph: fx.Graph, copies: dict[fx.Node, fx.Node], used: fx.Node) -> fx.Node:
    """The copy of a node; parameters and what follows from them alone are computed again behind the cut."""
    if used not in copies:
        first = next(iter(graph.nodes))
        with graph.inserting_before(first.next):
            copies[used] = graph.node_copy(used, lambda other: _or_constant(graph, copies, other))
    return copies[used]
