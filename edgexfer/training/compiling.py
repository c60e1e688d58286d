"""``--compile``: in each training step the student computes as ``torch.compile`` makes it.

What is made shares every tensor with the student, and the student itself is what is validated, averaged, kept and gone
on from: neither weights nor checkpoints know of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from edgexfer.errors import RecipeError, TrainingError
from edgexfer.training.compute import find_device
from edgexfer.training.learner import Batch, Step
from edgexfer.training.ranks import current_ranks

if TYPE_CHECKING:
    from edgexfer.training.recipe import Recipe


class CompiledStep:
    """``step`` on the compiled student, made when the first batch is met.

    Args:
        step: Gives the loss of a batch.
    """

    def __init__(self, step: Step) -> None:
        torch.compiler.reset()  # networks of trainings before count against the number that PyTorch compiles
        self._step = step
        self._student: nn.Module | None = None
        self._compiled: Any = None

    def __call__(self, student: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """As the step itself.

        Raises:
            TrainingError: PyTorch cannot compile the student.
        """
        if self._student is student:
            return self._step(self._compiled, batch)
        self._student, self._compiled = student, torch.compile(student)
        try:
            return self._step(self._compiled, batch)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise TrainingError(
                f"PyTorch cannot compile this network ({_reason(error)}); leave --compile out"
            ) from error


def check_compiler(recipe: Recipe) -> None:
    """Refuses ``--compile`` where it cannot be done, before anything else is: it compiles one operation.

    Raises:
        RecipeError: Several processes train together.
        TrainingError: There is no compiler, or PyTorch knows no way for this device or this Python.
    """
    if not recipe.compile:
        return
    if current_ranks().are_several:
        raise RecipeError("--compile works in one process; leave it out, or torchrun")
    device = find_device(recipe.device)
    try:
        torch.compile(_one_operation)(torch.ones(2, device=device))
    except Exception as error:  # a missing compiler, Triton or Python version each has a kind of its own
        raise TrainingError(
            f"--compile cannot be done on {device} here ({_reason(error)}); install a C++ compiler such as g++ (and"
            " Triton for a GPU), or leave --compile out"
        ) from error


def _one_operation(values: torch.Tensor) -> torch.Tensor:
    return (values + 1).relu()


def _reason(error: BaseException) -> str:
    """The first line of what was the matter in the first place."""
    while (before := getattr(error, "inner_exception", None) or error.__cause__) is not None:
        error = before
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given'}"
