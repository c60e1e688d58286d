from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgexfer import device
from edgexfer.classifier import Classifier
from tests.device import artifacts
from tests.device.device_kit import COLOURS, Script, painted


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


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["x.jpg", "--threshold", "2"], "is not a probability from 0 to 1"),
        (["x.jpg", "--top", "0"], "is not a number from 1 up"),
        (["x.jpg", "--threads", "x"], "is not a number from 1 up"),
        (["x.jpg", "--rate", "0"], "is not a rate in pictures a second"),
        (["--camera", "front"], "is not a number of a camera"),
        (["x.jpg", "--watch", "y"], "name pictures, or --watch FOLDER, or --camera; one of them"),
        ([], "name pictures, or --watch FOLDER, or --camera; one of them"),
    ],
)
def test_odd_options_are_refused(bundle: Path, run_script: Script, words: list[str], says: str) -> None:
    done = run_script(bundle / "predict.py", *words)
    assert done.returncode == 2
    assert says in done.stderr


def test_the_recommended_way_is_taken(bundle: Path, pictures: Path, run_script: Script) -> None:
    done = run_script(bundle / "bench.py", "--threads", "1", "--min-seconds", "0.02", "--rounds", "1", cwd=bundle)
    assert done.returncode == 0, done.stderr
    path = bundle / "recommended.json"
    found = json.loads(path.read_text())
    int8 = hashlib.sha256((bundle / "models/tiny.int8.onnx").read_bytes()).hexdigest()
    found["latency"].update(model="tiny.int8.onnx", sha256=int8, runtime="openvino", affinity=[0])
    path.write_text(json.dumps(found))
    done = run_script(bundle / "predict.py", pictures / "green.png", cwd=bundle)
    assert done.returncode == 0, done.stderr
    assert "as recommended.json says: tiny.int8.onnx, 1 thread" in done.stderr
    assert "openvino was recommended but is not used: openvino is not installed here" in done.stderr
    assert json.loads(done.stdout)["label"] == "green"
    done = run_script(bundle / "predict.py", pictures / "green.png", "--threads", "1", cwd=bundle)
    assert "recommended" not in done.stderr, "what is asked for goes first"


