"""Measures on this machine with the very script that runs on the device."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgexfer.device import script
from edgexfer.errors import DeviceError
from edgexfer.files import refuse_overwrite
from edgexfer.results.archive import bundle_folder
from edgexfer.version import __version__

VERSION = "EDGEXFER_VERSION"  # how bench.py learns the version where there is no bundle to tell it
_SPEAKER = re.compile(r"^(usage: )?(bench\.py: )?(error: )?")


def run_bench(
    target: Path,
    *,
    out: Path | None,
    min_seconds: float,
    min_runs: int,
    threads: str | None,
    verify_only: bool,
    force: bool,
    options: Sequence[str] = (),
    more: Sequence[Path] = (),
) -> Path:
    """Verifies and times ``target`` with ``bench.py`` in a process of its own; its talk goes to our stderr.

    Args:
        target: An ONNX file or a bundle, a folder or packed.
        out: The result file; ``None`` for ``bench-<host>-<UTC time>.json`` in the working folder.
        min_seconds: Least time a configuration is measured.
        min_runs: Least inferences a configuration is measured.
        threads: Thread counts, such as ``"1,2"``; ``None`` leaves them to the script.
        verify_only: Prove the answers, time nothing.
        force: Replace ``out``.
        options: Further words for ``bench.py``, such as ``["--scenario", "offline"]``.
        more: Further targets, which take turns with the first.

    Returns:
        The result file.

    Raises:
        DeviceError: The target is missing or damaged, or the script failed; the message is the script's last one.
        WouldOverwriteError: ``out`` exists and ``force`` is off.
    """
    for one in (target, *more):
        if not one.exists():
            raise DeviceError(f"there is no {str(one)!r}; name an ONNX file or a bundle")
    words = ["--min-seconds", str(min_seconds), "--min-runs", str(min_runs), *options]
    words += ["--threads", threads] if threads is not None else []
    if out is not None:
        refuse_overwrite(out, force)
        words += ["--out", str(out)]
    words += ["--verify-only"] if verify_only else []
    words += ["--force"] if force else []
    with tempfile.TemporaryDirectory(prefix="edgexfer-bench-") as place:
        targets = [bundle_folder(one, Path(place) / str(number)) for number, one in enumerate((target, *more))]
        code, answer, talk = _run([sys.executable, str(script("bench.py")), *words, "--", *map(str, targets)])
    made = Path(answer.strip().splitlines()[-1]) if answer.strip() else None
    if code != 0:
        raise DeviceError(_failure(code, talk, made))
    if made is None or not os.path.isfile(made):
        raise DeviceError(f"bench.py ended well but left no result ({answer!r}); name one with --out and bench again")
    return made


def _run(words: list[str]) -> tuple[int, str, list[str]]:
    """Exit code, stdout and the lines of stderr, which are passed on as they come.

    An interruption reaches the script too, which then writes what it has: it is waited for.
    """
    environment = {**os.environ, VERSION: __version__, "PYTHONIOENCODING": "utf-8:surrogateescape"}
    talk: list[str] = []
    interrupted = False
    with (
        tempfile.TemporaryFile() as answer,  # a file, not a pipe: a whole result may come, and nobody reads meanwhile
        subprocess.Popen(
            words,
            stdout=answer,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            env=environment,
        ) as child,
    ):
        while True:
            try:
                line = child.stderr.readline() if child.stderr else ""
                if not line:
                    code = child.wait()
                    break
            except KeyboardInterrupt:
                interrupted = True
                continue
            talk.append(line.rstrip("\n"))
            sys.stderr.write(line)
            sys.stderr.flush()
        answer.seek(0)
        said = answer.read().decode("utf-8", errors="surrogateescape")
    if interrupted:
        raise KeyboardInterrupt
    return code, said, talk


def _failure(code: int, talk: list[str], made: Path | None) -> str:
    said = [line for line in talk if line.strip()]
    errors = [line for line in said if line.startswith(("error: ", "bench.py: "))]
    last = _SPEAKER.sub("", (errors or said or ["it said nothing"])[-1])
    if code < 0:
        last = f"bench.py was ended by signal {-code}; its last words: {last}"
    elif not errors:
        last = f"bench.py failed with exit code {code}: {last}"
    kept = f"; what was measured is in {str(made)!r}" if made is not None and os.path.isfile(made) else ""
    return last + kept
