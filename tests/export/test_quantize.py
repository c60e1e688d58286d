from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from torch import nn

from edgexfer.errors import ExportError, QuantizationError
from edgexfer.export import figures, graph, islands, qdq, quantize
from edgexfer.export.exporter import ExportResult, Pictures, export_network
from edgexfer.export.golden import feed, golden_pixels
from edgexfer.export.judge import Judge
from edgexfer.export.metadata import read_info
from edgexfer.export.plan import QuantizationPlan
from edgexfer.export.prepare import prepare
from edgexfer.export.quantize import Options, Source, Witnesses
from edgexfer.export.speed import Race
from edgexfer.export.verify import verify
from tests.export.nets import TALL, SmallNet, batches, coloured, make_pixels, pictures_for, request_for, trained


def test_int8_knows_what_float32_knew(quantized: tuple[ExportResult, list[str]]) -> None:
    result = quantized[0]
    assert result.int8 is not None
    value = result.to_json()["int8"]
    assert set(value) == {
        "artifact",
        "max_abs_error",
        "top1_agreement",
        "top1",
        "top1_float32",
        "speedup",
        "speedup_by_threads",
        "recommended",
        "recommended_by_threads",
    }
    assert value["top1_float32"] >= 0.95 and value["top1"] >= value["top1_float32"] - 0.05
    assert value["top1_agreement"] >= 0.95 and 0 < value["max_abs_error"] < 1
    images, labels = coloured(40, seed=5)
    session = onnxruntime.InferenceSession(value["artifact"], providers=["CPUExecutionProvider"])
    found = np.concatenate([session.run(["logits"], {"image": images[i : i + 8]})[0] for i in range(0, 40, 8)])
    assert figures.top1(found, labels) == value["top1"]


def test_a_float_input_is_quantized_too(tmp_path: Path) -> None:
    images, labels = coloured(40, seed=5)
    request = request_for(int8=True, target="x86", input="float")
    result = export_network(trained(), request, tmp_path / "small.onnx", pictures=Pictures(images, labels, batches()))
    assert result.int8 is not None
    assert read_info(result.int8.artifact).input == "float"
    session = onnxruntime.InferenceSession(str(result.int8.artifact), providers=["CPUExecutionProvider"])
    (name,) = (i.name for i in session.get_inputs())
    found = np.concatenate(
        [session.run(["logits"], {name: feed(part, TALL, "float")})[0] for part in np.split(images, 5)]
    )
    assert figures.top1(found, labels) == result.to_json()["int8"]["top1"] >= 0.95
    assert verify(result.int8.artifact).verified is True


def test_int8_describes_itself_and_names_its_parent(quantized: tuple[ExportResult, list[str]]) -> None:
    result = quantized[0]
    assert result.int8 is not None
    info, parent = read_info(result.int8.artifact), read_info(result.artifact)
    assert info.precision == "int8" and info.target == "x86" and info.classes == parent.classes
    assert info.parent_sha256 == hashlib.sha256(result.artifact.read_bytes()).hexdigest()
    assert info.batchnorm_folded == parent.batchnorm_folded == 3
    assert info.golden.tolerance == pytest.approx(2 * info.proof.max_abs_error)
    assert info.proof.images == 40
    session = onnxruntime.InferenceSession(str(result.int8.artifact), providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"image": golden_pixels(info.golden.seed, info.preprocessing)})[0]
    np.testing.assert_allclose(found, np.array(info.golden.logits), rtol=0, atol=info.golden.tolerance)


def test_the_form_of_the_int8_file(quantized: tuple[ExportResult, list[str]]) -> None:
    assert quantized[0].int8 is not None
    model = graph.load_model(quantized[0].int8.artifact)
    graph.check_written(model)
    assert [i.name for i in model.graph.input] == ["image"]
    assert [o.name for o in model.graph.output] == ["logits", "embedding"]
    assert {o.type.tensor_type.elem_type for o in model.graph.output} == {1}
    last = {o: n.op_type for n in model.graph.node for o in n.output}
    assert last["logits"] == "Gemm" and last["embedding"] == "Flatten"  # not rounded to 8 bits


