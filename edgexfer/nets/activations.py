"""Another activation in any network: ``NAME+relu`` is NAME with a ReLU in place of each LeakyReLU, Hardswish or SiLU.

ReLU costs nothing in 8 bits: its clamp is the lower end of the quantized range. LeakyReLU, Hardswish and SiLU are
operators of their own there, one or two each. Activations hold no weights, so the weight files of NAME fit
``NAME+relu`` too; what the network has learned does not survive the swap by itself, and has to be taught again.
"""

from __future__ import annotations

from torch import nn

from edgexfer.errors import NetworkError

ACTIVATIONS = {"relu": nn.ReLU}
REPLACED = (nn.LeakyReLU, nn.Hardswish, nn.SiLU)


def split_name(name: str) -> tuple[str, str | None]:
    """``"NAME+relu"`` as ``("NAME", "relu")``; a name without an activation comes with ``None``.

    Raises:
        NetworkError: There is no such activation.
    """
    base, plus, activation = name.rpartition("+")
    if not plus or not activation.isidentifier():  # a folder or file may be called c++
        return name, None
    if activation not in ACTIVATIONS:
        raise NetworkError(
            f"{name!r} asks for the activation {activation!r}; allowed after the +: {', '.join(ACTIVATIONS)}"
        )
    return base, activation


def with_activation(name: str, activation: str | None) -> str:
    """The name of a network with another activation; ``None`` leaves it as it is.

    Raises:
        NetworkError: There is no such activation.
    """
    if activation is None:
        return name
    wanted = f"{split_name(name)[0]}+{activation}"
    split_name(wanted)
    return wanted


def replace_activations(net: nn.Module, activation: str, name: str) -> None:
    """Puts ``activation`` in place of every LeakyReLU, Hardswish and SiLU of ``net``, in place.

    Gates (Sigmoid, Hardsigmoid) stay: they scale, and are no activation.

    Raises:
        NetworkError: ``net`` has none of them.
    """
    # by every name: named_children gives a module that is called twice only once
    found = [(parent, key) for parent in net.modules() for key, child in parent._modules.items() if _goes(child)]
    if not found:
        kinds = ", ".join(kind.__name__ for kind in REPLACED)
        raise NetworkError(f"{name} has no activation to replace by {activation} ({kinds}); use it without the +")
    for parent, key in found:
        setattr(parent, key, ACTIVATIONS[activation](inplace=True))


def _goes(module: nn.Module | None) -> bool:
    return isinstance(module, REPLACED)
