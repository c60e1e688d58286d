"""Every network, teacher or student alike, by name; what each expects of its input; weight files.

A created network takes normalised pixels (N, 3, H, W): ``net(x)`` gives logits (N, K), ``net.embed(x)`` the features
(N, D) before the head, ``net.classify(e)`` logits from those.
"""

from edgexfer.nets.activations import ACTIVATIONS, split_name, with_activation
from edgexfer.nets.catalogue import (
    about,
    build,
    check_input_size,
    create,
    describe,
    min_input_size,
    names,
    nearest_input_size,
    of_run,
    preprocessing_for,
    source_sha256,
    with_its_classes,
)
from edgexfer.nets.counting import count_operations
from edgexfer.nets.darknet import load_darknet, save_darknet
from edgexfer.nets.network import Network, count_parameters, head_parameters, reset_head
from edgexfer.nets.normalized import Normalized
from edgexfer.nets.split import SplitNetwork
from edgexfer.nets.weights import load_weights, read_state_dict

__all__ = [
    "ACTIVATIONS",
    "Network",
    "Normalized",
    "SplitNetwork",
    "about",
    "build",
    "check_input_size",
    "count_operations",
    "count_parameters",
    "create",
    "describe",
    "head_parameters",
    "load_darknet",
    "load_weights",
    "min_input_size",
    "names",
    "nearest_input_size",
    "of_run",
    "preprocessing_for",
    "read_state_dict",
    "reset_head",
    "save_darknet",
    "source_sha256",
    "split_name",
    "with_activation",
    "with_its_classes",
]
