from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest

from edgexfer.errors import QuantizationError
from edgexfer.export import choose, figures
from edgexfer.export.choose import Judge, Search, methods_of

LAYERS = [f"layer{i}" for i in range(12)]


class World:
    """A network whose layers lose what is written here, and cost what is written here."""

    def __init__(self, losses: dict[str, float], seconds: Callable[[Sequence[str]], float] = lambda left: 1.0) -> None:
        self.losses, self.seconds, self.bars = losses, seconds, list[tuple[str, int]]()

    def lost(self, left: Sequence[str]) -> float:
        return sum(loss for name, loss in self.losses.items() if name not in left)

    def search(self, monkeypatch: pytest.MonkeyPatch, max_drop: float, timed: bool = True) -> tuple[Search, list[str]]:
        monkeypatch.setattr(choose, "leave_in_float", lambda wrapped, base, names: tuple(names))
        monkeypatch.setattr(choose, "weighted_layers", lambda base: LAYERS)
        monkeypatch.setattr(choose.qdq, "wrap", lambda base, plan: ())
        monkeypatch.setattr(Judge, "divergence", lambda judge, left, count=None: self.lost(left) / 100)
        monkeypatch.setattr(Judge, "loss_points", lambda judge, left: self.lost(left))
        monkeypatch.setattr(Search, "_seconds", lambda search, models: [self.seconds(m) for m in models])
        said: list[str] = []
        none = np.zeros(0)
        judge = Judge(None, "x86", none, None, none, timed)  # type: ignore[arg-type]
        return Search(onnx.ModelProto(), judge, max_drop, said.append, self), said

    def begin(self, title: str, total: int) -> None:
        self.bars.append((title, total))

    def advance(self, done: int, note: str) -> None:
        assert done <= self.bars[-1][1]

    def end(self) -> None:
        pass


RANGES = {"minmax": {}, "entropy": {}}


def test_within_the_budget_nothing_is_left_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    search, _ = World({"layer4": 0.5}).search(monkeypatch, 1.0)
    plan = search.choose("d", RANGES, ("minmax", "entropy"))
    assert plan.float_layers == () and plan.artifact_digest == "d"
    assert [t["step"] for t in search.trace] == ["candidate"] * 4 + ["front"] * 2 + ["loss"]


def test_the_most_sensitive_layers_are_left_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({"layer2": 5.0, "layer7": 3.0, "layer9": 0.7, "layer5": 0.2})
    search, said = world.search(monkeypatch, 1.0)
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ("layer2", "layer7")
    assert "int8 lost 8.9 points; with layer2, layer7 in float32 it keeps within 1" in said
    assert world.bars == [("int8 candidates", 2), ("int8 sensitivity", 12)]
    assert {t["layer"] for t in search.trace if t["step"] == "layer"} == set(LAYERS)


def test_of_two_equals_the_cheaper_one_is_left_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = {"layer3": 0.5, "layer8": 0.1}
    world = World({"layer3": 2.0, "layer8": 2.0}, lambda left: 1 + sum(cost.get(n, 0.2) for n in left))
    search, _ = world.search(monkeypatch, 2.0)
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ("layer8",)


def test_a_budget_that_cannot_be_kept_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    search, said = World(dict.fromkeys(LAYERS, 9.0)).search(monkeypatch, 1.0)
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ()
    assert "int8 loses 108.0 points, and no choice of layers in float32 brings that to 1" in said


def test_the_first_layers_stay_in_float_while_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({}, lambda left: {0: 1.0, 1: 0.8, 2: 0.7, 3: 0.9}[len(left)])
    search, said = world.search(monkeypatch, 1.0)
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ("layer0", "layer1")
    assert "int8: the first 2 layers in float32, 1.43x faster here than in 8 bits too" in said
    search, _ = world.search(monkeypatch, 1.0, timed=False)
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ()


def test_the_only_layer_is_not_left_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    search, said = World({}, lambda left: 1.0 - 0.5 * len(left)).search(monkeypatch, 1.0)
    monkeypatch.setattr(choose, "weighted_layers", lambda base: LAYERS[:1])
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ()
    monkeypatch.setattr(choose, "weighted_layers", lambda base: LAYERS[:2])
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ("layer0",)


def test_only_nan_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    search, _ = World({"layer0": float("nan")}).search(monkeypatch, 1.0)
    with pytest.raises(QuantizationError, match="every int8 candidate answers with NaN"):
        search.choose("d", RANGES, ("minmax",))


def test_methods_have_names() -> None:
    assert methods_of("percentile") == ("percentile 99.99", "percentile 99.9")
    assert methods_of("entropy") == ("entropy",) and len(methods_of("auto")) == 4
    with pytest.raises(QuantizationError, match="'mse'; allowed: auto, minmax, entropy, percentile"):
        methods_of("mse")


def test_the_paired_interval_is_that_of_agresti_and_min() -> None:
    labels = np.zeros(100, int)
    right, wrong = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    before = np.concatenate([np.repeat(right, 90, 0), np.repeat(wrong, 10, 0)])
    after = np.concatenate([np.repeat(wrong, 6, 0), np.repeat(right, 86, 0), np.repeat(wrong, 8, 0)])
    drop = figures.paired_drop(before, after, labels)
    assert drop.points == pytest.approx(4.0)  # 6 lost, 2 won
    middle, spread = 4 / 102, 1.959964 * np.sqrt(9 - 16 / 102) / 102
    assert drop.interval == pytest.approx((100 * (middle - spread), 100 * (middle + spread)))
