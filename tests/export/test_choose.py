from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest

from edgexfer.errors import QuantizationError
from edgexfer.export import choose, figures
from edgexfer.export.choose import MOST_SLOW, TIMES, Search, methods_of, symmetries_of
from edgexfer.export.judge import Judge, Loss, spread, steadied

LAYERS = [f"layer{i}" for i in range(12)]


class World:
    """A network whose layers lose what is written here, cost what is written here, and have these slow kernels."""

    def __init__(
        self,
        losses: dict[str, float],
        seconds: Callable[[Sequence[str]], float] = lambda left: 1.0,
        slow: Sequence[str] = (),
    ) -> None:
        self.losses, self.seconds, self.slow, self.bars = losses, seconds, slow, list[tuple[str, int]]()

    def lost(self, left: Sequence[str]) -> float:
        return sum(loss for name, loss in self.losses.items() if name not in left)

    def search(self, monkeypatch: pytest.MonkeyPatch, max_drop: float, timed: bool = True) -> tuple[Search, list[str]]:
        monkeypatch.setattr(choose.qdq, "completed", lambda wrapped, base, names: (*wrapped, *names))
        monkeypatch.setattr(choose, "weighted_layers", lambda base: LAYERS)
        monkeypatch.setattr(choose.qdq, "wrap", lambda base, plan: ())
        monkeypatch.setattr(Judge, "divergence", lambda judge, left, count: self.lost(left) / 100)
        monkeypatch.setattr(Judge, "loss", lambda judge, left: Loss(self.lost(left), self.lost(left)))
        monkeypatch.setattr(Judge, "slower", lambda judge, base, wrapped: list(self.slow))
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
    assert [t["step"] for t in search.trace] == ["candidate"] * 5 + ["front"] * 2 + ["loss"]


def test_the_most_sensitive_layers_are_left_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({"layer2": 5.0, "layer7": 3.0, "layer9": 0.7, "layer5": 0.2})
    search, said = world.search(monkeypatch, 1.0)
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ("layer2", "layer7")
    assert "int8 lost 8.9 points; with layer2, layer7 in float32 it keeps within 1" in said
    assert world.bars == [("int8 candidates", 3), ("int8 sensitivity", 12)]
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


def test_a_gain_that_does_not_show_each_time_leaves_no_layer_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: dict[int, int] = {}

    def seconds(left: Sequence[str]) -> float:
        turns[len(left)] = turns.get(len(left), 0) + 1
        return 1.0 if not left or turns[len(left)] % TIMES == 0 else 0.9

    search, _ = World({}, seconds, ["layer6"]).search(monkeypatch, 1.0)
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ()
    fronts = [step for step in search.trace if step["step"] == "front"]
    assert [step["float_layers"] for step in fronts] == [["layer0"], ["layer0", "layer1"]]
    assert all(step["times"] == TIMES and step["cpu_s"] == step["against_cpu_s"] for step in fronts)


def test_the_only_layer_is_not_left_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    search, said = World({}, lambda left: 1.0 - 0.5 * len(left)).search(monkeypatch, 1.0)
    monkeypatch.setattr(choose, "weighted_layers", lambda base: LAYERS[:1])
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ()
    monkeypatch.setattr(choose, "weighted_layers", lambda base: LAYERS[:2])
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ("layer0",)


