from __future__ import annotations

import functools
from collections.abc import Mapping

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgexfer.errors import RecipeError, TrainingError
from edgexfer.training import Recipe
from edgexfer.training import compiling as compiling_module
from edgexfer.training.compiling import CompiledStep, check_compiler
from edgexfer.training.ranks import Ranks


def step(net: nn.Module, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"loss": functional.cross_entropy(net(batch["inputs"]), batch["labels"])}


def batch(count: int = 6) -> dict[str, torch.Tensor]:
    inputs = torch.arange(count * 4, dtype=torch.float32).reshape(count, 4).sin()
    return {"inputs": inputs, "labels": torch.arange(count) % 2}


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def test_a_compiled_step_learns_on_the_students_own_tensors(compiled: list[object]) -> None:
    plain, other = student(), student()
    quick = CompiledStep(step)
    for count in (6, 6, 5):
        step(plain, batch(count))["loss"].backward()
        quick(other, batch(count))["loss"].backward()
    assert compiled == [other]
    assert plain.state_dict().keys() == other.state_dict().keys()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-6, atol=1e-7)
    for mine, theirs in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(theirs.grad, mine.grad, rtol=1e-5, atol=1e-7)


def test_another_student_is_compiled_anew(compiled: list[object]) -> None:
    quick, (first, second) = CompiledStep(step), (student(), student())
    for net in (first, first, second):
        quick(net, batch())
    assert compiled == [first, second]


def test_a_network_that_cannot_be_compiled_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(graph: object, inputs: object) -> object:
        raise NotImplementedError("no such operator\nand much more")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    with pytest.raises(
        TrainingError,
        match=r"^PyTorch cannot compile this network \([^\n]*no such operator[^\n]*\); leave --compile out$",
    ):
        CompiledStep(step)(student(), batch())


def test_a_missing_compiler_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_there(what: object) -> object:
        raise RuntimeError("No working C++ compiler found\nin all these places")

    monkeypatch.setattr(torch, "compile", none_there)
    check_compiler(Recipe(device="cpu"))
    with pytest.raises(
        TrainingError,
        match=r"^--compile cannot be done on cpu here \(RuntimeError: No working C\+\+ compiler found\); install",
    ):
        check_compiler(Recipe(device="cpu", compile=True))


def test_a_compiler_that_works_is_found(compiled: list[object]) -> None:
    check_compiler(Recipe(device="cpu", compile=True))
    assert len(compiled) == 1


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling_module, "current_ranks", lambda: Ranks(0, 2, 0, 2))
    with pytest.raises(RecipeError, match="--compile works in one process"):
        check_compiler(Recipe(compile=True))
