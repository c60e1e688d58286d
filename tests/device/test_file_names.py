"""Pictures whose names are no UTF-8, as a card from an old camera or another system holds them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.device.device_kit import COLOURS, painted

# Python writes such names in the C locales by itself, in all others it refuses.
LOCALES = [{"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"}]


def run(bundle: Path, locale: dict[str, str], *words: object) -> tuple[bytes, bytes]:
    command = [sys.executable, *map(str, (bundle / words[0], *words[1:]))]
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | locale
    done = subprocess.run(command, cwd=bundle, env=variables, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout, done.stderr


@pytest.mark.parametrize("locale", LOCALES, ids=["C.UTF-8", "others"])
def test_a_picture_is_labelled_whatever_its_name(bundle: Path, tmp_path: Path, locale: dict[str, str]) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"gr\xfcn.png")
    painted(COLOURS["green"]).save(os.fsdecode(path), "PNG")
    out, _ = run(bundle, locale, "predict.py", os.fsdecode(path), "--threads", "1")
    line = json.loads(out.decode("utf-8"))  # strictly: any reader of JSON takes it
    assert line["label"] == "green" and os.fsencode(line["file"]) == path


@pytest.mark.parametrize("locale", LOCALES, ids=["C.UTF-8", "others"])
def test_what_was_left_out_is_told_whatever_its_name(bundle: Path, photos: Path, locale: dict[str, str]) -> None:
    path = os.path.join(os.fsencode(photos), b"grey", b"\xff.png")
    with open(path, "wb") as stream:
        stream.write(b"no picture")
    out, talk = run(bundle, locale, "adapt.py", "--data", photos, "--out", "head.npz", "--threads", "1")
    done = json.loads(out.decode("utf-8"))
    assert [os.fsencode(name) for name in done["skipped"]] == [path] and done["images"] == 20
    assert b"udcff.png' is not a picture" in talk


@pytest.mark.parametrize("locale", LOCALES, ids=["C.UTF-8", "others"])
def test_a_result_of_any_name_is_named_byte_by_byte(bundle: Path, locale: dict[str, str]) -> None:
    name = os.fsdecode(b"\xff.json")
    words = ("bench.py", "models/tiny.onnx", "--threads", "1", "--verify-only", "--out", name)
    assert run(bundle, locale, *words)[0] == b"\xff.json\n"
    assert (bundle / name).is_file()
