from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgexfer.errors import RecipeError
from edgexfer.training.recipe import Facts, Recipe, settle


def facts(images: int = 1000, size: int = 160, *, pretrained: bool = False, soft: bool = False) -> Facts:
    return Facts(images, (size, size), 224, pretrained, soft)


def test_all_mistakes_are_told_together() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe(epochs=0, lr=-1.0, optimizer="lion", augment="wild", label_smoothing=1.0, workers=-1, device="tpu")
    for part in ("epochs is 0", "lr is -1.0", "'lion'", "'wild'", "label_smoothing is 1.0", "workers is -1", "'tpu'"):
        assert part in str(caught.value)


def test_a_wish_is_kept_and_not_explained() -> None:
    settings, reasons = settle(Recipe(epochs=7, lr=0.5, weight_decay=0.0, warmup_epochs=0), facts())
    assert (settings.epochs, settings.lr, settings.weight_decay, settings.warmup_epochs) == (7, 0.5, 0.0, 0)
    assert not any(r.startswith(("epochs", "lr ", "weight_decay", "warmup")) for r in reasons)
    assert any(r.startswith("batch_size 32 (1000 training pictures)") for r in reasons)


@pytest.mark.parametrize(("size", "expected"), [(8, 32), (32, 32), (47, 32), (160, 160), (170, 160), (4000, 224)])
def test_the_image_size_follows_the_pictures(size: int, expected: int) -> None:
    assert settle(Recipe(), facts(size=size))[0].image_size == expected


def test_epochs_shrink_as_the_data_grows() -> None:
    epochs = [settle(Recipe(), facts(images))[0].epochs for images in (50, 1_000, 3_000, 50_000)]
    assert epochs == [60, 60, 20, 10]
    assert settle(Recipe(), facts(1_000, pretrained=True))[0].epochs == 20


def test_a_taught_network_with_random_weights_is_patient_and_learns_from_mixed_pictures() -> None:
    def taught(images: int, **wishes: Any) -> tuple[int, float]:
        settings, reasons = settle(Recipe(**wishes), facts(images, soft=True))
        assert any("mixup" in reason for reason in reasons) == (settings.mixup > 0 and "mixup" not in wishes)
        assert settings.patience == (settings.epochs if settings.epochs >= 40 else 10)
        return settings.epochs, settings.mixup

    assert [taught(images) for images in (300, 8_000, 12_000, 24_000, 100_000)] == [
        (60, 0.5), (60, 0.5), (40, 0.5), (20, 0.0), (10, 0.0),
    ]  # fmt: skip
    assert taught(8_000, epochs=20) == (20, 0.0) and taught(8_000, mixup=0.0) == (60, 0.0)
    assert settle(Recipe(), facts(300, soft=True, pretrained=True))[0].mixup == 0.0
    assert settle(Recipe(), facts(300))[0].mixup == 0.0


def test_soft_labels_are_not_smoothed_again() -> None:
    assert settle(Recipe(), facts(soft=True))[0].label_smoothing == 0.0
    assert settle(Recipe(), facts(soft=False))[0].label_smoothing == 0.1


def test_trained_weights_of_a_compact_network_bear_a_higher_rate_and_no_early_stop() -> None:
    usual = settle(Recipe(batch_size=64), facts(1_000, pretrained=True))[0]
    compact = settle(Recipe(batch_size=64), replace(facts(1_000, pretrained=True), parameters=250_000))[0]
    larger = settle(Recipe(batch_size=64), replace(facts(1_000, pretrained=True), parameters=138_000_000))[0]
    assert (usual.lr, compact.lr, larger.lr) == pytest.approx((3e-4, 3e-3, 3e-4))
    middle = settle(Recipe(batch_size=64), replace(facts(1_000, pretrained=True), parameters=6_250_000))[0]
    assert middle.lr == pytest.approx(6e-4)
    assert usual.patience == usual.epochs
    assert settle(Recipe(), facts(1_000))[0].patience == 30


def test_without_normalising_layers_the_rate_stays_that_of_a_large_network() -> None:
    bare = replace(facts(1_000, pretrained=True), parameters=250_000, normalised=False)
    settings, reasons = settle(Recipe(batch_size=64), bare)
    assert settings.lr == pytest.approx(3e-4)
    assert any("nothing normalises between the layers" in reason for reason in reasons)
    random = replace(facts(1_000, pretrained=False), normalised=False)
    assert settle(Recipe(batch_size=64), random)[0].lr == pytest.approx(2e-3)