def test_later_layers_stay_in_float_where_the_file_is_faster_so(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = {"layer0": 0.2, "layer6": 0.1, "layer9": -0.1, "layer11": 0.05}
    world = World({}, lambda left: 1 - sum(gains.get(n, -0.3) for n in left), ["layer6", "layer0", "layer9", "layer11"])
    search, said = world.search(monkeypatch, 1.0)
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ("layer0", "layer6", "layer11")
    assert "int8: layer6, layer11 in float32, because the file is faster so here" in said
    tried = [(step["float_layers"][1:], step["times"]) for step in search.trace if step["step"] == "slow"]
    assert tried == [(["layer6"], TIMES), (["layer6", "layer9"], 1), (["layer6", "layer11"], TIMES)]
    search, _ = world.search(monkeypatch, 1.0, timed=False)
    assert search.choose("d", RANGES, ("minmax",)).float_layers == ()


def test_few_layers_are_tried_for_their_time_and_one_stays_in_8_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    search, _ = World({}, lambda left: 1.0, LAYERS).search(monkeypatch, 1.0)
    search.choose("d", RANGES, ("minmax",))
    assert sum(step["step"] == "slow" for step in search.trace) == MOST_SLOW
    search, _ = World({}, lambda left: 1.0 - 0.1 * len(left), LAYERS).search(monkeypatch, 1.0)
    monkeypatch.setattr(choose, "weighted_layers", lambda base: LAYERS[:3])
    assert len(search.choose("d", RANGES, ("minmax",)).float_layers) == 2


def test_both_symmetries_are_candidates_where_both_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    search, said = World({}).search(monkeypatch, 1.0)
    monkeypatch.setattr(choose.qdq, "wrap", lambda base, plan: () if plan.symmetric else ("coarse",))
    monkeypatch.setattr(Judge, "divergence", lambda judge, model, count: float(len(model)))
    assert search.choose("d", RANGES, ("minmax",), symmetries_of("auto", "arm64")).symmetric
    assert said[0] == "int8: of 5 candidates the closest to float32 was minmax, symmetric, one scale a channel"
    tried = [step["symmetric"] for step in search.trace if step["step"] == "candidate"]
    assert tried == [False, False, True, True, True]


@pytest.mark.parametrize("is_closer", [True, False])
def test_weights_of_the_closest_candidate_are_balanced_where_that_is_closer(
    is_closer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, said = World({}).search(monkeypatch, 1.0)
    distances = {(False, True): 2.0, (False, False): 3.0, (True, True): 1.0 if is_closer else 2.5}
    monkeypatch.setattr(choose.qdq, "wrap", lambda base, plan: (distances[plan.balanced, plan.per_channel],))
    monkeypatch.setattr(Judge, "divergence", lambda judge, model, count: float(model[0]))
    monkeypatch.setattr(Search, "_with", lambda search, wrapped, names: wrapped)
    assert search.choose("d", RANGES, ("minmax",)).balanced == is_closer
    assert said[0].endswith("minmax, one scale a channel" + ", balanced weights" * is_closer)
    assert [step["balanced"] for step in search.trace if step["step"] == "candidate"] == [False, False, True]


def test_symmetries_have_names() -> None:
    assert symmetries_of("auto", "x86") == symmetries_of("asymmetric", "arm64") == ("asymmetric",)
    assert symmetries_of("auto", "arm64") == ("asymmetric", "symmetric")
    with pytest.raises(QuantizationError, match="'odd'; allowed: auto, asymmetric, symmetric"):
        symmetries_of("odd", "x86")


def test_some_of_the_pictures_are_from_all_classes() -> None:
    labels = np.repeat(np.arange(10), 26)
    assert set(labels[spread(len(labels), 32)]) == set(range(10))
    assert len(spread(260, 32)) == 32 and spread(5, 32).tolist() == [0, 1, 2, 3, 4]


def test_a_loss_on_few_pictures_is_drawn_towards_what_is_usual() -> None:
    assert steadied(0.0, 0.0, 10) == 0.0
    assert steadied(3.0, 12.0, 10**9) == pytest.approx(3.0)  # enough pictures: as measured
    assert steadied(-4.0, 12.0, 1) == pytest.approx(0.1 * 12, abs=0.03)  # one picture tells nothing
    # a prior of 1.2 +- 1.2 and a measurement of 0 +- sqrt(100 * 12 / 256): weights 1 / 1.44 and 1 / 4.6875
    assert steadied(0.0, 12.0, 256) == pytest.approx(1.2 / 1.44 / (1 / 1.44 + 1 / 4.6875))


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
