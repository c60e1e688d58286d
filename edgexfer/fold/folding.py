"""Folding from end to end: plan, rewrite, proof, on one copy of the network."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgexfer.errors import FoldError
from edgexfer.fold import modules, proof
from edgexfer.fold.plan import keep_all, make_plan
from edgexfer.fold.rewrite import fold_in_place, precisions, restore_precision
from edgexfer.fold.trace import Trace, methods_of, trace
from edgexfer.fold.values import FoldPlan, FoldProof


@dataclass(frozen=True)
class Folded:
    """A folded copy of a network, what was done to it, and the proof that it computes the same."""

    module: nn.Module
    plan: FoldPlan
    proof: FoldProof


@dataclass
class _Seen:
    """What the network gives on the example in its own precision and in evaluation mode.

    Attributes:
        ranks: The numbers of dimensions of what each BatchNorm gives.
        elements: How many numbers all of them give together.
        converts: For each that gives another precision or another number of dimensions than it is given, from which
            to which; a frozen BatchNorm multiplies and adds, which gives the higher of two, where torch's own keep
            those of their input.
    """

    outputs: list[Tensor] = field(default_factory=list)
    ranks: dict[str, set[int]] = field(default_factory=dict)
    elements: int = 0
    converts: dict[str, str] = field(default_factory=dict)

    def look(self, name: str, given: tuple[Any, ...], output: Tensor) -> None:
        """Notes one call of the BatchNorm ``name``."""
        self.ranks.setdefault(name, set()).add(output.ndim)
        self.elements += output.numel()
        for kind in (_precision, _rank):
            if given and kind(given[0]) != kind(output):
                self.converts[name] = f"{kind(given[0])} into {kind(output)}"


def _precision(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _rank(tensor: Tensor) -> str:
    return f"{tensor.ndim}-D"


def fold_batchnorm(net: nn.Module, example: Tensor) -> Folded:
    """Folds every BatchNorm of ``net`` that can be folded exactly, and proves it.

    ``net`` itself is left alone. The result keeps its class and methods; folded BatchNorm layers are identities in
    it. Call ``net.eval()`` first: a BatchNorm in training mode is kept. Where the network's Python branches on the
    shape of its input, folding holds for the example's shape (at any batch size).

    Args:
        net: The network, with ``forward(x)`` and perhaps ``embed(x)`` and ``classify(e)``.
        example: Inputs ``(N, ...)`` for the proof; a few real or random pictures.

    Raises:
        FoldError: The network does not run on the example, or the proof failed.
    """
    module = _copied(net)
    plan, seen = _planned(module, example)
    if not plan.folds:
        return Folded(module, plan, FoldProof(0.0, (), 0))
    modes = {name: part.training for name, part in module.named_modules()}
    dtypes, methods = precisions(module), methods_of(module)
    device = _device(module)
    module.eval()
    _to_float64(module)
    images = _suited(example, module)
    size = 8 * seen.elements // max(len(images), 1)
    try:
        before = proof.reference(module, methods, images, proof.sites_of(plan), size)
    except RuntimeError as error:
        kept = keep_all(module, f"the network does not run in float64, so nothing can be proven: {_short(error)}")
        return Folded(_copied(net), kept, FoldProof(0.0, (), 0))
    done = fold_in_place(module, plan, dtypes)
    with _running(module, "after folding"):
        errors, outputs = proof.compare(module, methods, images, before)
    proof.check(errors, outputs)
    restore_precision(module, done, dtypes)
    with _running(module, "after folding"):
        own = proof.end_to_end(seen.outputs, proof.run(module, methods, _suited(example, module)))
    for name, part in module.named_modules():
        part.training = modes[name]
    module.to(device)
    layers = tuple((name, errors[name]) for name in proof.sites_of(done))
    largest = max([outputs, *errors.values()])
    return Folded(module, done, FoldProof(largest, layers, len(images), own, before.layer_images))


def plan_and_graphs(net: nn.Module, example: Tensor) -> tuple[FoldPlan, dict[str, fx.Graph]]:
    """What would be folded into what, and the graph of each method of ``net`` in its present mode.

    Args:
        net: The network, with ``forward(x)`` and perhaps ``embed(x)`` and ``classify(e)``; left alone.
        example: Inputs ``(N, ...)``.

    Raises:
        FoldError: The network cannot be traced, or does not run on the example.
    """
    traced = trace(net, _suited(example, net))
    plan, _ = _planned(net, example, traced)
    return plan, dict(zip(methods_of(net), traced.graphs, strict=True))


def _planned(module: nn.Module, example: Tensor, traced: Trace | None = None) -> tuple[FoldPlan, _Seen]:
    """The plan, and what was seen when the network ran on the example."""
    if not any(modules.is_batchnorm(part) for part in module.modules()):
        return FoldPlan(), _Seen()
    try:
        traced = traced or trace(module, _suited(example, module))
    except FoldError as error:
        return keep_all(module, str(error)), _Seen()
    modes = {part: part.training for part in module.modules()}
    module.eval()
    with _running(module, "on the example"), _looking(module) as seen:
        seen.outputs = proof.run(module, methods_of(module), _suited(example, module))
    for part, mode in modes.items():
        part.training = mode
    return make_plan(module, traced, seen.ranks, seen.converts), seen


@contextlib.contextmanager
def _looking(net: nn.Module) -> Iterator[_Seen]:
    """Notes what goes through each BatchNorm while the block runs."""
    seen = _Seen()
    batchnorms = {name: module for name, module in net.named_modules() if modules.is_batchnorm(module)}

    def noting(name: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        return lambda module, given, output: seen.look(name, given, output)

    handles = [module.register_forward_hook(noting(name)) for name, module in batchnorms.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _running(net: nn.Module, when: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise FoldError(f"{type(net).__name__} does not run {when}: {_short(error)}") from error


def _copied(net: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(net)
    except (RuntimeError, TypeError) as error:
        said = f"{type(net).__name__} cannot be copied, and folding never changes the given network: {_short(error)}"
        raise FoldError(said) from error


def _device(net: nn.Module) -> torch.device:
    return next((tensor.device for tensor in (*net.parameters(), *net.buffers())), torch.device("cpu"))


def _to_float64(net: nn.Module) -> None:
    if _device(net).type == "mps":  # has no float64
        net.cpu()
    net.double()


def _suited(example: Tensor, net: nn.Module) -> Tensor:
    """The example on the network's device and, if it is floating-point, in the network's precision."""
    first: Any = next((t for t in (*net.parameters(), *net.buffers()) if t.is_floating_point()), example)
    return example.to(first.device, first.dtype if example.is_floating_point() else example.dtype)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."
