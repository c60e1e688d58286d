"""One device at the other end of OpenSSH: the bundle goes there, ``bench.py`` runs there, the result comes home.

The measurement does not hang on the connection: it is started apart from it and followed through its log, so that a
network that comes and goes costs nothing, and running the same command again finds what is going on or done. Only
``sh``, ``tar``, ``gzip`` and ``sha256sum`` are needed there, beside Python.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgexfer.errors import DeviceError
from edgexfer.results.devices import Device

SSH_OPTIONS = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=5", "ServerAliveCountMax=3")
UNREACHABLE = 255  # ssh's own exit code; what runs at the other end gives its own

# What every script has. `goes FOLDER JOB`: whether a measurement goes on; not if the board was started anew since, or
# if its number is by now that of another process; `alive` says so of the process that waits for it and leaves its end.
# `end` ends one and waits until it has, since it would write into the folder that takes the place of its own; bench.py
# ends its own child in peace at a first TERM, and at once at a second. `keep FOLDER ASIDE` brings back from an old
# folder what its bundle did not bring: an environment that setup.sh made, heads, embeddings, results, pictures.
SHARED = r"""
boot() { cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo unknown; }
same() { [ "$(cat "$1/boot" 2>/dev/null)" = "$(boot)" ]; }
runs() {
  [ -f "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null || return 1
  [ ! -d /proc/self ] || tr '\0' ' ' 2>/dev/null < "/proc/$(cat "$1")/cmdline" | grep -q -F -e "$2"
}
alive() { same "$1" && runs "$1/pid" "$2"; }
goes() { same "$1" && { runs "$1/pid" "$2" || runs "$1/child" "$2"; }; }
end() {
  tick=0
  while goes "$1" "$2"; do
    [ "$tick" -lt 150 ] || { echo "$2 does not end there; end it with kill -9 $(cat "$1/child")" >&2; return 4; }
    if [ $((tick % 10)) = 0 ] && runs "$1/child" "$2"; then kill -TERM "$(cat "$1/child")" 2>/dev/null; fi
    tick=$((tick + 1)); sleep 0.2
  done
}
keep() {
  [ -d "$2" ] || return 0
  for path in "$2"/* "$2"/.[!.]*; do
    name=${path##*/}
    case $name in
      bundle.json | models | samples.npy | labels.npy | README.txt | setup.sh) continue ;;
      bench.py | predict.py | adapt.py | _edgexfer_* | __pycache__) continue ;;
    esac
    if { [ -e "$path" ] || [ -L "$path" ]; } && [ ! -e "$1/$name" ]; then mv "$path" "$1/$name" || return 4; fi
  done
  rm -rf "$2"
}
"""

# Gives the SHA-256 of the bundle there. Measurements disturb each other, and a new bundle takes the place of the old
# one's scripts: where $3 says so, what goes on there is ended and forgotten, as is what is there of job $2; else only
# the job itself may go on. What a copying that was cut short at its very end had put aside comes back.
LOOK = r"""
[ ! -f "$1/bundle.json" ] || keep "${1%/}" "${1%/}.edgexfer-old" 2>/dev/null
cd "$1" 2>/dev/null || exit 0
for job in job-*; do
  if [ -n "$3" ]; then
    if goes "$job" "$job"; then end "$job" "$job" && rm -rf "$job" || exit 4; fi
  elif [ "$job" != "$2" ] && alive "$job" "$job"; then
    number=$(cat "$job/child")
    echo "another measurement goes on in $1 there, process $number; wait until it has ended, or end it with" \
      "kill $number there (edgexfer bench --force does that)" >&2; exit 4
  fi
done
[ -z "$3" ] || rm -rf "$2"
sha256sum < bundle.json 2>/dev/null | cut -c1-64
"""

# The old folder stays until the new one is whole. What the old bundle did not bring moves along; also what a copying
# that was cut short had put aside.
UNPACK = r"""
set -e
dir=${1%/}; part=$dir.edgexfer-part; old=$dir.edgexfer-old
if [ -e "$dir" ] && [ ! -f "$dir/bundle.json" ] && [ -n "$(ls -A "$dir")" ]; then
  echo "$dir there holds other things and no bundle.json, so nothing is put in its place; name a folder that is new" \
    "or empty: dir = '...' in the file of --fleet" >&2; exit 4
fi
mkdir -p "$part"; rm -rf "$part"; mkdir -p "$part"
tar xzf - -C "$part"
[ "$(sha256sum < "$part/bundle.json" | cut -c1-64)" = "$2" ] || { echo "it arrived damaged" >&2; exit 4; }
if [ -e "$dir" ]; then keep "$dir" "$old"; mv "$dir" "$old"; fi
mv "$part" "$dir"
keep "$dir" "$old"
"""

# A job that is running or done is left alone; one that died without an end is begun again.
START = r"""
dir=$1; job=$2; shift 2
cd "$dir" && mkdir -p "$job" || exit 4
if [ -f "$job/rc" ] || alive "$job" "$job"; then exit 0; fi
end "$job" "$job" || exit 4
rm -f "$job/pid" "$job/child" "$job/asked" "$job/result.json"
boot > "$job/boot" && : > "$job/log" || exit 4
nohup sh -c 'echo $$ > "$0/pid"; "$@" --out "$0/result.json" --force >> "$0/log" 2>&1 & echo $! > "$0/child"
  wait $!; echo $? > "$0/rc.part"; mv "$0/rc.part" "$0/rc"' "$job" "$@" < /dev/null > /dev/null 2>&1 &
