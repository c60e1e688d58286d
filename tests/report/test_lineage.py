"""Who belongs to whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgexfer.report import write_report
from edgexfer.report.gather import gather
from edgexfer.report.lineage import link
from edgexfer.report.machines import by_machine, machine_names
from edgexfer.report.models import name_runs


def test_a_family_is_joined_by_sha256_and_recipe(world: Any) -> None:
    lineage = link(gather([world.root]))
    (family,) = lineage.families
    assert family.student.folder == world.student
    assert [t.folder for t in family.teachers] == [world.teacher]
    assert family.baseline is not None and family.baseline.folder == world.baseline
    assert lineage.others == ()


def test_artifacts_and_measurements_find_their_run(world: Any) -> None:
    found = gather([world.root])
    lineage = link(found)
    (family,) = lineage.families
    assert {a.label for a in lineage.artifacts_of(found, family.student)} == {"student.onnx", "student.int8.onnx"}
    assert {c.name for c in lineage.configs_of(family.student)} == {"student.onnx", "student.int8.onnx"}


def test_a_result_alone_finds_its_run_through_the_parent_it_names(world: Any, make: Any, tmp_path: Path) -> None:
    parent = json.loads((world.student / "run.json").read_text())["parents"]
    assert parent
    found = gather([world.student])
    config = make.config("renamed.onnx", parent_sha256=found.runs[0].weights_sha256)
    lineage = link(gather([world.student, make.result(tmp_path / "r.json", [config])]))
    assert lineage.configs[0].run is not None and lineage.configs[0].run.folder == world.student


def test_another_seed_or_length_is_no_baseline(make: Any, tmp_path: Path) -> None:
    make.run(tmp_path / "s", command="distill", images=20)
    make.run(tmp_path / "b1", command="baseline", images=20, seed=1)
    make.run(tmp_path / "b2", command="baseline", images=20, epochs=9)
    (family,) = link(gather([tmp_path])).families
    assert family.baseline is None


def test_the_baseline_that_was_made_for_a_student_may_have_other_epochs(make: Any, tmp_path: Path) -> None:
    make.run(tmp_path / "s", command="distill", images=20)
    make.run(tmp_path / "a", command="baseline", images=20)
    own = make.run(tmp_path / "s/hard-label-baseline", command="baseline", images=20, epochs=30)
    (family,) = link(gather([tmp_path])).families
    assert family.baseline is not None and family.baseline.folder == own
    make.run(own, command="baseline", images=20, seed=1)
    (family,) = link(gather([tmp_path])).families
    assert family.baseline is not None and family.baseline.label == "a"


def test_the_best_student_is_chosen_on_validation(make: Any, tmp_path: Path) -> None:
    for name, val, test in (("a", 0.9, 0.99), ("b", 0.95, 0.5)):
        run = make.run(tmp_path / name, command="distill", images=20, seed=ord(name))
        value = json.loads((run / "run.json").read_text())
        value["scores"] |= {"val_top1": val, "test_top1": test}
        (run / "run.json").write_text(json.dumps(value))
    best = link(gather([tmp_path])).best
    assert best is not None and best.student.label == "b"


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((0.9, 0.95, 0.8), "; of 3 students it is the best on validation."),
        ((0.9, 0.95, 0.95), "; of 3 students none is better on validation."),
        ((0.95, None, 0.95), "; of 3 students none is better on validation."),
        ((0.0, None, None), "; of 3 students it is the best on validation."),
        ((None, None, None), "; it is one of 3 students, none of which tells how it did on validation."),
        ((10**400, 0.9, 0.8), "; of 3 students it is the best on validation."),
    ],
)
def test_only_one_is_called_the_best(make: Any, tmp_path: Path, scores: tuple[float | None, ...], said: str) -> None:
    for number, score in enumerate(scores):
        run = make.run(tmp_path / f"run{number}", command="distill", images=20, seed=number)
        value = json.loads((run / "run.json").read_text())
        value["scores"]["val_top1"] = score
        (run / "run.json").write_text(json.dumps(value))
    assert write_report([tmp_path], tmp_path / "r.html").sentences[0].endswith(said)


def test_why_no_latency_may_be_shown(make: Any, tmp_path: Path) -> None:
    configs = [
        make.config("ok.onnx"),
        make.config("wrong.onnx", verified=False),
        make.config("lost.onnx", status="killed", verified=None),
        make.config("asked.onnx", latency_s=[]),
    ]
    make.result(tmp_path / "real.json", configs)
    make.result(tmp_path / "unreal.json", [make.config("ok.onnx")], emulated=True)
    lineage = link(gather([tmp_path]))
    assert [c.refusal for c in lineage.configs] == [None, "wrong answers", "killed", "not timed", "emulated"]


def test_machines_stand_apart_boards_first_emulators_last(make: Any, tmp_path: Path) -> None:
    make.result(tmp_path / "a.json", [make.config("m.onnx")], emulated=True, board=None)
    make.result(
        tmp_path / "b.json", [make.config("m.onnx")], host="server", board=None, cpu="Xeon", architecture="x86_64"
    )
    make.result(tmp_path / "c.json", [make.config("m.onnx")])
    make.result(tmp_path / "d.json", [make.config("m.onnx", threads=2)])
    make.result(tmp_path / "e.json", [make.config("m.onnx")], host="second")
    groups = by_machine(link(gather([tmp_path])).configs)
    assert [len(group) for group in groups] == [2, 1, 1, 1]
    board = "Raspberry Pi 4 Model B"
    assert machine_names(groups) == [f"{board} (raspberrypi)", f"{board} (second)", "Xeon", "Cortex-A72"]


def test_names_tell_runs_of_one_network_apart(make: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make.run(tmp_path / name, images=20, seed=ord(name))
    found = gather([tmp_path])
    naming = name_runs(found, link(found))
    assert naming.names == {"a": "tiny-darknet (a)", "b": "tiny-darknet (b)"}
    assert len(set(naming.colours.values())) == 2
