from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgexfer.errors import FormatError, WouldOverwriteError
from edgexfer.files import read_json, refuse_overwrite, remove, sha256_file, whole_file, write_json, write_text


def test_a_block_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="half way"), whole_file(target) as part:
        part.write_text("half")
        raise RuntimeError("half way")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_json_comes_back_sorted_and_with_the_usual_permissions(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.json"
    write_json(target, {"b": 1, "a": "é", "format": 1})
    assert target.read_text(encoding="utf-8").index('"a"') < target.read_text(encoding="utf-8").index('"b"')
    assert read_json(target, "thing") == {"a": "é", "b": 1, "format": 1}
    plain = tmp_path / "plain"
    plain.touch()
    assert target.stat().st_mode == plain.stat().st_mode


def test_nan_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"format": 1, "x": float("nan")})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "holds list where an object is expected"),
        ("{}", "carries no format number"),
        ('{"format": true}', "carries no format number"),
        (
            '{"format": 2, "edgexfer_version": "9.9"}',
            "has format 2, written by edgexfer 9.9; this version reads up to 1",
        ),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, content: str, message: str) -> None:
    target = tmp_path / "a.json"
    target.write_text(content)
    with pytest.raises(FormatError, match=message):
        read_json(target, "run")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot read the run .*No such file"):
        read_json(tmp_path / "none.json", "run")


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(WouldOverwriteError, match="exists already; choose another --out or pass --force"):
        refuse_overwrite(target, force=False)
    refuse_overwrite(target, force=True)
    remove(target)
    refuse_overwrite(target, force=False)


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    target = tmp_path / "abc"
    target.write_text("abc")
    assert sha256_file(target) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
