"""Reads an ONNX file that anyone may have written: damaged, cut off, or made to do harm.

A file is data: nothing in it is executed here. Every tensor's bytes are counted against its shape before any array is
made; weights in other files are read only from the model's own folder, never through a link that leads out of it;
local functions are written out only where that does not blow the graph up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper

from edgexfer.errors import FormatError

LARGEST_BYTES = 2**31 - 1
MOST_NODES = 100_000
DEEPEST = 100
"""Functions within functions, at most."""
_TYPED_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def read_onnx(path: Path) -> onnx.ModelProto:
    """Reads an ONNX file and the weights beside it into one valid model without local functions.

    Raises:
        FormatError: It is missing, damaged, truncated, larger than one ONNX file may be, or asks for data outside
            its folder.
    """
    where = str(path)
    model = parse(path)
    outside = [t for t in tensors(model) if t.data_location == TensorProto.EXTERNAL]
    _check_total(model, outside, where)
    for tensor in outside:
        _fetch(tensor, path, where)
    check_sound(model, where)
    _check_sparse(model, where)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker raises its own kind and, on damaged files, several of Python's
        raise FormatError(f"{where!r} is not valid ONNX: {_first_line(error)}") from error
    return _inlined(model, where)


def check_sound(model: onnx.ModelProto, where: str) -> None:
    """Checks that tensors hold what their shapes say, and that names are text.

    Raises:
        FormatError: The file is damaged.
    """
    for tensor in tensors(model):
        _check_size(tensor, where)
    for graph in graphs(model.graph):
        values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer, *graph.node)
        names: list[object] = [entry.name for entry in values]
        for node in graph.node:
            names += [node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute)]
        wrong = [name for name in names if not isinstance(name, str)]  # protobuf gives broken UTF-8 as bytes
        if wrong:
            raise FormatError(f"{where!r} is damaged: the name {wrong[0]!r} is no text; export or copy it anew")


def tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of a model, those of graphs and functions inside too."""
    yield from graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _tensors_of_node(node)
            for graph in inside(node):
                yield from _tensors_of_graph(graph)


def graph_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every tensor of a graph: initializers, attributes, and those of graphs inside."""
    for one in graphs(graph):
        yield from _tensors_of_graph(one)


def _tensors_of_graph(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _tensors_of_node(node)


def _tensors_of_node(node: onnx.NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        yield from attribute.tensors
        if attribute.HasField("t"):
            yield attribute.t


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all graphs inside its nodes."""
    yield graph
    for node in graph.node:
        yield from inside(node)


def nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node of a model, those of graphs and functions inside too."""
    for graph in graphs(model.graph):
        yield from graph.node
    for function in model.functions:
        for node in function.node:
            yield node
            for graph in inside(node):
                yield from graph.node


def inside(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """All graphs inside a node."""
    for attribute in node.attribute:
        for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from graphs(inner)


def parse(path: Path) -> onnx.ModelProto:
    """Reads the bytes of an ONNX file, and of no other file, as a model that holds a graph.

    Raises:
        FormatError: It is missing, empty, too large, not ONNX, or truncated.
    """
    where = str(path)
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise FormatError(f"{where!r} has {size:,} bytes; one ONNX file holds at most {LARGEST_BYTES:,}")
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"cannot read the model {where!r}: {error.strerror}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise FormatError(f"{where!r} is not an ONNX file, or a damaged one ({len(content):,} bytes)") from error
    if not model.HasField("graph") or not model.graph.node or not model.opset_import:
        raise FormatError(
            f"{where!r} is not an ONNX file, or a truncated one: it holds no graph ({len(content):,} bytes)"
        )
    return model


def _check_total(model: onnx.ModelProto, outside: list[TensorProto], where: str) -> None:
    """Counts all weights before any of those in other files are read: many tensors may name the same large file."""
    total = sum(len(t.raw_data) for t in tensors(model)) + sum(_expected_bytes(t, where) for t in outside)
    if total > LARGEST_BYTES:
        raise FormatError(f"{where!r} holds {total:,} bytes of weights; one ONNX file holds at most {LARGEST_BYTES:,}")


def _place(tensor: TensorProto, location: str, path: Path, where: str) -> Path:
    """The file of the model's own folder that a tensor is kept in."""
    folder = path.resolve().parent
    try:
        file = Path(folder, location)
        inside = file.resolve().is_relative_to(folder) and not Path(location).is_absolute() and "\\" not in location
    except (TypeError, ValueError, RuntimeError, OSError) as error:  # no text, a NUL, links in a circle
        raise FormatError(
            f"{where!r} keeps the tensor {tensor.name!r} in {location!r}, which names no file ({error}); edgexfer reads"
            " weights only from the folder of the model: do not trust this file"
        ) from error
    if not location or "\0" in location or not inside:
        raise FormatError(
            f"{where!r} keeps the tensor {tensor.name!r} in {location!r}, outside its own folder; edgexfer reads"
            " weights only from the folder of the model: do not trust this file"
        )
    return file


