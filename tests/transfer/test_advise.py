"""Advice from measurements, measurements from features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgexfer.data import Splits
from edgexfer.training import Recipe, Silent, prepare
from edgexfer.transfer import advise
from edgexfer.transfer.advise import Measurements, advice_from, measure
from edgexfer.transfer.blocks import Place
from edgexfer.transfer.measures import share_of
from edgexfer.transfer.probe import Probe


def measured(images: int, classes: int, top1: float, inner: float | None = None) -> Measurements:
    probes = (Probe("layer3", 0.5, inner), Probe("embedding", 1.0, top1)) if inner is not None else ()
    return Measurements(
        images, classes, images / classes, images // classes, 1 / classes, share_of(top1 * images, images),
        share_of(top1 * images, images), -0.1, 2.0, probes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "corner"),
    [
        (measured(100, 5, 0.9), ("few", "alike")),
        (measured(100, 5, 0.35), ("few", "unlike")),
        (measured(20_000, 10, 0.9), ("many", "alike")),
        (measured(20_000, 10, 0.3), ("many", "unlike")),
        (measured(2_000, 1_000, 0.9), ("few", "alike")),
    ],
)
def test_the_corners_of_the_square(facts: Measurements, corner: tuple[str, str]) -> None:
    advice = advice_from(facts)
    assert advice.corner == corner
    assert advice.strategy != advice.runner_up
    assert any(f"{facts.images} training pictures" in reason for reason in advice.reasons)
    assert advice.reasons[-1].startswith(f"so {advice.strategy}:")


@pytest.mark.parametrize(
    ("facts", "strategy"),
    [
        (measured(100, 5, 0.9), "head"),
        (measured(100, 5, 0.35), "classifier"),
        (measured(200, 5, 0.35), "full"),
        (measured(20_000, 10, 0.9), "full"),
        (measured(20_000, 10, 0.3), "scratch"),
        (measured(100, 5, 0.4, inner=0.7), "scratch"),
        (measured(900, 10, 0.3), "full"),
    ],
)
def test_the_strategy_of_each_corner(facts: Measurements, strategy: str) -> None:
    advice = advice_from(facts)
    assert advice.strategy == strategy
    assert advice.expected.low <= advice.expected.value <= advice.expected.high <= 1.0
    assert (advice.expected == facts.probe) == (strategy == "head")


def test_a_better_shallower_place_means_that_the_last_layers_are_too_special() -> None:
    special = advice_from(measured(100, 5, 0.7, inner=0.8))
    assert special.corner == ("few", "unlike")
    assert any("layer3 with 80.0%, 10.0% better than its end" in reason for reason in special.reasons)
    general = advice_from(measured(100, 5, 0.7, inner=0.6))
    assert general.corner == ("few", "alike")
    assert any("no better than its end" in reason for reason in general.reasons)


def test_alike_is_the_way_from_guessing_to_certainty() -> None:
    assert measured(100, 5, 0.6).alike == pytest.approx(0.5)
    assert measured(100, 5, 0.1).alike == 0.0
    skewed = replace(measured(100, 2, 0.9), chance=0.9)
    assert skewed.alike == pytest.approx(0.0)


def test_json_has_the_contracts_keys() -> None:
    value = advice_from(measured(100, 5, 0.9, inner=0.5)).to_dict()
    keys = {"strategy", "runner_up", "images_per_class", "probe_top1", "knn_top1", "logme", "h_score", "chance"}
    assert keys <= value.keys()
    assert value["images_per_class"] == 20 and value["chance"] == pytest.approx(0.2)


def test_measuring_features(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 40 + [1] * 20)
    good = rng.normal(0, 1, (60, 8)).astype(np.float32) + 4 * labels[:, None]
    noise = rng.normal(0, 1, (60, 5)).astype(np.float32)
    found = measure({"embedding": good, "early": noise}, labels, ("a", "b"), [Place("early", "n", 0.1)])
    assert found.chance == pytest.approx(2 / 3) and found.rarest == 20 and found.images_per_class == 30
    assert found.probe.value > 0.97 and found.knn.value > 0.9
    assert [probe.place for probe in found.probe_by_depth] == ["early", "embedding"]
    assert found.shallower_gain < -0.2
    assert set(found.per_class) == {"a", "b"} and min(found.per_class.values()) > 0.9
    worse = measure({"embedding": noise}, labels, ("a", "b"), [])
    assert worse.logme < found.logme and worse.h_score < found.h_score


def test_one_picture_a_class_still_gets_an_answer() -> None:
    features = np.eye(3, 6, dtype=np.float32)
    found = measure({"embedding": features}, np.arange(3), ("a", "b", "c"), [])
    assert (found.probe.low, found.probe.high) == (0.0, 1.0)
    assert advice_from(found).corner[0] == "few"


def test_pictures_of_one_burst_are_held_out_together() -> None:
    """Random labels, each picture seven times: only who sees a copy of what he is asked can know the answer."""
    rng = np.random.default_rng(0)
    bursts = np.repeat(np.arange(60), 7)
    labels = rng.integers(0, 2, 60)[bursts]
    features = rng.normal(size=(60, 64))[bursts] + 0.01 * rng.normal(size=(420, 64))
    rows = {"layer": features, "embedding": features}
    alone = measure(rows, labels, ("a", "b"), (Place("layer", "layer", 0.5),))
    together = measure(rows, labels, ("a", "b"), (Place("layer", "layer", 0.5),), groups=bursts)
    assert alone.probe.value > 0.95 and alone.knn.value > 0.95 and alone.probe_by_depth[0].top1 > 0.95
    assert together.probe.value < 0.7 and together.knn.value < 0.7 and together.probe_by_depth[0].top1 < 0.7
    lone = measure(rows, labels, ("a", "b"), (), groups=np.unique(labels, return_inverse=True)[1])
    assert lone.probe.value == lone.chance, "one group a class: nothing can be held out"


def test_times_of_the_strategies_are_read_when_the_device_is_done(
    digits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = prepare(digits, "cifar-resnet20", "none", Recipe(epochs=3, image_size=32), Silent())
    times = iter([1.0, 1.0 + advise.TIMED])
    monkeypatch.setattr(advise, "clock", lambda device: next(times))
    facts = replace(measured(100, 10, 0.5), seconds=7.0)
    found = advise.seconds_by_strategy(job, facts)  # a second a picture
    assert (found["head"], found["full"]) == (107.0, 107.0 + 3 * 3 * 100)
