from __future__ import annotations

import importlib.metadata
import re
import subprocess
from pathlib import Path

import pytest

from tests.docker import dockerfiles

DEVICE = ("x86_64", "arm64")
ALL = (*DEVICE, "workstation")
PINNED_BASE = re.compile(r"python:\d+\.\d+\.\d+-slim-[a-z]+")


def copied(name: str) -> list[str]:
    return [source for copy in dockerfiles.named(dockerfiles.read(name), "COPY") for source in copy.words[:-1]]


@pytest.mark.parametrize("name", ALL)
def test_the_base_is_pinned_to_a_patch_release(name: str) -> None:
    (base,) = dockerfiles.named(dockerfiles.read(name), "FROM")
    assert len(base.words) == 1
    assert PINNED_BASE.fullmatch(base.words[0])


@pytest.mark.parametrize("base", ["python", "python:latest", "python:3.11", "python:3.11-slim-bookworm"])
def test_a_floating_base_would_be_noticed(base: str) -> None:
    assert not PINNED_BASE.fullmatch(base)


def test_all_images_stand_on_the_same_base() -> None:
    assert len({dockerfiles.named(dockerfiles.read(name), "FROM")[0].words[0] for name in ALL}) == 1


@pytest.mark.parametrize("name", ALL)
def test_no_root_at_run_time(name: str) -> None:
    instructions = dockerfiles.read(name)
    users = dockerfiles.named(instructions, "USER")
    assert [user.value for user in users] == ["10001:10001"]
    after = instructions[instructions.index(users[0]) :]
    assert not dockerfiles.named(after, "RUN")
    assert dockerfiles.named(after, "ENTRYPOINT")


@pytest.mark.parametrize("name", ALL)
def test_what_is_copied_exists_and_is_not_ignored(name: str) -> None:
    ignore = (dockerfiles.REPOSITORY / ".dockerignore").read_text().splitlines()
    for source in copied(name):
        assert (dockerfiles.REPOSITORY / source).exists(), source
        assert f"!{source}" in ignore, source


def test_the_builder_gets_only_what_is_copied() -> None:
    ignore = (dockerfiles.REPOSITORY / ".dockerignore").read_text().splitlines()
    assert ignore[1] == "*"
    sent = {line[1:] for line in ignore if line.startswith("!")}
    assert sent == {source for name in ALL for source in copied(name)}


def test_the_device_images_differ_in_nothing_but_the_platform() -> None:
    x86_64, arm64 = (dockerfiles.read(name) for name in DEVICE)
    assert x86_64[0].value.startswith("--platform=linux/amd64 ")
    assert arm64[0].value.startswith("--platform=linux/arm64 ")
    assert x86_64[0].words == arm64[0].words
    assert x86_64[1:] == arm64[1:]


@pytest.mark.parametrize("name", DEVICE)
def test_a_device_runs_the_mounted_bundle(name: str) -> None:
    instructions = dockerfiles.read(name)
    assert dockerfiles.named(instructions, "ENTRYPOINT")[0].words == ["python3", "/bundle/bench.py"]
    assert dockerfiles.named(instructions, "WORKDIR")[-1].value == "/results"
    assert dockerfiles.named(instructions, "VOLUME")[0].value == "/results"


@pytest.mark.parametrize("name", ALL)
def test_onnxruntime_reports_to_nobody(name: str) -> None:
    assert dockerfiles.environment(dockerfiles.read(name))["ORT_DISABLE_TELEMETRY"] == "1"


def test_the_device_has_the_versions_of_the_workstation() -> None:
    device = dockerfiles.pins(dockerfiles.FOLDER / "requirements-device.txt")
    workstation = dockerfiles.pins(dockerfiles.REPOSITORY / "constraints.txt")
    assert device == {name: workstation[name] for name in device}


def test_the_device_has_all_that_onnxruntime_needs() -> None:
    device = dockerfiles.pins(dockerfiles.FOLDER / "requirements-device.txt")
    needed = {"numpy", "onnxruntime", "pillow"}
    for requirement in importlib.metadata.requires("onnxruntime") or []:
        if "extra" not in requirement:
            needed.add(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower())
    assert set(device) == needed


def test_the_workstation_installs_by_the_constraints() -> None:
    torch, package, _ = (run.value for run in dockerfiles.named(dockerfiles.read("workstation"), "RUN"))
    assert "grep -E '^(torch|torchvision)==' constraints.txt" in torch
    assert "-c constraints.txt ." in package
    assert {"torch", "torchvision"} <= set(dockerfiles.pins(dockerfiles.REPOSITORY / "constraints.txt"))


def choose_torch(build: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Runs the workstation's first step with a ``python3`` that only says what it was asked."""
    stand_in = tmp_path / "python3"
    stand_in.write_text('#!/bin/sh\necho "$@"\n')
    stand_in.chmod(0o755)
    (tmp_path / "constraints.txt").write_text("numpy==1.0\ntorch==2.0\ntorchvision==0.1\n")
    step = dockerfiles.named(dockerfiles.read("workstation"), "RUN")[0].value
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TORCH_BUILD": build, "TORCH_CPU_INDEX": "cpu-index"}
    return subprocess.run(
        ["sh", "-c", step], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=30, check=False
    )


def test_the_build_argument_chooses_cpu_or_cuda(tmp_path: Path) -> None:
    install = "-m pip install --no-cache-dir --no-deps"
    assert choose_torch("cpu", tmp_path).stdout == f"{install} --index-url cpu-index -r torch.txt\n"
    assert choose_torch("cuda", tmp_path).stdout == f"{install} -r torch.txt\n"
    assert (tmp_path / "torch.txt").read_text() == "torch==2.0\ntorchvision==0.1\n"


def test_another_build_argument_is_refused(tmp_path: Path) -> None:
    done = choose_torch("rocm", tmp_path)
    assert done.returncode == 2
    assert done.stderr == "TORCH_BUILD is 'rocm'; allowed: cpu, cuda\n"


def test_the_compose_file_names_our_dockerfiles_and_keeps_devices_read_only() -> None:
    text = (dockerfiles.FOLDER / "compose.yaml").read_text()
    files = re.findall(r"dockerfile: (\S+)", text)
    assert sorted(files) == sorted(f"docker/{name}.Dockerfile" for name in ALL)
    device = text.partition("services:")[0]
    for line in ("read_only: true", "cap_drop: [ALL]", "network_mode: none", "/bundle:ro"):
        assert line in device
    assert text.count("<<: *device") == len(DEVICE)
    assert "latest" not in text


def test_an_unpinned_requirement_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy>=1.26  # open\n")
    with pytest.raises(ValueError, match=r"requirements.txt: 'numpy>=1.26' is not pinned"):
        dockerfiles.pins(tmp_path / "requirements.txt")


def test_an_unknown_instruction_is_noticed() -> None:
    with pytest.raises(ValueError, match="'RUM true' is no instruction"):
        dockerfiles.parse("FROM x\nRUM true\n")


def test_continued_lines_and_comments() -> None:
    text = "# a\nRUN one \\\n# between\n    && two\n"
    assert dockerfiles.parse(text) == [dockerfiles.Instruction("RUN", "one && two")]