def test_x86_weights_keep_to_seven_bits(quantized: tuple[ExportResult, list[str]], source: Source) -> None:
    assert quantized[0].int8 is not None
    plan = quantized[0].int8.made.plan
    for target, largest in (("x86", 64), ("arm64", 127)):
        model = qdq.quantize(prepare(source.model), replace(plan, target=target, float_layers=()))
        weights = [t for t in model.graph.initializer if t.data_type == 3 and len(t.dims) >= 2]
        assert len(weights) == 4
        peak = max(int(np.abs(onnx_array(t).astype(int)).max()) for t in weights)
        assert peak == largest
    kinds = {t.data_type for t in model.graph.initializer if t.name.endswith("zero_point") and not t.dims}
    assert kinds == {3}  # int8 activations for arm64


def onnx_array(tensor: object) -> np.ndarray:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)  # type: ignore[arg-type]


def test_the_talk_says_what_was_chosen_and_how_it_went(quantized: tuple[ExportResult, list[str]]) -> None:
    talk = "\n".join(quantized[1])
    assert "calibrated on 40 training pictures" in talk and "of 9 candidates the closest to float32 was" in talk
    assert "uint8 activations" in talk and "7-bit int8 weights" in talk
    assert "int8 against float32 on 40 held-out images: top-1 agreement" in talk
    assert "float32 here (" in talk and "one picture on one thread" in talk


def test_timings_stand_beside_the_artifact_only(quantized: tuple[ExportResult, list[str]]) -> None:
    result = quantized[0]
    assert result.int8 is not None
    proof = json.loads(result.proof_file.read_text())
    assert len(proof["int8"]["latency_s"]["int8"]) == len(proof["int8"]["latency_s"]["float32"]) >= 7
    value = result.to_json()["int8"]
    assert proof["int8"]["speedup"] == value["speedup"] == value["speedup_by_threads"]["1"]
    assert proof["int8"]["speedup_by_threads"] == value["speedup_by_threads"]
    assert proof["int8"]["recommended_by_threads"] == value["recommended_by_threads"]
    assert proof["int8"]["latency_s_by_threads"]["1"] == proof["int8"]["latency_s"]
    assert b"latency" not in result.int8.artifact.read_bytes()


def test_another_target_is_not_timed_here(source: Source) -> None:
    foreign = "arm64" if quantize.host_target() == "x86" else "x86"
    images, labels = coloured(20, seed=6)
    result = quantize.quantize(source, Witnesses(images, labels), batches(), options=Options(target=foreign))
    assert result.races == () and result.speedup is None and result.plan.target == foreign
    assert any(f"made for {foreign}" in s and "measure its speed there" in s for s in result.verdict)
    assert result.top1 is not None and result.top1 >= 0.9


