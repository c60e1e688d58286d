import itertools

import numpy as np
import pytest
import torch

from edgexfer.data import AUGMENTS, Loader
from edgexfer.errors import DataError
from edgexfer.preprocessing import Preprocessing, square
from tests.data.stores import RULE, store_of


def loader(count: int, batch_size: int, rule: Preprocessing = RULE, **options: object) -> Loader:
    given = {"train": True, "seed": 3, "mirrors": True, "augment": "light"} | options
    return Loader(store_of(count, rule), np.arange(count) * 10, rule, batch_size, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "batch_size", "train", "sizes"),
    [
        (10, 4, True, [4, 4, 2]), (9, 4, True, [4, 5]), (9, 4, False, [4, 4, 1]), (3, 8, True, [3]), (1, 8, True, [1]),
        (8, 4, True, [4, 4]), (3, 1, True, [1, 2]),
    ],
)  # fmt: skip
def test_batch_sizes(count: int, batch_size: int, train: bool, sizes: list[int]) -> None:
    made = loader(count, batch_size, train=train)
    batches = list(made)
    assert [len(b["labels"]) for b in batches] == sizes
    assert len(made) == len(sizes) and made.images == count
    index = torch.cat([b["index"] for b in batches])
    assert sorted(index.tolist()) == list(range(count))
    assert torch.cat([b["labels"] for b in batches]).tolist() == [10 * i for i in index.tolist()]
    for b in batches:
        assert b["inputs"].dtype == torch.float32 and b["labels"].dtype == b["index"].dtype == torch.int64
        assert b["inputs"].shape[1:] == (3, 16, 16)


def test_training_is_shuffled_anew_each_epoch_and_repeats() -> None:
    made = loader(40, 8)
    orders = []
    for epoch in (0, 1, 0):
        made.set_epoch(epoch)
        orders.append(torch.cat([b["index"] for b in made]).tolist())
    assert orders[0] == orders[2] != orders[1]
    assert orders[0] != list(range(40))


def same(first: object, second: object) -> bool:
    pairs = itertools.zip_longest(first, second)  # type: ignore[call-overload]
    return all(a is not None and b is not None and all(torch.equal(a[k], b[k]) for k in a) for a, b in pairs)


@pytest.mark.parametrize("augment", AUGMENTS)
def test_iterating_twice_gives_the_same_tensors(augment: str) -> None:
    made = loader(20, 8, augment=augment)
    made.set_epoch(4)
    assert same(made, made)
    assert not same(made, loader(20, 8, augment=augment))
    other = loader(20, 8, augment=augment)
    other.set_epoch(4)
    assert same(made, other)


@pytest.mark.parametrize(("augment", "mirrors"), [("light", True), ("strong", False), ("strong", True)])
def test_workers_change_nothing(augment: str, mirrors: bool) -> None:
    alone = loader(21, 4, augment=augment, mirrors=mirrors)
    helped = loader(21, 4, augment=augment, mirrors=mirrors, workers=2)
    for epoch in (0, 1):
        alone.set_epoch(epoch)
        helped.set_epoch(epoch)
        assert same(list(alone), list(helped))


def test_batch_size_changes_no_picture() -> None:
    def by_index(batch_size: int) -> dict[int, torch.Tensor]:
        return {
            int(i): x
            for b in loader(20, batch_size, augment="light")
            for i, x in zip(b["index"], b["inputs"], strict=True)
        }

    small, large = by_index(3), by_index(20)
    assert all(torch.equal(small[i], large[i]) for i in range(20))


def test_evaluation_is_in_order_and_plain() -> None:
    made = loader(9, 4, train=False, augment="strong")
    made.set_epoch(7)
    batches = list(made)
    assert torch.cat([b["index"] for b in batches]).tolist() == list(range(9))
    plain = loader(9, 4, train=False)
    assert same(batches, list(plain))
    pixels = (batches[0]["inputs"] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(pixels[2], store_of(9)[2][:, 2:18])


def test_interrupted_iteration_leaves_nothing_behind() -> None:
    made = loader(40, 4, workers=2)
    next(iter(made))
    assert same(list(made), list(loader(40, 4)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": "heavy"}, "augment is 'heavy'; allowed: none, light, strong"),
        ({"workers": -1}, r"workers is -1; allowed: 0 \(none\) and up"),
        ({"batch_size": 0}, "batch_size is 0; it needs 1 at least"),
        ({"labels": np.zeros(3)}, "4 pictures but 3 labels"),
        ({"rule": square(32)}, "build the store with the preprocessing that is used"),
    ],
)
def test_mistakes(options: dict[str, object], message: str) -> None:
    given: dict[str, object] = {
        "labels": np.zeros(4, np.int64),
        "rule": RULE,
        "batch_size": 2,
        "augment": "none",
        "workers": 0,
    }
    given |= options
    with pytest.raises(DataError, match=message):
        Loader(
            store_of(4), given["labels"], given["rule"], given["batch_size"], augment=given["augment"],  # type: ignore[arg-type]
            train=True, seed=0, mirrors=True, workers=given["workers"],  # type: ignore[arg-type]
        )  # fmt: skip


def test_no_pictures() -> None:
    with pytest.raises(DataError, match="there are no pictures to load"):
        loader(0, 4)


def test_workers_take_nothing_from_the_generator_that_draws_dropout() -> None:
    drawn = []
    for workers in (0, 1):
        torch.manual_seed(5)
        list(loader(8, 4, workers=workers))
        drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
