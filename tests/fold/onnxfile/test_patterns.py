from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgexfer.errors import FoldError
from edgexfer.fold.onnxfile.folding import fold_graph
from edgexfer.fold.onnxfile.plan import make_plan
from edgexfer.fold.onnxfile.view import View
from tests.fold.onnxfile.graphs import Net, fold


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "out", "inner", "kernel", "options"),
    [
        ((2, 4, 9), 6, 4, (3,), {"pads": [1, 1], "dilations": [2]}),
        ((2, 4, 8, 7), 6, 4, (3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ((2, 4, 8, 7), 6, 2, (3, 2), {"group": 2}),
        ((2, 4, 8, 7), 8, 1, (3, 3), {"group": 4, "auto_pad": "SAME_UPPER"}),
        ((1, 2, 4, 4, 4), 3, 2, (1, 2, 3), {}),
    ],
)
def test_convolution_then_batchnorm(
    bias: bool,
    shape: tuple[int, ...],
    out: int,
    inner: int,
    kernel: tuple[int, ...],
    options: dict[str, object],
) -> None:
    net = Net(*shape)
    net.add("Relu", net.bn(net.conv("x", out, inner, kernel, bias, **options), out, epsilon=1e-3))
    result = fold(net.model(), 1)
    assert [n.op_type for n in result.model.graph.node] == ["Conv", "Relu"]
    assert len(result.model.graph.initializer) == 2  # the BatchNorm's constants and the old weight are gone


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution_with_groups(groups: int) -> None:
    net = Net(2, 4, 5, 6)
    y = net.add("ConvTranspose", "x", net.weight(4, 6 // groups, 3, 3), group=groups, strides=[2, 2])
    net.bn(y, 6)
    fold(net.model(), 1)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, (), (1,), (5,), (1, 5)])
def test_gemm_with_all_it_can_do(transposed: int, bias: tuple[int, ...] | None) -> None:
    net = Net(3, 4)
    extra = [] if bias is None else [net.tensor(net.rng.normal(size=bias))]
    y = net.add(
        "Gemm", "x", net.weight(*((5, 4) if transposed else (4, 5))), *extra, transB=transposed, alpha=0.5, beta=2.0
    )
    net.bn(y, 5)
    fold(net.model(), 1)


def test_matrix_product_and_a_bias_added_as_other_exporters_write_it() -> None:
    net = Net(3, 4)
    y = net.add("Add", net.add("MatMul", "x", net.weight(4, 5)), net.weight(5))
    net.bn(y, 5)
    result = fold(net.model(), 1)
    assert [n.op_type for n in result.model.graph.node] == ["Gemm"]


def test_a_product_of_three_dimensions_is_kept() -> None:
    net = Net(2, 5, 4)
    net.bn(net.add("MatMul", "x", net.weight(4, 6)), 5)
    fold(net.model(), 0, "not known to multiply a 2-D input")


def test_constants_between_are_taken_up() -> None:
    net = Net(2, 3, 6, 6)
    y = net.conv("x", 4, 3, bias=False)
    y = net.add("Add", net.weight(1, 4, 1, 1), y)
    y = net.add("Mul", y, net.weight(4, 1, 1))
    y = net.add("Sub", y, net.tensor(np.array(0.25)))
    y = net.add("Div", y, net.tensor(np.array([0.5])))
    net.bn(net.add("Identity", net.add("Dropout", y)), 4)
    result = fold(net.model(), 1)
    assert [n.op_type for n in result.model.graph.node] == ["Conv"]


def test_a_constant_that_is_not_one_number_a_channel_is_kept() -> None:
    net = Net(2, 3, 6, 6)
    y = net.add("Add", net.conv("x", 4, 3), net.weight(1, 1, 4, 4))
    net.bn(y, 4)
    fold(net.model(), 0, "its input comes from 'n1' (Add)")


def test_batchnorm_before_a_convolution_without_padding() -> None:
    net = Net(2, 4, 6, 6)
    net.conv(net.bn("x", 4), 6, 2, group=2, bias=False)
    result = fold(net.model(), 1)
    assert result.plan.folds[0].side == "before"


def test_zero_padding_keeps_a_batchnorm_before_it() -> None:
    net = Net(2, 4, 6, 6)
    net.conv(net.bn("x", 4), 6, 4, pads=[1, 1, 1, 1])
    fold(net.model(), 0, "the file's own input; 'n1' (Conv) after it pads with zeros")


def test_at_a_padded_border_the_shift_can_stay_as_a_sum() -> None:
    net = Net(2, 4, 6, 6)
    net.conv(net.bn(net.conv(net.bn("x", 4), 6, 4, pads=[1, 1, 1, 1]), 6), 3, 6, pads=[0, 1, 0, 1], auto_pad="NOTSET")
    reason = "the border; made a sum, its scale is in that layer"
    result = fold(net.model(), 1, reason, scale_shift=True)
    assert result.scaled == 1 and [n.op_type for n in result.model.graph.node] == ["Add", "Conv", "Conv"]
    assert [name for name, _ in result.proof.layers] == ["v2_0"]


def test_a_scale_of_zero_stays_a_product() -> None:
    net = Net(2, 2, 6, 6)
    constants = [net.tensor(np.array(v)) for v in ([1.5, 0.0], [0.4, 0.5], [0.0, 0.0], [2.0, 0.3])]
    net.conv(net.add("BatchNormalization", "x", *constants), 3, 2, pads=[1, 1, 1, 1])
    result = fold(net.model(), 0, "the border; made a product and a sum", scale_shift=True)
    assert [n.op_type for n in result.model.graph.node] == ["Mul", "Add", "Conv"]


def test_a_mean_over_all_pixels_is_pooling_too() -> None:
    net = Net(2, 4, 6, 6)
    net.add("Gemm", net.add("ReduceMean", net.bn("x", 4), axes=[-1, 2], keepdims=0), net.weight(4, 3))
    fold(net.model(), 1)
    net = Net(2, 4, 6, 6)
    net.add("Gemm", net.add("ReduceMean", net.bn("x", 4), axes=[1, 2], keepdims=0), net.weight(6, 3))
    fold(net.model(), 0, "its output goes to 'n1' (ReduceMean)")


def test_without_a_shift_padding_does_no_harm() -> None:
    net = Net(2, 2, 6, 6)
    constants = [net.tensor(np.array(v)) for v in ([1.5, -0.5], [0.0, 0.0], [0.0, 0.0], [2.0, 0.3])]
    net.conv(net.add("BatchNormalization", "x", *constants), 3, 2, pads=[1, 1, 1, 1])
    fold(net.model(), 1)


def test_batchnorm_to_a_linear_layer_through_pooling_and_flattening() -> None:
    net = Net(2, 4, 6, 6)
    y = net.add("Flatten", net.add("GlobalAveragePool", net.bn("x", 4)))
    net.add("Gemm", y, net.weight(3, 4), transB=1)
    fold(net.model(), 1)
    net = Net(2, 4, 3, 2)
    y = net.add("Reshape", net.bn("x", 4), net.tensor(np.array([0, -1])))
    net.add("MatMul", y, net.weight(24, 5))
    fold(net.model(), 1)


def test_chains_melt_whole() -> None:
    net = Net(2, 3, 9, 9)
    y = net.bn(net.bn(net.conv("x", 4, 3), 4), 4)
    net.bn(net.conv(net.bn(net.bn(net.add("Relu", y), 4), 4), 5, 4), 5)
    result = fold(net.model(), 5)
    assert [n.op_type for n in result.model.graph.node] == ["Conv", "Relu", "Conv"]


@pytest.mark.parametrize("scale_shift", [False, True])
def test_what_a_melted_batchnorm_took_up_leaves_nothing_behind(scale_shift: bool) -> None:
    net = Net(2, 4, 6, 6)
    net.conv(net.bn(net.bn("x", 4), 4), 3, 4)
    result = fold(net.model(), 2, scale_shift=scale_shift)
    assert [n.op_type for n in result.model.graph.node] == ["Conv"]
    assert {t.name for t in result.model.graph.initializer} == set(result.model.graph.node[0].input[1:])


def test_two_batchnorms_after_a_sum_become_one() -> None:
    net = Net(2, 3, 5, 5)
    y = net.add("Add", net.conv("x", 4, 3), net.conv("x", 4, 3))
    net.add("Relu", net.bn(net.bn(y, 4), 4))
    fold(net.model(), 1, "its input comes from 'n2' (Add); its output goes to")


def test_after_a_concatenation_it_can_become_a_product_and_a_sum() -> None:
    net = Net("N", 3, 5, 5)
    y = net.add("Concat", net.conv("x", 4, 3), net.conv("x", 2, 3), axis=1)
    net.add("Relu", net.bn(net.bn(y, 6), 6))
    result = fold(
        net.model(), 1, "(Concat); its output goes to 'n5' (Relu); made a product and a sum", scale_shift=True
    )
    assert result.scaled == 1
    assert [n.op_type for n in result.model.graph.node] == ["Conv", "Conv", "Concat", "Mul", "Add", "Relu"]


def test_another_consumer_keeps_it() -> None:
    net = Net(2, 3, 5, 5)
    y = net.conv("x", 4, 3)
    net.add("Add", net.bn(y, 4), y)
    fold(net.model(), 0, "the output of 'n0' (Conv) also goes to 'n2' (Add)")
    fold(net.model("v1_0", y), 0, "the output of 'n0' (Conv)")


def test_a_layers_output_that_leaves_the_file_keeps_it() -> None:
    net = Net(2, 3, 5, 5)
    y = net.conv("x", 4, 3)
    fold(net.model(net.bn(y, 4), y), 0, "is an output of the file")


def test_a_weight_shared_by_two_nodes_is_no_obstacle() -> None:
    net = Net(2, 3, 5, 5)
    shared = net.weight(4, 3, 3, 3)
    first, second, third = (net.add("Conv", "x", shared) for _ in range(3))
    net.add("Concat", net.bn(first, 4), net.bn(second, 4), third, axis=1)
    result = fold(net.model(), 2)
    weights = {n.input[1] for n in result.model.graph.node if n.op_type == "Conv"}
    assert len(weights) == 3 and shared in weights


def test_the_same_layer_called_twice_keeps_one_weight() -> None:
    net = Net(2, 3, 5, 5)
    shared, bias = net.weight(4, 3, 3, 3), net.weight(4)
    calls = [net.add("Conv", "x", shared, bias) for _ in range(2)]
    constants = [net.tensor(np.abs(net.rng.normal(1, 0.2, 4))) for _ in range(4)]
    net.add("Concat", *(net.add("BatchNormalization", c, *constants) for c in calls), axis=1)
    result = fold(net.model(), 2)
    assert len({n.input[1] for n in result.model.graph.node if n.op_type == "Conv"}) == 1


def test_old_files_list_their_weights_among_the_inputs() -> None:
    net = Net(2, 3, 5, 5)
    net.bn(net.conv("x", 4, 3, bias=False), 4, spatial=1)
    result = fold(net.model(opset=8, ir=3), 1)
    assert {i.name for i in result.model.graph.input} == {"x", *(t.name for t in result.model.graph.initializer)}


def test_a_weight_that_the_caller_may_replace_is_kept() -> None:
    net = Net(2, 3, 5, 5)
    net.bn(net.conv("x", 4, 3), 4)
    model = net.model()
    weight = model.graph.initializer[1]
    assert list(weight.dims) == [4, 3, 3, 3]
    model.graph.input.append(helper.make_tensor_value_info(weight.name, TensorProto.FLOAT, weight.dims))
    fold(model, 0, "can be replaced by whoever runs the file")


def test_a_weight_that_is_computed_is_kept() -> None:
    net = Net(2, 3, 5, 5)
    net.bn(net.add("Conv", "x", net.add("Abs", net.weight(4, 3, 3, 3))), 4)
    fold(net.model(), 0, "the weight of 'n1' (Conv) is no constant")


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(kind, shape) for kind in ("Conv", "ConvTranspose") for shape in ((), (4,), (4, 3))]
    + [(kind, shape) for kind in ("Gemm", "MatMul") for shape in ((), (4,), (4, 3, 2))],
)
@pytest.mark.parametrize("before", [False, True])
def test_weights_of_odd_dimensions_keep_it(kind: str, shape: tuple[int, ...], before: bool) -> None:
    net = Net(2, 4, 5, 5)
    weight = net.tensor(np.ones(shape))
    if before:
        net.add(kind, net.bn("x", 4), weight)
    else:
        net.bn(net.add(kind, "x", weight), 4)
    plan = make_plan(View(net.model())).plan
    assert plan.folded == 0 and len(plan.kept) == 1
    told = "not known to multiply" if kind in ("Gemm", "MatMul") else f"has a weight of {re.escape(str(shape))}"
    if before and kind == "ConvTranspose":  # takes up nothing before it, whatever its weight is
        told = r"its output goes to 'n1' \(ConvTranspose\)$"
    assert re.search(told, plan.kept[0].reason), plan.kept[0].reason


