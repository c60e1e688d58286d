from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from edgexfer.errors import ExportError, FormatError, QuantizationError
from edgexfer.export import calibrate, figures, graph, qdq, quantize
from edgexfer.export.exporter import ExportResult, Pictures, export_network
from edgexfer.export.golden import feed, golden_pixels
from edgexfer.export.metadata import read_info
from edgexfer.export.plan import METHODS, QuantizationPlan, read_plan, write_plan
from edgexfer.export.prepare import prepare
from edgexfer.export.quantize import Options, Source, Witnesses
from edgexfer.export.speed import Race
from edgexfer.export.verdict import recommended, verdict_of
from edgexfer.export.verify import verify
from tests.export.nets import TALL, SmallNet, make_pixels, pictures_for, request_for


def coloured(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures whose class is their brightest channel."""
    pixels = make_pixels(count, seed=seed)
    labels = np.random.default_rng(seed).integers(0, 3, count)
    lift = np.zeros((count, 1, 1, 3))
    lift[np.arange(count), 0, 0, labels] = 70
    return np.clip(pixels * 0.3 + lift, 0, 255).astype(np.uint8), labels


def trained() -> nn.Module:
    """A net that knows its colours."""
    net: nn.Module = SmallNet().train()
    pixels, labels = coloured(96, seed=3)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (TALL.mean, TALL.std))
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
    y = torch.from_numpy(labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def batches() -> Iterator[np.ndarray]:
    return (coloured(8, seed=20 + i)[0] for i in range(5))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExportResult, list[str]]:
    """A small trained net as float32 and int8 for x86."""
    torch.set_num_threads(1)
    images, labels = coloured(40, seed=5)
    said: list[str] = []
    result = export_network(
        trained(),
        request_for(int8=True, target="x86"),
        tmp_path_factory.mktemp("int8") / "small.onnx",
        pictures=Pictures(images, labels, batches()),
        say=said.append,
    )
    return result, said


@pytest.fixture(scope="session")
def source(made: tuple[ExportResult, list[str]]) -> Source:
    path = made[0].artifact
    return Source(graph.load_model(path), made[0].info, path.read_bytes())


def test_int8_knows_what_float32_knew(made: tuple[ExportResult, list[str]]) -> None:
    result = made[0]
    assert result.int8 is not None
    value = result.to_json()["int8"]
    assert set(value) == {
        "artifact",
        "max_abs_error",
        "top1_agreement",
        "top1",
        "top1_float32",
        "speedup",
        "recommended",
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


def test_int8_describes_itself_and_names_its_parent(made: tuple[ExportResult, list[str]]) -> None:
    result = made[0]
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


def test_the_form_of_the_int8_file(made: tuple[ExportResult, list[str]]) -> None:
    assert made[0].int8 is not None
    model = graph.load_model(made[0].int8.artifact)
    graph.check_written(model)
    assert [i.name for i in model.graph.input] == ["image"]
    assert [o.name for o in model.graph.output] == ["logits", "embedding"]
    assert {o.type.tensor_type.elem_type for o in model.graph.output} == {1}
    last = {o: n.op_type for n in model.graph.node for o in n.output}
    assert last["logits"] == "Gemm" and last["embedding"] == "Flatten"  # not rounded to 8 bits


def test_x86_weights_keep_to_seven_bits(made: tuple[ExportResult, list[str]], source: Source) -> None:
    assert made[0].int8 is not None
    plan = made[0].int8.made.plan
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


def test_the_talk_says_what_was_chosen_and_how_it_went(made: tuple[ExportResult, list[str]]) -> None:
    talk = "\n".join(made[1])
    assert "calibrated on 40 training pictures" in talk and "of 8 candidates the closest to float32 was" in talk
    assert "uint8 activations" in talk and "7-bit int8 weights" in talk
    assert "int8 against float32 on 40 held-out images: top-1 agreement" in talk
    assert "float32 here (" in talk and "one picture on one thread" in talk


def test_timings_stand_beside_the_artifact_only(made: tuple[ExportResult, list[str]]) -> None:
    result = made[0]
    assert result.int8 is not None
    proof = json.loads(result.proof_file.read_text())
    assert len(proof["int8"]["latency_s"]["int8"]) == len(proof["int8"]["latency_s"]["float32"]) >= 7
    assert proof["int8"]["speedup"] == result.to_json()["int8"]["speedup"]
    assert b"latency" not in result.int8.artifact.read_bytes()


def test_the_plan_makes_the_same_bytes_again(made: tuple[ExportResult, list[str]]) -> None:
    result = made[0]
    assert result.int8 is not None
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from edgexfer.export import graph; from edgexfer.export.metadata import read_info\n"
        "from edgexfer.export.plan import read_plan; from edgexfer.export.quantize import *\n"
        "path = Path(sys.argv[1]); data = np.load(sys.argv[3])\n"
        "source = Source(graph.load_model(path), read_info(path), path.read_bytes())\n"
        "made = quantize(source, Witnesses(data['images'], data['labels']), (), plan=read_plan(Path(sys.argv[2])))\n"
        "Path(sys.argv[4]).write_bytes(made.content)\n"
        "print('torch' in sys.modules)"
    )
    images, labels = coloured(40, seed=5)
    folder = result.artifact.parent
    np.savez(folder / "w.npz", images=images, labels=labels)
    arguments = [result.artifact, result.int8.plan_file, folder / "w.npz", folder / "again.onnx"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    assert done.stdout.split()[-1] == "False"  # quantization never imports torch
    assert (folder / "again.onnx").read_bytes() == result.int8.artifact.read_bytes()


def test_another_target_is_not_timed_here(source: Source) -> None:
    foreign = "arm64" if quantize.host_target() == "x86" else "x86"
    images, labels = coloured(20, seed=6)
    result = quantize.quantize(source, Witnesses(images, labels), batches(), options=Options(target=foreign))
    assert result.race is None and result.plan.target == foreign
    assert any(f"made for {foreign}" in s and "measure its speed there" in s for s in result.verdict)
    assert result.top1 is not None and result.top1 >= 0.9


def test_without_pictures_the_training_ones_serve(source: Source) -> None:
    none = Witnesses(np.zeros((0, 24, 32, 3), np.uint8), np.zeros(0, np.int64))
    said: list[str] = []
    result = quantize.quantize(source, none, batches(), say=said.append)
    assert result.top1 is None and result.info.proof.images == 0
    assert "training pictures only" in result.verdict[0]
    assert said[0].startswith(f"int8 target: {quantize.host_target()}, the kind of this machine")


def test_calibration_takes_a_stream_and_keeps_little(source: Source) -> None:
    taken = []

    def stream() -> Iterator[np.ndarray]:
        for i in range(9):
            taken.append(i)
            yield coloured(8, seed=40 + i)[0]

    seen = calibrate.calibrate(source.model, stream(), source.info.preprocessing, "uint8")
    assert seen.images == 72 and len(taken) == 9 and len(seen.trial) == calibrate.TRIAL_IMAGES
    assert set(seen.ranges) == set(METHODS)
    for name, (low, high) in seen.ranges["minmax"].items():
        for method in METHODS[1:]:
            inner = seen.ranges[method][name]
            assert low <= inner[0] <= inner[1] <= high
    assert set(seen.ranges["minmax"]) == set(qdq.activations(source.model))


def test_minmax_ranges_are_those_of_the_values(source: Source) -> None:
    pixels, _ = coloured(8, seed=50)
    seen = calibrate.calibrate(source.model, [pixels[:3], pixels[3:]], source.info.preprocessing, "uint8")
    mean, std = np.array(TALL.mean), np.array(TALL.std)
    first = ((pixels / 255.0) - mean) / std
    conv = next(n for n in source.model.graph.node if n.op_type == "Conv")
    assert seen.ranges["minmax"][conv.input[0]] == pytest.approx((first.min(), first.max()), abs=1e-5)


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
    made: tuple[ExportResult, list[str]],
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    first: int,
) -> None:
    assert made[0].int8 is not None
    real, plan = quantize.answers, made[0].int8.made.plan
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
    made: tuple[ExportResult, list[str]], source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made[0].int8 is not None
    int8, real = made[0].int8.made, quantize.run
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


def test_plans_are_read_as_they_were_written(tmp_path: Path) -> None:
    plan = QuantizationPlan("d", "arm64", "percentile 99.9", False, {"a": (-0.1, float(np.float32(2.3)))})
    path = tmp_path / "p.json"
    write_plan(path, plan)
    assert read_plan(path) == plan
    value = json.loads(path.read_text())
    for change, message in (
        ({"target": "mips"}, "target 'mips'"),
        ({"method": "magic"}, "method 'magic'"),
        ({"per_channel": 1}, "per_channel 1"),
        ({"ranges": {"a": [1, 0]}}, "incomplete or malformed"),
        ({"ranges": None}, "incomplete or malformed"),
        ({"ranges": {"a": [0, 10**400]}}, "incomplete or malformed"),
    ):
        path.write_text(json.dumps({**value, **change}))
        with pytest.raises(QuantizationError, match=message):
            read_plan(path)
    with pytest.raises(FormatError, match="cannot read the quantization plan"):
        read_plan(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((2.0, 1.0), "int8 is 2.00x faster than float32 here"),
        ((1.0, 1.25), "int8 is 1.25x slower than float32 here .*: ship the float32 file"),
        ((1.0, 1.01), "no faster than float32 here .*: ship the float32 file, or int8 only for its smaller size"),
    ],
)
def test_speed_is_said_plainly(made: tuple[ExportResult, list[str]], times: tuple[float, float], words: str) -> None:
    assert made[0].int8 is not None
    timed = replace(made[0].int8.made, race=Race((times[0],), (times[1],)))
    assert any(__import__("re").search(words, s) for s in verdict_of(timed, "x86"))


def test_lost_accuracy_and_float_islands_are_said_plainly(made: tuple[ExportResult, list[str]]) -> None:
    assert made[0].int8 is not None
    drop = figures.Drop(5.0, (2.1, 7.9))
    worse = replace(made[0].int8.made, top1=0.90, top1_float32=0.95, drop=drop, islands={"HardSwish": 3})
    words = "\n".join(verdict_of(worse, "x86"))
    assert "int8 top-1 0.9000, float32 0.9500: 5.0 points lost (95% interval 2.1 to 7.9, paired)" in words
    assert "int8 loses 5.0 points of accuracy, 1 are allowed: that is no improvement, ship the float32 file" in words
    assert "in float32 between the int8 layers: HardSwish x3; a network with ReLU instead would be faster" in words
    padded = "\n".join(verdict_of(replace(worse, islands={"Einsum": 2}), "x86"))
    assert "in float32 between the int8 layers: Einsum x2" in padded and "ReLU" not in padded
    assert "loses" not in "\n".join(verdict_of(replace(worse, drop=figures.Drop(1.0, (0.5, 1.5))), "x86"))


def test_a_slower_or_worse_file_is_not_recommended(made: tuple[ExportResult, list[str]]) -> None:
    assert made[0].int8 is not None
    good = replace(made[0].int8.made, drop=figures.Drop(0.5, (0, 1)), race=Race((2.0,), (1.0,)))
    assert recommended(good) == "int8"
    assert recommended(replace(good, drop=figures.Drop(1.5, (1, 2)))) == "float32"
    assert recommended(replace(good, race=Race((1.0,), (1.0,)))) == "float32"
    assert recommended(replace(good, race=None)) is None


def test_float_islands_are_found_in_the_graph() -> None:
    from edgexfer.export.torch_onnx import to_onnx

    counts = {}
    for name, activation in (("leaky", lambda: nn.LeakyReLU(0.1)), ("hard", nn.Hardswish)):
        model = to_onnx(SmallNet(activation=activation), TALL)
        ranges = dict.fromkeys(qdq.activations(model), (-1.0, 1.0))
        counts[name] = qdq.float_islands(qdq.quantize(model, QuantizationPlan("d", "x86", "minmax", True, ranges)))
    assert counts["leaky"] == {"BatchNormalization": 3}  # not folded here
    assert counts["hard"] == {"BatchNormalization": 2, "HardSwish": 2}  # the last ones lead out to float32 anyway
