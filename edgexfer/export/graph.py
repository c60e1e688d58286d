"""ONNX files as protobuf: read with suspicion, cleaned, checked, digested; no torch, no runtime.

The digest is the SHA-256 of a canonical form of the model: tensors as little-endian raw bytes sorted by name,
attributes sorted by name, documentation and producer left out, the ``edgexfer`` metadata with an empty ``digest``.
Two files with the same digest compute the same and say the same of themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from edgexfer.errors import ExportError, FormatError
from edgexfer.export.metadata import KEY, ArtifactInfo, info_of
from edgexfer.files import write_bytes
from edgexfer.fold.onnxfile.source import check_sound, graph_tensors, graphs, parse, tensors
from edgexfer.version import __version__

OPSET = 18
IR_VERSION = 9


def load_model(path: Path) -> onnx.ModelProto:
    """Reads an ONNX file whole; weights in other files are refused.

    Raises:
        FormatError: It is missing, empty, not ONNX, truncated, or keeps tensors outside itself.
    """
    where = str(path)
    model = parse(path)
    outside = [t.name for t in tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise FormatError(
            f"{where!r} keeps {len(outside)} tensors in other files ({outside[0]!r} for one); edgexfer reads only"
            " models that are one file: save it with external data off"
        )
    check_sound(model, where)
    return model


def to_bytes(model: onnx.ModelProto) -> bytes:
    """The file's bytes, always the same for the same model.

    Raises:
        ExportError: It is larger than the 2 GiB that one ONNX file can hold.
    """
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as error:
        raise ExportError(f"the network does not fit in one ONNX file (2 GiB at most): {error}") from error


def write_model(path: Path, content: bytes) -> onnx.ModelProto:
    """Writes a model's bytes, and reads the file again to see that it holds them.

    Raises:
        ExportError: It does not.
    """
    write_bytes(path, content)
    found = load_model(path)
    if to_bytes(found) != content:
        raise ExportError(f"{str(path)!r} does not hold what was written; is the disk sound?")
    return found


def attach(model: onnx.ModelProto, info: ArtifactInfo) -> tuple[onnx.ModelProto, ArtifactInfo]:
    """A copy of the model that carries ``info`` with its digest filled in, and that info."""
    labelled = onnx.ModelProto()
    labelled.CopyFrom(model)
    _set_info(labelled, info.with_digest(""))
    complete = info.with_digest(digest(labelled))
    _set_info(labelled, complete)
    return labelled, complete


def digest(model: onnx.ModelProto) -> str:
    """SHA-256 of the model's canonical form, in hexadecimal, the metadata's own digest left out."""
    canonical = onnx.ModelProto()
    canonical.CopyFrom(model)
    strip(canonical)
    info = info_of(canonical, "the model")
    if info is not None:
        _set_info(canonical, info.with_digest(""))
    _canonicalise(canonical.graph)
    for props in (canonical.metadata_props, canonical.opset_import):
        props.sort(key=lambda entry: entry.SerializeToString(deterministic=True))
    return hashlib.sha256(canonical.SerializeToString(deterministic=True)).hexdigest()


def strip(model: onnx.ModelProto) -> None:
    """Removes documentation, stack traces and whatever else tells where and by whom the file was made, in place."""
    model.ClearField("doc_string")
    model.ClearField("model_version")
    model.ClearField("domain")
    model.producer_name, model.producer_version = "edgexfer", __version__
    for graph in graphs(model.graph):
        graph.ClearField("doc_string")
        graph.ClearField("metadata_props")
        for entry in (*graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
            entry.ClearField("doc_string")
            entry.ClearField("metadata_props")
        for node in graph.node:
            for attribute in node.attribute:
                attribute.ClearField("doc_string")


def rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Gives values of the main graph other names, all at once, in place (names may be swapped)."""
    main = model.graph
    for node in main.node:
        node.input[:] = [names.get(n, n) for n in node.input]
        node.output[:] = [names.get(n, n) for n in node.output]
    for entry in (*main.input, *main.output, *main.value_info, *main.initializer):
        entry.name = names.get(entry.name, entry.name)


def check_written(model: onnx.ModelProto, opset: int = OPSET, ir_version: int = IR_VERSION) -> None:
    """Checks what the contract promises of an artifact's form.

    Args:
        model: The model.
        opset: The opset that it has to have.
        ir_version: The IR version that it has to have.

    Raises:
        ExportError: Another opset or IR version, foreign operators, local functions, or a BatchNorm in training mode.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from error
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if opsets != {"ai.onnx": opset} or model.ir_version != ir_version:
        raise ExportError(
            f"the exporter wrote opsets {opsets!r} and IR {model.ir_version}; expected opset {opset} and IR"
            f" {ir_version} of the standard operators: a layer of this network has no standard ONNX form"
        )
    if model.functions:
        names = sorted(f.name for f in model.functions)
        raise ExportError(
            f"the exporter left local functions in the file: {', '.join(names)}; expected plain operators"
        )
    training = [n.name for n in batchnorms(model) if any(a.name == "training_mode" and a.i for a in n.attribute)]
    if training:
        raise ExportError(f"BatchNorm in training mode in the file: {', '.join(training)}; call eval() on the network")


def batchnorms(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Every BatchNormalization node."""
    return [node for graph in graphs(model.graph) for node in graph.node if node.op_type == "BatchNormalization"]


def _canonicalise(graph: onnx.GraphProto) -> None:
    for tensor in graph_tensors(graph):
        if not tensor.HasField("raw_data") and tensor.data_type != onnx.TensorProto.STRING:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    for inner in graphs(graph):
        inner.initializer.sort(key=lambda entry: entry.name)
        inner.value_info.sort(key=lambda entry: entry.name)
        for node in inner.node:
            node.attribute.sort(key=lambda entry: entry.name)


def _set_info(model: onnx.ModelProto, info: ArtifactInfo) -> None:
    others = [p for p in model.metadata_props if p.key != KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    model.metadata_props.add(key=KEY, value=info.to_json())
