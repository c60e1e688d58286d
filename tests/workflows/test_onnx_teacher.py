from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgexfer.distill import Objective, from_onnx, from_run
from edgexfer.errors import FormatError, RecipeError, TeacherError
from edgexfer.preprocessing import square
from edgexfer.runs import read_run
from edgexfer.training import Recipe, Silent, prepare
from edgexfer.training.pictures import predict_view
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.export import ExportChoice, export_run
from edgexfer.workflows.teachers import at_hand
from edgexfer.workflows.train import Start, Target
from tests.heard import Heard

CLASSES = ("blue", "green", "red")


def channel_means(path: Path, batch: int | str = "n", *, softmax: bool = False, size: int | str = 32) -> Path:
    """A foreign teacher: the score of red, green and blue is the mean of that channel, times 20."""
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["means", "twenty"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["scores"], axis=1)
        if softmax
        else helper.make_node("Identity", ["scaled"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(np.array(20.0, np.float32), "twenty")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


NOTHING = square(32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.mark.parametrize("batch", ["n", 1, 4])
@pytest.mark.parametrize("softmax", [False, True])
def test_a_foreign_file_is_run_in_any_batch_and_its_outputs_are_mapped_by_name(
    tmp_path: Path, batch: int | str, softmax: bool
) -> None:
    path = channel_means(tmp_path / "f.onnx", batch, softmax=softmax)
    made = from_onnx(path, ("red", "green", "blue"), CLASSES, NOTHING, parameters=1)
    pixels = torch.rand(7, 3, 32, 32)
    expected = torch.log_softmax(20 * pixels.mean((2, 3))[:, [2, 1, 0]], dim=1)
    found = torch.log_softmax(made.network(pixels), dim=1)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)
    assert made.operations is None and made.weights_bytes == path.stat().st_size and made.network_of() is None


def test_pictures_are_scaled_and_normalised_for_it(tmp_path: Path) -> None:
    rule = square(32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))
    made = from_onnx(channel_means(tmp_path / "f.onnx"), ("red", "green", "blue"), CLASSES, rule, parameters=1)
    flat = torch.full((1, 3, 48, 48), 0.6)
    assert made.network(flat)[0].tolist() == pytest.approx([20 * 0.3 / 0.5, 20 * 0.2 / 0.25, 20 * 0.1 / 0.2], abs=1e-3)
    free = channel_means(tmp_path / "free.onnx", size="side")
    assert from_onnx(free, CLASSES, CLASSES, square(48), parameters=1).preprocessing.input_size == (48, 48)


def test_an_artifact_teaches_as_the_run_that_it_came_from(teacher: Path, colours: Path, tmp_path: Path) -> None:
    export_run(teacher, tmp_path / "teacher.onnx", ExportChoice(), Silent())
    job = prepare(DataChoice(str(colours)).load(), "tiny-darknet", "none", Recipe(image_size=32, epochs=1), Silent())
    target = Target(tmp_path / "out")
    (result,) = distill_data(
        DataChoice(str(colours)),
        [Start("tiny-darknet")],
        [Start(str(tmp_path / "teacher.onnx"))],
        Recipe(epochs=1, batch_size=8, image_size=32),
        target,
        Silent(),
        Teaching(),
    )
    told = result.student.scores["teacher"]
    run = read_run(teacher)
    assert told["name"] == "teacher.onnx" and told["operations"] is None
    assert told["val_top1"] == pytest.approx(run.scores["val_top1"])
    assert 0.9 * run.scores["parameters"] < told["parameters"] <= 1.5 * run.scores["parameters"]
    from edgexfer.export.metadata import read_info

    info = read_info(tmp_path / "teacher.onnx")
    black_box = from_onnx(tmp_path / "teacher.onnx", info.classes, CLASSES, info.preprocessing, parameters=1)
    view, store = job.view("val"), job.stores["val"]
    logits = [
        predict_view(made.network, view, store, job.preprocessing, job.device).logits
        for made in (black_box, from_run(teacher, CLASSES))
    ]
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-3)


def distilled_from(path: Path, colours: Path, out: Path, names: Path | None, **objective: object) -> None:
    distill_data(
        DataChoice(str(colours)),
        [Start("tiny-darknet")],
        [Start(str(path), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))],
        Recipe(epochs=1, batch_size=16, image_size=32),
        Target(out),
        Silent(),
        Teaching(Objective(**objective), names_file=names),  # type: ignore[arg-type]
    )


