"""The published cases' shape: the table of backbones, many new kinds, two classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from edgexfer import nets
from edgexfer.cli.main import cli
from edgexfer.errors import DataError, RecipeError, TrainingError, WeightsError
from edgexfer.files import write_json
from edgexfer.studies import compact_vs_large, layers_transfer, leopard_giraffe, mushrooms, transfer_table
from edgexfer.studies.networks import path_of
from edgexfer.studies.page import render
from edgexfer.studies.parts import at_most, halves, with_classes
from edgexfer.studies.published import EFFICIENTNET, SETS
from edgexfer.studies.running import StudyTarget, run_study
from edgexfer.studies.trainings import labelled
from edgexfer.studies.transfer_table import geometric_mean, present, ratio
from edgexfer.studies.values import Lab, StudyResult
from edgexfer.training import Job, Recipe, Silent
from edgexfer.transfer import STRATEGIES
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start

DIGITS = DataChoice("digits")
Result = Callable[[Any, str, list[dict[str, Any]]], StudyResult]


def test_the_ratio_is_of_the_smallest_backbone_that_is_about_as_good(result_of: Result) -> None:
    backbones = {
        "large": {"test_top1": 0.950, "parameters": 100},
        "middle": {"test_top1": 0.942, "parameters": 20},
        "small": {"test_top1": 0.900, "parameters": 5},
        "odd": {"refused": "it does not fit"},
    }
    assert ratio(backbones) == ("large", "middle", 5.0)
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0, abs=1e-12)
    published = [21, 21, 1.5, 4.1, 1.5, 4.1, 5.6, 2.4]  # the table's own ratios and their mean
    assert geometric_mean(published) == pytest.approx(4.7, abs=0.05)
    assert list(EFFICIENTNET) == list(SETS)
    numbers = {"sets": {"<b>d</b>": {"classes": 2, "train_images": 9, "backbones": backbones}}, "pretrained_here": True}
    result = result_of(transfer_table, "transfer-table", [numbers, numbers])
    page = render(result, transfer_table.tell(result))
    assert "<b>d</b>" not in page and "98.1, 4M (21x)" in page and "(4.7x)" in page
    assert "large was the most accurate (95.0%); middle, 5.0 times smaller, came within a point of it (94.2%)" in page


def test_a_backbone_that_cannot_be_fine_tuned_is_named_with_the_reason(result_of: Result) -> None:
    backbones = {"net": {"test_top1": 0.9, "parameters": 100}, "odd": {"refused": "it takes 224 pixels"}}
    numbers = {"sets": {"d": {"classes": 2, "train_images": 9, "backbones": backbones}}, "pretrained_here": False}
    telling = transfer_table.tell(result_of(transfer_table, "transfer-table", [numbers, numbers]))
    cells = {row.name: list(row.cells) for row in telling.tables[0].rows}
    assert list(cells)[:2] == ["d: net", "d: odd"]
    assert cells["d: odd"] == ["", "", "refused: it takes 224 pixels"]
    assert "odd: " not in telling.figures[0].wide


def test_a_table_of_no_backbone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_table, "by_strategy", lambda *_: {"full": {"refused": "it does not fit"}})
    starts = (Start("mlperf-resnet8"),)
    with pytest.raises(TrainingError, match="no backbone .* on 'digits' .mlperf-resnet8: it does not fit.; name"):
        run_study("transfer-table", DIGITS, StudyTarget(tmp_path), Silent(), seeds=(0,), starts=starts)
    assert not (tmp_path / "seeds").exists()


@pytest.mark.parametrize("name", ["transfer-table", "mushrooms", "leopard-giraffe"])
@pytest.mark.parametrize("force", [False, True])
def test_weights_that_cannot_be_used_end_a_study_before_it_begins(tmp_path: Path, name: str, force: bool) -> None:
    damaged, kept = tmp_path / "damaged.safetensors", tmp_path / "out" / "work" / "0" / "identity.json"
    damaged.write_bytes(b"no weights")
    write_json(kept, {"format": 1, "identity": {"study": name}})
    with pytest.raises(WeightsError, match="damaged.safetensors"):
        run_study(
            name, DIGITS, StudyTarget(tmp_path / "out", force=force), Silent(), seeds=(0,),
            starts=(Start("mlperf-resnet8"), Start("mlperf-resnet8", str(damaged))),
        )  # fmt: skip
    assert kept.is_file() and not (tmp_path / "out" / "seeds").exists()


def test_networks_that_share_a_name_are_numbered() -> None:
    starts = [Start("a/net.py:build"), Start("vgg16"), Start("b/net.py:build"), Start("build", "other.safetensors")]
    assert list(labelled(starts)) == ["build (1)", "vgg16", "build (2)", "build (3)"]
    assert list(labelled(starts).values()) == starts


def test_the_same_network_with_other_weights_has_a_row_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[Path, str] = {}

    def by_strategy(splits: Any, start: Start, recipe: Any, work: Path, *_: Any) -> dict[str, Any]:
        started[work] = start.weights
        return {"full": {"test_top1": 0.9, "parameters": 100}}

    monkeypatch.setattr(transfer_table, "by_strategy", by_strategy)
    starts = (Start("mlperf-resnet8"), Start("mlperf-resnet8", "other.safetensors"))
    data = replace(DIGITS, data_root=str(tmp_path))
    found = transfer_table.measure(Lab(data.load(), 0, True, tmp_path, Silent(), data, starts))
    assert list(found["sets"]["digits"]["backbones"]) == ["mlperf-resnet8 (1)", "mlperf-resnet8 (2)"]
    assert list(started.values()) == ["none", "other.safetensors"]


def test_sets_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    data = DataChoice("digits", str(tmp_path))
    assert present(Lab(data.load(), 0, True, tmp_path, Silent(), data)) == {}


def strategies(full: list[float], scratch: list[float]) -> dict[str, Any]:
    def by_epoch(values: list[float]) -> dict[str, Any]:
        epochs = {f"{epoch}": value for epoch, value in enumerate(values)}
        return {"val_top1": max(values), "test_top1": None, "val_top1_by_epoch": epochs}

    head = {"val_top1": 0.7, "test_top1": None, "val_top1_by_epoch": {}}
    return {
        "fresh_head": 0.05,
        "strategies": {
            "head": head, "classifier": {"refused": "no"}, "full": by_epoch(full), "scratch": by_epoch(scratch)
        },
    }  # fmt: skip


def test_new_kinds_are_guessed_at_first_and_known_after_two_epochs(result_of: Result) -> None:
    network = strategies([0.6, 0.7, 0.8, 0.9], [0.05, 0.2, 0.3, 0.9])
    numbers = {"classes": 20, "train_images": 60, "first": "net", "networks": {"net": network}}
    result = result_of(mushrooms, "mushrooms", [numbers])
    assert [claim.mean for claim in result.claims] == pytest.approx([0.0, 0.8, 0.5], abs=1e-9)
    assert all(claim.verdict == "appeared" for claim in result.claims)
    page = render(result, mushrooms.tell(result))
    assert "After two epochs the fine-tuned network had 80.0%, as expected" in page
    assert "no test split" in page


def test_a_network_that_is_right_for_no_test_picture_has_a_test_split(result_of: Result) -> None:
    network = strategies([0.6, 0.7], [0.05, 0.2])
    network["strategies"]["full"]["test_top1"] = 0.0
    numbers = {"classes": 20, "train_images": 60, "first": "net", "networks": {"net": network}}
    (table,) = mushrooms.tell(result_of(mushrooms, "mushrooms", [numbers])).tables
    assert {row.name: row.cells[1] for row in table.rows}["net: full"] == "0.0%"


def test_two_classes_are_told_apart_known_or_not(tmp_path: Path) -> None:
    result = run_study("leopard-giraffe", DataChoice("digits"), StudyTarget(tmp_path), Silent(), seeds=(0,), fast=True)
    apart, _ = result.claims
    assert apart.mean >= 0.85  # 100% was measured
    assert result.numbers[0]["known"] != result.numbers[0]["unknown"]
    page = render(result, leopard_giraffe.STUDY.tell(result))
    assert "Share of each class that is right" in page


def test_two_or_three_classes_leave_none_unknown_to_a_network_that_is_pretrained_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = with_classes(DIGITS.load(), [0, 1, 2])
    lab = Lab(three, 0, True, tmp_path, Silent())
    with pytest.raises(DataError, match="'digits' has 3 classes; to pretrain on half of them .* takes 4 or more: take"):
        leopard_giraffe.STUDY.check(lab)
    leopard_giraffe.STUDY.check(replace(lab, starts=(Start("mlperf-resnet8"),)))
    monkeypatch.setattr(DataChoice, "load", lambda _: three)
    with pytest.raises(DataError, match="has 3 classes"):
        run_study("leopard-giraffe", DIGITS, StudyTarget(tmp_path), Silent(), seeds=(0,), fast=True)
    assert not list(tmp_path.iterdir())


def test_a_study_says_what_was_pretrained_on(result_of: Result) -> None:
    said = {"source_words": halves(with_classes(DIGITS.load(), [0, 1, 2]), 0).words}
    network = strategies([0.6, 0.7], [0.05, 0.2])
    kinds = {"classes": 3, "train_images": 60, "first": "net", "networks": {"net": network}, **said}
    backbones = {"net": {"test_top1": 0.9, "parameters": 100}}
    table = {"sets": {"d": {"classes": 3, "train_images": 9, "backbones": backbones, **said}}, "pretrained_here": True}
    copied = {kind: {f"{depth}": {"test_top1": 0.5} for depth in (2, 6)} for kind in layers_transfer.KINDS}
    layers = {"target": ["a"], "target_images": 9, "scratch": {"test_top1": 0.5}, **copied, **said}
    one = {"test_top1": 0.5, "val_top1": 0.5, "val_nll": 1.0}
    compact = {"networks": {"tiny-darknet": {"strategies": dict.fromkeys(STRATEGIES, one)}}, "target": ["a"], **said}
    compact |= {"source_images": 9, "target_images": 9}
    numbers = {mushrooms: kinds, transfer_table: table, layers_transfer: layers, compact_vs_large: compact}
    for study, found in numbers.items():
        page = render(result := result_of(study, "s", [found]), study.tell(result))
        assert "other pictures of the same classes" in page and "half of the classes" not in page
        assert "other classes" not in page.partition("The literature.")[0]
        assert "not among" not in page.partition("The literature.")[0]


def test_networks_are_named_only_where_a_study_takes_them(tmp_path: Path) -> None:
    start = Start("mlperf-resnet8", "none")
    with pytest.raises(RecipeError, match="bn-dense makes its own networks; --model and --weights are for transfer-t"):
        run_study("bn-dense", DataChoice("digits"), StudyTarget(tmp_path), Silent(), seeds=(0,), starts=(start,))
    asked = ["study", "mushrooms", "--model", "vgg16", "--weights", "a", "--weights", "b", "--out", str(tmp_path / "o")]
    refused = CliRunner().invoke(cli, asked)
    assert refused.exit_code == 1 and "1 --model and 2 --weights were given" in refused.stderr


def test_a_fresh_head_is_none_of_the_file_also_where_that_has_as_many_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits, heads = at_most(DIGITS.load(), 60, 40, 0), []
    trained = nets.create(path_of("conv_narrow"), 10, input_size=(16, 16), seed=5)
    save_file(trained.state_dict(), tmp_path / "trained.safetensors")

    def predictions(_: Job, student: nets.Normalized, split: str) -> SimpleNamespace:
        heads.append(student.net.state_dict())
        return SimpleNamespace(top1=0.1)

    monkeypatch.setattr(mushrooms, "STRATEGIES", ())
    monkeypatch.setattr(Job, "predictions", predictions)
    start = Start(path_of("conv_narrow"), str(tmp_path / "trained.safetensors"))
    mushrooms.by_epoch(splits, start, Recipe(image_size=16, epochs=1), tmp_path)
    (found,) = heads
    changed = {name for name, value in trained.state_dict().items() if not torch.equal(found[name].cpu(), value)}
    assert changed == {"head.weight", "head.bias"}


def test_what_each_strategy_has_after_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mushrooms, "STRATEGIES", ("head", "full", "scratch"))
    splits = at_most(DataChoice("digits").load(), 60, 40, 0)
    recipe = Recipe(image_size=16, epochs=2, batch_size=16, precision="float32")
    start = Start(path_of("conv_narrow"))
    found = mushrooms.by_epoch(splits, start, recipe, tmp_path)
    assert list(found["strategies"]["scratch"]["val_top1_by_epoch"]) == ["1", "2"]
    assert list(found["strategies"]["full"]["val_top1_by_epoch"]) == ["0", "1", "2"]
    assert 0 <= found["fresh_head"] <= 0.3
