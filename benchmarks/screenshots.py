r"""README's pictures: a report from your photographs, and the terminal while it was made.

    python benchmarks/screenshots.py photos/ --teacher squeezenet1_0 --teacher-weights squeezenet.pth \
        --student mobilenet-v1-leaky-0.25=mobilenet.tar --student tiny-darknet-0.5 --work /tmp/pictures

Runs the commands that README tells, in `--work`; what is there already is not made again. The report is photographed
with Chromium (`make test-browser` installs it and Playwright), the terminal from the screens that the commands drew on
a pseudo-terminal. `--only` photographs again what has been made.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.text import Text

RESULTS = Path(__file__).parent / "results"
COLUMNS, LINES = 120, 34
MOST_BYTES = 300_000
ERASE = "\x1b[2K"


@dataclass(frozen=True)
class Shot:
    """A picture of the page: from the top of ``first`` to the bottom of ``last``, both CSS selectors."""

    name: str
    first: str
    last: str
    width: int = 1180
    scheme: str = "light"


SHOTS = (
    Shot("report-top", ".masthead", "#networks"),
    Shot("report-speed", "#speed figure:nth-of-type(1)", "#speed figure:nth-of-type(3)", scheme="dark"),
    Shot("report-answers", "#answers .run-name", "#answers .shots:not(.small)"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of class folders")
    parser.add_argument("--teacher", default="squeezenet1_0")
    parser.add_argument("--teacher-weights", default="imagenet")
    parser.add_argument("--teacher-epochs", type=int, default=10)
    parser.add_argument("--teacher-strategy", default="auto")
    parser.add_argument("--student", action="append", help="NAME or NAME=WEIGHTS; may be repeated")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--budget", default="--budget-ms 1", help='for edgexfer choose: --budget="--budget-mb 0.8"')
    parser.add_argument("--sustained-seconds", type=int, default=60)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--only", action="store_true", help="make nothing, photograph what is there")
    options = parser.parse_args()
    options.student = options.student or ["tiny-darknet"]
    options.work.mkdir(parents=True, exist_ok=True)
    if not options.only:
        make(options)
    photograph(options.work, options.out)


def make(options: argparse.Namespace) -> None:
    """The runs, files, measurements and the report, by the commands that a user types."""
    work, data = options.work, str(options.data.resolve())
    size, made = ("--image-size", str(options.image_size)), []
    edgexfer(
        work, "teacher", "finetune", data, "--model", options.teacher, *size,
        "--weights", there(options.teacher_weights),
        "--epochs", str(options.teacher_epochs), "--strategy", options.teacher_strategy, "--out", "teacher",
    )  # fmt: skip
    for number, student in enumerate(options.student):
        name, _, weights = student.partition("=")
        edgexfer(
            work, name, "distill", data, "--teacher", "teacher", "--student", name, "--student-weights",
            there(weights or "none"), *size, "--epochs", str(options.epochs), "--hard-label-baseline", "--out", name,
            watched=number == 0,
        )  # fmt: skip
        edgexfer(work, f"{name}.onnx", "export", name, "--int8", "--out", f"{name}.onnx")
        made += [path.name for path in sorted(work.glob(f"{name}*.onnx"))]
    edgexfer(work, "bundle", "bundle", *made, "--data", data, "--out", "bundle")
    measuring = ("bench", "bundle", "--out")
    edgexfer(work, "bench.json", *measuring, "bench.json", "--rounds", "3", "--profile", "--threads", "1,2")
    lasting = ("--scenario", "sustained", "--sustained-seconds", str(options.sustained_seconds))
    edgexfer(work, "sustained.json", *measuring, "sustained.json", *lasting)
    screen = terminal(work, "choose", ".", *options.budget.split())
    (work / "choose.ansi").write_text(screen, encoding="utf-8")
    edgexfer(work, "", "report", *made, "teacher", *(s.partition("=")[0] for s in options.student), "bench.json",
             "sustained.json", "--out", "report.html", "--force")  # fmt: skip


def there(weights: str) -> str:
    """A weight file by a path that holds in any folder; a word as it is."""
    return str(Path(weights).resolve()) if Path(weights).is_file() else weights


def edgexfer(work: Path, makes: str, *arguments: str, watched: bool = False) -> None:
    """Runs a command in ``work``, unless what it makes is there; ``watched`` keeps a screen of ``edgexfer watch``."""
    if makes and (work / makes / "run.json" if arguments[0] in ("finetune", "distill") else work / makes).exists():
        return
    print("edgexfer", *arguments, flush=True)
    command = [sys.executable, "-m", "edgexfer", *arguments]
    again = ["--resume"] if watched or arguments[0] in ("finetune", "distill") else []
    running = subprocess.Popen([*command, *again], cwd=work, stdout=subprocess.DEVNULL)
    if watched:
        frames = [f for f in terminal(work, "watch", makes, whole=True).split(ERASE) if "validation by epoch" in f]
        if frames:
            text = prompt("watch", makes) + frames[len(frames) * 2 // 3]
            (work / "watch.ansi").write_text(text, encoding="utf-8")
    if running.wait():
        raise SystemExit(f"edgexfer {arguments[0]} ended with {running.returncode}")


def terminal(work: Path, *arguments: str, whole: bool = False) -> str:
    """What a command draws on a terminal of its own: the last screen, or the ``whole`` of it, every redrawing."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "LINES": str(LINES), "TERM": "xterm-256color"}
    mine, its = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "edgexfer", *arguments], cwd=work, stdin=its, stdout=its, stderr=its, env=environment
    )
    os.close(its)
    parts = []
    while True:
        try:
            part = os.read(mine, 65536)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        parts.append(part)
    running.wait()
    os.close(mine)
    text = b"".join(parts).decode("utf-8", errors="replace").replace("\r\n", "\n")
    return text if whole else prompt(*arguments) + text.rsplit(ERASE, 1)[-1]


