"""``edgexfer predict`` on pictures whose names are no UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.workflows import measured

# Python writes such names in the C locales by itself, in all others it refuses.
LOCALES = [{"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"}]


@pytest.mark.parametrize("locale", LOCALES, ids=["C.UTF-8", "others"])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_picture_is_labelled_whatever_its_name(tmp_path: Path, locale: dict[str, str], as_json: bool) -> None:
    model, folder = measured.full(tmp_path / "tiny.onnx"), tmp_path / "pictures"
    folder.mkdir()
    green = np.full((12, 16, 3), (30, 220, 30), np.uint8)
    Image.fromarray(green).save(os.fsdecode(os.path.join(os.fsencode(folder), b"gr\xfcn.png")), "PNG")
    (folder / os.fsdecode(b"\xff.jpg")).write_bytes(b"no picture")
    command = [sys.executable, "-m", "edgexfer", "predict", str(model), str(folder), *(["--json"] if as_json else [])]
    done = subprocess.run(command, env={**os.environ, **locale}, capture_output=True, timeout=120, check=False)
    talk = done.stderr.decode("utf-8")
    assert done.returncode == 1 and "Traceback" not in talk, talk
    assert "udcff.jpg' is not a picture" in talk and "1 picture could not be read" in talk
    (line,) = done.stdout.decode("utf-8").splitlines()
    if as_json:
        assert json.loads(line)["file"] == f"{folder}/gr\\xfcn.png" and json.loads(line)["label"] == "green"
    else:
        assert line.startswith(f"{folder}/gr\\xfcn.png: green (green ")
