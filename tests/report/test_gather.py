"""What is found under the paths that were named, and what is said when nothing is."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgexfer.errors import FormatError
from edgexfer.report import write_report
from edgexfer.report.gather import gather


def test_a_folder_gives_everything_inside(world: Any) -> None:
    found = gather([world.root])
    assert [run.label for run in found.runs] == [
        "student",
        "student/hard-label-baseline",
        "student/teachers/0-resnet18",
    ]
    assert sorted(a.label for a in found.artifacts) == ["student.int8.onnx", "student.onnx"]
    assert len(found.results) == 3
    assert found.notes == ()


def test_the_same_thing_named_twice_is_kept_once(world: Any) -> None:
    found = gather([world.student, world.root, world.student / "run.json", world.result, world.artifact])
    assert (len(found.runs), len(found.artifacts), len(found.results)) == (3, 2, 3)


def test_a_copy_in_a_bundle_is_the_same_artifact_and_the_proof_is_kept(world: Any, tmp_path: Path) -> None:
    (tmp_path / "bundle/models").mkdir(parents=True)
    (tmp_path / "bundle/models/a.onnx").write_bytes(world.artifact.read_bytes())
    found = gather([tmp_path / "bundle", world.artifact])
    assert [a.proof is not None for a in found.artifacts] == [True]


def test_a_bundle_that_is_one_archive(world: Any, tmp_path: Path) -> None:
    archive = tmp_path / "bundle.tar.gz"
    with tarfile.open(archive, "w:gz") as stream:
        stream.add(world.artifact, "bundle/models/student.onnx")
    (artifact,) = gather([archive]).artifacts
    assert artifact.label == "bundle.tar.gz/bundle/models/student.onnx"
    assert artifact.info is not None and artifact.info["model"] == "tiny-darknet"


def test_predictions_prefer_test_and_fall_back_to_val(make: Any, tmp_path: Path) -> None:
    both = make.run(tmp_path / "both", images=20)
    val = make.run(tmp_path / "val", images=20, splits=("val",))
    assert [run.predictions.split for run in gather([both, val]).runs if run.predictions] == ["test", "val"]


def test_lines_that_do_not_fit_are_counted(make: Any, tmp_path: Path) -> None:
    run = make.run(tmp_path / "run", images=10)
    with (run / "predictions.jsonl").open("a") as stream:
        for line in (
            {"file": "a", "split": "test", "label": 99, "logits": [0.0] * 10},
            {"file": "b", "split": "test", "label": 1, "logits": [0.0] * 3},
            {"file": "c", "split": "test", "label": 1, "logits": [None] * 10},
        ):
            stream.write(json.dumps(line) + "\n")
    predictions = gather([run]).runs[0].predictions
    assert predictions is not None and (len(predictions), predictions.skipped) == (10, 3)


def test_a_run_without_weights_metrics_or_predictions_is_still_a_run(make: Any, tmp_path: Path) -> None:
    run = make.run(tmp_path / "run", images=10)
    for name in ("weights.safetensors", "metrics.jsonl", "predictions.jsonl"):
        (run / name).unlink()
    (found,) = gather([run]).runs
    assert (found.weights_sha256, found.metrics, found.predictions) == (None, (), None)


def test_foreign_json_and_hidden_folders_are_passed_over(world: Any, make: Any, tmp_path: Path) -> None:
    make.run(tmp_path / "run", images=10)
    make.run(tmp_path / ".hidden/run", images=10)
    (tmp_path / "package.json").write_text('{"configs": 1}')
    (tmp_path / "list.json").write_text("[1, 2]")
    found = gather([tmp_path])
    assert (len(found.runs), found.results, found.notes) == (1, (), ())


def test_a_damaged_neighbour_becomes_a_note(make: Any, tmp_path: Path) -> None:
    make.run(tmp_path / "good", images=10)
    broken = make.run(tmp_path / "broken", images=10)
    (broken / "run.json").write_text("{")
    (tmp_path / "cut.onnx").write_bytes(b"\x08")
    found = gather([tmp_path])
    assert [run.label for run in found.runs] == ["good"]
    assert len(found.notes) == 2
    assert "broken/run.json" in found.notes[0] and "cut.onnx" in found.notes[1]


def _write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _archive(path: Path) -> Path:
    with tarfile.open(path, "w:gz") as stream:
        stream.addfile(tarfile.TarInfo("empty"), io.BytesIO())
    return path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nothing", None, "there is no "),
        ("notes.txt", "hello", "is nothing that edgexfer makes or measures; allowed: a run folder"),
        ("a.onnx", b"not protobuf \xff\xff", "is not an ONNX file"),
        ("a.json", "{", "is not valid JSON"),
        ("a.json", "[]", "holds list where an object is expected"),
        ("a.json", '{"configs": []}', "carries no format number"),
        ("a.json", '{"format": 1}', "holds no list of 'configs'"),
        ("a.json", '{"format": 99, "configs": [], "edgexfer_version": "9.9"}', "format 99, written by edgexfer 9.9"),
        ("a.json", '{"format": 1, "configs": [{"latency_s": ["x"]}]}', "configs[0].latency_s is not a list of seconds"),
        ("a.tar.gz", "junk", "is not a bundle that can be read"),
    ],
)
def test_what_is_named_must_be_readable(tmp_path: Path, name: str, content: str | bytes | None, said: str) -> None:
    path = tmp_path / name
    if content is not None:
        _write(path, content)
    with pytest.raises(FormatError) as caught:
        gather([path])
    assert said in str(caught.value)
    assert name in str(caught.value)


def test_a_damaged_archive_becomes_a_note(make: Any, world: Any, tmp_path: Path) -> None:
    make.run(tmp_path / "good", images=10)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as stream:
        stream.add(world.artifact, "bundle/models/student.onnx")
    packer, middle = zlib.compressobj(wbits=31), len(plain.getvalue()) // 2
    first = packer.compress(plain.getvalue()[:middle]) + packer.flush(zlib.Z_FULL_FLUSH)
    second = packer.compress(plain.getvalue()[middle:]) + packer.flush()
    _write(tmp_path / "bundle.tar.gz", first + second)
    assert len(gather([tmp_path]).artifacts) == 1
    _write(tmp_path / "bundle.tar.gz", first + b"\xff" * 8 + second[8:])  # where a block of the archive begins
    found = gather([tmp_path])
    assert [run.label for run in found.runs] == ["good"] and found.artifacts == ()
    assert len(found.notes) == 1 and "bundle.tar.gz' is not a bundle that can be read: Error -3" in found.notes[0]
    text = write_report([tmp_path], tmp_path / "r.html").out.read_text()
    assert "What could not be read" in text and "is not a bundle that can be read" in text


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "predictions.jsonl"])
@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"epoch": "\xff"}', b'{"epoch": 1' + b"0" * 5000 + b"}"])
def test_a_damaged_file_of_a_run_becomes_a_note(make: Any, tmp_path: Path, name: str, content: bytes) -> None:
    make.run(tmp_path / "good", images=10)
    _write(make.run(tmp_path / "broken", images=10) / name, content)
    found = gather([tmp_path])
    assert [run.label for run in found.runs] == ["good"]
    assert len(found.notes) == 1 and f"broken/{name}" in found.notes[0]


def test_results_and_metadata_that_nest_too_deep(make: Any, tmp_path: Path) -> None:
    make.run(tmp_path / "good", images=10)
    _write(tmp_path / "deep.json", "[" * 100_000)
    model = onnx.load(make.onnx(tmp_path / "deep.onnx", parent="a"))
    model.metadata_props[0].value = "[" * 100_000
    onnx.save(model, tmp_path / "deep.onnx")
    found = gather([tmp_path])
    assert len(found.notes) == 1 and "deep.onnx" in found.notes[0] and "is not valid JSON" in found.notes[0]
    with pytest.raises(FormatError, match="is not valid JSON"):
        gather([tmp_path / "deep.json"])


def test_numbers_that_no_float_can_hold_are_left_out(make: Any, tmp_path: Path) -> None:
    run = make.run(tmp_path / "run", images=10)
    with (run / "predictions.jsonl").open("a") as stream:
        stream.write('{"file": "a", "split": "test", "label": 1, "logits": [1' + "0" * 400 + ",0" * 9 + "]}\n")
    predictions = gather([run]).runs[0].predictions
    assert predictions is not None and (len(predictions), predictions.skipped) == (10, 1)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("student.proof.json", ("int8", "trace", 0, "step")),
        ("results/bench-pi4.json", ("configs", 0, "sha256")),
        ("student/run.json", ("parents", 0, "sha256")),
        ("student.onnx", ("parent_sha256",)),
        ("student.onnx", ("batchnorm", "kept")),
    ],
)
@pytest.mark.parametrize("odd", [[], {}, 7, [7]])
def test_values_of_another_kind_are_passed_over(
    make: Any, tmp_path: Path, name: str, place: tuple[Any, ...], odd: object
) -> None:
    path = make.world(tmp_path / "world").root / name
    model = onnx.load(path) if path.suffix == ".onnx" else None
    value = json.loads(model.metadata_props[0].value if model else path.read_text())
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = odd
    if model:
        model.metadata_props[0].value = json.dumps(value)
        onnx.save(model, path)
    else:
        path.write_text(json.dumps(value))
    for ending in ("md", "csv"):
        assert write_report([tmp_path / "world"], tmp_path / f"r.{ending}").runs == 3


def test_an_archive_without_models(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is not a bundle: it holds no .onnx file"):
        gather([_archive(tmp_path / "a.tar.gz")])


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        FormatError, match="found nothing of edgexfer in .* no run .* make one with edgexfer quickstart"
    ):
        gather([tmp_path])


def test_a_folder_of_damaged_things_says_what_is_wrong(tmp_path: Path) -> None:
    _write(tmp_path / "cut.onnx", b"\x08")
    with pytest.raises(FormatError, match="found nothing of edgexfer in .*cut.onnx"):
        gather([tmp_path])


def test_a_training_that_has_not_ended(tmp_path: Path) -> None:
    (tmp_path / "run/resume").mkdir(parents=True)
    with pytest.raises(FormatError, match="has not ended; repeat its command with --resume"):
        gather([tmp_path / "run"])


def test_a_run_that_names_no_classes(make: Any, tmp_path: Path) -> None:
    run = make.run(tmp_path / "run", images=10)
    value = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**value, "classes": []}))
    with pytest.raises(FormatError, match="names no classes, scores or recipe"):
        gather([run])


def test_a_huge_folder_is_left_half_way_and_says_so(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make.run(tmp_path / "a", images=10)
    for i in range(30):
        _write(tmp_path / f"data/{i}/x", "")
    make.run(tmp_path / "data/z", images=10)
    make.run(tmp_path / "z/deep/run", images=10)
    monkeypatch.setattr("edgexfer.report.gather.MOST_ENTRIES", 20)
    found = gather([tmp_path])
    assert [run.label for run in found.runs] == ["a", "z/deep/run"]
    (said,) = found.notes
    assert said.startswith(f"{str(tmp_path / 'data')!r} holds more than 20 files; looked through the first ones only")
    assert gather([tmp_path, tmp_path / "data/z"]).runs[-1].label == "data/z"


def test_files_beside_the_folders_do_not_hide_what_lies_in_them(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(30):
        _write(tmp_path / f"{i}.json", "{}")
    make.run(tmp_path / "run", images=10)
    (tmp_path / "again").symlink_to(tmp_path / "run", target_is_directory=True)
    make.run(tmp_path / "1/2/3/4/5", images=10)
    make.run(tmp_path / "1/2/3/4/too/deep", images=10)
    monkeypatch.setattr("edgexfer.report.gather.MOST_ENTRIES", 20)
    found = gather([tmp_path])
    assert [run.label for run in found.runs] == ["1/2/3/4/5", "run"]
    assert len(found.notes) == 1 and found.notes[0].startswith(f"{str(tmp_path)!r} holds more than 20 files")
