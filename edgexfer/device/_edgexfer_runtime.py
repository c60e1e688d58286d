"""Opens an ONNX file in a runtime. One function a runtime; everything else sees only ``Runtime``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import _edgexfer_onnxfile as onnxfile
from _edgexfer_board import cgroup
from _edgexfer_environment import DeviceError

RUNTIMES = ("onnxruntime", "openvino")
SUITS = "edgexfer's default, opset 18 and IR version 9, runs on onnxruntime 1.16 and newer"


@dataclass(frozen=True)
class Tensor:
    """An input or output: name, ONNX type (``"tensor(uint8)"``) and shape with ``None`` for free dimensions."""

    name: str
    type: str
    shape: Tuple[Optional[int], ...]


@dataclass(frozen=True)
class Runtime:
    """An opened model.

    Attributes:
        name: One of ``RUNTIMES``.
        version: Its version.
        options: Everything it was opened with that can move a figure.
        inputs: What it takes.
        outputs: What it gives.
        run: ``run(output_names, {input: array}) -> [array]``.
        end_profiling: Ends it and gives the file's name, where it was asked for and the runtime can.
    """

    name: str
    version: str
    options: Mapping[str, Any]
    inputs: Tuple[Tensor, ...]
    outputs: Tuple[Tensor, ...]
    run: Callable[[Sequence[str], Dict[str, Any]], List[Any]]
    end_profiling: Callable[[], str] = str


@dataclass(frozen=True)
class Settings:
    """How to open a model.

    Attributes:
        threads: Threads within one operator.
        spinning: Whether threads wait for work actively: faster on idle cores, slower where others need them.
        profile: Where to write the time of every operator to, or ``None``; it costs time.
    """

    threads: int
    spinning: bool = True
    profile: Optional[str] = None


def open_onnxruntime(path: str, settings: Settings) -> Runtime:
    """Opens ``path`` with ONNX Runtime on the CPU.

    Raises:
        DeviceError: The file is damaged, or newer than this onnxruntime.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # newer releases report usage unless told not to before
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise DeviceError(f"onnxruntime is installed but cannot be loaded ({error}); run ./setup.sh again") from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if settings.spinning else "0")
    if settings.profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, settings.profile
    header = onnxfile.read_header(path)
    try:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises bare Exceptions and its own family
        raise DeviceError(_why(path, header, ort.__version__, str(error))) from error
    return Runtime(
        "onnxruntime",
        ort.__version__,
        _described(settings),
        tuple(Tensor(i.name, i.type, _shape(i.shape)) for i in session.get_inputs()),
        tuple(Tensor(o.name, o.type, _shape(o.shape)) for o in session.get_outputs()),
        session.run,
        session.end_profiling,
    )


def open_model(path: str, threads: int, runtime: str = "onnxruntime", **more: Any) -> Runtime:
    """Opens ``path`` in the named runtime.

    Args:
        path: The ONNX file.
        threads: Threads within one operator.
        runtime: Its name, of ``RUNTIMES``.
        more: Of ``Settings``.

    Raises:
        DeviceError: No such runtime, or it cannot open the file.
    """
    check_runtime(runtime)
    settings = Settings(threads, **more)
    if runtime == "openvino":
        from _edgexfer_openvino import open_openvino

        return open_openvino(path, settings)
    return open_onnxruntime(path, settings)


def check_runtime(name: str) -> None:
    """Refuses a runtime that nobody knows.

    Raises:
        DeviceError: It is none of ``RUNTIMES``.
    """
    if name not in RUNTIMES:
        raise DeviceError(f"no runtime is called {name!r}; known: {', '.join(RUNTIMES)}")


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of the container it runs in."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup()["cpus"]
    return cores if quota is None else max(1, min(cores, int(quota)))


def _described(settings: Settings) -> Dict[str, Any]:
    return {
        "intra_op_num_threads": settings.threads,
        "inter_op_num_threads": 1,
        "execution_mode": "sequential",
        "graph_optimization_level": "all",
        "allow_spinning": settings.spinning,
        "providers": ["CPUExecutionProvider"],
    }


def _shape(shape: Sequence[Any]) -> Tuple[Optional[int], ...]:
    return tuple(d if isinstance(d, int) and d > 0 else None for d in shape)


def _why(path: str, header: onnxfile.Header, version: str, message: str) -> str:
    """Why onnxruntime refused a file, and what to do, from its own message."""
    ir = re.search(r"IR version: ?(\d+), max supported IR version: ?(\d+)", message)
    opset = re.search(r"[Oo]pset (\d+) is under development", message)
    limit = re.search(r"official support for domain \S* ?is till opset (\d+)", message)
    if ir or opset:
        known = f", which reads up to IR version {ir.group(2)}" if ir else ""
        known = known or (f", which reads up to opset {limit.group(1)}" if limit else "")
        return (
            f"{path!r} ({header.needs()}) is too new for onnxruntime {version}{known}; install a newer one with"
            f" ./setup.sh, or export the model again for older runtimes ({SUITS})"
        )
    first = message.strip().splitlines()[0] if message.strip() else "no reason given"
    return f"onnxruntime {version} cannot open {path!r} ({header.needs()}): {first}"
