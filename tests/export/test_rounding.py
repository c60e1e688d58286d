"""Weights rounded so that each output keeps its sum."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from edgexfer.export import qdq
from edgexfer.export.held import weighted_layers
from edgexfer.export.plan import QuantizationPlan
from edgexfer.export.prepare import prepare
from edgexfer.export.rounding import balanced
from tests.export.test_prepare import network


@pytest.mark.parametrize("shape", [(50, 3, 3, 3), (7, 400), (9, 1, 1, 1)])
def test_rounded_numbers_keep_the_sum_of_each_output(shape: tuple[int, ...]) -> None:
    numbers = np.random.default_rng(1).uniform(-63, 63, shape)
    found = balanced(numbers)
    axes = tuple(range(1, len(shape)))
    assert np.array_equal(found, np.round(found)) and np.abs(found - numbers).max() < 1
    assert np.abs((found - numbers).sum(axes)).max() <= 0.5 + 1e-9
    assert np.array_equal(balanced(found), found)


def test_the_furthest_go_the_other_way_and_no_more_than_are_needed() -> None:
    found = balanced(np.array([[1.42, 2.3, -0.6, 5.45, 7.0], [1.4, 2.0, 3.0, 4.0, 5.0]]))
    # 1 + 2 - 1 + 5 + 7 is 1.57 less than the sum: the two that lost most gain one each
    assert found.tolist() == [[2, 2, -1, 6, 7], [1, 2, 3, 4, 5]]


@pytest.mark.parametrize("target", ["x86", "arm64"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_balanced_plan_keeps_the_sum_of_every_layers_outputs(per_channel: bool, target: str) -> None:
    model = prepare(network("Relu"))
    ranges = dict.fromkeys(qdq.activations(model), (-1.0, 1.0))
    plan = QuantizationPlan("d", target, "minmax", per_channel, ranges, balanced=True)
    made = qdq.wrap(model, plan)
    constants = {t.name: numpy_helper.to_array(t) for t in (*model.graph.initializer, *made.graph.initializer)}
    readings = {n.output[0]: n for n in made.graph.node if n.op_type == "DequantizeLinear"}
    layers = {n.name: n for n in made.graph.node if n.name in weighted_layers(model)}
    assert len(layers) == 5
    for name, layer in layers.items():
        numbers, step = (constants[i] for i in readings[layer.input[1]].input[:2])
        weight = constants[readings[layer.input[1]].input[0].removesuffix("_quantized")]
        axis = 1 if name == "head" else 0  # a Gemm whose weights lie as (inputs, outputs)
        numbers, weight = np.moveaxis(numbers, axis, 0), np.moveaxis(weight, axis, 0)
        gone = numbers - weight / step.reshape(-1, *[1] * (weight.ndim - 1))
        assert numbers.dtype == np.int8 and np.abs(numbers).max() <= plan.largest_weight
        assert np.abs(gone).max() < 1.001
        assert np.abs(gone.reshape(len(gone), -1).sum(1)).max() <= 0.501
