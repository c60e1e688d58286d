from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edgexfer.cli.main import cli
from edgexfer.distill.cache import OutputCache
from edgexfer.words import people_size
from edgexfer.workflows.cache import clear, kept

pytestmark = pytest.mark.usefixtures("own_cache")


def filled(folder: Path) -> OutputCache:
    names = {"teacher": "resnet18", "source": "photos"}
    made = OutputCache({"weights_sha256": "0"}, images=10_000, classes=10, names=names)
    made.write(0, np.arange(10_000), torch.randn(10_000, 10))
    made.write(3, np.arange(5), torch.randn(5, 10))
    (folder / "index").mkdir(parents=True)
    (folder / "index" / "a.json").write_text("{}" * 5000)
    (folder / "compute.json").write_text("{}")
    (folder / "teachers" / "broken").mkdir()
    return made


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["cache", *arguments], prog_name="edgexfer")
    assert result.exit_code == 0, result.output
    return result.stdout


def test_everything_is_listed_with_its_size(own_cache: Path) -> None:
    assert kept() == []
    assert run("list") == f"nothing is kept in {own_cache}\n"
    filled(own_cache)
    found = {entry.what: entry for entry in kept()}
    said = found["resnet18: 2 views of 10,000 pictures of photos"]
    assert 2 * 220_000 <= said.size_bytes < 2 * 220_000 + 30_000
    assert "damaged; it is made anew when it is needed" in found
    assert {entry.kind for entry in kept()} == {"teachers", "index", "measured"}
    listed = json.loads(run("list", "--json", "--kind", "teachers"))
    assert {entry["kind"] for entry in listed} == {"teachers"} and len(listed) == 2
    assert "resnet18: 2 views" in run("list")
    sizes = json.loads(run("size", "--json"))
    assert sizes["bytes"] == sum(entry.size_bytes for entry in kept()) and sizes["folder"] == str(own_cache)
    assert "teachers" in run("size") and f"  {people_size(sizes['bytes'])}  " in run("size")


def test_clearing_takes_what_was_named_and_old(own_cache: Path) -> None:
    made = filled(own_cache)
    assert clear(older_than_days=1) == []
    assert clear(["index"])[0].kind == "index"
    assert [entry.kind for entry in kept()] == ["measured", "teachers", "teachers"]
    long_ago = time.time() - 10 * 86_400
    for path in [made.folder, *made.folder.iterdir()]:
        os.utime(path, (long_ago, long_ago))
    assert [entry.path for entry in clear(older_than_days=9)] == [made.folder]
    assert "2 cleared" in run("clear")
    assert kept() == [] and json.loads(run("clear", "--json")) == {"cleared": 0, "bytes": 0}


@pytest.mark.parametrize("action", ["list", "size", "clear"])
def test_a_kind_that_there_is_not_is_refused(action: str, own_cache: Path) -> None:
    filled(own_cache)
    (own_cache / "newer" / "thing").mkdir(parents=True)
    result = CliRunner().invoke(cli, ["cache", action, "--kind", "index", "--kind", "teacher"])
    allowed = "teachers, features, index, pixels, measured, newer"
    assert result.exit_code == 1
    assert result.stderr == f"Error: nothing in the cache is of the kind 'teacher'; allowed: {allowed}\n"
    assert [entry.kind for entry in kept(["newer"])] == ["newer"] and kept(["features"]) == []
