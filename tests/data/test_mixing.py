from __future__ import annotations

import numpy as np
import pytest
import torch

from edgexfer.data import Loader, PixelStore, Views
from edgexfer.data.mixing import draw_mixing
from edgexfer.errors import DataError
from tests.data.stores import RULE, store_of


def loader(store: PixelStore, batch_size: int = 8, **options: object) -> Loader:
    given = {"train": True, "seed": 3, "mirrors": True, "augment": "light"} | options
    return Loader(store, np.arange(len(store)), RULE, batch_size, **given)  # type: ignore[arg-type]


def by_picture(batches: Loader) -> dict[int, dict[str, torch.Tensor]]:
    found = {}
    for batch in batches:
        for row, index in enumerate(batch["index"].tolist()):
            found[index] = {key: value[row] for key, value in batch.items() if value.ndim}
    return found


def test_shares_are_uniform_and_partners_everyone() -> None:
    drawn = draw_mixing(np.arange(20_000), 50, 0.5, seed=1, view=0)
    mixed = drawn.shares < 1
    assert mixed.mean() == pytest.approx(0.5, abs=0.02)
    assert drawn.shares[mixed].mean() == pytest.approx(0.5, abs=0.02)
    assert np.bincount(drawn.partners, minlength=50).min() > 300


def test_a_mixed_picture_is_the_blend_of_the_two_as_they_would_be_on_their_own() -> None:
    store = store_of(20)
    alone, mixed = by_picture(loader(store)), by_picture(loader(store, mixup=1.0))
    for index, picture in mixed.items():
        share, partner = picture["mix"], int(picture["partner_labels"])
        expected = alone[index]["inputs"] * share + alone[partner]["inputs"] * (1 - share)
        np.testing.assert_allclose(picture["inputs"].numpy(), expected.numpy(), atol=1e-6)
        assert int(picture["labels"]) == index


def test_batches_and_workers_do_not_matter_views_and_seeds_do() -> None:
    store = store_of(12)
    first = by_picture(loader(store, mixup=1.0))
    for other in (loader(store, 5, mixup=1.0), loader(store, mixup=1.0, workers=2)):
        again = by_picture(other)
        assert all(torch.equal(again[i]["inputs"], first[i]["inputs"]) for i in first)
    another = by_picture(loader(store, mixup=1.0, seed=4))
    assert not any(torch.equal(another[i]["inputs"], first[i]["inputs"]) for i in first)


def test_views_come_round_and_do_not_depend_on_the_seed_of_the_order() -> None:
    store = store_of(12)
    shown = loader(store, views=Views(2), mixup=0.5)
    epochs = []
    for epoch in range(4):
        shown.set_epoch(epoch)
        assert [int(batch["view"]) for batch in shown] == [epoch % 2] * 2
        epochs.append(by_picture(shown))
    assert all(torch.equal(epochs[0][i]["inputs"], epochs[2][i]["inputs"]) for i in range(12))
    assert not any(torch.equal(epochs[0][i]["inputs"], epochs[1][i]["inputs"]) for i in range(12))
    other = loader(store, views=Views(2), mixup=0.5, seed=99)
    assert all(torch.equal(by_picture(other)[i]["inputs"], epochs[0][i]["inputs"]) for i in range(12))


def test_evaluation_is_never_mixed() -> None:
    plain = list(loader(store_of(6), train=False, mixup=1.0, augment="none"))
    assert "mix" not in plain[0]


def test_mistakes_are_named() -> None:
    with pytest.raises(DataError, match="mixup is 1.5; it is a share of the pictures"):
        loader(store_of(3), mixup=1.5)
    with pytest.raises(DataError, match="views is 0; at least 1"):
        Views(0)
