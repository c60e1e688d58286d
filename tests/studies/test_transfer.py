"""The studies of transfer: their parts of a data set, what they measure, and what they say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgexfer.data import Splits, load_splits
from edgexfer.runs import is_run
from edgexfer.studies import compact_vs_large, transfer_square
from edgexfer.studies.networks import path_of
from edgexfer.studies.page import render
from edgexfer.studies.parts import at_most, halves, photo_patches, unlike, with_classes
from edgexfer.studies.running import StudyTarget, run_study
from edgexfer.studies.trainings import by_strategy
from edgexfer.studies.transfer_square_told import CORNERS, LECTURE
from edgexfer.studies.values import StudyResult
from edgexfer.training import Recipe, Silent
from edgexfer.transfer import STRATEGIES
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start

Result = Callable[[Any, str, list[dict[str, Any]]], StudyResult]


def test_half_of_the_classes_are_set_apart() -> None:
    splits = load_splits("digits")
    parts = halves(splits, 1)
    assert sorted([*parts.source.classes, *parts.target.classes], key=int) == list(splits.classes)
    assert len(parts.source.train) + len(parts.target.train) == len(splits.train)
    assert splits.test is not None
    names = {file: splits.classes[y] for file, y in zip(splits.test.files, splits.test.labels, strict=True)}
    for part in (parts.source, parts.target):
        assert part.test is not None
        assert all(names[f] == part.classes[y] for f, y in zip(part.test.files, part.test.labels, strict=True))
    assert parts.source.fingerprint != parts.target.fingerprint != splits.fingerprint
    assert halves(splits, 1).target.fingerprint == parts.target.fingerprint


def test_few_classes_are_not_halved_but_their_pictures_are() -> None:
    two = with_classes(load_splits("digits"), [3, 8])
    parts = halves(two, 0)
    assert parts.source.classes == parts.target.classes == ("3", "8")
    assert not set(parts.source.train.files) & set(parts.target.train.files)
    assert parts.words == "other pictures of the same classes"


def test_at_most_so_many_pictures_are_drawn_evenly() -> None:
    some = at_most(load_splits("digits"), 50, 30, 2)
    assert np.bincount(some.train.labels).tolist() == [5] * 10
    assert (len(some.val), len(some.test or ())) == (30, 30)
    other = at_most(load_splits("digits"), 50, 30, 3)
    assert set(other.train.files) != set(some.train.files)


def test_grey_pictures_are_unlike_photographs() -> None:
    patches, words = unlike(load_splits("digits"), 0)
    assert words == "patches of two photographs"
    assert len(patches.classes) == 10 and patches.train.read(0).size == (32, 32)
    digits, words = unlike(photo_patches(0), 0)
    assert words == "handwritten digits" and digits.classes[3] == "3"


def corner(scores: dict[str, float], advised: str) -> dict[str, Any]:
    strategies: dict[str, Any] = {name: {"test_top1": score} for name, score in scores.items()}
    return {"strategies": strategies, "train_images": 20, "advised": advised, "probe_top1": 0.7, "alike": 0.6}


def square(shift: float = 0.0) -> dict[str, Any]:
    scores = {"head": 0.5, "classifier": 0.6, "full": 0.7 + shift, "scratch": 0.4}
    return {
        "target": ["a", "b"], "alike_words": "<i>other</i>", "unlike_words": "patches", "pretrained": {},
        "corners": {name: corner(scores, "full" if name != "few, alike" else "head") for name in CORNERS},
    }  # fmt: skip


def test_the_square_says_where_the_lecture_was_right_and_what_advice_cost(result_of: Result) -> None:
    numbers = [square(), square(0.02)]
    result = result_of(transfer_square, "transfer-square", numbers)
    by_corner = dict(zip(CORNERS, result.claims, strict=False))
    assert by_corner["many, alike"].values == pytest.approx((0.1, 0.12), abs=1e-9)
    assert by_corner["many, alike"].verdict == "appeared"
    assert by_corner["many, unlike"].verdict == "the opposite appeared"
    assert result.claims[-1].values == pytest.approx((0.05, 0.055), abs=1e-9)
    assert result.claims[-2].values == pytest.approx((0.0, 0.0), abs=1e-9)  # it gains as much with few
    page = render(result, transfer_square.tell(result))
    assert "With few alike pictures, full came out best on average (71.0%)" in page
    assert "<i>other</i>" not in page
    assert set(LECTURE.values()) == set(STRATEGIES)


def test_a_strategy_that_does_not_fit_counts_as_nothing(result_of: Result) -> None:
    numbers = square()
    numbers["corners"]["few, unlike"]["strategies"]["classifier"] = {"refused": "it cannot be cut"}
    result = result_of(transfer_square, "transfer-square", [numbers])
    assert result.claims[2].mean == pytest.approx(-0.7, abs=1e-9)


@dataclass(frozen=True)
class Advised:
    """What ``advise`` gives, as far as the study reads it."""

    strategy: str = "full"
    measured: Any = field(default_factory=lambda: SimpleNamespace(probe=SimpleNamespace(value=0.7), alike=0.6))


def test_the_square_is_measured_in_all_corners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str, tuple[str, ...]]] = []

    def by_strategy(
        splits: Splits, start: Start, recipe: Recipe, work: Path, done: Any, names: tuple[str, ...]
    ) -> dict[str, Any]:
        weights = "none" if start.weights == "none" else Path(start.weights).name
        assert weights == "none" or is_run(Path(start.weights))
        asked.append((len(splits.train), weights, tuple(names)))
        return {name: {"test_top1": 0.5} for name in names}

    monkeypatch.setattr(transfer_square, "by_strategy", by_strategy)
    monkeypatch.setattr(transfer_square, "advise", lambda job, listener: Advised())
    result = run_study("transfer-square", DataChoice("digits"), StudyTarget(tmp_path), Silent(), seeds=(0,), fast=True)
    above = ("head", "classifier", "full")
    assert asked == [
        (25, "none", ("scratch",)), (25, "alike", above), (25, "unlike", above),
        (160, "none", ("scratch",)), (160, "alike", above), (160, "unlike", above),
    ]  # fmt: skip
    corners = result.numbers[0]["corners"]
    assert set(corners) == set(CORNERS)
    assert all(set(found["strategies"]) == set(STRATEGIES) for found in corners.values())
    assert not (tmp_path / "work").exists()


def test_strategies_are_tried_on_a_pretrained_network(tmp_path: Path) -> None:
    splits = at_most(load_splits("digits"), 60, 60, 0)
    recipe = Recipe(image_size=16, epochs=2, batch_size=16, precision="float32")
    compact_vs_large.pretrain(path_of("conv_narrow"), splits, recipe, tmp_path / "pretrained")
    told: list[str] = []
    start = Start(path_of("conv_narrow"), str(tmp_path / "pretrained"))
    found = by_strategy(splits, start, recipe, tmp_path, told.append, ("head", "full", "scratch"))
    assert all(0 <= scores["test_top1"] <= 1 for scores in found.values())
    assert len(told) == 3
    again = by_strategy(splits, start, recipe, tmp_path, told.append, ("head", "full", "scratch"))
    assert again == found  # runs that are finished are read, not made again


def networks(scratch: float, full: float) -> dict[str, Any]:
    def scores(value: float) -> dict[str, float]:
        return {"val_top1": value, "val_nll": 1 - value, "test_top1": value, "parameters": 10}

    strategies = {
        "head": scores(0.3),
        "classifier": {"refused": "no"},
        "full": scores(full),
        "scratch": scores(scratch),
    }
    return {"pretrained_val_top1": 0.9, "strategies": strategies}


def test_the_larger_network_gains_more_where_it_does(result_of: Result) -> None:
    numbers = {
        "target": ["a", "b"], "source_words": "other classes", "source_images": 100, "target_images": 40,
        "networks": {"tiny-darknet": networks(0.5, 0.6), "resnet18": networks(0.4, 0.7)},
    }  # fmt: skip
    result = result_of(compact_vs_large, "compact-vs-large", [numbers, numbers])
    assert [claim.mean for claim in result.claims] == pytest.approx([0.1, 0.3, 0.1, 0.2, 0.1], abs=1e-9)
    assert all(claim.verdict == "appeared" for claim in result.claims)
    page = render(result, compact_vs_large.tell(result))
    assert "published: Tiny-darknet" in page and "51.19%" in page


def test_compact_against_large_is_summed_up_by_network_and_strategy() -> None:
    rows = [
        {"network": "n", "strategy": "full", "seed": seed, "test_top1": top1} for seed, top1 in ((0, 0.5), (1, 0.7))
    ]
    assert compact_vs_large.summary(rows) == [
        {"network": "n", "strategy": "full", "seeds": 2, "test_top1_mean": pytest.approx(0.6, abs=1e-12),
         "test_top1_std": pytest.approx(0.1414, abs=1e-4)}
    ]  # fmt: skip
