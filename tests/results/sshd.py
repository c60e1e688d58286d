"""A real OpenSSH server on the loopback address, with a key and a configuration of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

SERVER = shutil.which("sshd") or ("/usr/sbin/sshd" if os.access("/usr/sbin/sshd", os.X_OK) else None)
MISSING = "no OpenSSH server here (Debian: apt-get install openssh-server)"


class Server:
    """A server that can be stopped, as a board that loses its power, and started again."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, port or free_port()
        for name in ("host", "client"):
            key = folder / name
            if not key.exists():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where the server puts itself aside
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
            f"AuthorizedKeysFile {folder}/client.pub\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nStrictModes no\nUsePAM no\nPidFile none\n"
            "PermitRootLogin prohibit-password\nMaxStartups 50\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host_key(self) -> str:
        """``ssh-ed25519 AAAA...``."""
        return " ".join((self.folder / "host.pub").read_text().split()[:2])

    def start(self) -> None:
        assert SERVER is not None
        command = [SERVER, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "sshd.log").read_text())

    def sessions(self) -> list[int]:
        """The processes that serve a connection."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if self._process is not None and parent == self._process.pid:
                    found.append(int(entry.name))
        return found

    def break_connections(self) -> None:
        kill(self.sessions())

    def stop(self) -> None:
        if self._process is not None:
            served = self.sessions()  # before they are nobody's children
            self._process.terminate()
            self._process.wait()
            kill(served)
            self._process = None


def kill(processes: list[int]) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def client_config(path: Path, servers: dict[str, Server], wrong: tuple[str, ...] = ()) -> Path:
    """A configuration for ssh that knows each alias and its host key; of ``wrong`` another one."""
    known = path.with_name("known_hosts")
    known.write_text("".join(f"{name} {_key(server, name in wrong)}\n" for name, server in servers.items()))
    blocks = [
        f"Host {name}\n  HostName 127.0.0.1\n  Port {server.port}\n  HostKeyAlias {name}\n"
        f"  IdentityFile {server.folder}/client\n"
        for name, server in servers.items()
    ]
    common = f"Host *\n  UserKnownHostsFile {known}\n  StrictHostKeyChecking yes\n  IdentitiesOnly yes\n"
    path.write_text("".join(blocks) + common)
    return path


def _key(server: Server, wrong: bool) -> str:
    if not wrong:
        return server.host_key
    return " ".join((server.folder / "client.pub").read_text().split()[:2])


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
