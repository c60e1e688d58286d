"""Runs programs inside an unpacked root, as the core of a Raspberry Pi where the root is an arm64 one.

The kernel hands arm64 programs to qemu through binfmt_misc. Flag ``F`` opens qemu at registration, so that it is
there inside the chroot too, and child processes work as well: ``bench.py`` measures in fresh ones. ``QEMU_CPU``
chooses the core. Mounts are made in a mount namespace of their own and vanish with the program, even a killed one.

``/sys`` is left out on purpose: there onnxruntime's cpuinfo would find the host's cores, which do not go with the
host's ``/proc/cpuinfo``, and crash. Without it, onnxruntime asks the (emulated) kernel for the core's features.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.arm64.arm64_root import ARM64, X86_64, System, UnavailableError, build, call

CORES = ("cortex-a53", "cortex-a72", "cortex-a76")  # Raspberry Pi 3, 4, 5
BINFMT = Path("/proc/sys/fs/binfmt_misc")
ENTRY = "qemu-aarch64"
MAGIC = "7f454c460201010000000000000000000200b700"  # ELF, 64 bit, little endian, executable, AArch64
MASK = "ffffffffffffff00fffffffffffffffffeffffff"
QEMU = "qemu-aarch64-static"
NEEDS = "the arm64 check needs root, qemu-user-static and binfmt_misc with flag F"

MOUNT_AND_ENTER = """
set -e
root=$1; user=$2; folder=$3; access=$4; shift 4
if [ "$access" = ro ]; then mount --bind "$root" "$root"; mount -o remount,bind,ro "$root"; fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
while [ "$1" != -- ]; do
  mount --bind "$2" "$root$1"
  [ "$3" = rw ] || mount -o remount,bind,ro "$root$1"
  shift 3
done
shift
exec chroot --userspec="$user" "$root" /usr/bin/env -C "$folder" "$@"
"""


def run(
    root: Path,
    command: Sequence[str],
    *,
    core: str = CORES[0],
    folder: str = "/",
    mounts: Mapping[str, Path] | None = None,
    writable: Sequence[str] = (),
    read_only: bool = False,
    user: str = "0:0",
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 300.0,
) -> subprocess.CompletedProcess[str]:
    """Runs ``command`` inside ``root`` and waits for it; its exit code is the caller's to judge.

    Args:
        root: An unpacked Debian.
        command: The program and its arguments, as seen inside.
        core: What qemu plays, one of ``CORES``.
        folder: The working folder inside.
        mounts: Folders of this machine by their path inside; read-only, but for those in ``writable``.
        writable: Which of ``mounts`` may be written.
        read_only: Whether the rest of ``root`` is read-only; ``/tmp`` never is, and always starts empty.
        user: ``uid:gid`` inside.
        environment: All of it, beside ``PATH``, ``HOME`` and ``LANG``.
        timeout_s: Seconds before it is killed.
    """
    arguments = []
    for inside, outside in (mounts or {}).items():
        (root / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)
        arguments += [inside, str(outside), "rw" if inside in writable else "ro"]
    access = "ro" if read_only else "rw"
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    variables = {"PATH": path, "HOME": "/tmp", "LANG": "C.UTF-8", "QEMU_CPU": core, **(environment or {})}
    namespace = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"]
    shell = ["sh", "-c", MOUNT_AND_ENTER, "enter", str(root), user, folder, access, *arguments, "--", *command]
    return subprocess.run(
        [*namespace, *shell], capture_output=True, text=True, env=variables, timeout=timeout_s, check=False
    )


def on_board(
    system: System, command: Sequence[str], *, core: str, bundle: Path, folder: str = "/home/pi/bundle", **more: object
) -> subprocess.CompletedProcess[str]:
    """``run`` with the wheels importable and a copied bundle where a user's scp would put it."""
    mounts = {system.site_inside: system.site, folder: bundle}
    writable = (folder, system.site_inside)  # Python keeps its compiled modules there: 3 s a start instead of 8
    return run(system.root, command, core=core, folder=folder, mounts=mounts, writable=writable, **more)  # type: ignore[arg-type]


def enable() -> None:
    """Makes this kernel run arm64 programs: installs qemu where it is missing and registers it where it is not.

    The registration stays until the next boot, as Debian's own would
    (``echo -1 > /proc/sys/fs/binfmt_misc/qemu-aarch64`` undoes it).

    Raises:
        UnavailableError: Not root, no qemu, or no binfmt_misc.
    """
    if os.uname().machine == "aarch64":
        raise UnavailableError("this machine is an arm64 one itself: run the bundle's bench.py on it as it is")
    if os.geteuid() != 0:
        raise UnavailableError(f"{NEEDS}; this is user {os.geteuid()}: run it as root")
    if _registered():
        return
    qemu = _qemu()
    if not (BINFMT / "register").exists():
        call(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], f"{NEEDS}; this kernel offers no binfmt_misc")
    if _registered():
        return
    try:
        (BINFMT / "register").write_text(f":{ENTRY}:M::{_escaped(MAGIC)}:{_escaped(MASK)}:{qemu}:FC")
    except OSError as error:
        raise UnavailableError(f"{NEEDS}; the kernel refused the registration: {error.strerror}") from error


def _registered() -> bool:
    """Whether some enabled entry hands arm64 programs to an interpreter opened beforehand."""
    try:
        entries = [e.read_text() for e in BINFMT.iterdir() if e.name not in ("register", "status")]
    except OSError:
        return False
    return any(MAGIC in e and e.startswith("enabled") and "F" in _flags(e) for e in entries)


def _flags(entry: str) -> str:
    return next((line.partition(":")[2] for line in entry.splitlines() if line.startswith("flags")), "")


def _qemu() -> str:
    found = shutil.which(QEMU)
    if found is None and shutil.which("apt-get"):
        remedy = f"{NEEDS}; apt-get install qemu-user-static by hand"
        call(["apt-get", "-q", "update"], remedy)
        call(["apt-get", "-q", "-y", "install", "--no-install-recommends", "qemu-user-static"], remedy)
        found = shutil.which(QEMU)
    if found is None:
        raise UnavailableError(f"{NEEDS}; found no {QEMU!r}: install the package qemu-user-static")
    return found


def _escaped(digits: str) -> str:
    return "".join(f"\\x{digits[i : i + 2]}" for i in range(0, len(digits), 2))


def main() -> int:
    """Prepares everything; a missing piece is one line on stderr and exit code 1."""
    try:
        enable()
        for architecture in (ARM64, X86_64):
            print(f"{architecture.debian}: {build(architecture).root}")
    except UnavailableError as error:
        print(f"test-arm64: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