def test_a_constant_added_to_a_row_of_numbers_is_no_channel() -> None:
    net = Net(4)
    net.bn(net.add("Add", "x", net.weight(4)), 4)
    plan = make_plan(View(net.model())).plan
    assert plan.folded == 0 and "its input comes from 'n0' (Add)" in plan.kept[0].reason


def test_constant_nodes_are_constants_too() -> None:
    net = Net(2, 3, 5, 5)
    tensor = numpy_helper.from_array(net.rng.normal(size=(4, 3, 2, 2)).astype(np.float32))
    net.bn(net.add("Conv", "x", net.add("Identity", net.add("Constant", value=tensor))), 4)
    result = fold(net.model(), 1)
    assert [n.op_type for n in result.model.graph.node] == ["Conv"]


def test_training_mode_and_odd_statistics_are_kept() -> None:
    net = Net(2, 3, 5, 5)
    y = net.conv("x", 4, 3)
    constants = [net.tensor(np.full(4, v)) for v in (1.0, 0.0, 0.0, -2.0)]
    net.add("BatchNormalization", y, *constants)
    plan = make_plan(View(net.model())).plan
    assert plan.folded == 0 and "no finite scale and shift" in plan.kept[0].reason
    net = Net(2, 3, 5, 5)
    net.bn(net.conv("x", 4, 3), 4, outputs=3, training_mode=1)
    plan = make_plan(View(net.model(net.nodes[-1].output[0]))).plan
    assert plan.folded == 0 and "training mode" in plan.kept[0].reason