def test_what_arrives_in_a_folder_is_labelled(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    shutil.copy(pictures / "blue.png", watched / "old.png")
    command = [sys.executable, str(bundle / "predict.py"), "--watch", str(watched), "--threads", "1"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stderr is not None
    next(line for line in child.stderr if line.startswith("watching"))
    (watched / "broken.png").write_text("no picture")
    shutil.copy(pictures / "red.png", watched / "new.png")
    lines = [json.loads(child.stdout.readline())]
    whole = (pictures / "green.png").read_bytes()
    (watched / "slow.png").write_bytes(whole[:100])  # still being written
    (watched / "slow.png").write_bytes(whole)
    lines.append(json.loads(child.stdout.readline()))
    child.send_signal(signal.SIGTERM)
    _, talk = child.communicate(timeout=30)
    assert child.returncode == 0, talk
    assert [(Path(line["file"]).name, line["label"]) for line in lines] == [("new.png", "red"), ("slow.png", "green")]
    assert "broken.png' is not a picture" in talk and "3 pictures" in talk


def test_a_watched_folder_has_to_be_there(bundle: Path, run_script: Script) -> None:
    done = run_script(bundle / "predict.py", "--watch", "nowhere", "--threads", "1")
    assert done.returncode == 1
    assert "there is no folder 'nowhere' to watch" in done.stderr


CV2 = """
import numpy, time
class VideoCapture:
    def __init__(self, number): self.number, self.frames = number, 0
    def isOpened(self): return self.number == 0
    def read(self):
        self.frames += 1
        time.sleep(0.01)
        if self.frames > 40: return False, None
        frame = numpy.zeros((48, 64, 3), numpy.uint8)
        frame[:] = (30, 30, 220)  # blue, green, red
        return True, frame
    def release(self): pass
"""
PICAMERA2 = """
import numpy
class Picamera2:
    def __init__(self, number):
        if number: raise IndexError("list index out of range")
    def create_video_configuration(self, main): assert main["format"] == "BGR888"
    def configure(self, configuration): pass
    def start(self): pass
    def close(self): pass
    def capture_array(self, name):
        frame = numpy.zeros((48, 64, 3), numpy.uint8)
        frame[:] = (30, 30, 220)  # red, green, blue
        return frame
"""


@pytest.mark.parametrize(("module", "code", "label"), [("cv2", CV2, "red"), ("picamera2", PICAMERA2, "blue")])
def test_a_camera_is_labelled(bundle: Path, run_script: Script, module: str, code: str, label: str) -> None:
    (bundle / f"{module}.py").write_text(code)
    done = run_script(bundle / "predict.py", "--camera", "--count", "3", "--rate", "50", "--threads", "1")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == ["camera:0/0", "camera:0/1", "camera:0/2"]
    assert {line["label"] for line in lines} == {label}


def test_at_a_rate_a_camera_s_frame_is_the_newest_when_its_time_has_come(bundle: Path, run_script: Script) -> None:
    changing = CV2.replace("if self.frames > 40: return False, None", "")
    changing = changing.replace("(30, 30, 220)", "(30, 30, 220) if self.frames <= 20 else (30, 220, 30)")
    (bundle / "cv2.py").write_text(changing)  # red for its first fifth of a second
    done = run_script(bundle / "predict.py", "--camera", "--count", "2", "--rate", "1", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["red", "green"]


@pytest.mark.parametrize(
    ("module", "code", "number", "says"),
    [
        ("none", "", "0", "neither picamera2 (sudo apt install python3-picamera2"),
        ("cv2", CV2, "1", "there is no camera 1 that OpenCV can open"),
        ("picamera2", PICAMERA2, "1", "there is no camera 1; see the lines above"),
        ("cv2", CV2, "0", "camera 0 gives no frames (the camera stopped)"),
        (
            "picamera2",
            "raise ValueError('numpy.dtype size changed')",
            "0",
            "picamera2 is installed but does not load, ValueError: numpy.dtype size changed; where it loads outside of",
        ),
        ("picamera2", "import libcamera", "0", "does not load, ModuleNotFoundError: No module named 'libcamera'"),
        ("cv2", "raise ImportError('libGL.so.1')", "0", "no camera can be read: cv2 is installed but does"),
    ],  # fmt: skip
)
def test_a_camera_that_cannot_be_read_is_said(
    bundle: Path, run_script: Script, module: str, code: str, number: str, says: str
) -> None:
    (bundle / f"{module}.py").write_text(code)
    done = run_script(bundle / "predict.py", "--camera", number, "--threads", "1")
    assert done.returncode == 1
    assert says in done.stderr and "Traceback" not in done.stderr


def test_the_pace_is_steady_and_a_delay_is_not_caught_up_in_a_burst() -> None:
    sources = device.load("_edgexfer_sources")
    now = [0.0]
    busy = iter([0.02, 0.02, 0.35, 0.02, 0.02, 0.02])
    times = []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    for _ in sources.paced(iter([("x", list)] * 6), 10.0, lambda: now[0], sleep):
        times.append(round(now[0], 6))
        now[0] += next(busy)
    assert times == [0.0, 0.1, 0.2, 0.55, 0.65, 0.75]


def test_of_vanished_files_as_many_are_remembered_as_a_folder_may_lose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = device.load("_edgexfer_sources")
    monkeypatch.setattr(sources, "MOST_GONE", 3)
    looks = iter(range(100))

    def put(*numbers: int) -> None:
        for number in numbers:
            (tmp_path / f"{number}.png").write_bytes(b"x")
            os.utime(tmp_path / f"{number}.png", (number, number))

    def remove(*numbers: int) -> None:
        for number in numbers:
            (tmp_path / f"{number}.png").unlink()

    def sleep(_: float) -> None:
        steps.get(next(looks), list)()

    steps = {
        0: lambda: put(1, 2),  # told
        5: lambda: remove(1, 2),  # as a card that is pulled out
        8: lambda: put(1, 2),  # and back: not told again
        12: lambda: (remove(1, 2), put(3)),  # told, and so on: each comes and goes
        16: lambda: (remove(3), put(4)),
        20: lambda: (remove(4), put(5)),
        24: lambda: remove(5),
        28: lambda: put(1, 4, 5),  # 1 is forgotten, so it counts as new; 4 and 5 are not
    }
    told = []
    for path, _ in sources.from_folder(str(tmp_path), {}, sleep):
        told.append(int(Path(path).stem))
        if len(told) == 6:
            break
    assert told == [1, 2, 3, 4, 5, 1]
