"""The studies by name; listing them loads none."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgexfer.registry import Registry

if TYPE_CHECKING:
    from edgexfer.studies.values import Study


@dataclass(frozen=True)
class Entry:
    """A study in the list.

    Attributes:
        name: What it is called.
        title: The question that it answers.
        expected_s: Rough seconds that its three seeds take on the digits, on one core of a workstation.
        module: Where it lives.
        takes_networks: Whether networks with their weights may be named; without, small ones are pretrained here.
    """

    name: str
    title: str
    expected_s: float
    module: str
    takes_networks: bool = False

    def load(self) -> Study:
        """The study itself."""
        study: Study = importlib.import_module(f"edgexfer.studies.{self.module}").STUDY
        return study


_ENTRIES = (
    Entry("bn-dense", "What batch norm does for a dense network of sigmoids", 150, "bn_dense"),
    Entry("bn-conv", "Batch norm and the learning rate in a convolutional network", 300, "bn_conv"),
    Entry("bn-inference", "Whose statistics batch norm uses at inference", 100, "bn_inference"),
    Entry("soft-labels", "What soft labels know", 240, "soft_labels"),
    Entry("transfer-square", "Few or many pictures, alike or not: what to retrain", 400, "transfer_square"),
    Entry("compact-vs-large", "A compact and a larger network, before and after transfer", 900, "compact_vs_large"),
    Entry("whitening", "Why the normalisation stands inside the gradient step", 20, "whitening"),
    Entry("layers-transfer", "How transferable each depth of a network is", 200, "layers_transfer"),
    Entry("ensemble", "What an ensemble knows, and how much of it one student keeps", 150, "ensemble"),
    Entry(
        "transfer-table",
        "Accuracy and parameters of several backbones over several data sets",
        250,
        "transfer_table",
        True,
    ),
    Entry("mushrooms", "New kinds after one epoch, after two: what each strategy has by then", 150, "mushrooms", True),
    Entry(
        "leopard-giraffe",
        "Two classes, one that the pretraining knew and one that it did not",
        60,
        "leopard_giraffe",
        True,
    ),
)


def studies() -> Registry[Entry]:
    """Every study by name, in the order of reading."""
    registry: Registry[Entry] = Registry("study")
    for entry in _ENTRIES:
        registry.add(entry.name, entry)
    return registry