def prompt(*arguments: str) -> str:
    """The line that a person types."""
    return f"\x1b[32m$\x1b[0m edgexfer {' '.join(arguments)}\n"


def photograph(work: Path, out: Path) -> None:
    """Writes the pictures."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for shot in SHOTS:
            tab = browser.new_page(viewport={"width": shot.width, "height": 900}, color_scheme=shot.scheme)
            tab.goto((work / "report.html").resolve().as_uri())
            tab.add_style_tag(content="nav { position: static !important } html { scroll-behavior: auto !important }")
            _save(tab, out / f"{shot.name}.png", clip=_between(tab, shot))
        for screen in sorted(work.glob("*.ansi")):
            drawing = _drawn(screen, work)
            tab = browser.new_page(device_scale_factor=1)
            tab.goto(drawing.resolve().as_uri())
            box = tab.evaluate("(b => ({width: b.width, height: b.height}))(document.documentElement.viewBox.baseVal)")
            tab.set_viewport_size({key: round(value) for key, value in box.items()})
            _save(tab, out / f"terminal-{screen.stem}.png", omit_background=True)
        browser.close()


def _between(tab: Any, shot: Shot) -> dict[str, float]:
    first, last = (tab.locator(selector).first.bounding_box() for selector in (shot.first, shot.last))
    top = max(0, first["y"] - 24)
    return {"x": 0, "y": top, "width": shot.width, "height": last["y"] + last["height"] + 24 - top}


def _drawn(screen: Path, work: Path) -> Path:
    """The screen as SVG, by rich."""
    text = re.sub(r"\x1b\[\?25[lh]|\x1b\[\d*A|\r", "", screen.read_text(encoding="utf-8")).strip("\n ")
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    console.print(Text.from_ansi(text))
    drawing = work / f"{screen.stem}.svg"
    console.save_svg(str(drawing), title="edgexfer")
    return drawing


def _save(tab: Any, path: Path, **how: Any) -> None:
    """A PNG of at most ``MOST_BYTES``: in 256 colours where it would be larger."""
    tab.screenshot(path=str(path), full_page="clip" in how, **how)
    colours: Sequence[int] = (256, 128, 64)
    for count in colours:
        if path.stat().st_size <= MOST_BYTES:
            break
        Image.open(path).convert("RGB").quantize(count, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
