"""The whole page: true to its files, whole in itself, and safe with names that were chosen to break it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgexfer.errors import FormatError, WouldOverwriteError
from edgexfer.files import sha256_file
from edgexfer.report import ReportSummary, write_report
from edgexfer.report.gather import gather
from edgexfer.report.lineage import link
from edgexfer.report.models import models_table, name_runs
from edgexfer.runs import WEIGHTS_FILE
from tests.report.reading import Page, read

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "$\\frac{a}{b}$ & 'x'", "Ünï 日本 😀\n2")


def test_the_page_needs_nothing_else(written: ReportSummary, page: Page) -> None:
    text = written.out.read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", text)
    assert "@import" not in text and "url(http" not in text
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed") or attributes.get("href") == "data:,"
        if tag == "img":
            assert attributes["src"].startswith("data:image/")
            assert attributes["alt"]


def test_the_summary_says_what_was_made_how_good_and_how_fast(written: ReportSummary) -> None:
    made, good, fast = written.sentences
    assert (
        made
        == "tiny-darknet was distilled from resnet18 on digits (10 classes) and exported to ONNX as float32 and int8."
    )
    assert re.match(r"It names [\d.]+% of the 270 test pictures rightly, [\d.]+ points (below|above) its teacher", good)
    assert "hard labels alone" in good
    assert re.search(
        r"20\.9× fewer than its teacher; its fastest file answers in 3\.\d+ ms on Raspberry Pi 4 Model B", fast
    )
    assert "on Intel Xeon Silver 4314 int8 is no faster than float32" in fast
    assert (written.runs, written.artifacts, written.results) == (3, 2, 3)


def test_the_page_is_made_of_its_sections(page: Page) -> None:
    ids = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert ids == ["networks", "speed", "training", "answers", "proofs", "commands", "provenance"]
    all_ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(all_ids) == len(set(all_ids))
    labelled = [attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("class") == "plot"]
    assert len(labelled) >= 8
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in labelled)


def test_proofs_and_commands_are_told(page: Page) -> None:
    assert "14 of 15" in page.text
    assert "its input is used twice" in page.text
    assert (
        "edgexfer distill digits --student tiny-darknet --teacher resnet18 --hard-label-baseline --out student"
        in page.text
    )
    assert "speedup" in page.text


def test_students_stand_against_their_teacher_with_a_latency_for_each_real_machine(world: Any, page: Page) -> None:
    text = page.text
    for head in ("calibration error", "teacher ÷ this", "as ONNX, float32", "as ONNX, int8"):
        assert head in text
    assert "latency, Raspberry Pi 4 Model B" in text and "latency, Intel Xeon Silver 4314" in text
    assert "latency, Cortex-A53" not in text  # the emulated one
    origins = {origin for _, origin, _ in page.numbers}
    assert "student.proof.json#/int8/top1" in origins
    assert {"student.onnx | bytes", "student.int8.onnx | bytes"} <= origins
    for figure in ("Under lasting load", "What each layer costs", "How far the figures can be relied on"):
        assert figure in page.text


def test_emulated_times_are_never_shown(make: Any, tmp_path: Path) -> None:
    result = make.result(tmp_path / "e.json", [make.config("m.onnx", p50_s=0.777, runs=700)], emulated=True)
    summary = write_report([result], tmp_path / "r.html")
    page = read(summary.out)
    assert not any("latency_s" in origin or "_s" in origin.rsplit("/", 1)[-1] for _, origin, _ in page.numbers)
    assert "right, emulated" in page.text
    assert "says nothing of its speed" in summary.sentences[-1]
    assert not any(tag == "svg" and attributes.get("class") == "plot" for tag, attributes in page.tags)


@pytest.mark.parametrize(
    ("told", "badge", "is_timed"),
    [
        ({"verified": False, "status": "wrong answers", "error": "logits differ"}, "wrong answers", False),
        ({"verified": None, "status": "killed", "error": "out of memory"}, "killed", False),
        ({"verified": None, "status": "interrupted", "error": "interrupted"}, "interrupted", False),
        ({"verified": None}, "not provable", True),
        ({"verified": True, "latency_s": [], "scenario": "verify-only"}, "right, not timed", False),
    ],
)
def test_what_was_not_proven_is_called_so(
    make: Any, tmp_path: Path, told: dict[str, Any], badge: str, is_timed: bool
) -> None:
    result = make.result(tmp_path / "r.json", [make.config("m.onnx", **told)])
    page = read(write_report([result], tmp_path / "r.html").out)
    assert badge in page.text
    assert any("latency_s" in origin for _, origin, _ in page.numbers) is is_timed
    assert str(told.get("error", "")) in page.text


def test_percentiles_stand_only_where_enough_inferences_carry_them(make: Any, tmp_path: Path) -> None:
    result = make.result(tmp_path / "r.json", [make.config("m.onnx", runs=129)])
    origins = {origin for _, origin, _ in read(write_report([result], tmp_path / "r.html").out).numbers}
    assert "r.json#/configs/0/latency_s | p90" in origins
    assert not any(origin.endswith(("p95", "p99")) for origin in origins)


def test_without_labelled_pictures_the_workstations_accuracy_stands_in_and_is_called_so(
    world: Any, make: Any, tmp_path: Path
) -> None:
    shas = {path.name: sha256_file(path) for path in (world.artifact, world.int8)}
    configs = [make.config(name, sha256=sha, top1=None, top1_images=0) for name, sha in shas.items()]
    result = make.result(tmp_path / "r.json", configs)
    page = read(write_report([world.student, world.artifact, world.int8, result], tmp_path / "r.html").out)
    assert "the device was given no labelled pictures" in page.text
    origins = [origin for _, origin, _ in page.numbers]
    assert any(origin.endswith("student.proof.json#/int8/top1") for origin in origins)


def test_hostile_names_are_only_text(make: Any, tmp_path: Path) -> None:
    evil = HOSTILE[0]
    run = make.run(
        tmp_path / "run" / '"><img onerror=x>',
        classes=HOSTILE,
        model=f"{HOSTILE[1]}.py:{evil}",
        images=40,
        accuracy=0.5,
        files=lambda split, i: f"{HOSTILE[i % 4]}/{i}.jpg",
        argv=["edgexfer", "finetune", HOSTILE[1]],
        command=evil,
        parents=[{"role": evil, "name": HOSTILE[1], "sha256": evil, "source": evil}],
        recipe={evil: HOSTILE[1], "data": HOSTILE[1]},
    )
    told = {"status": evil, "error": HOSTILE[1], "runs": 3}
    configs = [make.config(HOSTILE[1]), make.config(HOSTILE[2]), make.config(evil, **told)]
    make.result(tmp_path / "run/r.json", configs, cpu=HOSTILE[1], **{evil: evil})
    make.onnx(tmp_path / "run/<b>.onnx", parent=evil, kept=[(evil, HOSTILE[1])])
    (tmp_path / "run/<i>bad.onnx").write_bytes(b"\x08")
    page = read(write_report([run.parent], tmp_path / "r.html", title=evil).out)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert {tag for tag, _ in page.tags} & {"img", "b", "i"} <= {"b", "i"}
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert {a.get("class", "").split(" ")[0] for tag, a in page.tags if tag == "i"} <= {"dot"}
    for name in HOSTILE:
        assert name in page.text


def test_pictures_stand_beside_the_answers(make: Any, tmp_path: Path) -> None:
    names = make.photos(tmp_path / "photos", ("cat", "dog"), 30)
    recipe = {"data": "photos", "data_path": str(tmp_path / "photos")}
    run = make.run(tmp_path / "run", classes=("cat", "dog"), files=names, images=30, accuracy=0.7, recipe=recipe)
    page = read(write_report([run], tmp_path / "r.html").out)
    assert len([tag for tag, _ in page.tags if tag == "img"]) >= 12
    assert "the picture is not there any more" not in page.text


def test_pictures_that_are_gone_are_said_to_be_gone(make: Any, tmp_path: Path) -> None:
    recipe = {"data": "photos", "data_path": str(tmp_path / "photos")}
    run = make.run(tmp_path / "run", classes=("cat", "dog"), files=lambda s, i: f"{i}.jpg", images=9, recipe=recipe)
    page = read(write_report([run], tmp_path / "r.html").out)
    assert "the picture is not there any more" in page.text


def test_the_caller_may_bring_the_pictures(make: Any, tmp_path: Path) -> None:
    asked = []

    def picture(run: Any, file: str) -> Image.Image:
        asked.append(file)
        return Image.new("RGB", (300, 200), "red")

    run = make.run(tmp_path / "run", files=lambda split, i: f"odd {i}", images=20)
    page = read(write_report([run], tmp_path / "r.html", picture=picture).out)
    assert asked and all(name.startswith("odd ") for name in asked)
    assert len([tag for tag, _ in page.tags if tag == "img"]) == len(asked)


def test_many_classes_become_a_picture_and_a_table(make: Any, tmp_path: Path) -> None:
    classes = [f"class {i}" for i in range(60)]
    run = make.run(tmp_path / "run", classes=classes, images=300, accuracy=0.8)
    text = write_report([run], tmp_path / "r.html").out.read_text()
    assert 'class="matrix"' not in text
    assert "Confusion matrix of 60 classes" in text
    anchors = re.findall(r'<a href="#(cell-[^"]+)"', text)
    assert len(anchors) == 10  # the most frequent confusions lead to their pictures
    assert all(f'id="{anchor}"' in text for anchor in anchors)


def test_without_a_test_split_the_page_says_validation(make: Any, tmp_path: Path) -> None:
    run = make.run(tmp_path / "run", splits=("val",), images=30)
    summary = write_report([run], tmp_path / "r.html")
    assert "there is no test split, and validation also chose the epoch" in summary.sentences[1]
    assert "has no test predictions" in read(summary.out).text


def test_a_run_alone_tells_that_nothing_was_measured(make: Any, tmp_path: Path) -> None:
    summary = write_report([make.run(tmp_path / "run", images=30)], tmp_path / "r.html")
    assert "its speed has not been measured yet" in summary.sentences[2]


def test_a_student_whose_teacher_is_elsewhere_still_names_it(make: Any, tmp_path: Path) -> None:
    told = {
        "name": "resnet18 + vgg11",
        "val_top1": 0.99,
        "test_top1": None,
        "parameters": 1e8,
        "operations": 3,
        "weights_bytes": 9,
    }
    told["parameters"] = 100_000_000
    parents = [{"role": "teacher", "name": n, "sha256": n * 8} for n in ("a", "b")]
    extra = {"teacher": told}
    run = make.run(tmp_path / "run", command="distill", images=30, parents=parents, extra_scores=extra)
    summary = write_report([run], tmp_path / "r.html")
    assert "was distilled from resnet18 + vgg11" in summary.sentences[0]
    assert "as the student's run tells" in read(summary.out).text


@pytest.mark.parametrize("at_hand", [0, 1, 2])
def test_an_ensemble_has_a_row_however_many_of_its_runs_are_at_hand(make: Any, tmp_path: Path, at_hand: int) -> None:
    teachers = [make.run(tmp_path / f"t{number}", images=20, seed=number, parameters=3_000_000) for number in range(2)]
    parents = [{"role": "teacher", "name": "n", "sha256": sha256_file(path / WEIGHTS_FILE)} for path in teachers]
    told = {"name": "both of them", "val_top1": 0.99, "parameters": 6_000_000}
    run = make.run(tmp_path / "s", command="distill", images=20, parents=parents, extra_scores={"teacher": told})
    found = gather([run, *teachers[:at_hand]])
    lineage = link(found)
    rows = models_table(found, lineage, name_runs(found, lineage)).rows
    tags = [(row.name, row.tag) for row in rows]
    assert tags == [*[("tiny-darknet", "teacher")] * at_hand, ("both of them", "ensemble"), ("tiny-darknet", "student")]
    assert str(rows[-1].cells[4]) == "6.00×"


def test_one_teacher_whose_run_lies_there_twice_is_no_ensemble(make: Any, tmp_path: Path) -> None:
    teachers = [make.run(tmp_path / name, images=20) for name in ("a", "b")]
    parents = [{"role": "teacher", "name": "n", "sha256": sha256_file(teachers[0] / WEIGHTS_FILE)}]
    extra = {"teacher": {"name": "resnet18", "parameters": 3}}
    run = make.run(tmp_path / "s", command="distill", images=20, parents=parents, extra_scores=extra)
    assert "ensemble" not in read(write_report([run, *teachers], tmp_path / "r.html").out).text


def fast_sentence(path: Path, out: Path) -> str:
    return write_report([path], out / "r.html").sentences[-1]


def test_int8_is_called_no_faster_only_where_both_were_asked_in_one_way(make: Any, tmp_path: Path) -> None:
    float32 = [make.config("m.onnx", p50_s=0.004, threads=2, spinning=True)]
    slow_ways: list[dict[str, Any]] = [
        {"threads": 2, "spinning": False},
        {"threads": 2, "spinning": True, "scenario": "sustained"},
        {"threads": 2, "spinning": True, "affinity": [0, 1], "pinned": True},
        {"threads": 2, "spinning": True, "runtime": "openvino"},
        {"threads": 2, "spinning": True, "head": "head.npz"},
        {"threads": 2, "spinning": True, "session": {"intra_op_num_threads": 2}},
        {"threads": 1, "spinning": True},
    ]
    int8 = [make.config("m.int8.onnx", p50_s=0.009, **way) for way in slow_ways]
    said = fast_sentence(make.result(tmp_path / "a.json", [*float32, *int8]), tmp_path / "a")
    assert "int8" not in said
    slower = make.config("m.int8.onnx", p50_s=0.005, threads=2, spinning=True)
    said = fast_sentence(make.result(tmp_path / "b.json", [*float32, *int8, slower]), tmp_path / "b")
    assert re.search(r"int8 is no faster than float32 \(5\.\d+ ms against 4\.\d+ ms\)", said)


def test_the_fastest_way_that_both_were_asked_in_decides_on_int8(make: Any, tmp_path: Path) -> None:
    times = {1: (0.009, 0.005), 2: (0.005, 0.003), 4: (0.003, 0.0035)}  # the last is no gain, and int8's best is
    configs = [
        make.config(name, p50_s=time, threads=threads)
        for threads, both in times.items()
        for name, time in zip(("m.onnx", "m.int8.onnx"), both, strict=True)
    ]
    assert "no faster" not in fast_sentence(make.result(tmp_path / "a.json", configs[:4]), tmp_path / "a")
    assert "no faster" in fast_sentence(make.result(tmp_path / "b.json", configs), tmp_path / "b")
    configs[3] = make.config("m.int8.onnx", p50_s=0.0025, threads=2)
    assert "no faster" not in fast_sentence(make.result(tmp_path / "c.json", configs), tmp_path / "c")


def test_int8_is_compared_with_the_file_that_it_was_made_of(make: Any, tmp_path: Path) -> None:
    small, large = (make.config(f"{name}.onnx", sha256=name, p50_s=p50_s) for name, p50_s in (("s", 0.001), ("l", 0.1)))
    int8 = make.config("l.int8.onnx", sha256="i", parent_sha256="l", p50_s=0.05)
    said = fast_sentence(make.result(tmp_path / "a.json", [small, large, int8]), tmp_path / "a")
    assert "no faster" not in said


def test_a_failure_on_a_real_machine_is_told_before_what_was_emulated(make: Any, tmp_path: Path) -> None:
    make.result(tmp_path / "a/e.json", [make.config("m.onnx")], emulated=True)
    wrong = make.config("m.onnx", verified=False, status="wrong answers", error="logits differ")
    make.result(tmp_path / "a/r.json", [make.config("killed.onnx", status="killed"), wrong], host="pi")
    assert "no latency can be given: killed · float32 · 1 thread ended with “killed”" in fast_sentence(
        tmp_path / "a", tmp_path
    )
    (tmp_path / "a/r.json").unlink()
    make.result(tmp_path / "a/f.json", [wrong], emulated=True)
    assert "ended with “wrong answers”" in fast_sentence(tmp_path / "a", tmp_path / "b")


def test_a_larger_student_is_not_called_smaller(make: Any, tmp_path: Path) -> None:
    extra = {"teacher": {"name": "small", "val_top1": 0.5, "test_top1": 0.5, "parameters": 1000}}
    run = make.run(tmp_path / "run", command="distill", images=30, extra_scores=extra)
    assert "more than its teacher" in write_report([run], tmp_path / "r.html").sentences[2]


def test_the_title_is_the_callers(make: Any, tmp_path: Path) -> None:
    run = make.run(tmp_path / "run", images=30)
    text = write_report([run], tmp_path / "r.html", title="Flowers & more").out.read_text()
    assert "<title>Flowers &amp; more</title>" in text


def test_every_section_is_led_to_also_that_of_what_was_not_read(page: Page, make: Any, tmp_path: Path) -> None:
    make.run(tmp_path / "run", images=10)
    (tmp_path / "cut.onnx").write_bytes(b"\x08")
    for one in (page, read(write_report([tmp_path], tmp_path / "r.html").out)):
        sections = [f"#{attributes['id']}" for tag, attributes in one.tags if tag == "section"]
        links = [attributes.get("href", "") for tag, attributes in one.tags if tag == "a"]
        assert sections and set(sections) <= set(links)
    assert "#notes" in sections


def test_nothing_is_overwritten_without_force(make: Any, tmp_path: Path) -> None:
    run = make.run(tmp_path / "run", images=10)
    out = tmp_path / "r.html"
    out.write_text("mine")
    with pytest.raises(WouldOverwriteError, match="exists already; choose another --out or pass --force"):
        write_report([run], out)
    assert out.read_text() == "mine"
    assert write_report([run], out, force=True).size_bytes == out.stat().st_size


def test_a_report_of_nothing_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        write_report([tmp_path / "nothing"], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_no_network_is_loaded(world: Any, tmp_path: Path) -> None:
    paths = [str(world.baseline), str(world.int8)]
    code = (
        "import sys; from pathlib import Path; from edgexfer.report import write_report;"
        f" write_report(list(map(Path, {paths!r})), Path({str(tmp_path / 'r.html')!r}));"
        " print(sorted({'torch', 'torchvision', 'onnxruntime', 'matplotlib.pyplot', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_the_answers_of_the_best_student_come_first(make: Any, tmp_path: Path) -> None:
    teacher = make.run(tmp_path / "runs/teacher", model="resnet18", accuracy=0.99)
    parents = [{"role": "teacher", "sha256": sha256_file(teacher / WEIGHTS_FILE)}]
    for name, accuracy in (("a", 0.6), ("b", 0.9), ("c", 0.75)):
        make.run(tmp_path / f"runs/{name}", command="distill", accuracy=accuracy, parents=parents, model=f"net-{name}")
    page = write_report([tmp_path / "runs"], tmp_path / "report.html").out.read_text(encoding="utf-8")
    told = re.findall(r'<span class="run-name">([^<]+)</span>', page)
    assert [name.split()[0] for name in told] == ["net-b", "net-c", "net-a", "resnet18"]