ticks=0
while [ "$ticks" -lt 150 ]; do  # half a minute: a board under load takes its time
  if [ -s "$job/pid" ] && { [ -s "$job/child" ] || ! alive "$job" "$job"; }; then exit 0; fi
  ticks=$((ticks + 1)); sleep 0.2
done
echo "the measurement does not start" >&2; exit 4
"""

# Gives the log from byte $3 on until the job has ended; 3 where it died without leaving its end.
FOLLOW = r"""
cd "$1/$2" || exit 4
seen=$3
while :; do
  ended=; [ ! -f rc ] || ended=1
  size=$(wc -c < log)
  if [ "$size" -gt "$seen" ]; then tail -c +$((seen + 1)) log | head -c $((size - seen)); seen=$size; fi
  [ -z "$ended" ] || exit 0
  if ! alive . "$2"; then sleep 0.5; [ -f rc ] || exit 3; fi
  sleep 0.3
done
"""

# Asks a measurement to end; once, since bench.py drops what it has at a second time.
STOP = 'cd "$1/$2" && [ ! -e asked ] && runs child "$2" && { : > asked; kill -TERM "$(cat child)"; } 2>/dev/null; true'
# Exit code, size of the log's end and that end, then SHA-256 and content of the result where there is one.
FETCH = """
cd "$1/$2" && cat rc && tail -n 20 log > tail && wc -c < tail && cat tail || exit 4
if [ -f result.json ]; then sha256sum < result.json | cut -c1-64; cat result.json; fi
"""
FORGET = 'cd "$1" && end "$2" "$2" && rm -rf "$2"'
SETUP = 'cd "$1" && ./setup.sh'


@dataclass(frozen=True)
class Answer:
    """What came back: exit code, stdout, and the last words of stderr."""

    code: int
    out: bytes
    talk: str


class UnreachableError(DeviceError):
    """The connection failed or broke; the device may come back."""


@dataclass
class Remote:
    """A device through ssh.

    Attributes:
        device: Which.
        config: A configuration file for ssh in place of the user's own, or ``None``.
        given_up: Whether ``give_up`` was called.
    """

    device: Device
    config: Path | None = None
    given_up: bool = False
    _following: subprocess.Popen[bytes] | None = None

    def give_up(self) -> None:
        """Ends the following of a log, from another thread; what runs there goes on."""
        self.given_up = True
        if self._following is not None:
            self._following.kill()

    def call(self, script: str, *arguments: str, given: Path | None = None, what: str = "") -> bytes:
        """Runs a script there and gives its stdout.

        Args:
            script: For ``sh``; its ``$1`` is the device's folder.
            arguments: Its ``$2`` and so on.
            given: A file for its stdin.
            what: What is being done, for the message.

        Raises:
            UnreachableError: The connection failed.
            DeviceError: The script did.
        """
        with given.open("rb") if given is not None else open("/dev/null", "rb") as stdin:
            done = subprocess.run(
                self._words(script, arguments), stdin=stdin, capture_output=True, check=False, start_new_session=True
            )
        answer = Answer(done.returncode, done.stdout, _last(done.stderr.decode(errors="replace")))
        if answer.code:
            raise self.error(answer, what)
        return answer.out

    def follow(self, job: str, seen: int, line: Callable[[str], None]) -> tuple[Answer, int]:
        """Gives each line of the job's log to ``line`` until it ended, and how many bytes were seen."""
        words = self._words(FOLLOW, (job, str(seen)))
        pipe = subprocess.PIPE
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
        ) as child:  # in a session of its own, or Ctrl-C would end it instead of asking the device to stop
            self._following = child
            if self.given_up:  # meanwhile
                child.kill()
            for raw in child.stdout or ():
                seen += len(raw)
                line(raw.decode(errors="replace").rstrip("\n"))
            talk = child.stderr.read().decode(errors="replace") if child.stderr else ""
            code = child.wait()
        return Answer(code, b"", _last(talk)), seen

    def error(self, answer: Answer, what: str) -> DeviceError:
        """The error that an answer stands for."""
        host = self.device.host
        if answer.code == UNREACHABLE:
            return UnreachableError(f"{host} cannot be reached ({answer.talk}); {_remedy(answer.talk, host)}")
        space = "; free some space there" if "o space left" in answer.talk else ""
        return DeviceError(
            f"{what} failed on {host} with exit code {answer.code}: {answer.talk or 'no message'}{space}"
        )

    def _words(self, script: str, arguments: Sequence[str]) -> list[str]:
        config = ["-F", str(self.config)] if self.config is not None else []
        options = [word for option in SSH_OPTIONS for word in ("-o", option)]
        command = shlex.join(["sh", "-c", SHARED + script, "edgexfer", self.device.folder, *arguments])
        return ["ssh", *config, *options, "--", self.device.host, command]


def _last(talk: str) -> str:
    """The last words of ssh or of a script, without what ssh says of itself."""
    lines = [line.strip() for line in talk.splitlines() if line.strip() and not line.startswith(("Warning: ", "@"))]
    for line in lines:
        if "ost key verification failed" in line or "Permission denied" in line:
            return line.rstrip(".")
    return " / ".join(lines[-2:]).rstrip(".")


def _remedy(talk: str, host: str) -> str:
    name = host.rpartition("@")[2]
    if "ost key verification failed" in talk:
        return (
            f"its host key is not the known one: connect by hand once (ssh {host}); if the device was set up anew,"
            f" ssh-keygen -R {name} first"
        )
    if "Permission denied" in talk:
        return f"it does not know your key: ssh-copy-id {host}"
    if "Could not resolve" in talk:
        return "see its name, or name its address"
    return f"is it on and in the network? Try ssh {host}"
