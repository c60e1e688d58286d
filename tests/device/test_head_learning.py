"""The mathematics of adapt.py, against scikit-learn, closed forms and the workstation's own rules."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from edgexfer import device
from edgexfer.data.groups import group_pictures
from edgexfer.transfer.logistic import fit_head

regression = device.load("_edgexfer_regression")
split = device.load("_edgexfer_split")
groups = device.load("_edgexfer_groups")
embeddings = device.load("_edgexfer_embeddings")
environment = device.load("_edgexfer_environment")


def made(classes: int, rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Features ``(rows, 7)`` of very different scales, the last one constant, with classes that overlap."""
    generator = np.random.default_rng(3)
    labels = np.arange(rows) % classes
    x = generator.normal(size=(rows, 7)) * [1, 5, 0.1, 1, 1, 1, 1] + labels[:, None] * [0.5, 1, 0, 0, -0.3, 0, 0] + 3
    x[:, 6] = 2.5
    return x.astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("l2", [0.3, 0.02, 1e-3])
def test_the_minimum_is_scikit_learns_at_equal_c(classes: int, l2: float) -> None:
    x, labels = made(classes)
    w, b = regression.fit(x, labels, classes, l2)
    std = np.where(x.std(axis=0) > 0, x.std(axis=0, dtype=np.float64), 1)
    scaled = (x - x.mean(axis=0, dtype=np.float64)) / std
    # Of two classes scikit-learn penalises one weight vector w where we penalise two, w/2 and -w/2.
    theirs = LogisticRegression(C=1 / ((l2 if classes > 2 else l2 / 2) * len(x)), tol=1e-10, max_iter=10_000)
    theirs.fit(scaled, labels)
    np.testing.assert_allclose(softmax(x @ w + b, axis=1), theirs.predict_proba(scaled), atol=1e-5)
    worse = softmax(x @ (1.01 * w) + b, axis=1)
    assert np.abs(worse - theirs.predict_proba(scaled)).max() > 1e-4, "a 1% error would be seen"


@pytest.mark.parametrize("classes", [2, 5])
def test_the_workstations_head_is_the_same(classes: int) -> None:
    x, labels = made(classes)
    wide = np.concatenate([x, np.random.default_rng(1).normal(size=(120, 200))], axis=1).astype(np.float32)
    for features in (x, wide):
        ours = regression.fit(features, labels, classes, 0.03)
        theirs = fit_head(features, labels, classes, 0.03)
        np.testing.assert_allclose(ours[0], theirs.weight, atol=1e-5 * np.abs(theirs.weight).max())
        free = ours[1] - theirs.bias  # the intercept is fixed up to a constant over the classes
        np.testing.assert_allclose(free - free.mean(), 0.0, atol=1e-4)


def test_the_gradient_is_that_of_differences() -> None:
    x, labels = made(3)
    rows = regression.Rows(x, np.arange(len(x)))
    weight = np.random.default_rng(0).normal(size=(8, 3))
    _, slope = regression.objective(rows, labels, weight, 0.05)
    for at in [(0, 0), (3, 2), (7, 1)]:
        step = np.zeros_like(weight)
        step[at] = 1e-5
        up, down = (regression.objective(rows, labels, weight + s * step, 0.05)[0] for s in (1, -1))
        assert slope[at] == pytest.approx((up - down) / 2e-5, abs=1e-7)


