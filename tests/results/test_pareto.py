"""The Pareto front, of a set worked out by hand and by what it has to be of any."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgexfer.results.pareto import pareto_front

Costs = list[tuple[float, ...]]


def test_the_front_of_a_known_set() -> None:
    points = [(3.0, 0.97), (1.0, 0.90), (2.0, 0.95), (2.5, 0.94), (4.0, 0.97), (2.0, 0.95)]
    assert pareto_front([(seconds, -accuracy) for seconds, accuracy in points]) == [1, 2, 0]
    assert pareto_front([]) == []


@given(st.lists(st.tuples(*[st.integers(0, 4).map(float)] * 3), min_size=1, max_size=30))
def test_nothing_beats_the_front_and_the_front_beats_the_rest(costs: Costs) -> None:
    front = pareto_front(costs)
    for i in front:
        assert not any(all(a <= b for a, b in zip(one, costs[i], strict=True)) and one != costs[i] for one in costs)
    for one in costs:
        assert any(all(a <= b for a, b in zip(costs[i], one, strict=True)) for i in front)
    assert [costs[i] for i in front] == sorted({costs[i] for i in front}), "in rising order, each once"
