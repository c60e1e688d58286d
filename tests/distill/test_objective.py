from __future__ import annotations

import numpy as np
import pytest
import torch

from edgexfer.distill import Hint, Objective, Settled, settle, soft_loss
from edgexfer.distill.losses import soft_targets
from edgexfer.errors import RecipeError
from tests.distill.losses.oracles import dist_oracle, dkd_oracle, kd_oracle


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


def test_weights_of_what_is_not_matched_are_refused_or_warned_about() -> None:
    with pytest.raises(RecipeError, match="hint_weight is 5.0 and there is no hint; pass --hint, or leave"):
        Objective(hint_weight=5.0)
    assert Objective(hints=(Hint("a", "b"),), hint_weight=5.0).hint_weight == 5.0
    for loss in ("kd", "dist"):
        with pytest.raises(RecipeError, match=f"dkd_beta 2.0, which weigh .*the loss is {loss}; pass --loss dkd, or"):
            Objective(loss, dkd_beta=2.0)
    (told,) = settle(Objective(dkd_alpha=2.0), 10, 0.5).warnings
    assert told.startswith("dkd_alpha and dkd_beta do nothing, since the loss is kd; pass --loss dkd")
    assert not settle(Objective(dkd_alpha=2.0), 100, 0.98).warnings, "auto came to dkd"


def test_a_recipe_records_what_the_loss_uses() -> None:
    plain = settle(Objective("kd"), 10, 0.5).objective.to_dict()
    assert plain == {"loss": "kd", "temperature": 4.0, "alpha": 0.9, "standardise": False}
    hinted = settle(Objective("dkd", hints=(Hint("a", "b"),)), 10, 0.5).objective.to_dict()
    assert hinted["hints"] == ["a=b"] and hinted["dkd_beta"] == 8.0


def test_dkd_warms_up() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 5), soft_targets(torch.randn(1, 4, 5), 4.0)
    batch = {"labels": torch.tensor([0, 1, 2, 3])}

    def loss(objective: Settled, progress: float) -> float:
        return float(soft_loss(objective, student, teacher, {**batch, "progress": torch.tensor(progress)}))

    dkd = Settled("dkd", 4.0, 0.5)
    assert loss(dkd, 0.0) == 0.0
    assert loss(dkd, 1 / 24) == pytest.approx(0.5 * loss(dkd, 0.5), rel=1e-5)
    assert loss(dkd, 0.9) == loss(dkd, 0.5)


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("loss", ["kd", "dkd", "dist"])
def test_the_soft_term_is_its_loss_and_ten_times_that_of_standardised_logits(loss: str, standardise: bool) -> None:
    rng, temperature = np.random.default_rng(0), 2.0
    student, teacher, labels = rng.normal(1, 4, (6, 5)), rng.normal(-2, 3, (6, 5)), rng.integers(0, 5, 6)
    objective = Settled(loss, temperature, 0.9, standardise, dkd_alpha=1.5, dkd_beta=4.0)
    softened = soft_targets(torch.from_numpy(teacher)[None], temperature)
    found = float(soft_loss(objective, torch.from_numpy(student), softened, {"labels": torch.from_numpy(labels)}))
    z, v = (
        (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True) if standardise else rows
        for rows in (student, teacher)
    )
    expected = (10 if standardise else 1) * {
        "kd": lambda: kd_oracle(z, v[None], temperature, "geometric"),
        "dkd": lambda: dkd_oracle(z, v, labels, temperature, 1.5, 4.0),
        "dist": lambda: dist_oracle(z, v, temperature),
    }[loss]()
    assert found == pytest.approx(expected, rel=3e-4)
    assert found != pytest.approx(1.01 * expected, rel=3e-4)


@pytest.mark.parametrize("loss", ["kd", "dkd", "dist"])
def test_the_scale_of_standardised_logits_does_not_matter(loss: str) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 5), soft_targets(torch.randn(1, 4, 5), 4.0)
    objective, batch = Settled(loss, 2.0, 0.9, True), {"labels": torch.tensor([0, 1, 2, 3])}
    shifted, same = (float(soft_loss(objective, z, teacher, batch)) for z in (3 * student + 1, student))
    assert shifted == pytest.approx(same, rel=1e-4)
