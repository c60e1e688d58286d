from __future__ import annotations

import pytest
import torch

from edgexfer.distill import Hint, Objective, Settled, settle, soft_loss
from edgexfer.distill.losses import soft_targets
from edgexfer.errors import RecipeError


@pytest.mark.parametrize(
    ("classes", "confidence", "loss", "why"),
    [
        (2, 0.999, "kd", "with 2 classes dkd and dist lose"),
        (10, 0.999, "kd", "10 classes; the teacher gives its own class 99.9% on the training views"),
        (100, 0.999, "dkd", "own class 99.9% on the training views, which would leave kd almost no weight"),
        (100, 0.7, "kd", "gives its own class 70.0% on the training views, and spreads the rest"),
        (1000, 0.97, "dkd", "97.0%"),
    ],
)
def test_auto_picks_by_classes_and_confidence_and_says_why(
    classes: int, confidence: float, loss: str, why: str
) -> None:
    choice = settle(Objective(), classes, confidence)
    assert choice.objective.loss == loss
    assert any(reason.startswith(f"loss {loss} (") and why in reason for reason in choice.reasons)
    assert not choice.warnings


def test_what_is_left_open_is_the_papers_default() -> None:
    sure = settle(Objective(), 10, 0.98)
    assert sure.objective == Settled("kd", 2.0, 0.9, True)
    assert any(reason.startswith("standardised logits (so sure a teacher") for reason in sure.reasons)
    for wishes in (Objective("kd"), Objective(temperature=4.0), Objective(standardise=False)):
        assert settle(wishes, 10, 0.98).objective == Settled("kd", 4.0, 0.9)
    assert settle(Objective("kd"), 10, 0.5).objective == Settled("kd", 4.0, 0.9)
    assert settle(Objective("dkd"), 10, 0.5).objective == Settled("dkd", 4.0, 0.5)
    assert settle(Objective("kd", standardise=True), 10, 0.5).objective == Settled("kd", 2.0, 0.9, True)
    assert settle(Objective("dist", 1.0, 0.7), 10, 0.5).objective == Settled("dist", 1.0, 0.7)
    assert settle(Objective("dist", 1.0, 0.7), 10, 0.5).reasons == ()


def test_what_has_no_signal_is_refused_or_warned_about() -> None:
    with pytest.raises(RecipeError, match="standardised logits of 2 classes .* leave --standardise out"):
        settle(Objective(standardise=True), 2, 0.9)
    assert "--loss kd" in settle(Objective("dkd"), 2, 0.9).warnings[0]
    assert "no gradient" in settle(Objective("dist"), 2, 0.9).warnings[0]
    assert "alpha is 0" in settle(Objective("kd", alpha=0.0), 5, 0.9).warnings[0]


def test_mistakes_are_told_together() -> None:
    with pytest.raises(RecipeError, match="loss is 'kl'; allowed: auto, kd, dkd, dist; temperature is 0.*alpha is 2"):
        Objective("kl", 0.0, 2.0)
    with pytest.raises(RecipeError, match="dkd_beta is -1"):
        Objective(dkd_beta=-1.0)
    with pytest.raises(RecipeError, match="hint is 'body'; it must be STUDENT_LAYER=TEACHER_LAYER"):
        Hint.parse("body")


def test_a_recipe_records_what_the_loss_uses() -> None:
    plain = settle(Objective("kd"), 10, 0.5).objective.to_dict()
    assert plain == {"loss": "kd", "temperature": 4.0, "alpha": 0.9, "standardise": False}
    hinted = settle(Objective("dkd", hints=(Hint("a", "b"),)), 10, 0.5).objective.to_dict()
    assert hinted["hints"] == ["a=b"] and hinted["dkd_beta"] == 8.0


def test_dkd_warms_up_and_standardising_weighs_ten_times() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 5), soft_targets(torch.randn(1, 4, 5), 4.0)
    batch = {"labels": torch.tensor([0, 1, 2, 3])}

    def loss(objective: Settled, progress: float) -> float:
        return float(soft_loss(objective, student, teacher, {**batch, "progress": torch.tensor(progress)}))

    dkd = Settled("dkd", 4.0, 0.5)
    assert loss(dkd, 0.0) == 0.0
    assert loss(dkd, 1 / 24) == pytest.approx(0.5 * loss(dkd, 0.5), rel=1e-5)
    assert loss(dkd, 0.9) == loss(dkd, 0.5)
    shifted = soft_loss(Settled("kd", 2.0, 0.9, True), 3 * student + 1, teacher, batch)
    same = soft_loss(Settled("kd", 2.0, 0.9, True), student, teacher, batch)
    assert float(shifted) == pytest.approx(float(same), rel=1e-4)
    assert float(soft_loss(Settled("dist", 4.0, 0.5), student, teacher, batch)) > 0
