from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgexfer import nets
from edgexfer.data import PixelStore, View
from edgexfer.distill import Hint, Objective
from edgexfer.errors import DataError, RecipeError, TeacherError, TrainingError
from edgexfer.preprocessing import Preprocessing
from edgexfer.runs import Run, is_run, read_lines, read_run
from edgexfer.training import Recipe, Silent
from edgexfer.training.ranks import Ranks
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import Teaching, distill_data
from edgexfer.workflows.teachers import pair_teachers
from edgexfer.workflows.train import Start, Target
from tests.heard import Heard

RECIPE = Recipe(epochs=12, batch_size=8, lr=0.01, image_size=32)


def test_distilling_scores_the_teacher_and_keeps_the_baseline(
    teacher: Path, colours: Path, small_net: str, tmp_path: Path
) -> None:
    out, heard = tmp_path / "student", Heard()
    (result,) = distill_data(
        DataChoice(str(colours)),
        [Start("tiny-darknet")],
        [Start(str(teacher)), Start(small_net)],
        Recipe(epochs=1, batch_size=8, image_size=32),
        Target(out),
        heard,
        Teaching(Objective("kd", 2.0, 0.5), "arithmetic", teacher_recipe=RECIPE, with_baseline=True),
    )
    made = read_run(out / "teachers" / "1-small.py-build")
    assert result.student.scores["teacher"]["parameters"] == 2 * made.scores["parameters"]
    assert [parent["role"] for parent in result.student.parents] == ["teacher", "teacher"]
    assert result.student.recipe["temperature"] == 2.0 and result.student.recipe["ensemble"] == "arithmetic"
    assert {"soft_loss", "hard_loss", "train_loss"} <= set(read_lines(out / "metrics.jsonl")[0])
    assert is_run(out / "hard-label-baseline")
    assert any("fine-tuned on this data first" in line for line in heard.lines)
    gain = result.gain()
    assert gain is not None and result.baseline is not None
    difference = result.student.scores["test_top1"] - result.baseline.scores["test_top1"]
    assert gain.top1 == pytest.approx(difference) and gain.low <= gain.top1 <= gain.high


def test_teachers_made_on_the_way_lie_where_other_students_find_them(
    colours: Path, small_net: str, tmp_path: Path
) -> None:
    heard, recipe = Heard(), Recipe(epochs=1, batch_size=8, image_size=32)
    teaching = Teaching(teacher_recipe=recipe, allow_weak=True, teachers_folder=tmp_path / "teachers")
    for name in ("a", "b"):
        choice, student = DataChoice(str(colours)), Start(small_net)
        distill_data(choice, [student], [Start(small_net)], recipe, Target(tmp_path / name), heard, teaching)
    assert sum("fine-tuned on this data first" in line for line in heard.lines) == 1
    assert is_run(tmp_path / "teachers" / "0-small.py-build") and not (tmp_path / "a" / "teachers").exists()


