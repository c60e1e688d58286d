from __future__ import annotations

from pathlib import Path

import torch

from edgexfer.data import load_splits
from edgexfer.studies import layers_transfer
from edgexfer.studies.layers_transfer import depths_of, frozen_below, grafted, layers_of
from edgexfer.studies.page import render
from edgexfer.studies.running import StudyTarget, run_study
from edgexfer.studies.trainings import quiet_job
from edgexfer.training import Recipe, Silent
from edgexfer.workflows.data import DataChoice


def test_late_frozen_layers_serve_other_classes_badly(tmp_path: Path) -> None:
    result = run_study("layers-transfer", DataChoice("digits"), StudyTarget(tmp_path), Silent(), seeds=(0,), fast=True)
    drop, healed, _, _ = result.claims
    assert drop.mean >= 0.1  # 40 points were measured
    assert healed.mean >= 0.1  # 42
    assert depths_of(result.numbers[0]) == [0, 2, 6]
    page = render(result, layers_transfer.STUDY.tell(result))
    assert "Test accuracy against the number of layers that were copied" in page


def test_only_the_first_layers_are_copied_and_frozen() -> None:
    job = quiet_job(load_splits("digits"), "conv_bn", Recipe(image_size=16, epochs=1))
    trained = quiet_job(load_splits("digits"), "conv_bn", Recipe(image_size=16, epochs=1, seed=7)).new_student()
    own, student = job.new_student(), grafted(job, trained, 4)
    layers = layers_of(student)
    assert [len(layer) for layer in layers] == [2] * 6  # a convolution and its BatchNorm
    for number, (convolution, _) in enumerate(layers):
        source = trained if number < 4 else own
        assert torch.equal(student.get_submodule(convolution).weight, source.get_submodule(convolution).weight)  # type: ignore[arg-type]
    plan = frozen_below(student, 4)
    frozen = {name for name, _ in student.named_parameters() if not plan.learns(name)}
    assert frozen == {
        f"{module}.{part}"
        for conv, norm in layers[:4]
        for module, part in ((conv, "weight"), (norm, "weight"), (norm, "bias"))
    }
