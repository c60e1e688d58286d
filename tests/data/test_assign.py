import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.data.assign import TEST, TRAIN, VAL, assign_splits, check_fractions
from edgexfer.errors import DataError


def digests(count: int, salt: str = "") -> list[str]:
    return [hashlib.sha256(f"{salt}{i}".encode()).hexdigest() for i in range(count)]


def assign(labels: list[int], groups: list[int] | None = None, seed: int = 0, **kw: float) -> np.ndarray:
    options = {"val_split": 0.15, "test_split": 0.15} | kw
    return assign_splits(
        np.array(labels), digests(len(labels)), np.array(groups or range(len(labels))), seed=seed, **options
    )


def test_seventy_fifteen_fifteen_in_every_class() -> None:
    labels = np.array([0] * 100 + [1] * 40 + [2] * 20)
    sides = assign(labels.tolist())
    for label, (train, val, test) in enumerate([(70, 15, 15), (28, 6, 6), (14, 3, 3)]):
        mine = sides[labels == label]
        assert [(mine == s).sum() for s in (TRAIN, VAL, TEST)] == [train, val, test]


@pytest.mark.parametrize(("count", "expected"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (5, (3, 1, 1))])
def test_small_classes(count: int, expected: tuple[int, int, int]) -> None:
    sides = assign([0] * count)
    assert tuple(int((sides == s).sum()) for s in (TRAIN, VAL, TEST)) == expected


def test_no_test_where_none_is_wanted() -> None:
    assert not (assign([0] * 50, test_split=0.0) == TEST).any()


def test_order_and_seed() -> None:
    names = digests(60)
    labels = np.arange(60) % 3

    def run(order: np.ndarray, seed: int) -> dict[str, int]:
        sides = assign_splits(
            labels[order], [names[i] for i in order], np.arange(60), seed=seed, val_split=0.2, test_split=0.2
        )
        return {names[i]: int(side) for i, side in zip(order, sides, strict=True)}

    straight, mixed = np.arange(60), np.random.default_rng(0).permutation(60)
    assert run(straight, 1) == run(mixed, 1)
    assert run(straight, 1) != run(straight, 2)


def test_one_more_picture_moves_few_others() -> None:
    before = assign([0] * 200)
    after = assign([0] * 201)[:200]
    assert (before != after).sum() <= 4


def test_groups_that_are_too_big_give_the_smallest() -> None:
    groups = [0] * 10 + [1] * 8 + [2] * 12
    sides = np.array(assign([0] * 30, groups))
    assert sorted(len(set(np.array(groups)[sides == s])) for s in (TRAIN, VAL, TEST)) == [1, 1, 1]
    assert set(sides[10:18]) == {VAL} and set(sides[:10]) == {TEST}


def test_a_group_across_classes_stays_whole() -> None:
    labels = [0] * 10 + [1] * 10
    groups = list(range(20))
    groups[10] = groups[11] = 3
    sides = assign(labels, groups)
    assert sides[3] == sides[10] == sides[11]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60),
    st.floats(0.01, 0.5),
    st.floats(0, 0.4),
    st.integers(0, 5),
)
def test_no_group_is_cut_and_no_class_loses_its_training(
    items: list[tuple[int, int]], val_split: float, test_split: float, seed: int
) -> None:
    labels = [label for label, _ in items]
    groups = [100 * label + group for label, group in items]
    sides = assign(labels, groups, seed, val_split=val_split, test_split=test_split)
    for group in set(groups):
        assert len({int(s) for s, g in zip(sides, groups, strict=True) if g == group}) == 1
    for label in set(labels):
        mine = [int(s) for s, own in zip(sides, labels, strict=True) if own == label]
        count = len({g for g, own in zip(groups, labels, strict=True) if own == label})
        assert TRAIN in mine
        assert (VAL in mine) == (count >= 2)
        assert count < 3 or (TEST in mine) == (test_split > 0)


@pytest.mark.parametrize(("val", "test"), [(0.0, 0.1), (1.0, 0.0), (0.6, 0.4), (0.2, -0.1), (float("nan"), 0.1)])
def test_fractions_out_of_range(val: float, test: float) -> None:
    with pytest.raises(DataError, match="allowed: val_split above 0"):
        check_fractions(val, test)


def test_a_class_in_mixed_groups_alone_is_learned_from() -> None:
    """Groups that span classes are dealt with the class that has most of them, and could take all of another away."""
    labels = [0] * 6 + [1] + [0] * 4 + [1] * 2 + [0] * 40
    groups = [0] * 7 + [1] * 6 + list(range(2, 42))
    lost = 0
    for seed in range(40):
        sides = assign(labels, groups, seed, val_split=0.3, test_split=0.3)
        mine = sides[np.array(labels) == 1]
        assert (mine == TRAIN).any() and (sides == VAL).any() and (sides == TEST).any()
        assert all(len(set(sides[np.array(groups) == group].tolist())) == 1 for group in (0, 1))
        lost += int((mine == TRAIN).all())
    assert 0 < lost < 40


def test_all_of_val_is_the_last_to_be_brought_to_train() -> None:
    found = [assign([0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2], seed) for seed in range(30)]
    for sides in found:
        assert all((sides[[2, 6]] == TRAIN).any() and (sides == side).any() for side in (TRAIN, VAL))
