"""What ``make test-arm64`` says where it cannot run, and the parts of it that need neither root nor qemu."""

from __future__ import annotations

import os
import shutil
import sys
import types
from pathlib import Path

import pytest

from tests.arm64 import arm64_emulator, arm64_root

HANDED_ON = "enabled\ninterpreter /usr/bin/qemu\nflags: {flags}\noffset 0\nmagic {magic}\nmask ff\n"


def be(monkeypatch: pytest.MonkeyPatch, *, user: int = 0, machine: str = "x86_64") -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine=machine))


def test_not_being_root_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    be(monkeypatch, user=1000)
    assert arm64_emulator.main() == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "test-arm64: the arm64 check needs root, qemu-user-static and binfmt_misc with flag F;"
        " this is user 1000: run it as root\n"
    )


def test_an_arm64_machine_needs_no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, machine="aarch64")
    with pytest.raises(arm64_root.UnavailableError, match=r"arm64 one itself: run the bundle's bench.py on it"):
        arm64_emulator.enable()


def test_a_missing_qemu_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    be(monkeypatch)
    monkeypatch.setattr(arm64_emulator, "BINFMT", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(arm64_root.UnavailableError, match=r"found no 'qemu-aarch64-static': install the package"):
        arm64_emulator.enable()


def test_a_kernel_without_binfmt_misc_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    be(monkeypatch)
    monkeypatch.setattr(arm64_emulator, "BINFMT", tmp_path / "not" / "there")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(arm64_emulator, "call", refuse)
    with pytest.raises(arm64_root.UnavailableError, match="this kernel offers no binfmt_misc"):
        arm64_emulator.enable()


def refuse(command: list[str], remedy: str) -> None:
    raise arm64_root.UnavailableError(f"{command[0]} failed (); {remedy}")


def test_a_refused_registration_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    be(monkeypatch)
    (tmp_path / "register").mkdir()  # a folder: writing to it fails, as the kernel may
    monkeypatch.setattr(arm64_emulator, "BINFMT", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(arm64_root.UnavailableError, match="the kernel refused the registration: Is a directory"):
        arm64_emulator.enable()


def test_the_registration_names_magic_mask_and_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    be(monkeypatch)
    (tmp_path / "register").touch()
    monkeypatch.setattr(arm64_emulator, "BINFMT", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    arm64_emulator.enable()
    written = (tmp_path / "register").read_text()
    assert written.startswith(r":qemu-aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00")
    assert written.endswith(r"\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:FC")


@pytest.mark.parametrize(("flags", "enough"), [("OCF", True), ("OC", False), ("", False)])
def test_a_registration_without_f_is_not_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, enough: bool
) -> None:
    be(monkeypatch)
    (tmp_path / "register").touch()
    (tmp_path / "other").write_text(HANDED_ON.format(flags=flags, magic=arm64_emulator.MAGIC))
    monkeypatch.setattr(arm64_emulator, "BINFMT", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    arm64_emulator.enable()
    assert ((tmp_path / "register").read_text() == "") == enough


def test_without_apt_there_is_no_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(arm64_root.UnavailableError, match="'apt-get' is missing: .* run it on a Debian"):
        arm64_root.build(arm64_root.ARM64, tmp_path)


def test_a_failed_step_tells_its_last_words_and_the_remedy() -> None:
    script = "import sys; print('one'); sys.exit('no such package')"
    with pytest.raises(arm64_root.UnavailableError, match=r"failed \(one / no such package\); check the network"):
        arm64_root.call([sys.executable, "-c", script], "check the network")


def test_what_was_built_is_kept_until_its_recipe_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[str] = []

    def debian(architecture: arm64_root.Architecture, home: Path) -> None:
        made.append(architecture.debian)
        (home / "root/usr/bin").mkdir(parents=True)
        (home / "root/usr/bin/python3").symlink_to("python3.11")

    monkeypatch.setattr(arm64_root, "_unpack_debian", debian)
    monkeypatch.setattr(arm64_root, "_unpack_wheels", lambda *args: None)
    requirements = tmp_path / "requirements.txt"
    for text in ("numpy==1\n", "numpy==1\n", "numpy==2\n"):
        requirements.write_text(text)
        system = arm64_root.build(arm64_root.ARM64, tmp_path / "kept", requirements)
    assert made == ["arm64", "arm64"]
    assert system.site_inside == "/usr/local/lib/python3.11/dist-packages"
