import numpy as np

from edgexfer.data.draws import shuffled, uniforms


def test_literal_values() -> None:
    """Pinned: a change here changes every training."""
    got = uniforms(0, 0, np.array([0, 1, 7]), 2)
    again = uniforms(0, 0, np.array([7, 0]), 2)
    assert np.array_equal(got[[2, 0]], again)
    assert got.tolist() == [
        [0.8271645972503272, 0.2369994431140301],
        [0.40745132456836697, 0.27387413867958177],
        [0.7698822285356892, 0.906237092628369],
    ]
    assert shuffled(1, 0, 6).tolist() == [0, 4, 5, 3, 1, 2]


def test_uniform_and_uncorrelated() -> None:
    draws = uniforms(5, 3, np.arange(20_000), 6)
    assert draws.min() >= 0 and draws.max() < 1
    assert np.abs(draws.mean(0) - 0.5).max() < 0.01
    assert np.abs(draws.var(0) - 1 / 12).max() < 0.003
    neighbours = np.concatenate(
        [draws, np.roll(draws, 1, axis=0), uniforms(5, 4, np.arange(20_000), 6), uniforms(6, 3, np.arange(20_000), 6)],
        axis=1,
    )
    correlation = np.corrcoef(neighbours.T) - np.eye(24)
    assert np.abs(correlation).max() < 0.035


def test_seeds_epochs_and_negative_seeds_differ() -> None:
    seen = {float(uniforms(seed, epoch, np.array([3]), 1)[0, 0]) for seed in (-1, 0, 1, 2**40) for epoch in range(5)}
    assert len(seen) == 20


def test_shuffles_are_permutations_that_change() -> None:
    first, second = shuffled(0, 0, 500), shuffled(0, 1, 500)
    assert sorted(first) == sorted(second) == list(range(500))
    assert (first == second).sum() < 20
