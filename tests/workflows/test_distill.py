from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgexfer.distill import Objective
from edgexfer.errors import RecipeError, TeacherError
from edgexfer.runs import is_run, read_lines, read_run
from edgexfer.training import Recipe, Silent
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.distill import distill_data, pair_teachers
from edgexfer.workflows.train import Start, Target

RECIPE = Recipe(epochs=12, batch_size=8, lr=0.01, image_size=32)


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(f"WARNING {text}")


def test_distilling_scores_the_teacher_and_keeps_the_baseline(
    teacher: Path, colours: Path, small_net: str, tmp_path: Path
) -> None:
    out, heard = tmp_path / "student", Heard()
    result = distill_data(
        DataChoice(str(colours)),
        Start("tiny-darknet"),
        [Start(str(teacher)), Start(small_net)],
        Recipe(epochs=1, batch_size=8, image_size=32),
        Target(out),
        heard,
        objective=Objective("kd", 2.0, 0.5),
        ensemble="arithmetic",
        teacher_recipe=RECIPE,
        with_baseline=True,
    )
    made = read_run(out / "teachers" / "1-small.py-build")
    assert result.student.scores["teacher"]["parameters"] == 2 * made.scores["parameters"]
    assert [parent["role"] for parent in result.student.parents] == ["teacher", "teacher"]
    assert result.student.recipe["temperature"] == 2.0 and result.student.recipe["ensemble"] == "arithmetic"
    assert {"soft_loss", "hard_loss", "train_loss"} <= set(read_lines(out / "metrics.jsonl")[0])
    assert is_run(out / "hard-label-baseline")
    assert any("fine-tuned on this data first" in line for line in heard.lines)


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
            Start(small_net),
            [Start(str(broken))],
            Recipe(epochs=1, image_size=32, batch_size=8),
            Target(tmp_path / "out", force=True),
            heard,
            objective=Objective(),
            allow_weak=allow_weak,
        )
        return heard.lines

    with pytest.raises(TeacherError, match="no better than always answering.*--allow-weak-teacher"):
        attempt(allow_weak=False)
    assert any(line.startswith("WARNING the teacher") for line in attempt(allow_weak=True))


def test_the_order_of_classes_is_mapped_by_name(teacher: Path, colours: Path, small_net: str) -> None:
    from edgexfer.distill import from_run
    from edgexfer.training import prepare
    from edgexfer.training.job import predict_view

    job = prepare(DataChoice(str(colours)).load(), small_net, "none", RECIPE, Silent())
    plain, turned = from_run(teacher, ("blue", "green", "red")), from_run(teacher, ("red", "blue", "green"))
    view, store = job.view("val"), job.stores["val"]
    a = predict_view(plain.network, view, store, job.preprocessing, job.device).logits
    b = predict_view(turned.network, view, store, job.preprocessing, job.device).logits
    np.testing.assert_allclose(b, a[:, [2, 0, 1]], atol=1e-6)
    with pytest.raises(TeacherError, match=r"lacks \['pink'\] and has \['blue', 'green'\] too many"):
        from_run(teacher, ("red", "pink"))


def test_mistakes_are_named() -> None:
    with pytest.raises(RecipeError, match="2 --teacher and 1 --teacher-weights"):
        pair_teachers(["a", "b"], ["w"])
