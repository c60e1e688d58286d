"""Where an artifact will run, and what follows from that. One table of machines and one of runtimes.

The machine decides int8's arithmetic and what is advised; the opset and the IR version follow from the ONNX Runtime
alone, which every machine here can have in its newest version (``setup.sh`` of a bundle installs it).

Sources: processors of the Raspberry Pis https://www.raspberrypi.com/documentation/computers/processors.html; which
ONNX Runtime reads which opset and IR version https://onnxruntime.ai/docs/reference/compatibility.html (where that table
and https://github.com/onnx/onnx/blob/main/docs/Versioning.md leave a doubt, the older of the two stands here: an older
form is read by every newer runtime); int8 formats https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
(section "Data type selection": saturation of 8-bit products on x86 without VNNI); newest wheels for each Python: the
files of the package onnxruntime on the Python Package Index.
"""  # noqa: E501

from __future__ import annotations

from dataclasses import dataclass

from edgexfer.errors import ExportError
from edgexfer.export.graph import IR_VERSION, OPSET


@dataclass(frozen=True)
class Target:
    """A kind of machine.

    Attributes:
        name: As ``--target`` takes it.
        processor: What is in it.
        arithmetic: Whose int8 products: ``"x86"`` or ``"arm64"``.
        cores: How many it has; ``None`` for a kind with many sizes.
        advice: What to know when it runs there.
    """

    name: str
    processor: str
    arithmetic: str
    cores: int | None
    advice: str


@dataclass(frozen=True)
class Form:
    """The form that an ONNX file is written in.

    Attributes:
        opset: Version of the standard operators.
        ir_version: Version of the file format.
    """

    opset: int = OPSET
    ir_version: int = IR_VERSION


_FOUR = "4 threads at most, one a core; with more it gets slower"
TARGETS = {
    target.name: target
    for target in (
        Target("x86", "x86-64", "x86", None, "as many threads as physical cores, not hyper-threads"),
        Target("arm64", "64-bit ARM", "arm64", None, "as many threads as fast cores"),
        Target("raspberry-pi-3", "4 x Cortex-A53", "arm64", 4, f"{_FOUR}; needs the 64-bit system and a heat sink"),
        Target("raspberry-pi-4", "4 x Cortex-A72", "arm64", 4, f"{_FOUR}; needs the 64-bit system and cooling"),
        Target(
            "raspberry-pi-5", "4 x Cortex-A76 with 8-bit dot products", "arm64", 4, f"{_FOUR}; needs active cooling"
        ),
        Target("raspberry-pi-zero-2", "4 x Cortex-A53, 512 MB", "arm64", 4, f"{_FOUR}; needs the 64-bit system"),
    )
}
RUNTIMES: dict[tuple[int, int], Form] = {
    (1, 7): Form(13, 7),
    (1, 8): Form(14, 7),
    (1, 9): Form(15, 7),
    (1, 13): Form(17, 8),
    (1, 14): Form(18, 8),
    (1, 16): Form(18, 9),
}


def target_of(name: str | None) -> Target | None:
    """The target of that name.

    Raises:
        ExportError: There is none.
    """
    if name is None:
        return None
    if name not in TARGETS:
        raise ExportError(f"target is {name!r}; allowed: {', '.join(TARGETS)}")
    return TARGETS[name]


def form_for(runtime_version: str | None) -> Form:
    """The newest form that we write and that an ONNX Runtime reads; ``None`` means 1.16 or newer.

    Raises:
        ExportError: That is no version, or one before all that is known.
    """
    if runtime_version is None:
        return Form()
    parts = runtime_version.split(".")
    if len(parts) < 2 or not all(part.isdigit() for part in parts[:2]):
        raise ExportError(f"the runtime version is {runtime_version!r}; expected an ONNX Runtime such as 1.16")
    version = (int(parts[0]), int(parts[1]))
    known = [key for key in RUNTIMES if key <= version]
    if not known:
        oldest = ".".join(map(str, min(RUNTIMES)))
        raise ExportError(f"ONNX Runtime {runtime_version} is too old: {oldest} is the oldest that edgexfer writes for")
    return RUNTIMES[max(known)]


def oldest_runtime(form: Form) -> str:
    """The oldest ONNX Runtime that surely reads a form."""
    fitting = [k for k, f in RUNTIMES.items() if f.opset >= form.opset and f.ir_version >= form.ir_version]
    return ".".join(map(str, min(fitting, default=max(RUNTIMES))))
