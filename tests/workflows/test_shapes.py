"""Which shapes are worth a training, and who goes on from round to round."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgexfer.errors import FormatError, RecipeError, UnknownNameError
from edgexfer.workflows import halving
from edgexfer.workflows.shapes import NETWORKS, Shape, default_sizes, shapes_of, worth_training
from edgexfer.workflows.trace import TRACE_FILE, Trace


@pytest.mark.parametrize(
    ("network", "family"),
    [
        ("tiny-darknet", ("tiny-darknet", 1.0)),
        ("tiny-darknet-0.5", ("tiny-darknet", 0.5)),
        ("tiny-darknet-0.75+relu", ("tiny-darknet+relu", 0.75)),
        ("tiny-darknet+relu", ("tiny-darknet+relu", 1.0)),
        ("mobilenet-v1-leaky-0.25", ("mobilenet-v1-leaky", 0.25)),
        ("cifar-wrn-16-2", ("cifar-wrn-16-2", 1.0)),
        ("my/net-0.5.py:build", ("my/net-0.5.py:build", 1.0)),
    ],
)
def test_a_family_is_a_network_in_all_its_widths(network: str, family: tuple[str, float]) -> None:
    assert Shape(network, 32).family == family


def test_names_are_good_for_folders() -> None:
    assert Shape("nets/my.py:build", 48).name == "my.py-build@48"


def test_sizes_lie_around_that_of_the_pictures() -> None:
    assert default_sizes((32, 32)) == [16, 24, 32, 40]
    assert default_sizes((500, 375)) == [112, 168, 224, 280]
    assert default_sizes((8, 8)) == [16, 24, 32, 40]


def test_sizes_are_what_the_network_takes_and_each_shape_stands_once() -> None:
    found = shapes_of(["tiny-darknet", "cifar-resnet20"], [8, 16, 24], (32, 32))
    assert [shape.name for shape in found] == [
        "tiny-darknet@16", "tiny-darknet@24", "cifar-resnet20@8", "cifar-resnet20@16", "cifar-resnet20@24",
    ]  # fmt: skip
    assert len(shapes_of(NETWORKS, (), (32, 32))) == 4 * len(NETWORKS)
    with pytest.raises(UnknownNameError, match="tiny-darknet"):
        shapes_of(["tiny-darknet-0.6"], [], (32, 32))


def test_networks_of_one_name_are_refused_and_one_named_twice_counts_once() -> None:
    with pytest.raises(RecipeError, match=r"several students are called net.py-build; rename a file, or search for ea"):
        shapes_of(["a/net.py:build", "tiny-darknet", "b/net.py:build"], [32], (32, 32))
    assert len(shapes_of(["a/net.py:build", "a/net.py:build", "a/net.py:other"], [32], (32, 32))) == 2


def test_the_largest_of_a_family_are_trained_and_no_shape_that_one_of_them_covers() -> None:
    wide, tall, both = Shape("tiny-darknet", 24), Shape("tiny-darknet-0.5", 40), Shape("tiny-darknet-0.75", 32)
    small, other = Shape("tiny-darknet-0.5", 24), Shape("tiny-darknet+relu", 16)
    reasons = worth_training([small, wide, tall, both, other])
    assert reasons == {
        small: "tiny-darknet-0.5@40, of the same family, fits too", wide: "", tall: "", both: "", other: ""
    }  # fmt: skip


@pytest.mark.parametrize(
    ("epochs", "rounds"), [(60, [7, 20, 60]), (18, [2, 6, 18]), (10, [3, 10]), (6, [2, 6]), (4, [4]), (1, [1])]
)
def test_rounds_grow_threefold_up_to_the_whole_training(epochs: int, rounds: list[int]) -> None:
    assert halving.rounds_of(epochs) == rounds


def test_a_third_goes_on_and_three_at_least() -> None:
    scores = dict(zip("abcdefghij", (0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6, 0.5, 0.0), strict=True))
    assert halving.survivors(scores) == ["b", "d", "f", "h"]
    assert halving.survivors({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}) == ["d", "c", "b"]
    assert halving.survivors(scores, 2) == ["b", "d"]


def test_the_time_of_a_training_is_told_from_the_nearest_one() -> None:
    assert halving.seconds_of(10, 1e6, []) is None
    known = [(2, 1e6, 10.0), (2, 8e6, 40.0)]
    assert halving.seconds_of(10, 1e6, known) == pytest.approx(50.0)
    assert halving.seconds_of(2, 16e6, known) == pytest.approx(80.0)
    assert halving.seconds_of(2, 0.5e6, known) == pytest.approx(10.0)  # never less: what surrounds it takes time too


def test_time_is_left_for_the_rounds_to_come() -> None:
    assert [halving.share_of_time(n, 3) for n in range(3)] == [0.75, 0.5, 0.0]
    assert [halving.share_of_time(n, 2) for n in range(2)] == [0.5, 0.0]
    assert halving.share_of_time(0, 1) == 0.0
    clock = halving.Clock(1.0, before=600.0)
    assert clock.left() == pytest.approx(3000, abs=5) and clock.left(0.5) == pytest.approx(1200, abs=5)
    assert halving.Clock(None, 600.0).left(0.9) == float("inf")


def test_the_trace_is_kept_line_by_line_and_belongs_to_one_search(tmp_path: Path) -> None:
    trace = Trace(tmp_path, {"budget": [0.02], "seed": 0})
    trace.add([{"step": "train", "shape": "a", "seconds": 2.0}, {"step": "train", "shape": "b", "seconds": 3.0}])
    again = Trace(tmp_path, {"budget": [0.02], "seed": 0})
    assert again.seconds == 5.0 and again.find("train", shape="b") == {"step": "train", "shape": "b", "seconds": 3.0}
    assert again.find("train", shape="c") is None and len(again.all("train")) == 2
    with pytest.raises(RecipeError, match=r"was begun otherwise: budget \[0.02\] then, \[0.01\] now; repeat"):
        Trace(tmp_path, {"budget": [0.01], "seed": 0})
    (tmp_path / TRACE_FILE).write_text('{"step": "begin"')
    with pytest.raises(FormatError, match="line 1, is not valid JSON"):
        Trace(tmp_path, {})
