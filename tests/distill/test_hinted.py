from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgexfer.distill import Hint, Objective, Teacher, Teachers, check_teachers, distill
from edgexfer.distill.hinted import HintRegressors, captured
from edgexfer.distill.objective import settle
from edgexfer.errors import RecipeError
from edgexfer.nets import create
from edgexfer.runs import WEIGHTS_FILE, read_lines
from edgexfer.training import Job, Silent


def test_a_layer_is_captured_and_the_hook_removed() -> None:
    net = create("cifar-resnet20", 2, input_size=(32, 32))
    with torch.no_grad(), captured(net, ["layer2", "linear"]) as found:
        net(torch.zeros(1, 3, 32, 32))
    assert found["layer2"].shape == (1, 32, 16, 16) and found["linear"].shape == (1, 2)
    assert not net.layer2._forward_hooks


def test_an_activation_in_place_does_not_reach_what_was_captured() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU(inplace=True))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
    with captured(net, ["0"]) as found:
        net(torch.tensor([[2.0, 3.0]]))
    assert found["0"].tolist() == [[2.0, -3.0]]
    found["0"].sum().backward()
    assert net[0].weight.grad is not None and net[0].weight.grad.tolist() == [[2.0, 3.0], [2.0, 3.0]]


def test_the_regressors_train_along_and_are_not_in_the_run(job: Job, teacher: Teacher, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    teachers = Teachers((teacher,))
    objective = settle(Objective("kd", hints=(Hint("layer1", "layer2"), Hint("layer3", "layer3"))), 2, 0.5).objective
    checked = check_teachers(teachers, job, Silent(), allow_weak=True)
    run = distill(job, teachers, objective, tmp_path, Silent(), record={}, teacher_scores=checked.scores)
    assert run.recipe["hints"] == ["layer1=layer2", "layer3=layer3"]
    assert read_lines(tmp_path / "metrics.jsonl")[0]["hint_loss"] > 0
    own = set(create("cifar-resnet20", 2, input_size=(32, 32)).state_dict())
    assert set(load_file(tmp_path / WEIGHTS_FILE)) == own
    before = run.scores["before"]
    assert set(before) == {"val_top1", "val_ece", "val_nll"}
    assert run.scores["teacher"]["val_ece"] is not None and run.scores["test_nll"] == run.scores["test_loss"]


def test_hints_give_gradients_to_student_and_regressor(job: Job, teacher: Teacher) -> None:
    regressors = HintRegressors.build(job, Teachers((teacher,)), (Hint("layer1", "layer3"),))
    student = job.new_student()
    logits, teacher_logits, loss = regressors.compare(student, Teachers((teacher,)), torch.rand(4, 3, 32, 32))
    assert logits.shape == teacher_logits.shape == (4, 2)
    loss.backward()
    weight = regressors.regressors[0].weight
    assert isinstance(weight, torch.nn.Parameter) and weight.shape == (64, 16, 1, 1) and weight.grad is not None
    assert student.net.get_parameter("conv1.weight").grad is not None
    assert student.net.get_parameter("layer3.0.conv1.weight").grad is None
    again = HintRegressors.build(job, Teachers((teacher,)), (Hint("layer1", "layer3"),))
    assert torch.equal(again.regressors[0].weight, weight)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hints", "problem"),
    [
        ((Hint("nowhere", "layer2"),), "CifarResNet has no layer called 'nowhere'; it has conv1, bn1, layer1"),
        ((Hint("layer1", "linear"),), r"layer1 gives \(16, 32, 32\) and linear gives \(2,\)"),
    ],
)
def test_what_does_not_fit_is_named(job: Job, teacher: Teacher, hints: tuple[Hint, ...], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        HintRegressors.build(job, Teachers((teacher,)), hints)


def test_several_teachers_have_no_common_layer(job: Job, teacher: Teacher) -> None:
    with pytest.raises(RecipeError, match="hints are the layers of one teacher, and 2 were given"):
        HintRegressors.build(job, Teachers((teacher, teacher)), (Hint("layer1", "layer1"),))
