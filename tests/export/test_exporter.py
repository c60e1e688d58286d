from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgexfer.errors import ExportError, FoldError, WouldOverwriteError
from edgexfer.export import exporter, graph, second_pass
from edgexfer.export.differences import differences
from edgexfer.export.exporter import ExportResult, Pictures, export_network
from edgexfer.export.golden import golden_pixels
from edgexfer.export.metadata import read_info
from edgexfer.export.targets import Form
from edgexfer.preprocessing import Preprocessing, square
from tests.batchnorms import lived_in
from tests.export.nets import TALL, SmallNet, make_pixels, pictures_for, request_for

Unfolded = tuple[nn.Module, ExportResult]


def kinds(path: Path) -> list[str]:
    return [node.op_type for node in graph.load_model(path).graph.node]


def test_the_file_has_the_form_of_the_contract(unfolded: Unfolded) -> None:
    model = graph.load_model(unfolded[1].artifact)
    assert model.ir_version == 9 and [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    text = onnx.printer.to_text(model)
    assert "uint8[N,24,32,3] image) => (float[N,3] logits, float[N,16] embedding)" in text
    assert str(Path(torch.__file__).parent) not in text and str(Path.cwd()) not in text


def test_no_fold_keeps_every_batchnorm_in_the_file(unfolded: Unfolded) -> None:
    result = unfolded[1]
    assert kinds(result.artifact).count("BatchNormalization") == 3
    assert result.info.batchnorm_folded == 0 and result.info.proof.fold_max_rel_error_f64 is None
    assert [k.name for k in result.info.batchnorm_kept] == ["body.1", "body.5", "body.8"]
    assert {k.reason for k in result.info.batchnorm_kept} == {"folding was turned off (--no-fold-bn)"}


def test_logits_and_embedding_are_those_of_the_network(unfolded: Unfolded) -> None:
    net, result = unfolded
    pixels = make_pixels(5, seed=9)
    mean, std = np.array(TALL.mean), np.array(TALL.std)
    x = torch.from_numpy(((pixels / 255.0 - mean) / std).transpose(0, 3, 1, 2)).float()
    with torch.no_grad():
        wanted = net.eval()(x).numpy(), net.embed(x).numpy()
    session = onnxruntime.InferenceSession(str(result.artifact), providers=["CPUExecutionProvider"])
    found = session.run(["logits", "embedding"], {"image": pixels})
    for name, a, b in zip(("logits", "embedding"), found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6, err_msg=name)


def test_metadata_golden_and_digest_can_be_read_back(unfolded: Unfolded) -> None:
    result = unfolded[1]
    info = read_info(result.artifact)
    assert info == result.info and info.digest == graph.digest(graph.load_model(result.artifact))
    session = onnxruntime.InferenceSession(str(result.artifact), providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"image": golden_pixels(info.golden.seed, info.preprocessing)})[0]
    np.testing.assert_allclose(found, np.array(info.golden.logits), rtol=0, atol=info.golden.tolerance)
    assert info.golden.tolerance == pytest.approx(1e-3 * np.abs(found).max(), rel=1e-6)
    assert info.proof.images == 13 and info.proof.top1_agreement == 1.0 and 0 <= info.proof.max_abs_error < 1e-5


def test_the_json_object_and_the_proof_file(unfolded: Unfolded) -> None:
    result = unfolded[1]
    value = result.to_json()
    assert list(value) == ["artifact", "batchnorm_folded", "batchnorm_kept", "max_abs_error", "top1_agreement"]
    proof = json.loads(result.artifact.with_name("small.proof.json").read_text())
    assert proof["format"] == 1 and proof["float32"]["images"] == 13


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    net = SmallNet().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    export_network(net, request_for(fold_bn=False), tmp_path / "a.onnx", pictures=pictures_for(count=2))
    assert all(m.training for m in net.modules()) and all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_float_input_two_classes_and_no_pictures(tmp_path: Path) -> None:
    rule = square(32)
    request = request_for(rule, classes=2, input="float", fold_bn=False)
    said: list[str] = []
    none = Pictures(np.zeros((0, 32, 32, 3), np.uint8), np.zeros(0, np.int64))
    result = export_network(SmallNet(2), request, tmp_path / "f.onnx", pictures=none, say=said.append)
    text = onnx.printer.to_text(graph.load_model(result.artifact))
    assert "float[N,3,32,32] input) => (float[N,2] logits, float[N,16] embedding)" in text
    assert result.info.proof.images == 0 and any("golden samples only" in s for s in said)