def test_weights_that_would_overflow_are_kept() -> None:
    net = Net(1, 2, 3, 3, dtype=np.float16)
    constants = [net.tensor(np.full(2, v)) for v in (60000.0, 0.0, 0.0, 0.0)]
    net.add("BatchNormalization", net.conv("x", 2, 2), *constants, epsilon=1e-3)
    plan = make_plan(View(net.model())).plan
    assert plan.folded == 0 and "would overflow in float16" in plan.kept[0].reason


def test_small_weights_of_half_precision_are_folded_as_they_are_or_kept() -> None:
    for gamma, folded in ((1e-4, 1), (1e-6, 0)):
        net = Net(1, 2, 3, 3, dtype=np.float16)
        constants = [net.tensor(np.full(2, v)) for v in (gamma, 0.0, 0.0, 1.0)]
        net.add("BatchNormalization", net.conv("x", 2, 2, bias=False), *constants, epsilon=1e-5)
        (wanted,) = (numpy_helper.to_array(t).astype(float) * gamma for t in net.tensors if len(t.dims) == 4)
        result = fold_graph(net.model())
        assert result.plan.folded == folded
        if folded:
            (found,) = (numpy_helper.to_array(t) for t in result.model.graph.initializer if len(t.dims) == 4)
            assert np.abs(found - wanted).max() <= 2e-3 * np.abs(wanted).max()
        else:
            assert "would vanish in float16" in result.plan.kept[0].reason


