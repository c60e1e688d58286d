from __future__ import annotations

import pickle
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgexfer.data import LiveStore, Loader, View, build_store, live, load_splits, room_for, store
from edgexfer.errors import DataError
from edgexfer.preprocessing import Preprocessing, square

RULES = [square(32), Preprocessing((20, 28), 33, "center", "bicubic"), Preprocessing((24, 16), None, "none", "bicubic")]


def view_of(sizes: list[tuple[int, int]]) -> View:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in sizes]
    names = tuple(map(str, range(len(images))))
    return View("train", names, np.arange(len(images)), lambda i: images[i], names)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("augment", ["none", "light", "strong"])
def test_batches_are_those_of_packed_pictures_byte_by_byte(rule: Preprocessing, augment: str) -> None:
    view = view_of([(90 - i, 40 + i) for i in range(40)])
    stores = (build_store(view, rule), LiveStore(view, rule))
    assert len(stores[0]) == len(stores[1]) == 40
    assert all(
        np.array_equal(packed, alive) for packed, alive in zip(*(s.take(range(40)) for s in stores), strict=True)
    )
    for train in (True, False):
        loaders = [
            Loader(s, view.labels, rule, 35, augment=augment, train=train, seed=3, mirrors=True, mixup=0.5)
            for s in stores
        ]
        for loader in loaders:
            loader.set_epoch(1)
        for first, second in zip(*loaders, strict=True):
            assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_another_rule_is_refused_and_a_compatible_one_is_not() -> None:
    alive = LiveStore(view_of([(90, 60)]), Preprocessing((32, 32), 40))
    assert store.eval_pixels(alive, [0], Preprocessing((40, 24), 40)).shape == (1, 40, 24, 3)
    with pytest.raises(DataError, match="scaled by resize 40, bilinear.*build the store with"):
        store.eval_pixels(alive, [0], square(32))


def test_it_travels_to_other_processes(folder_of: Callable[..., Path]) -> None:
    splits = load_splits(folder_of({"a": 4, "b": 4}))
    alive = LiveStore(splits.untied().train, square(16))
    again = pickle.loads(pickle.dumps(alive))
    assert np.array_equal(again[1], alive[1])


def test_what_is_needed_is_estimated_where_it_matters(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    usage = namedtuple("usage", "free")
    free = 0
    monkeypatch.setattr(live.shutil, "disk_usage", lambda folder: usage(free))
    monkeypatch.setattr(live, "DEFAULT_LIMIT_BYTES", 0)
    looked: list[int] = []
    view = view_of([(100, 50)] * 200)
    images = view.read

    def read(index: int) -> Image.Image:
        looked.append(index)
        return images(index)

    view = View(view.name, view.files, view.labels, read, view.digests)
    exact = build_store(view, square(20)).size_bytes
    looked.clear()
    for free, is_enough, samples in (
        (exact * 2, True, live.SAMPLED),
        (int(exact / 0.79), True, live.SAMPLED),
        (int(exact / 0.81), False, live.SAMPLED),
        (exact // 2, False, 0),
        (exact * 10, True, 0),
    ):
        looked.clear()
        room = room_for(view, square(20))
        assert (room.is_enough, len(looked)) == (is_enough, samples), free
        assert room.folder == own_cache / "pixels" and room.free_bytes == free
        assert not samples or room.needed_bytes == exact
    assert room_for(view, Preprocessing((10, 20), None, "none")).needed_bytes == 200 * 600
