"""Opens an ONNX file in OpenVINO, where that is installed; it reads the same file, int8 included."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

from _edgexfer_environment import DeviceError
from _edgexfer_runtime import Runtime, Settings, Tensor

TYPES = {
    "u8": "uint8", "i8": "int8", "u16": "uint16", "i16": "int16", "i32": "int32", "i64": "int64",
    "f16": "float16", "f32": "float", "f64": "double", "boolean": "bool",
}  # fmt: skip


def open_openvino(path: str, settings: Settings) -> Runtime:
    """Opens ``path`` with OpenVINO on the CPU, tuned for latency.

    Raises:
        DeviceError: OpenVINO is not installed, or refuses the file.
    """
    try:
        import openvino
    except ImportError as error:
        raise DeviceError(
            f"openvino is not installed here ({error}); install it with .venv/bin/python -m pip install openvino, or"
            " leave out --runtime openvino"
        ) from error
    options = {
        "INFERENCE_NUM_THREADS": settings.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",  # what the file says, not what is faster and less exact
        "ENABLE_CPU_PINNING": False,
    }
    version = str(openvino.get_version()).split("-")[0]
    try:
        compiled = openvino.Core().compile_model(path, "CPU", options)
    except Exception as error:  # it raises bare RuntimeErrors
        lines = [line for line in str(error).splitlines() if line.strip()] or ["no reason given"]
        raise DeviceError(f"openvino {version} cannot open {path!r}: {lines[-1].strip()}") from error
    request = compiled.create_infer_request()
    ports = {port.get_any_name(): port for port in compiled.outputs}

    def run(names: Sequence[str], feed: Dict[str, Any]) -> List[Any]:
        found = request.infer(feed, share_inputs=True)
        return [found[ports[name]] for name in names]

    described = {key.lower(): value for key, value in options.items()}
    return Runtime("openvino", version, described, _tensors(compiled.inputs), _tensors(compiled.outputs), run)


def _tensors(ports: Sequence[Any]) -> Tuple[Tensor, ...]:
    found = []
    for port in ports:
        kind = port.get_element_type().get_type_name()
        shape = tuple(d.get_length() if d.is_static else None for d in port.get_partial_shape())
        found.append(Tensor(port.get_any_name(), f"tensor({TYPES.get(kind, kind)})", shape))
    return tuple(found)