def test_a_fresh_process_writes_the_same_bytes(unfolded: Unfolded, tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from edgexfer.export.exporter import export_network\n"
        "from tests.export.nets import SmallNet, pictures_for, request_for\n"
        "export_network(SmallNet(), request_for(fold_bn=False), Path(sys.argv[1]) / 'd.onnx', pictures=pictures_for())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=Path(__file__).parents[2])
    assert (tmp_path / "d.onnx").read_bytes() == unfolded[1].artifact.read_bytes()


def test_folding_leaves_no_batchnorm_and_says_its_error(tmp_path: Path) -> None:
    said: list[str] = []
    result = export_network(
        SmallNet().train(), request_for(), tmp_path / "f.onnx", pictures=pictures_for(), say=said.append
    )
    assert "BatchNormalization" not in kinds(result.artifact)
    assert result.to_json()["batchnorm_folded"] == 3 and result.to_json()["batchnorm_kept"] == []
    error = result.info.proof.fold_max_rel_error_f64
    assert error is not None and 0 <= error < 1e-12 and said[0].startswith("BatchNorm: 3 of 3 folded, float64 error")


def test_the_proof_of_folding_is_told_layer_by_layer_and_in_float32(tmp_path: Path) -> None:
    said: list[str] = []
    result = export_network(SmallNet(), request_for(), tmp_path / "f.onnx", pictures=pictures_for(), say=said.append)
    fold = json.loads(result.proof_file.read_text())["fold"]
    assert [layer["name"] for layer in fold["layers"]] == ["body.1", "body.5", "body.8"]
    assert all(0 <= layer["rel_error_f64"] <= fold["max_rel_error_f64"] <= 1e-12 for layer in fold["layers"])
    assert fold["max_rel_error_f64"] == result.info.proof.fold_max_rel_error_f64
    assert 1e-9 < fold["max_rel_error"] < 1e-4 and fold["images"] == 2
    assert f" at 3 layers and end to end, {fold['max_rel_error']:.1e} in float32" in said[0]


def test_a_wrong_export_is_caught_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_percent_off(net: nn.Module, *args: object) -> onnx.ModelProto:
        with torch.no_grad():
            net.head.weight *= 1.01  # type: ignore[operator, union-attr]
        model = right(net, *args)  # type: ignore[arg-type]
        with torch.no_grad():
            net.head.weight /= 1.01  # type: ignore[operator, union-attr]
        return model

    right = exporter.to_onnx
    monkeypatch.setattr(exporter, "to_onnx", one_percent_off)
    with pytest.raises(ExportError, match="logits differ by up to .* allowed .* nothing was written"):
        export_network(SmallNet(), request_for(fold_bn=False), tmp_path / "w.onnx", pictures=pictures_for())
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    for name in ("x.onnx", "x.proof.json"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(WouldOverwriteError, match="--force"):
            export_network(SmallNet(), request_for(), tmp_path / "x.onnx", pictures=pictures_for())
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    wrong = Pictures(np.zeros((2, 8, 8, 3), np.float32), np.zeros(3, np.int64))
    request = replace(request_for(input="jpeg"), classes=())
    with pytest.raises(ExportError) as caught:
        export_network(SmallNet(), request, tmp_path / "x.txt", pictures=wrong)
    for part in ("ends in .onnx", "input is 'jpeg'", "no class names", "expected uint8 \\(N, 24, 32, 3\\)", "3 labels"):
        assert part.replace("\\", "") in str(caught.value)


def test_class_names_must_fit_the_outputs(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="3 outputs, but there are 5 class names"):
        export_network(
            SmallNet(), request_for(classes=5, fold_bn=False), tmp_path / "x.onnx", pictures=pictures_for(count=1)
        )


def test_a_network_that_answers_nan_is_refused(tmp_path: Path) -> None:
    net = SmallNet()
    with torch.no_grad():
        net.head.bias[0] = float("nan")
    with pytest.raises(ExportError, match="NaN or infinity"):
        export_network(net, request_for(fold_bn=False), tmp_path / "x.onnx", pictures=pictures_for(count=1))


class NoHead(nn.Module):
    """Its embedding is its logits."""

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        return embedding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.embed(x))


def test_outputs_keep_their_names_when_they_are_one_value() -> None:
    model = exporter.to_onnx(NoHead(), TALL, "uint8")
    assert [o.name for o in model.graph.output] == ["logits", "embedding"]
    assert not {"Shape", "Gather", "Range"} & {n.op_type for n in model.graph.node}  # no tangle of strides


class Stubborn(nn.Module):
    """Looks at its values to decide what to do, or cannot take another batch size than two."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "looks" and x.sum() > 1e6:
            return x.mean((2, 3)) * 2
        return x.reshape(2, 3 * 24 * 32) if self.how == "fixed" else x.mean((2, 3))

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        return embedding[:, :3]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.embed(x))


def test_a_network_that_cannot_be_exported_says_why(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="torch.onnx.export cannot export this network: .*"):
        exporter.to_onnx(Stubborn("looks"), TALL, "uint8")


def test_a_network_that_cannot_run_says_so_before_any_export(tmp_path: Path) -> None:
    with pytest.raises(
        ExportError,
        match="fails on pictures of 24x32 in batches of 1, 3 and 8, before any export: .*invalid for input",
    ):
        export_network(Stubborn("fixed"), request_for(), tmp_path / "x.onnx", pictures=pictures_for(count=1))
    with pytest.raises(ExportError, match="fails on an input of 2x1x1x3"):
        exporter.to_onnx(SmallNet(), Preprocessing((1, 1), None, "none"), "uint8")


class Twice(nn.Module):
    """A convolution called twice with a BatchNorm each, and a BatchNorm before pooling and the head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second, self.last = nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 3)
        lived_in(self).train()

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.first(self.conv(x)))
        y = torch.relu(self.second(self.conv(y)))
        return self.last(torch.cat([y[:, :1], x[:, 1:]], 1) + y).mean((2, 3))  # type: ignore[no-any-return]

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        return self.head(embedding)  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.embed(x))