def test_it_is_timed_on_one_thread_and_on_all_cores(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def race(first: bytes, second: bytes, *given: object) -> Race:
        asked.append(given[-1])
        return Race((1.0,) * 20, (1.0 / len(asked),) * 20, len(asked))

    monkeypatch.setattr(quantize, "race", race)
    monkeypatch.setattr(quantize, "thread_counts", lambda: (1, 3))
    images, labels = coloured(20, seed=6)
    result = quantize.quantize(source, Witnesses(images, labels), batches())
    assert asked == [1, 3] and result.speedup == 1.0 and result.speedups == {"1": 1.0, "2": 2.0}
    assert result.recommended == "float32"


def test_without_pictures_the_training_ones_serve(source: Source) -> None:
    none = Witnesses(np.zeros((0, 24, 32, 3), np.uint8), np.zeros(0, np.int64))
    said: list[str] = []
    result = quantize.quantize(source, none, batches(), say=said.append)
    assert result.top1 is None and result.info.proof.images == 0
    assert "training pictures only" in result.verdict[0]
    assert said[0].startswith(f"int8 target: {quantize.host_target()}, the kind of this machine")


def test_saturating_arithmetic_is_caught(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    real = quantize.run
    calls = [0]

    def saturated(*args: object) -> tuple[np.ndarray, np.ndarray]:
        calls[0] += 1
        logits, embedding = real(*args)  # type: ignore[arg-type]
        return (logits + 100 if calls[0] == wrong else logits), embedding

    none = Witnesses(np.zeros((0, 24, 32, 3), np.uint8), np.zeros(0, np.int64))
    wrong = 0
    monkeypatch.setattr(quantize, "run", saturated)
    quantize.quantize(source, none, batches())
    wrong, calls[0] = calls[0], 0  # the last one: the file as it stands
    with pytest.raises(QuantizationError, match="arithmetic is off by 100 .* saturate"):
        quantize.quantize(source, none, batches())


@pytest.mark.parametrize("count", [40, 4], ids=["pictures", "golden samples"])
@pytest.mark.parametrize("first", [0, 33])
def test_what_saturation_did_never_widens_what_is_allowed(
    quantized: tuple[ExportResult, list[str]],
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    first: int,
) -> None:
    assert quantized[0].int8 is not None
    real, plan = quantize.answers, quantized[0].int8.made.plan
    images, labels = coloured(40, seed=5)

    def saturated(content: bytes, images: np.ndarray, info: object, target: str | None = None) -> np.ndarray:
        """The answers of 8-bit kernels, which alone have a target, are off on some of the pictures or samples."""
        found = real(content, images, info, target)  # type: ignore[arg-type]
        if target is not None and len(images) == count:
            found[first % count :] += 100
        return found

    monkeypatch.setattr(quantize, "answers", saturated)
    with pytest.raises(QuantizationError, match="arithmetic is off by 100 .* is allowed: its products saturate"):
        quantize.quantize(source, Witnesses(images, labels), (), plan=plan)


def test_few_pictures_that_round_well_by_luck_are_no_reason_to_refuse(
    quantized: tuple[ExportResult, list[str]], source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quantized[0].int8 is not None
    int8, real = quantized[0].int8.made, quantize.run
    images, _ = coloured(8, seed=5)
    wanted = quantize.answers(source.content, images, source.info)

    def lucky(session: object, pixels: np.ndarray, *rest: object) -> tuple[np.ndarray, np.ndarray]:
        """Pictures come out of the file as of float32, golden samples as they do."""
        answers = real(session, pixels, *rest)  # type: ignore[arg-type]
        return answers if len(pixels) == 4 else (wanted[: len(pixels)], answers[1])

    monkeypatch.setattr(quantize, "run", lucky)
    session = quantize.open_session(int8.content, optimised=False)
    plain = real(session, golden_pixels(0, source.info.preprocessing), source.info.preprocessing, "uint8")[0]
    off = wanted + 0.5 * figures.max_abs_error(plain, np.array(source.info.golden.logits, np.float32))
    quantize._check(int8.content, (images[:1], off[:1].astype(np.float32), wanted[:1]), source.info, int8.info)
    with pytest.raises(QuantizationError, match="arithmetic is off by"):
        quantize._check(int8.content, (images, off.astype(np.float32), wanted), source.info, int8.info)


def test_a_useless_result_is_refused(source: Source) -> None:
    images, labels = coloured(40, seed=5)
    names = qdq.activations(prepare(source.model))
    plan = QuantizationPlan(source.info.digest, "x86", "minmax", True, dict.fromkeys(names, (0.0, 1e-3)))
    with pytest.raises(QuantizationError, match="of no use and was not written; use the float32 file"):
        quantize.quantize(source, Witnesses(images, labels), (), plan=plan)


def test_options_that_do_not_fit_are_refused(source: Source, tmp_path: Path) -> None:
    images, labels = coloured(2, seed=6)
    seen = Witnesses(images, labels)
    plan = QuantizationPlan(source.info.digest, "x86", "minmax", True, {})
    with pytest.raises(QuantizationError, match="target is 'mips'; allowed: x86, arm64"):
        quantize.quantize(source, seen, (), options=Options(target="mips"))
    with pytest.raises(QuantizationError, match="plan is for x86, but --target is arm64"):
        quantize.quantize(source, seen, (), options=Options(target="arm64"), plan=plan)
    with pytest.raises(QuantizationError, match="made for the artifact beef.*without --plan"):
        quantize.quantize(source, seen, (), plan=replace(plan, artifact_digest="beef"))
    with pytest.raises(QuantizationError, match="the plan knows no range of"):
        quantize.quantize(source, seen, (), plan=plan)
    with pytest.raises(QuantizationError, match="none were given: pass the training split"):
        quantize.quantize(source, seen, ())
    with pytest.raises(QuantizationError, match="expected uint8 \\(n, 24, 32, 3\\)"):
        quantize.quantize(source, seen, [np.zeros((2, 8, 8, 3), np.uint8)])
    with pytest.raises(QuantizationError, match="is int8 already"):
        quantize.quantize(replace(source, info=replace(source.info, precision="int8")), seen, ())
    request = request_for(plan=tmp_path / "p.json")
    with pytest.raises(ExportError, match="add --int8"):
        export_network(nn.Identity(), request, tmp_path / "x.onnx", pictures=pictures_for())


def test_float_islands_are_timed_where_the_file_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # so small a network would be faster without islands
    monkeypatch.setattr(Judge, "slower", lambda judge, base, wrapped: [])
    net = SmallNet(activation=nn.Hardswish).eval()
    request = request_for(int8=True, target=quantize.host_target(), max_drop=100.0)
    result = export_network(net, request, tmp_path / "hard.onnx", pictures=pictures_for(calibration=2))
    assert result.int8 is not None
    made = result.int8.made
    assert made.island_s is not None and set(made.island_s) == set(made.islands)
    assert made.islands["HardSwish"] >= 1
    assert json.loads(result.proof_file.read_text())["int8"]["float_islands_s"] == made.island_s
    assert any(re.search(r"int8 layers: HardSwish x\d \(\d+\.\d\d ms\)", s) for s in made.verdict)


def test_islands_take_the_time_of_their_nodes_and_of_the_way_there_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["": 18]>
        g (float[1, 4] x) => (float[1, 4] y) <float s = {0.1}, uint8 z = {0}> {
            [before] a = HardSwish(x)
            [q1] aq = QuantizeLinear(a, s, z)
            [d1] b = DequantizeLinear(aq, s, z)
            [island] c = HardSwish(b)
            [q2] cq = QuantizeLinear(c, s, z)
            [d2] d = DequantizeLinear(cq, s, z)
            [relu] e = Relu(d)
            [q3] eq = QuantizeLinear(e, s, z)
            [d3] f = DequantizeLinear(eq, s, z)
            [after] y = HardSwish(f)
        }"""
    )
    kernels = {"before": 64.0, "q1": 32.0, "d1": 2.0, "island": 4.0, "q2": 8.0, "d2": 16.0}
    kernels |= {"island_gate": 128.0, "after": 256.0}
    monkeypatch.setattr(islands, "kernel_seconds", lambda content, x: kernels)
    assert islands.island_seconds(model, make_pixels(1), TALL, "uint8") == {"HardSwish": 142.0}
    del kernels["island"]
    assert islands.island_seconds(model, make_pixels(1), TALL, "uint8") == {}


def test_float_islands_are_found_without_names_too() -> None:
    from edgexfer.export.torch_onnx import to_onnx

    model = to_onnx(SmallNet(activation=nn.Hardswish), TALL)
    ranges = dict.fromkeys(qdq.activations(model), (-1.0, 1.0))
    made = qdq.quantize(model, QuantizationPlan("d", "x86", "minmax", True, ranges))
    named = qdq.float_islands(made)
    for node in made.graph.node:
        node.ClearField("name")
    assert qdq.float_islands(made) == named == {"BatchNormalization": 2, "HardSwish": 2}


def test_float_islands_are_found_in_the_graph() -> None:
    from edgexfer.export.torch_onnx import to_onnx

    counts = {}
    for name, activation in (("leaky", lambda: nn.LeakyReLU(0.1)), ("hard", nn.Hardswish)):
        model = to_onnx(SmallNet(activation=activation), TALL)
        ranges = dict.fromkeys(qdq.activations(model), (-1.0, 1.0))
        counts[name] = qdq.float_islands(qdq.quantize(model, QuantizationPlan("d", "x86", "minmax", True, ranges)))
    assert counts["leaky"] == {"BatchNormalization": 3}  # not folded here
    assert counts["hard"] == {"BatchNormalization": 2, "HardSwish": 2}  # the last ones lead out to float32 anyway
