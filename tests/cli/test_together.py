"""What a person sees who starts edgexfer with torchrun."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NET = (
    "import atexit, pathlib, sys\n"
    "from torch import nn\n"
    "def threads():\n"
    "    tasks = pathlib.Path('/proc/self/task')\n"
    "    found = [(task / 'comm').read_text().strip() for task in tasks.iterdir()] if tasks.is_dir() else []\n"
    "    print('threads at exit:', *sorted(found), file=sys.stderr)\n"
    "atexit.register(threads)\n"
    "def build(num_classes):\n"
    "    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1),"
    " nn.Flatten(), nn.Linear(4, num_classes))\n"
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("two"), np.random.default_rng(0)
    for name, grey in {"dark": 60, "light": 190}.items():
        (root / "data" / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(grey + rng.normal(0, 40, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "data" / name / f"{number}.png")
    (root / "net.py").write_text(NET)
    return root


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "edgexfer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def beside(local_rank: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WORLD_SIZE": "2", "RANK": str(local_rank), "LOCAL_RANK": str(local_rank)}
    command = [sys.executable, "-m", "edgexfer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_one_process_talks_and_writes(pictures: Path) -> None:
    out = pictures / "out"
    command = ["finetune", str(pictures / "data"), "--model", f"{pictures / 'net.py'}:build", "--out", str(out)]
    command += ["--epochs", "2", "--image-size", "32", "--batch-size", "8", "--sync-bn", "--json"]
    done = torchrun(*command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == str(out)
    assert done.stderr.count("epoch   2  loss") == 1
    assert "BatchNorm in each takes its statistics over the whole batch" in done.stderr
    assert (out / "log.txt").read_text().count("epoch   2  loss") == 1
    assert json.loads((out / "run.json").read_text())["recipe"]["processes"] == 2
    ended = re.findall("threads at exit: (.*)", done.stderr)
    assert ended and "gloo" not in "".join(ended), "threads of the group that live on can abort a good process"
    refused = torchrun(*command)
    assert refused.returncode == 1 and refused.stdout == ""
    assert (
        len(re.findall("^Error: ", refused.stderr, re.M)) == 1
        and "exists already; choose another --out" in refused.stderr
    )


def test_a_wrong_option_is_explained_once() -> None:
    first, second = beside(0, "distill", "data"), beside(1, "distill", "data")
    assert (first.returncode, second.returncode) == (2, 2)
    assert "Missing option" in first.stderr and second.stderr == ""


def test_other_commands_work_in_one_process() -> None:
    done = beside(0, "export", "run")
    assert done.returncode == 2 and "export works in one process; start it without torchrun" in done.stderr
    assert beside(1, "export", "run").returncode == 2