def test_a_foreign_file_needs_the_names_of_its_outputs(colours: Path, tmp_path: Path) -> None:
    path, names = channel_means(tmp_path / "f.onnx"), tmp_path / "names.txt"
    with pytest.raises(TeacherError, match="carries no class names; pass --teacher-classes FILE .*blue, green, red"):
        distilled_from(path, colours, tmp_path / "a", None)
    names.write_text("red\ngreen\n")
    with pytest.raises(TeacherError, match="has 3 outputs, and 2 class names were given"):
        distilled_from(path, colours, tmp_path / "b", names)
    names.write_text("red\ngreen\npink\n")
    with pytest.raises(TeacherError, match="lacks blue .it knows pink that the data has not"):
        distilled_from(path, colours, tmp_path / "c", names)
    names.write_bytes(b"\xff\xfe")
    with pytest.raises(TeacherError, match="cannot read the class names"):
        distilled_from(path, colours, tmp_path / "d", names)
    names.write_text("red\ngreen\nblue\n")
    distilled_from(path, colours, tmp_path / "e", names)
    assert read_run(tmp_path / "e").scores["teacher"]["val_top1"] == 1.0


@pytest.mark.parametrize(
    ("pictures", "wish", "side"), [((3000, 4000), None, 224), ((3000, 4000), 96, 96), ((40, 48), None, 40)]
)
def test_a_file_of_any_size_is_fed_no_more_than_networks_are_used_to(
    colours: Path, tmp_path: Path, pictures: tuple[int, int], wish: int | None, side: int
) -> None:
    path, names = channel_means(tmp_path / "free.onnx", size="side"), tmp_path / "names.txt"
    names.write_text("red\ngreen\nblue\n")
    splits, heard = replace(DataChoice(str(colours)).load(), image_size=pictures), Heard()
    (made,) = at_hand(splits, [Start(str(path))], Recipe(image_size=wish), heard, names)
    assert made is not None and made.preprocessing.input_size == (side, side)
    assert heard.lines[-1].startswith(f"teacher free.onnx: fed at ({side}, {side}), mean (0.485")


def test_a_size_for_a_file_that_has_its_own_is_refused(colours: Path, tmp_path: Path) -> None:
    path, names = channel_means(tmp_path / "fixed.onnx"), tmp_path / "names.txt"
    names.write_text("red\ngreen\nblue\n")
    splits = DataChoice(str(colours)).load()
    with pytest.raises(RecipeError, match="--teacher-image-size is for a network's name, a weight file or an ONNX"):
        at_hand(splits, [Start(str(path))], Recipe(image_size=96), Silent(), names)
    assert at_hand(splits, [Start(str(path))], Recipe(image_size=32), Silent(), names)


def test_a_black_box_has_no_layers(colours: Path, tmp_path: Path) -> None:
    from edgexfer.distill import Hint

    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    path = channel_means(tmp_path / "f.onnx")
    with pytest.raises(Exception, match="the teacher f.onnx gives outputs only, no layers; leave --hint out"):
        distilled_from(path, colours, tmp_path / "o", tmp_path / "names.txt", hints=(Hint("layers.0", "a"),))


def test_what_is_no_classifier_of_pictures_is_refused(colours: Path, tmp_path: Path) -> None:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "flat",
        [info("x", TensorProto.FLOAT, ["n", 5])],
        [info("y", TensorProto.FLOAT, ["n", 5])],
    )
    flat = tmp_path / "flat.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), flat)
    with pytest.raises(TeacherError, match=r"takes x tensor\(float\) \['n', 5\]; one input is read, float32"):
        from_onnx(flat, CLASSES, CLASSES, NOTHING, parameters=1)
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "maps",
        [info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [info("y", TensorProto.FLOAT, ["n", 3, 32, 32])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), flat)
    with pytest.raises(TeacherError, match=r"gives \(2, 3, 32, 32\) for 2 pictures; a teacher gives \(N, K\)"):
        from_onnx(flat, CLASSES, CLASSES, NOTHING, parameters=1)
    flat.write_bytes(b"nothing")
    with pytest.raises(TeacherError, match="ONNX Runtime cannot open the teacher"):
        from_onnx(flat, CLASSES, CLASSES, NOTHING, parameters=1)
    with pytest.raises(FormatError, match="not an ONNX file"):
        distilled_from(flat, colours, tmp_path / "o", None)