def test_half_precision_is_folded_in_float64() -> None:
    net = Net(2, 3, 6, 6, dtype=np.float16)
    net.bn(net.conv("x", 4, 3), 4)
    result = fold(net.model(), 1)
    assert {t.data_type for t in result.model.graph.initializer} == {TensorProto.FLOAT16}


def test_a_batchnorm_in_a_branch_is_kept() -> None:
    inner = Net(2, 3, 5, 5, prefix="inner")
    inner.bn(inner.conv("x", 4, 3), 4)
    graph = inner.model().graph
    branch = helper.make_graph(graph.node, "then", [], graph.output, graph.initializer)
    net = Net(2, 3, 5, 5)
    true = net.tensor(np.array(True))
    net.bn(net.conv(net.add("If", true, then_branch=branch, else_branch=branch), 5, 4), 5)
    fold(net.model(), 1, "it stands in a graph inside 'n0' (If)", "it stands in a graph inside")


def test_nothing_is_claimed_that_cannot_be_computed() -> None:
    net = Net(2, 3, 5, 5)
    y = net.bn(net.conv("x", 4, 3), 4)
    net.nodes.append(helper.make_node("FusedThing", [y], ["z"], domain="com.example"))
    with pytest.raises(FoldError, match="cannot be computed without a runtime: .*FusedThing"):
        fold_graph(net.model("v1_0", domain="com.example"))