def _fetch(tensor: TensorProto, path: Path, where: str) -> None:
    """Reads one tensor's bytes from another file of the model's folder into the tensor."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    file = _place(tensor, location, path, where)
    wanted = _expected_bytes(tensor, where)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", wanted))
    except ValueError as error:
        raise FormatError(f"{where!r} says no proper place of the tensor {tensor.name!r}: {error}") from error
    if offset < 0 or length != wanted or length > LARGEST_BYTES:
        raise FormatError(
            f"{where!r} says that the tensor {tensor.name!r} has {length:,} bytes at {offset:,} of {location!r}, its"
            f" shape needs {wanted:,} (at most {LARGEST_BYTES:,}); save the model anew"
        )
    try:
        if not file.is_file() or file.stat().st_size < offset + length:
            raise FormatError(f"{where!r} needs {offset + length:,} bytes of {location!r} beside it; copy both anew")
        with file.open("rb") as stream:
            stream.seek(offset)
            tensor.raw_data = stream.read(length)
    except OSError as error:
        raise FormatError(f"cannot read {str(file)!r}, the weights of {where!r}: {error.strerror}") from error
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _expected_bytes(tensor: TensorProto, where: str) -> int:
    if any(d < 0 for d in tensor.dims):
        raise FormatError(f"{where!r} is damaged: the tensor {tensor.name!r} has the shape {list(tensor.dims)}")
    bits = _bits(tensor.data_type)
    if bits is None:
        raise FormatError(f"{where!r} is damaged: the tensor {tensor.name!r} is of the kind {tensor.data_type}")
    return (int(math.prod(tensor.dims)) * bits + 7) // 8


def _bits(data_type: int) -> int | None:
    """Bits of one number of an ONNX element type; ``None`` for text and unknown ones."""
    names = {value: name for name, value in TensorProto.DataType.items()}
    name = names.get(data_type, "")
    if name in ("INT4", "UINT4", "FLOAT4E2M1"):
        return 4
    if name in ("INT2", "UINT2"):
        return 2
    if name in ("FLOAT6E2M3", "FLOAT6E3M2"):
        return 6
    if name in ("", "UNDEFINED", "STRING"):
        return None
    return int(helper.tensor_dtype_to_np_dtype(data_type).itemsize) * 8


def _check_size(tensor: TensorProto, where: str) -> None:
    """The numbers that a tensor carries are as many as its shape says, so that no reader allocates more."""
    if tensor.data_type == TensorProto.STRING:
        wrong = len(tensor.string_data) != math.prod(tensor.dims) or any(d < 0 for d in tensor.dims)
    elif tensor.HasField("raw_data"):
        wrong = len(tensor.raw_data) != _expected_bytes(tensor, where)
    else:
        entries, held = _entries(tensor, where), {field: len(getattr(tensor, field)) for field in _TYPED_FIELDS}
        wrong = held.pop(helper.tensor_dtype_to_field(tensor.data_type)) != entries or any(held.values())
    if wrong or tensor.HasField("segment"):
        raise FormatError(
            f"{where!r} is damaged: the tensor {tensor.name!r} does not hold what its shape"
            f" {list(tensor.dims)} says; export or copy it anew"
        )


def _entries(tensor: TensorProto, where: str) -> int:
    """How many entries its typed field has: numbers of 2 and 4 bits lie packed in bytes, a complex one takes two."""
    packed_bytes = _expected_bytes(tensor, where)
    if (_bits(tensor.data_type) or 0) in (2, 4):
        return packed_bytes
    parts = 2 if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128) else 1
    return parts * int(math.prod(tensor.dims))


def _check_sparse(model: onnx.ModelProto, where: str) -> None:
    if any(graph.sparse_initializer for graph in graphs(model.graph)):
        raise FormatError(f"{where!r} keeps sparse tensors, which edgexfer does not read; save it with dense ones")


def _inlined(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    if not model.functions:
        return model
    bodies = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(key: tuple[str, str], above: frozenset[tuple[str, str]]) -> int:
        if key in above:
            raise FormatError(f"{where!r} is not valid ONNX: its function {key[1]!r} calls itself")
        if len(above) == DEEPEST:
            raise FormatError(f"{where!r} has functions in functions, deeper than {DEEPEST}; save it with fewer")
        if key not in sizes:
            sizes[key] = sum(count(node, above | {key}) for node in bodies[key].node)
        return sizes[key]

    def count(node: onnx.NodeProto, above: frozenset[tuple[str, str]]) -> int:
        keys = [(n.domain, n.op_type) for n in (node, *(n for graph in inside(node) for n in graph.node))]
        return sum(size(key, above) if key in bodies else 1 for key in keys)

    total = sum(count(node, frozenset()) for node in model.graph.node)
    if total > MOST_NODES:
        raise FormatError(f"{where!r} unfolds to {total:,} nodes through its functions; allowed: {MOST_NODES:,}")
    from onnx import inliner

    inlined: onnx.ModelProto = inliner.inline_local_functions(model)
    return inlined


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
