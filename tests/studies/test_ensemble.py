from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgexfer.studies import ensemble
from edgexfer.studies.ensemble import judge, kept_share
from edgexfer.studies.page import render
from edgexfer.studies.running import StudyTarget, run_study
from edgexfer.studies.trainings import study_recipe
from edgexfer.training import Recipe, Silent
from edgexfer.workflows.data import DataChoice


def test_members_speak_with_one_voice_at_the_cost_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def brief(lab: Any, images: int, side: int) -> Recipe:
        return study_recipe(lab, images, side, epochs=2, patience=2)

    monkeypatch.setattr(ensemble, "study_recipe", brief)
    result = run_study("ensemble", DataChoice("digits"), StudyTarget(tmp_path), Silent(), seeds=(0,), fast=True)
    found = result.numbers[0]
    assert len(found["members"]) == 5  # the first of one structure is a member of both ensembles
    same = found["ensembles"]["same structure"]
    assert same["operations"] == 3 * found["members"]["conv_narrow-0"]["operations"]
    scores = {found["members"][name]["test_nll"] for name in same["members"]}
    assert len(scores) == 3  # other first weights, other networks
    page = render(result, ensemble.STUDY.tell(result))
    assert "Accuracy, and what one inference costs" in page


def numbers(member: float, together: float, student: float) -> dict[str, Any]:
    members = {f"conv_narrow-{i}": {"test_top1": member, "operations": 10} for i in range(3)}
    group = {
        "members": list(members), "arithmetic": together - 0.004, "geometric": together, "operations": 30,
        "student": {"test_top1": student},
    }  # fmt: skip
    ensembles = {"same structure": group, "different structures": group}
    return {"train_images": 30, "members": members, "ensembles": ensembles}


def test_a_student_keeps_a_share_of_what_the_ensemble_gained() -> None:
    found = [numbers(0.8, 0.9, 0.87), numbers(0.8, 0.9, 0.85)]
    assert kept_share(found) == pytest.approx(0.6, abs=1e-9)
    assert kept_share([numbers(0.9, 0.9, 0.8)]) is None
    claims = judge(found)
    assert claims[0].values == pytest.approx((0.1, 0.1), abs=1e-9)
    assert claims[2].verdict == "appeared" and claims[2].mean == pytest.approx(0.004, abs=1e-9)
    assert claims[3].mean == pytest.approx(0.06, abs=1e-9)