def test_an_endless_loop_is_not_waited_for() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Identity", ["v"], ["v2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, None),
        ],
    )
    net = Net(2, 3, 5, 5)
    y = net.bn(net.conv("x", 4, 3), 4)
    net.add("Loop", net.tensor(np.array(2**62)), net.tensor(np.array(True)), y, body=body)
    with pytest.raises(FoldError, match="it holds a Loop, whose end cannot be foreseen"):
        fold_graph(net.model())


def test_memory_is_bounded() -> None:
    net = Net(1, 1, 2, 2)
    y = net.bn(net.conv("x", 1, 1, (1, 1)), 1)
    net.add("Expand", y, net.tensor(np.array([2**18, 2**18, 2, 2])))
    with pytest.raises(FoldError, match="'Expand' needs more than 8 GiB of memory"):
        fold_graph(net.model())


def test_a_proof_finds_a_wrong_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgexfer.fold.onnxfile import algebra

    right = algebra.after

    def off(weight: np.ndarray, bias: np.ndarray, bn: algebra.Affine, channel: int) -> tuple[np.ndarray, np.ndarray]:
        weight, bias = right(weight, bias, bn, channel)
        return weight * 1.01, bias

    net = Net(2, 3, 6, 6)
    net.bn(net.conv("x", 4, 3), 4)
    monkeypatch.setattr(algebra, "after", off)
    with pytest.raises(FoldError, match=r"folding changed the file: relative error .*allowed 1e-10"):
        fold_graph(net.model())


def test_open_sizes_are_found_or_asked_for() -> None:
    net = Net("N", 3, "H", "W")
    y = net.add("Flatten", net.bn(net.conv("x", 2, 3, (1, 1)), 2))
    net.add("MatMul", y, net.weight(2 * 12 * 10, 3))
    model: onnx.ModelProto = net.model()
    with pytest.raises(FoldError, match="no example input runs in float64"):
        fold_graph(model)
    assert fold_graph(model, input_shape=(1, 3, 12, 10)).plan.folded == 1
    with pytest.raises(
        FoldError, match=r"--input-shape is \[1, 4, 12, 10\], but the input 'x' is \['N', 3, 'H', 'W'\]"
    ):
        fold_graph(model, input_shape=(1, 4, 12, 10))
    with pytest.raises(FoldError, match="give a smaller --input-shape"):
        fold_graph(model, input_shape=(1, 3, 12000, 10000))
