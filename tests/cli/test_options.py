"""The command line names its choices itself, so that help loads nothing heavy; they are the library's."""

from __future__ import annotations

from collections.abc import Iterable

import click
import pytest

from edgexfer.cli.main import cli
from edgexfer.data import AUGMENTS
from edgexfer.distill.losses.voice import ENSEMBLES
from edgexfer.distill.objective import LOSSES
from edgexfer.export.metadata import INPUTS
from edgexfer.export.plan import METHODS, SYMMETRIES
from edgexfer.export.targets import TARGETS
from edgexfer.nets import ACTIVATIONS
from edgexfer.report.writing import FORMATS
from edgexfer.training.compute import PRECISIONS
from edgexfer.training.optim import OPTIMIZERS
from edgexfer.training.recipe import Recipe
from edgexfer.transfer.strategy import AUTO, BATCHNORM_POLICIES, STRATEGIES
from edgexfer.workflows.candidates import STATISTICS

CALIBRATIONS = dict.fromkeys(["auto", *(method.split()[0] for method in METHODS)])


def option(command: str, name: str) -> click.Option:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    (one,) = [p for p in found.params if isinstance(p, click.Option) and f"--{name}" in p.opts]
    return one


@pytest.mark.parametrize(
    ("command", "name", "known"),
    [
        *((command, "optimizer", OPTIMIZERS) for command in ("finetune", "distill")),
        *((command, "augment", AUGMENTS) for command in ("finetune", "distill")),
        *((command, "precision", PRECISIONS) for command in ("finetune", "distill")),
        ("finetune", "strategy", (AUTO, *STRATEGIES)),
        ("finetune", "bn", BATCHNORM_POLICIES),
        ("distill", "loss", LOSSES),
        ("distill", "ensemble", ENSEMBLES),
        ("distill", "activation", ACTIVATIONS),
        ("export", "target", TARGETS),
        ("export", "input", INPUTS),
        ("export", "calibration", CALIBRATIONS),
        ("export", "symmetry", ("auto", *SYMMETRIES)),
        ("choose", "statistic", STATISTICS),
        ("report", "format", FORMATS),
    ],
)
def test_choices_are_those_of_the_library(command: str, name: str, known: Iterable[str]) -> None:
    kind = option(command, name).type
    assert isinstance(kind, click.Choice) and sorted(kind.choices) == sorted(known)


@pytest.mark.parametrize("command", ["finetune", "distill"])
def test_every_wish_for_a_training_has_an_option(command: str) -> None:
    for field in Recipe.__dataclass_fields__:
        assert option(command, field.replace("_", "-"))
