from __future__ import annotations

import json
from pathlib import Path

import artifacts
import pytest
from conftest import COLOURS, Script, painted

from edgexfer.classifier import Classifier


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in COLOURS.items():
        painted(colour).save(folder / f"{name}.png")
    return folder


def test_pictures_are_labelled_one_line_each(bundle: Path, pictures: Path, run_script: Script) -> None:
    (pictures / "broken.jpg").write_bytes(b"no picture")
    done = run_script(bundle / "predict.py", pictures, pictures / "red.png", "--top", "2", cwd=bundle)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["label"] for line in lines] == ["blue", "green", "red", "red"]
    assert "broken.jpg' is not a picture that Pillow knows" in done.stderr
    assert "1 of 5 pictures could not be read" in done.stderr
    assert "note: using tiny.onnx of 2 models; --model names another" in done.stderr
    classifier = Classifier(bundle / "models/tiny.onnx")
    for line in lines:
        assert set(line) == {"file", "label", "probability", "top", "latency_s"}
        prediction = classifier(line["file"])
        assert line["label"] == prediction.label
        assert line["probability"] == pytest.approx(prediction.probability, abs=1e-6)
        assert [t["label"] for t in line["top"]][0] == line["label"] and len(line["top"]) == 2
        assert 0 < line["latency_s"] < 1


def test_below_the_threshold_there_is_no_label(bundle: Path, tmp_path: Path, run_script: Script) -> None:
    painted((120, 110, 115)).save(tmp_path / "grey.png")
    done = run_script(bundle / "predict.py", tmp_path / "grey.png", "--threshold", "0.999")
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert line["label"] is None
    assert line["probability"] == line["top"][0]["probability"] < 0.999
    assert len(line["top"]) == 3


def test_a_model_outside_of_a_bundle_is_named(tmp_path: Path, pictures: Path, bundle: Path, run_script: Script) -> None:
    model = artifacts.write(tmp_path / "float.onnx", kind="float")
    done = run_script(bundle / "predict.py", pictures / "green.png", "--model", model, "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["label"] == "green"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"foreign": True}, "is an ONNX file but not one of edgexfer"),
        ({"shift": 1.0}, "gives wrong answers on this machine"),
    ],
)
def test_an_unfit_model_is_refused(
    tmp_path: Path, pictures: Path, bundle: Path, run_script: Script, options: dict[str, object], says: str
) -> None:
    model = artifacts.write(tmp_path / "unfit.onnx", **options)
    done = run_script(bundle / "predict.py", pictures, "--model", model)
    assert done.returncode == 1
    assert done.stdout == ""
    assert says in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--threshold", "2"], ["--top", "0"], ["--threads", "x"]])
def test_odd_options_are_refused(bundle: Path, run_script: Script, words: list[str]) -> None:
    done = run_script(bundle / "predict.py", "photo.jpg", *words)
    assert done.returncode == 2
    assert "is not a" in done.stderr
