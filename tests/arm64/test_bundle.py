"""A bundle, copied unchanged, runs as the Raspberry Pi 3, 4 and 5 and answers as it does on the machine that made it.

The int8 kernels differ from core to core (the A76 has the dot product, the others have not), so every number is looked
at for every core. Times under emulation mean nothing, and there must be none.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.arm64 import arm64_emulator, arm64_root

pytestmark = pytest.mark.arm64
INSIDE = "/home/pi/bundle"
PICTURES = 3

LOGITS = """
import pathlib, sys
import numpy as np, onnxruntime
samples = np.load("samples.npy")[:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
found = {}
for model in sorted(pathlib.Path("models").glob("*.onnx")):
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    found[model.name] = session.run(["logits"], {session.get_inputs()[0].name: samples})[0]
np.savez(sys.argv[1], **found)
"""


def digests(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def copied(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "bundle"
    shutil.copytree(bundle, folder)
    return folder


@pytest.fixture(scope="module")
def models(bundle: Path) -> dict[str, dict[str, Any]]:
    """What each artifact of the bundle says about itself."""
    found = {}
    for path in sorted(bundle.glob("models/*.onnx")):
        properties = {p.key: p.value for p in onnx.load(path).metadata_props}
        found[path.name] = json.loads(properties["edgexfer"])
    return found


@pytest.fixture(scope="module")
def pictures(copied: Path) -> Path:
    folder = copied.parent / "pictures"
    folder.mkdir()
    for i, pixels in enumerate(np.load(copied / "samples.npy")[:PICTURES]):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def here(copied: Path) -> dict[str, np.ndarray]:
    """Logits ``(4, K)`` by model on this machine."""
    subprocess.run([sys.executable, "-c", LOGITS, "../here.npz"], cwd=copied, check=True, timeout=120)
    with np.load(copied.parent / "here.npz") as found:
        return dict(found)


def on_board(
    board: arm64_root.System, copied: Path, core: str, *command: str, **more: Any
) -> subprocess.CompletedProcess[str]:
    return arm64_emulator.on_board(board, command, core=core, bundle=copied, **more)


def test_the_bundle_has_float32_and_int8(models: dict[str, dict[str, Any]]) -> None:
    assert {model["precision"] for model in models.values()} == {"float32", "int8"}


@pytest.mark.parametrize("core", arm64_emulator.CORES)
def test_bench_proves_every_model_and_times_none(
    board: arm64_root.System, copied: Path, models: dict[str, dict[str, Any]], core: str
) -> None:
    before = digests(copied)
    done = on_board(board, copied, core, "python3", "bench.py", "--verify-only", "--out", "result.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((copied / "result.json").read_text())
    (copied / "result.json").unlink()
    assert result["emulated"] is True
    assert result["machine"]["architecture"] == "aarch64"
    assert {config["model"] for config in result["configs"]} == set(models)
    for config in result["configs"]:
        assert config["verified"] is True, config
        assert config["status"] == "ok", config
        assert config["precision"] == models[config["model"]]["precision"]
        assert config["latency_s"] == []
    assert digests(copied) == before


def test_nothing_is_timed_without_being_asked_either(board: arm64_root.System, copied: Path) -> None:
    command = ("python3", "bench.py", "models/" + min(p.name for p in copied.glob("models/*.onnx")), "--out", "/tmp/r")
    done = on_board(board, copied, "cortex-a72", "sh", "-c", " ".join(command) + " >&2 && cat /tmp/r")
    assert done.returncode == 0, done.stderr
    assert "emulated" in done.stderr
    assert [config["latency_s"] for config in json.loads(done.stdout)["configs"]] == [[]]


def test_nothing_is_left_in_the_home_folder(board: arm64_root.System, copied: Path) -> None:
    """onnxruntime 1.29 and newer keeps a device id and a queue of reports to its makers there, unless told not to."""
    done = on_board(
        board, copied, "cortex-a72", "sh", "-c", "python3 bench.py --verify-only --out /tmp/r && ls -A /tmp"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1:] == ["r"]
    assert ".ses" not in done.stdout
    assert ".cache" not in done.stdout


@pytest.mark.parametrize("core", arm64_emulator.CORES)
def test_logits_are_those_of_this_machine(
    board: arm64_root.System,
    copied: Path,
    models: dict[str, dict[str, Any]],
    here: dict[str, np.ndarray],
    core: str,
) -> None:
    done = on_board(board, copied, core, "python3", "-c", LOGITS, "there.npz")
    assert done.returncode == 0, done.stderr
    with np.load(copied / "there.npz") as found:
        there = dict(found)
    (copied / "there.npz").unlink()
    assert set(there) == set(here) == set(models)
    for name, logits in there.items():
        tolerance = tolerance_of(models[name], here[name])
        error = np.abs(logits - here[name]).max()
        print(f"{core} {name}: largest difference {error:.3g}, allowed {tolerance:.3g}")
        assert error <= tolerance, name
        same = logits.argmax(axis=1) == here[name].argmax(axis=1)
        best = np.sort(here[name], axis=1)
        assert (same | (best[:, -1] - best[:, -2] < tolerance)).all(), name


def tolerance_of(model: dict[str, Any], logits: np.ndarray) -> float:
    """float32: 1e-4 of the largest logit, rounding only; int8: what the artifact itself allows."""
    if model["precision"] == "float32":
        return 1e-4 * float(np.abs(logits).max())
    return float(model["golden"]["tolerance"])


@pytest.mark.parametrize("core", arm64_emulator.CORES)
def test_predict_says_what_it_says_on_this_machine(
    board: arm64_root.System, copied: Path, pictures: Path, core: str
) -> None:
    names = [f"{i}.png" for i in range(PICTURES)]
    command = (str(copied / "predict.py"), *names)
    here = subprocess.run(
        [sys.executable, *command], cwd=pictures, capture_output=True, text=True, timeout=120, check=False
    )
    assert here.returncode == 0, here.stderr
    there = arm64_emulator.run(
        board.root,
        ["python3", f"{INSIDE}/predict.py", *names],
        core=core,
        folder="/home/pi/pictures",
        mounts={board.site_inside: board.site, INSIDE: copied, "/home/pi/pictures": pictures},
    )
    assert there.returncode == 0, there.stderr
    assert all(name in there.stdout for name in names)
    assert without_fractions(there.stdout) == without_fractions(here.stdout)


@pytest.fixture(scope="module")
def photos(copied: Path) -> Path:
    """Two classes of eight pictures each, which differ in brightness alone."""
    folder = copied.parent / "photos"
    for i, pixels in enumerate(np.load(copied / "samples.npy")[:16]):
        path = folder / ("dark" if i % 2 else "light") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels // 4 + (0 if i % 2 else 190)).save(path)
    return folder


ADAPT = ("adapt.py", "--data", "PHOTOS", "--l2", "0.01", "--threads", "2", "--cache", "CACHE", "--out", "HEAD")


@pytest.mark.parametrize("core", arm64_emulator.CORES)
@pytest.mark.parametrize("variant", range(3))
def test_a_head_learned_there_is_the_one_learned_here(
    board: arm64_root.System,
    copied: Path,
    photos: Path,
    models: dict[str, dict[str, Any]],
    tmp_path: Path,
    core: str,
    variant: int,
) -> None:
    name = sorted(models)[variant]
    words = (*ADAPT, "--model", f"models/{name}")
    at = {"PHOTOS": str(photos), "CACHE": str(tmp_path / "cache"), "HEAD": str(tmp_path / "head.npz")}
    here = subprocess.run(
        [sys.executable, *(at.get(w, w) for w in words)],
        cwd=copied, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert here.returncode == 0, here.stderr
    at = {"PHOTOS": "/home/pi/photos", "CACHE": "/tmp/cache", "HEAD": "/results/there.npz"}
    there = arm64_emulator.run(
        board.root,
        ["python3", *(at.get(w, w) for w in words)],
        core=core,
        folder=INSIDE,
        mounts={board.site_inside: board.site, INSIDE: copied, "/home/pi/photos": photos, "/results": tmp_path},
        writable=("/results",),
    )
    assert there.returncode == 0, there.stderr
    ours, theirs = json.loads(here.stdout), json.loads(there.stdout)
    assert theirs["accuracy"] == ours["accuracy"] == 1.0
    assert theirs["per_class"] == ours["per_class"]
    with np.load(tmp_path / "head.npz") as ours, np.load(tmp_path / "there.npz") as theirs:
        np.testing.assert_array_equal(theirs["example_held"], ours["example_held"])
        if models[name]["precision"] == "float32":
            np.testing.assert_allclose(theirs["golden_logits"], ours["golden_logits"], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("core", arm64_emulator.CORES)
def test_a_head_learned_here_is_proven_there(
    board: arm64_root.System, copied: Path, photos: Path, models: dict[str, dict[str, Any]], tmp_path: Path, core: str
) -> None:
    name = next(name for name, model in models.items() if model["precision"] == "float32")
    at = {"PHOTOS": str(photos), "CACHE": str(tmp_path / "cache"), "HEAD": str(tmp_path / "head.npz")}
    words = [sys.executable, *(at.get(w, w) for w in ADAPT), "--model", f"models/{name}"]
    subprocess.run(words, cwd=copied, check=True, capture_output=True, timeout=120)
    bench = "python3 bench.py --verify-only --head /results/head.npz --out /tmp/r >&2 && cat /tmp/r"
    there = arm64_emulator.run(
        board.root,
        ["sh", "-c", bench],
        core=core,
        folder=INSIDE,
        mounts={board.site_inside: board.site, INSIDE: copied, "/results": tmp_path},
    )
    assert there.returncode == 0, there.stderr
    (config,) = json.loads(there.stdout)["configs"]
    assert (config["model"], config["head"], config["verified"]) == (name, "head.npz", True)


def without_fractions(text: str) -> str:
    """The text with probabilities and times, which may differ in their last digits, blotted out."""
    return re.sub(r"\d+\.\d+(e-?\d+)?", "#", text)


@pytest.mark.parametrize("core", arm64_emulator.CORES)
def test_int8_takes_the_kernels_of_the_core(
    board: arm64_root.System, copied: Path, models: dict[str, dict[str, Any]], core: str
) -> None:
    """qemu writes down every instruction it meets: SDOT or UDOT as A76, none as A53 and A72."""
    name = next(name for name, model in models.items() if model["precision"] == "int8")
    log = copied / "instructions"
    variables = {"QEMU_LOG": "in_asm", "QEMU_LOG_FILENAME": f"{INSIDE}/instructions"}
    script = LOGITS.replace("*.onnx", name)
    done = on_board(board, copied, core, "python3", "-c", script, "/tmp/x", environment=variables)
    assert done.returncode == 0, done.stderr
    dot = re.compile(r"^0x[0-9a-f]+: +[46](?:e8[0-9a-f]9[4-7]|f[89ab][0-9a-f]e[0-9a-f])[0-9a-f]{2}\b")
    with log.open() as lines:
        count = sum(1 for line in lines if dot.match(line))
    log.unlink()
    assert (count > 0) == (core == "cortex-a76"), count