def test_what_the_network_keeps_is_folded_in_the_file(tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "twice.onnx"
    result = export_network(Twice().eval(), request_for(), out, pictures=pictures_for(), say=said.append)
    assert "BatchNorm: 0 of 3 folded" in said
    assert any(s.startswith("BatchNorm: 2 more folded in the file, float64 error") for s in said)
    assert result.info.batchnorm_folded == 2 and [k.name for k in result.info.batchnorm_kept] == ["last"]
    assert result.info.proof.fold_max_rel_error_f64 is not None and result.info.proof.fold_max_rel_error_f64 <= 1e-10
    assert [n.op_type for n in graph.load_model(out).graph.node].count("BatchNormalization") == 1
    assert len(json.loads(result.proof_file.read_text())["fold"]["layers"]) == 2


def test_what_stays_becomes_a_product_and_a_sum_on_request(tmp_path: Path) -> None:
    said: list[str] = []
    net, out = Twice().eval(), tmp_path / "twice.onnx"
    result = export_network(net, request_for(scale_shift=True), out, pictures=pictures_for(), say=said.append)
    assert any(s.startswith("BatchNorm: 2 more folded in the file, 1 made a product and a sum, ") for s in said)
    assert "BatchNormalization" not in kinds(out) and result.info.batchnorm_folded == 2
    (kept,) = result.info.batchnorm_kept
    assert kept.name == "last" and kept.reason.endswith("; made a product and a sum")
    model = graph.load_model(out)
    again = exporter.export_again(net, result.info, Form(18, 9))
    assert differences(model, again.model) == []
    with pytest.raises(ExportError, match="--scale-shift goes on where folding ends"):
        export_network(net, request_for(scale_shift=True, fold_bn=False), tmp_path / "x.onnx", pictures=pictures_for())


def test_why_nothing_more_is_folded_in_the_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **options: object) -> None:
        raise FoldError("'Conv' needs more than 8 GiB of memory")

    monkeypatch.setattr(second_pass, "fold_graph", refused)
    said: list[str] = []
    result = export_network(
        Twice().eval(), request_for(), tmp_path / "t.onnx", pictures=pictures_for(), say=said.append
    )
    assert "  nothing more folded in the file: 'Conv' needs more than 8 GiB of memory" in said
    assert result.info.batchnorm_folded == 0 and "fold" not in json.loads(result.proof_file.read_text())
