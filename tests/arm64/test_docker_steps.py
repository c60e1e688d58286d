"""Carries out the device images' Dockerfiles without an engine, each in an unpacked Debian of its architecture.

Debian's Python stands in for the base image (in ``/usr/local``, where that has it), and the wheels come from a folder
instead of the network. All of ``COPY``, ``RUN``, ``ENV``, ``USER``, ``WORKDIR`` and ``ENTRYPOINT`` is done as written.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.arm64 import arm64_emulator, arm64_root
from tests.docker import dockerfiles

pytestmark = pytest.mark.arm64
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "PIP_NO_COMPILE": "1"}
ARCHITECTURES = {"x86_64": arm64_root.X86_64, "arm64": arm64_root.ARM64}


@dataclass(frozen=True)
class Image:
    """What a build would leave."""

    root: Path
    instructions: list[dockerfiles.Instruction]

    def value(self, name: str) -> str:
        return dockerfiles.named(self.instructions, name)[-1].value

    def start(
        self, arguments: list[str], bundle: Path, results: Path, entry: list[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """``docker run --read-only --tmpfs /tmp -v bundle:/bundle:ro -v results:/results IMAGE arguments``."""
        folder = self.value("WORKDIR")
        return arm64_emulator.run(
            self.root,
            [*(entry or dockerfiles.named(self.instructions, "ENTRYPOINT")[-1].words), *arguments],
            folder=folder,
            mounts={"/bundle": bundle, folder: results},
            writable=(folder,),
            read_only=True,
            user=self.value("USER"),
            environment=dockerfiles.environment(self.instructions),
        )


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Image:
    arm64_emulator.enable()
    system = arm64_root.build(ARCHITECTURES[request.param])
    root = tmp_path_factory.mktemp("image") / "root"
    caches = shutil.ignore_patterns("__pycache__")  # other tests run in that root now, and write them
    shutil.copytree(system.root, root, symlinks=True, ignore=caches)
    base = arm64_emulator.run(root, ["/usr/bin/python3", "-m", "venv", "/usr/local"])
    assert base.returncode == 0, base.stderr
    instructions = dockerfiles.read(request.param)
    variables: dict[str, str] = {}
    for instruction in instructions:
        if instruction.name == "ENV":
            variables.update(dockerfiles.environment([instruction]))
        elif instruction.name == "COPY":
            copy(instruction, root)
        elif instruction.name == "RUN":
            done = arm64_emulator.run(
                root,
                ["/bin/sh", "-c", instruction.value],
                mounts={"/wheels": system.wheels},
                environment={**variables, **OFFLINE},
                timeout_s=600,
            )
            assert done.returncode == 0, f"{instruction.value}: {done.stdout[-1000:]}{done.stderr[-1000:]}"
    return Image(root, instructions)


def copy(instruction: dockerfiles.Instruction, root: Path) -> None:
    source, target = instruction.words
    destination = root / target.lstrip("/")
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(dockerfiles.REPOSITORY / source, destination)


@pytest.fixture
def results(image: Image, tmp_path: Path) -> Path:
    """A volume that starts as the image's folder: empty, with its owner."""
    folder = tmp_path / "results"
    folder.mkdir()
    inside = (image.root / image.value("WORKDIR").lstrip("/")).stat()
    assert f"{inside.st_uid}:{inside.st_gid}" == image.value("USER")
    shutil.chown(folder, inside.st_uid, inside.st_gid)
    return folder


def test_the_bundle_is_verified_without_root_on_a_read_only_system(image: Image, bundle: Path, results: Path) -> None:
    done = image.start(["--verify-only"], bundle, results)
    assert done.returncode == 0, done.stderr
    (written,) = results.iterdir()
    result = json.loads(written.read_text())
    assert [config["verified"] for config in result["configs"]] == [True] * len(list(bundle.glob("models/*.onnx")))
    assert {config["runtime_version"] for config in result["configs"]} == {
        dockerfiles.pins(arm64_root.REQUIREMENTS)["onnxruntime"]
    }


def test_the_installed_versions_are_the_pinned_ones(image: Image, bundle: Path, results: Path) -> None:
    listed = image.start(["-m", "pip", "list", "--format=json"], bundle, results, ["python3"])
    found = {package["name"].lower(): package["version"] for package in json.loads(listed.stdout)}
    pinned = dockerfiles.pins(arm64_root.REQUIREMENTS)
    assert {name: found.get(name) for name in pinned} == pinned


def test_only_tmp_and_results_can_be_written(image: Image, bundle: Path, results: Path) -> None:
    places = "/ /bundle /usr/local /opt/edgexfer /tmp /results"
    script = f"for place in {places}; do touch $place/probe 2>/dev/null && echo $place; done; true"
    done = image.start([script], bundle, results, ["/bin/sh", "-c"])
    assert done.stdout.split() == ["/tmp", "/results"]
