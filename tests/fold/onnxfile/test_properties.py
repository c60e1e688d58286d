from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.fold.onnxfile.folding import fold_graph
from tests.examples import drawn
from tests.fold.onnxfile.graphs import Net, run

KINDS = ("conv", "depthwise", "padded", "transposed", "bn", "bn", "relu", "add", "concat", "bias", "identity", "out")


@drawn(150)
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=9), scale=st.booleans(), seed=st.integers(0, 999))
def test_any_graph_of_these_patterns_folds_equal_or_says_why(kinds: list[str], scale: bool, seed: int) -> None:
    net, x, width, before, outputs = Net(2, 4, 12, 12, seed=seed), "x", 4, "x", list[str]()
    side, before_at = 12, (4, 12)
    for kind in kinds:
        last, last_at = x, (width, side)
        if kind == "conv":
            out = int(net.rng.integers(1, 6))
            x, width, side = net.conv(x, out, width, (2, 2) if side > 3 else (1, 1)), out, side - (side > 3)
        elif kind == "depthwise":
            x = net.conv(x, width, 1, (1, 1), bias=False, group=width)
        elif kind == "padded":
            x = net.conv(x, width, width, pads=[1, 1, 1, 1])
        elif kind == "transposed":
            x = net.add("ConvTranspose", x, net.weight(width, width, 1, 1))
        elif kind == "bn":
            x = net.bn(x, width)
        elif kind == "relu":
            x = net.add("Relu", x)
        elif kind == "add" and before_at == (width, side) and before != x:
            x = net.add("Add", x, before)
        elif kind == "concat" and before_at[1] == side and width < 20:
            x, width = net.add("Concat", x, before, axis=1), width + before_at[0]
        elif kind == "bias":
            x = net.add("Add", x, net.weight(width, 1, 1))
        elif kind == "out":
            outputs.append(x)
        else:
            x = net.add("Identity", x)
        before, before_at = last, last_at
    x = net.add("Identity", x)
    model = net.model(*dict.fromkeys([*(o for o in outputs if o != "x"), x]))
    total = sum(n.op_type == "BatchNormalization" for n in model.graph.node)
    result = fold_graph(model, scale_shift=scale)
    assert result.plan.total == total and all(k.reason for k in result.plan.kept)
    assert result.proof.max_rel_error_f64 <= 1e-10
    given_x = np.random.default_rng(seed).normal(size=(2, 4, 12, 12)).astype(np.float32)
    for wanted, found in zip(run(model, given_x), run(result.model, given_x), strict=True):
        assert np.abs(wanted - found).max() <= 1e-3 * max(np.abs(wanted).max(), 1e-3)