def test_a_teacher_that_only_guesses_is_refused(teacher: Path, colours: Path, small_net: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(teacher, broken)
    value = json.loads((broken / "run.json").read_text())
    value["classes"] = ["green", "red", "blue"]  # right weights, wrong order: every answer is another class
    (broken / "run.json").write_text(json.dumps(value))

    def attempt(*, allow_weak: bool) -> list[str]:
        heard = Heard()
        distill_data(
            DataChoice(str(colours)),
            [Start(small_net)],
            [Start(str(broken))],
            Recipe(epochs=1, image_size=32, batch_size=8),
            Target(tmp_path / "out", force=True),
            heard,
            Teaching(allow_weak=allow_weak),
        )
        return heard.lines

    with pytest.raises(TeacherError, match="no better than always answering.*--allow-weak-teacher"):
        attempt(allow_weak=False)
    assert any(line.startswith("WARNING the teacher") for line in attempt(allow_weak=True))


def test_the_order_of_classes_is_mapped_by_name(teacher: Path, colours: Path, small_net: str) -> None:
    from edgexfer.distill import from_run
    from edgexfer.training import prepare
    from edgexfer.training.pictures import predict_view

    job = prepare(DataChoice(str(colours)).load(), small_net, "none", RECIPE, Silent())
    plain, turned = from_run(teacher, ("blue", "green", "red")), from_run(teacher, ("red", "blue", "green"))
    view, store = job.view("val"), job.stores["val"]
    a = predict_view(plain.network, view, store, job.preprocessing, job.device).logits
    b = predict_view(turned.network, view, store, job.preprocessing, job.device).logits
    np.testing.assert_allclose(b, a[:, [2, 0, 1]], atol=1e-6)
    fewer = from_run(teacher, ("red", "blue"))  # a teacher that knows more classes answers for those that there are
    c = predict_view(fewer.network, view, store, job.preprocessing, job.device).logits
    np.testing.assert_allclose(c, a[:, [2, 0]], atol=1e-6)
    with pytest.raises(TeacherError, match="lacks pink .it knows blue, green that the data has not.; fine-tune it"):
        from_run(teacher, ("red", "pink"))


def test_unlabelled_pictures_are_taught_and_the_baseline_gets_as_many_steps(
    teacher: Path, colours: Path, small_net: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    (tmp_path / "more").mkdir()
    for number in range(42):
        pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "more" / f"{number}.png")
    heard = Heard()
    (result,) = distill_data(
        DataChoice(str(colours)),
        [Start(small_net)],
        [Start(str(teacher))],
        Recipe(epochs=2, batch_size=8, image_size=32, mixup=0.5),
        Target(tmp_path / "out"),
        heard,
        Teaching(with_baseline=True, unlabelled=tmp_path / "more"),
    )
    assert result.student.recipe["unlabelled"] == {"path": str(tmp_path / "more"), "images": 42}
    assert result.student.scores["train_images"] == 42 + 42
    assert result.baseline is not None
    assert result.baseline.scores["train_images"] == 42
    assert result.baseline.recipe["settings"]["epochs"] == 4
    assert (
        result.student.splits_fingerprint == result.baseline.splits_fingerprint == read_run(teacher).splits_fingerprint
    )
    assert any("42 pictures without labels" in line for line in heard.lines)


def test_strict_holds_for_unlabelled_pictures_too(teacher: Path, colours: Path, small_net: str, tmp_path: Path) -> None:
    shutil.copytree(colours, tmp_path / "more")
    (tmp_path / "more" / "broken.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"more': 1 pictures cannot be used and strict is on: 'broken.png' is empty"):
        distill_data(
            DataChoice(str(colours), strict=True),
            [Start(small_net)],
            [Start(str(teacher))],
            RECIPE,
            Target(tmp_path / "out"),
            Silent(),
            Teaching(unlabelled=tmp_path / "more"),
        )


def test_several_students_share_the_teachers_and_their_outputs(
    teacher: Path, colours: Path, small_net: str, tmp_path: Path
) -> None:
    heard = Heard()
    students = [Start("tiny-darknet"), Start("cifar-resnet20")]
    target = Target(tmp_path / "out")
    teachers = [Start(str(teacher))]
    results = distill_data(
        DataChoice(str(colours)),
        students,
        teachers,
        Recipe(epochs=1, batch_size=8, image_size=32),
        target,
        heard,
        Teaching(),
    )
    assert [result.out.name for result in results] == ["tiny-darknet", "cifar-resnet20"]
    assert [read_run(result.out).model for result in results] == ["tiny-darknet", "cifar-resnet20"]
    told = [line for line in heard.lines if line.startswith("teacher outputs: 1 view of 42 pictures")]
    assert len(told) == 2 and "100% of them known already" in told[1]
    with pytest.raises(RecipeError, match="several students are called tiny-darknet"):
        distill_data(DataChoice(str(colours)), [students[0]] * 2, teachers, Recipe(), target, Silent(), Teaching())


def test_an_interrupted_training_keeps_its_views_when_the_disk_has_filled(
    teacher: Path, colours: Path, small_net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("edgexfer.training.fit"), "CHECKPOINT_SECONDS", 0.0)
    outputs = importlib.import_module("edgexfer.distill.outputs")
    usual = outputs._free_bytes

    class Cut(Silent):
        def epoch(self, metrics: object) -> None:
            raise KeyboardInterrupt

    def run(listener: Silent, *, resume: bool, teaching: Teaching | None = None) -> None:
        target = Target(tmp_path / "out", resume=resume)
        recipe, taught = Recipe(epochs=3, batch_size=8, image_size=32), teaching or Teaching()
        distill_data(
            DataChoice(str(colours)), [Start(small_net)], [Start(str(teacher))], recipe, target, listener, taught
        )

    with pytest.raises(KeyboardInterrupt):
        run(Cut(), resume=False)
    with pytest.raises(TrainingError, match=r"alpha was 0.9, now 0.3.*repeat the first command"):
        run(Silent(), resume=True, teaching=Teaching(Objective(alpha=0.3)))
    monkeypatch.setattr(outputs, "_free_bytes", lambda: 0)
    run(Silent(), resume=True)
    assert read_run(tmp_path / "out").recipe["settings"]["views"] == 3
    assert usual() > 0


def test_mistakes_are_named() -> None:
    with pytest.raises(RecipeError, match="2 --teacher and 1 --teacher-weights"):
        pair_teachers(["a", "b"], ["w"])


def test_a_trained_student_goes_on_learning_with_the_rounding_of_int8(
    teacher: Path, colours: Path, small_net: str, tmp_path: Path
) -> None:
    def teach(out: Path, **others: object) -> tuple[Run, list[str]]:
        heard = Heard()
        (result,) = distill_data(
            DataChoice(str(colours)),
            [Start(small_net, str(teacher))],
            [Start(str(teacher))],
            Recipe(epochs=2, batch_size=8, image_size=32, **others),  # type: ignore[arg-type]
            Target(out),
            heard,
            Teaching(Objective("kd"), quantization_aware=True),
        )
        return result.student, heard.lines

    run, heard = teach(tmp_path / "rounded")
    first = read_lines(tmp_path / "rounded" / "metrics.jsonl")[0]
    assert run.scores["quantization_aware"]["val_top1_before"] == first["val_top1"]
    scores = run.scores["quantization_aware"]
    assert (
        set(scores) == {"val_top1", "val_top1_before", "test_top1"} and scores["val_top1"] >= scores["val_top1_before"]
    )
    assert [line["epoch"] for line in read_lines(tmp_path / "rounded" / "metrics.jsonl")] == [0, 1, 2]
    assert any("a tenth of the usual" in line for line in heard)
    assert run.recipe["settings"]["lr"] < 0.1 * read_run(teacher).recipe["settings"]["lr"]
    plain = nets.create(small_net, 3, weights=tmp_path / "rounded", input_size=(32, 32)).eval()
    assert plain(torch.zeros(1, 3, 32, 32)).shape == (1, 3), "an ordinary run: nothing of the rounding is in it"
    assert teach(tmp_path / "fast", lr=0.01)[0].recipe["settings"]["lr"] == 0.01


def test_learning_with_rounding_is_resumed_to_the_same_weights_and_only_as_such(
    teacher: Path, colours: Path, small_net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("edgexfer.training.fit"), "CHECKPOINT_SECONDS", 0.0)

    def teach(out: Path, listener: Silent, *, rounds: bool = True, resume: bool = False) -> None:
        distill_data(
            DataChoice(str(colours)),
            [Start(small_net, str(teacher))],
            [Start(str(teacher))],
            Recipe(epochs=4, batch_size=8, image_size=32, lr=1e-3, precision="float32"),
            Target(out, resume=resume),
            listener,
            Teaching(Objective("kd"), quantization_aware=rounds),
        )

    class Stop(Silent):
        def epoch(self, metrics: dict[str, object]) -> None:
            if metrics["epoch"] == 2:
                raise KeyboardInterrupt

    teach(tmp_path / "whole", Silent())
    with pytest.raises(KeyboardInterrupt):
        teach(tmp_path / "cut", Stop())
    with pytest.raises(TrainingError, match="rounds was True, now None"):
        teach(tmp_path / "cut", Silent(), rounds=False, resume=True)
    teach(tmp_path / "cut", Silent(), resume=True)
    whole, cut = (read_run(tmp_path / name) for name in ("whole", "cut"))
    assert cut.scores["quantization_aware"] == whole.scores["quantization_aware"]
    weights = [(tmp_path / name / "last.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


def test_rounding_is_learned_on_the_cpu_where_the_device_cannot_round(
    teacher: Path, colours: Path, small_net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = importlib.import_module("edgexfer.training.job")
    monkeypatch.setattr(job, "find_device", lambda *_: torch.device("mps"))
    heard = Heard()
    (result,) = distill_data(
        DataChoice(str(colours)),
        [Start(small_net, str(teacher))],
        [Start(str(teacher))],
        Recipe(epochs=1, batch_size=8, image_size=32),
        Target(tmp_path / "out"),
        heard,
        Teaching(Objective("kd"), quantization_aware=True),
    )
    assert result.student.recipe["device"] == "cpu"
    assert "int8's rounding is computed on the CPU: PyTorch has no operators for it on MPS" in heard.lines


def test_what_does_not_go_with_rounding_is_named_together(
    teacher: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgexfer.workflows.distill.current_ranks", lambda: Ranks(0, 2, 0, 2))
    with pytest.raises(RecipeError) as caught:
        distill_data(
            DataChoice(str(colours)),
            [Start("tiny-darknet")],
            [Start(str(teacher))],
            Recipe(precision="bfloat16"),
            Target(tmp_path / "out"),
            Silent(),
            Teaching(Objective(hints=(Hint("a", "b"),)), quantization_aware=True),
        )
    said = str(caught.value)
    assert "tiny-darknet has random weights; pass --student-weights RUN" in said
    assert (
        "--hint do not go together" in said
        and "leave torchrun out" in said
        and "leave --precision bfloat16 out" in said
    )
    assert not (tmp_path / "out").exists()


def test_views_and_hints_are_refused_together(teacher: Path, colours: Path, small_net: str, tmp_path: Path) -> None:
    hints = Objective(hints=(Hint("a", "b"),))
    with pytest.raises(RecipeError, match="--views keeps the teachers' answers, and --hint .*; leave --views out$"):
        distill_data(
            DataChoice(str(colours)), [Start(small_net)], [Start(str(teacher))], Recipe(), Target(tmp_path / "out"),
            Silent(), Teaching(hints, views=3),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_single_pictures_a_step_are_refused_by_what_the_command_has(
    teacher: Path, colours: Path, small_net: str, tmp_path: Path
) -> None:
    recipe = Recipe(epochs=1, batch_size=1, image_size=32)
    with pytest.raises(RecipeError, match="batch_size is 1, and BatchNorm learns .*; pass --batch-size 2 or more$"):
        distill_data(
            DataChoice(str(colours)), [Start(small_net)], [Start(str(teacher))], recipe, Target(tmp_path / "out"),
            Silent(), Teaching(),
        )  # fmt: skip


def test_one_command_decodes_its_pictures_once(
    teacher: Path, colours: Path, small_net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = importlib.import_module("edgexfer.training.pictures")
    decoded, real = [], pictures.build_store

    def counting(view: View, rule: Preprocessing, **others: Any) -> PixelStore:
        decoded.append((view.name, rule.input_size[0]))
        store: PixelStore = real(view, rule, **others)
        return store

    monkeypatch.setattr(pictures, "build_store", counting)
    distill_data(
        DataChoice(str(colours)), [Start(small_net), Start("cifar-resnet20")], [Start(str(teacher))],
        Recipe(epochs=1, batch_size=8, image_size=32), Target(tmp_path / "out"), Silent(), Teaching(with_baseline=True),
    )  # fmt: skip
    assert decoded == [("train", 32), ("val", 32), ("test", 32)]
