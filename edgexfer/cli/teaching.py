"""Options on teachers, of ``edgexfer distill`` and of a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from edgexfer.workflows.train import Start

F = TypeVar("F", bound=Callable[..., Any])


def teacher_options(*, of_search: bool = False) -> Callable[[F], F]:
    """Who teaches, and what is to be told of it.

    Args:
        of_search: Whether they go with ``--search``, which then asks for a teacher itself.
    """

    def told(text: str) -> str:
        return f"Search: {text[0].lower()}{text[1:]}" if of_search else text

    options = (
        click.option(
            "--teacher",
            "teachers",
            required=not of_search,
            multiple=True,
            help=told(
                "A run folder, an ONNX file or a network's name; repeat it for an ensemble. A name is fine-tuned first."
            ),
        ),
        click.option(
            "--teacher-weights",
            multiple=True,
            help=told("For a teacher given by name: imagenet, none or a weight file. Pairs with --teacher in order."),
        ),
        click.option(
            "--teacher-mean",
            type=float,
            nargs=3,
            help=told("Of the input of a weight or ONNX file, where unusual."),
        ),
        click.option("--teacher-std", type=float, nargs=3, help=told("Likewise.")),
        click.option(
            "--teacher-classes",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help=told(
                "Names of the outputs of a weight file, or of an ONNX file that edgexfer did not write, one a line."
            ),
        ),
        click.option(
            "--teacher-image-size",
            type=click.IntRange(8, 4096),
            help=told(
                "Input side in pixels of a network, a weight file, or an ONNX file that takes any; there 224 at most,"
                " if left out."
            ),
        ),
    )

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def teachers_of(given: Mapping[str, Any]) -> list[Start]:
    """The teachers that these options name.

    Raises:
        RecipeError: Names and weights do not pair.
    """
    from edgexfer.workflows.teachers import Told, pair_teachers

    told = Told(given["teacher_mean"], given["teacher_std"])
    return pair_teachers(given["teachers"], given["teacher_weights"], told)
