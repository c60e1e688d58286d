"""The proof: the network before and after folding, in float64, layer by layer and end to end.

Errors are relative to the largest value: ``max|a - b| / max|a|``, where ``a`` is what the network gave before folding.
Layer by layer, ``a`` is the output of each BatchNorm (or of the layer after it that took it up), all of them from one
run through the whole network, so errors of earlier layers are included. Float64 carries 16 digits; a correct fold
comes out near 1e-15, a wrong one near 1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from edgexfer.errors import FoldError
from edgexfer.fold.values import LIMIT, FoldPlan

LAYER_BYTES = 2**29


@dataclass
class Reference:
    """What the network gave before folding: outputs end to end, and activations at the places of folding."""

    outputs: list[Tensor]
    layer_images: int
    layer_outputs: dict[str, list[Tensor]] = field(default_factory=dict)


def relative_error(expected: Tensor, found: Tensor) -> float:
    """``max|expected - found| / max|expected|``; infinite if shapes differ or a value is not finite."""
    if expected.shape != found.shape:
        return float("inf")
    if expected.numel() == 0:
        return 0.0
    largest, difference = float(expected.abs().max()), float((expected - found).abs().max())
    if difference == 0.0:
        return 0.0
    error = difference / largest if largest > 0 else float("inf")
    return error if error == error else float("inf")


def run(net: nn.Module, methods: Sequence[str], images: Tensor) -> list[Tensor]:
    """The floating-point outputs of ``methods`` on ``images``; ``classify`` is given what ``embed`` made.

    Random numbers are the same in every run, and the caller's are left untouched.
    """
    outputs: list[Any] = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for method in methods:
            if method != "classify":
                outputs.append(getattr(net, method)(images) if method != "forward" else net(images))
            elif "embed" in methods:
                outputs.append(net.classify(outputs[-1]))  # type: ignore[operator]
    return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def reference(
    net: nn.Module, methods: Sequence[str], images: Tensor, sites: Sequence[str], image_bytes: int
) -> Reference:
    """Runs the float64 network before it is folded.

    As many pictures as ``LAYER_BYTES`` allow, at ``image_bytes`` each, are run with their activations kept, and all
    of them end to end.

    Raises:
        FoldError: An output is not finite, so that it can prove nothing.
    """
    count = min(len(images), max(1, LAYER_BYTES // max(image_bytes, 1)))
    with recorded(net, sites) as kept:
        outputs = run(net, methods, images[:count])
    if count < len(images):
        outputs = run(net, methods, images)
    if not all(bool(torch.isfinite(output).all()) for output in outputs):
        raise FoldError(
            "the network's outputs are not finite on the example, so folding cannot be proven; give an example "
            "on which it works, or export it without folding"
        )
    return Reference(outputs, count, kept)


def compare(
    net: nn.Module, methods: Sequence[str], images: Tensor, before: Reference
) -> tuple[dict[str, float], float]:
    """Runs the folded float64 network against ``before``: the error at each place of folding, and end to end."""
    errors = dict.fromkeys(before.layer_outputs, 0.0)
    turns = dict.fromkeys(before.layer_outputs, 0)

    def look(name: str, output: Tensor) -> None:
        turn = turns[name]
        turns[name] += 1
        wanted = before.layer_outputs[name]
        error = relative_error(wanted[turn], output) if turn < len(wanted) else float("inf")
        errors[name] = max(errors[name], error)

    with watched(net, tuple(errors), look):
        outputs = run(net, methods, images[: before.layer_images])
    for name, wanted in before.layer_outputs.items():
        if turns[name] != len(wanted):
            errors[name] = float("inf")
    if before.layer_images < len(images):
        outputs = run(net, methods, images)
    return errors, end_to_end(before.outputs, outputs)


def end_to_end(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """The largest relative error of the outputs."""
    if len(expected) != len(found):
        return float("inf")
    return max((relative_error(a, b) for a, b in zip(expected, found, strict=True)), default=0.0)


def check(errors: dict[str, float], outputs: float) -> None:
    """Refuses a fold that is not equal.

    Raises:
        FoldError: An error is above ``LIMIT``; names the first layer above it, the worst one, and both errors.
    """
    worst = max(errors, key=lambda name: errors[name], default=None)
    if max(outputs, errors[worst] if worst is not None else 0.0) <= LIMIT:
        return
    first = next((name for name, error in errors.items() if error > LIMIT), None)
    where = f"worst at {worst!r} ({errors[worst]:.1e}), first at {first!r}" if first and worst else "in no folded layer"
    raise FoldError(
        f"folding changed the network: relative error {outputs:.1e} end to end, {where}, allowed {LIMIT:.0e}; "
        "export it without folding"
    )


@contextlib.contextmanager
def watched(net: nn.Module, names: Sequence[str], look: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Calls ``look`` with the name and output of each named module as it runs."""
    handles = []
    for name in names:

        def hook(module: nn.Module, given: Any, output: Tensor, name: str = name) -> None:
            look(name, output)

        handles.append(net.get_submodule(name).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def recorded(net: nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Copies of the outputs of each named module, in the order of its calls."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    with watched(net, names, lambda name, output: seen[name].append(output.detach().clone())):
        yield seen


def sites_of(plan: FoldPlan) -> tuple[str, ...]:
    """The modules whose outputs folding must not change, each once, in the order of the plan.

    A layer does the work of every BatchNorm it took up at once, so its output first agrees after the last of them,
    which is the place to look (or the layer itself, if it only took up what stands before it).
    """
    into = {fold.batchnorm: fold.conv for fold in plan.folds if fold.side == "before"}
    last = {fold.conv: fold.batchnorm for fold in plan.folds if fold.side == "after"}
    takers: dict[str, list[str]] = {}
    for fold in plan.folds:
        if fold.side == "after":
            takers.setdefault(fold.batchnorm, []).append(fold.conv)

    def final(batchnorm: str) -> bool:
        """Whether nothing behind this BatchNorm is done by a layer before it already."""
        return all(
            last[layer] == batchnorm and layer not in into and final(layer) for layer in takers.get(batchnorm, ())
        )

    sites = []
    for fold in plan.folds:
        layer = into.get(fold.conv, fold.conv)  # a BatchNorm that took one up may itself have melted
        sites.append(last.get(layer, layer))
    return tuple(site for site in dict.fromkeys(sites) if final(site) and site not in last)
