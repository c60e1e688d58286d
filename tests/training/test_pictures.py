from __future__ import annotations

import gc
import weakref
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest

from edgexfer.data import LiveStore, PackedStore, PixelStore, Splits, View, load_splits
from edgexfer.preprocessing import Preprocessing, square
from edgexfer.training import Silent
from edgexfer.training import pictures as pictures_module
from edgexfer.training.pictures import Decoded, decoded
from tests.heard import Heard


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_splits("digits")


def part(view: View, count: int) -> View:
    return replace(view, files=view.files[:count], labels=view.labels[:count], digests=view.digests[:count])


def test_the_same_pictures_by_the_same_rule_are_decoded_once(splits: Splits) -> None:
    pictures, val = Decoded(), part(splits.val, 8)
    store = pictures.store(val, square(8), Silent())
    assert pictures.store(replace(val), square(8, mean=(0.5, 0.5, 0.5)), Silent()) is store
    assert pictures.store(part(splits.train, 8), square(8), Silent()) is not store
    assert pictures.store(val, square(8), Silent()) is store, "another split does not take its place"


@pytest.mark.parametrize("rule", [square(16), Preprocessing((8, 8), 8, interpolation="bicubic")])
def test_another_rule_or_other_pictures_are_decoded_anew(splits: Splits, rule: Preprocessing) -> None:
    pictures, val = Decoded(), part(splits.val, 8)
    pictures.store(val, square(8), Silent())
    other = pictures.store(val, rule, Silent())
    assert other.same_rule(rule)
    fewer = pictures.store(part(val, 5), rule, Silent())
    assert len(fewer) == 5 and np.array_equal(fewer[4], other[4])


def test_a_store_that_does_not_serve_goes_before_the_next_is_made(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, val, there = Decoded(), part(splits.val, 8), []
    first = weakref.ref(pictures.store(val, square(8), Silent()))
    real = pictures_module.decoded

    def looking(*arguments: object) -> PixelStore:
        gc.collect()
        there.append(first())
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pictures_module, "decoded", looking)
    pictures.store(val, square(16), Silent())
    assert there == [None]


def test_what_would_not_fit_on_the_disk_is_decoded_again_and_again(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgexfer.data.live.DEFAULT_LIMIT_BYTES", 0)
    usage = namedtuple("usage", "free")
    packed = decoded(splits.val, square(16), Silent())
    monkeypatch.setattr("edgexfer.data.live.shutil.disk_usage", lambda folder: usage(100_000))
    heard = Heard()
    alive = decoded(splits.val, square(16), heard)
    assert isinstance(alive, LiveStore) and isinstance(packed, PackedStore)
    assert all(np.array_equal(alive[i], packed[i]) for i in range(len(splits.val)))
    (said,) = heard.lines
    assert said.startswith("WARNING the 269 pictures of val would take about 207 kB decoded, and 100 kB are free in '")
    assert said.endswith(
        "each is decoded again whenever it is needed, which is slower; free space, set EDGEXFER_CACHE to a folder on"
        " another disk, or pass --workers"
    )


def test_trainings_of_one_command_tell_of_their_data_once(splits: Splits) -> None:
    heard, pictures = Heard(), Decoded()
    damaged = replace(splits, notes=("a note",), skipped=(("a.jpg", "cannot be decoded"),))
    for told in (damaged, splits, damaged, replace(damaged)):
        pictures.tell_of(told, heard)
    assert heard.lines == ["a note", "WARNING left out a.jpg: cannot be decoded"]