def test_large_tables_are_read_in_blocks_to_the_same_end(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = made(3)
    index = np.random.default_rng(1).permutation(len(x))[:100]
    kept = regression.fit(x, labels[index], 3, 0.01, index=index)
    monkeypatch.setattr(regression, "KEPT_BYTES", 0)
    monkeypatch.setattr(regression, "BLOCK", 17)
    blocks = regression.fit(x, labels[index], 3, 0.01, index=index)
    np.testing.assert_allclose(blocks[0], kept[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(blocks[1], kept[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [16, 64, 500])
def test_minibatches_reach_the_same_minimum(batch: int) -> None:
    x, labels = made(3)
    rows = regression.Rows(x, np.arange(len(x)))

    def objective(layer: tuple[np.ndarray, np.ndarray]) -> float:
        w, b = layer
        weight = np.concatenate([w * rows.deviation[:, None], (b + rows.mean @ w)[None]])
        return float(regression.objective(rows, labels, weight, 0.02)[0])

    best = objective(regression.fit(x, labels, 3, 0.02))
    found = objective(regression.fit_minibatch(x, labels, 3, 0.02, iterations=2000, batch=batch))
    assert best - 1e-9 <= found <= best * 1.002
    again = regression.fit_minibatch(x, labels, 3, 0.02, iterations=50, batch=batch, seed=1)
    np.testing.assert_array_equal(
        again[0], regression.fit_minibatch(x, labels, 3, 0.02, iterations=50, batch=batch, seed=1)[0]
    )


def test_a_fifth_of_each_class_is_held_out_in_whole_groups() -> None:
    labels = np.repeat([0, 1, 2, 3, 4], [50, 10, 2, 1, 8])
    alone = np.arange(71)
    held = split.holdout(labels, alone, 0.2, seed=1)
    assert np.bincount(labels[held], minlength=5).tolist() == [10, 2, 1, 0, 2]
    np.testing.assert_array_equal(held, split.holdout(labels, alone, 0.2, seed=1))
    assert held.tolist() != split.holdout(labels, alone, 0.2, seed=2).tolist()
    bursts = alone // 5  # the group of 60 holds classes 1, 2 and 3 and is learned from
    held = split.holdout(labels, bursts, 0.2, seed=1)
    assert all(len(set(held[bursts == g])) == 1 for g in set(bursts))
    assert not held[bursts == 12].any() and held[:50].sum() == 10


def test_folds_divide_each_class_evenly_and_keep_groups_whole() -> None:
    labels, groups_ = np.repeat([0, 1, 2], [40, 10, 3]), np.arange(53) // 2
    groups_[50:] = 99  # the last class is one burst: always learned from
    fold = split.folds(labels, groups_, 5, seed=0)
    assert np.bincount(fold[labels == 0]).tolist() == [8] * 5
    assert np.bincount(fold[labels == 1]).tolist() == [2] * 5
    assert (fold[labels == 2] == -1).all()
    assert all(len(set(fold[groups_ == g])) == 1 for g in set(groups_))


def test_the_penalty_is_the_one_of_lowest_cross_entropy() -> None:
    x, labels = made(3, rows=60)
    noise = np.random.default_rng(0).normal(size=(60, 40)).astype(np.float32)  # makes a weak penalty overfit
    table = np.concatenate([x, noise], axis=1)
    everyone = np.arange(60)
    best, losses = split.choose_l2(table, everyone, labels, everyone, 3)
    assert best == min(losses, key=losses.__getitem__) > 0.01
    assert list(losses) == list(split.L2_GRID[: len(losses)]), "from strong to weak"
    assert len(losses) < len(split.L2_GRID), "it stops when it only gets worse"
    fold = split.folds(labels, everyone, 5, 0)
    expected = 0.0
    for number in range(5):
        w, b = regression.fit(table, labels[fold != number], 3, best, index=np.flatnonzero(fold != number))
        shares = softmax(table[fold == number] @ w + b, axis=1)
        expected -= np.log(shares[np.arange((fold == number).sum()), labels[fold == number]]).sum()
    assert losses[best] == pytest.approx(expected / 60, rel=1e-3)
    alone = split.choose_l2(table[:2], np.arange(2), np.array([0, 1]), np.arange(2), 2)
    assert alone == (split.L2_DEFAULT, {})


def test_the_interval_is_wilsons() -> None:
    assert split.wilson(45, 50) == pytest.approx((0.7864, 0.9565), abs=1e-4)  # Newcombe 1998 gives the formula
    assert split.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert split.wilson(0, 0) == (0.0, 1.0)


def test_groups_are_the_workstations() -> None:
    generator = np.random.default_rng(0)
    different = generator.integers(0, 256, (60, 16, 16))
    near = (different[:20] * 0.9 + 10 + generator.integers(-4, 5, (20, 16, 16))).clip(0, 255)
    thumbs = np.concatenate([different, near, np.full((5, 16, 16), 80)]).astype(np.uint8)
    digests = [bytes([i % 83]) for i in range(85)]
    names = [f"class/{i // 4}_{i}.png" for i in range(85)]
    for side in (32, 224):
        for rule in (None, r"/(\d+)_"):
            ties = groups.rule_ties(rule, names)
            ours = groups.group(digests, thumbs.reshape(85, 256), side, ties)
            theirs = group_pictures([d.hex() for d in digests], thumbs, np.full(85, side), names, rule).groups
            assert [sorted(np.flatnonzero(ours == g)) for g in dict.fromkeys(ours)] == [
                sorted(np.flatnonzero(theirs == g)) for g in dict.fromkeys(theirs)
            ]
    camera = (different[:1].repeat(60, 0) + generator.integers(-3, 4, (60, 16, 16))).clip(0, 255).astype(np.uint8)
    alike = groups.group([bytes([i]) for i in range(60)], camera.reshape(60, 256), 224, [None] * 60)
    assert len(set(alike)) == 60, "one fixed camera is not one group"


def filled(folder: Path, count: int) -> Any:
    store = embeddings.Store(str(folder), "ab" * 32, 3, "test")
    for i in range(count):
        store.add(bytes([i]) * 32, np.zeros(256, np.uint8), np.full(3, i, np.float32))
    return store


def test_an_upgraded_runtime_leaves_what_the_old_one_made(tmp_path: Path) -> None:
    filled(tmp_path, 3).close()
    upgraded = embeddings.Store(str(tmp_path), "ab" * 32, 3, "upgraded")
    assert len(upgraded) == 0 and list(upgraded.made_by_others().values()) == ["test"]
    upgraded.close()
    back = filled(tmp_path, 0)
    assert len(back) == 3 and list(back.made_by_others().values()) == ["upgraded"]
    back.close()


def test_a_full_card_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path, 3)

    class Full:
        """A card on which half of the next record still fits."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        def write(self, content: bytes) -> int:
            self._stream.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stream = store._stream
    store._stream = Full(stream)
    with pytest.raises(environment.DeviceError, match="the card is full while writing .* 3 embeddings are kept, free"):
        store.add(b"x" * 32, np.zeros(256, np.uint8), np.ones(3, np.float32))
    assert os.path.getsize(store.path) == 4096 + 3 * 304
    store.close()
    store = filled(tmp_path, 0)
    assert len(store) == 3 and store.table()["embedding"].tolist() == [[0.0] * 3, [1.0] * 3, [2.0] * 3]
    room = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda folder: os.statvfs_result([*room[:3], 300, 300, *room[5:]]))
    store.check_room(10)
    with pytest.raises(
        environment.DeviceError, match=r"embeddings of 5000 pictures need 3.6 MB in .*, 1.2 MB are free"
    ):
        store.check_room(5000)
    store.close()
