"""Reads the head of an ONNX file: versions and metadata, without onnx and without onnxruntime.

An ONNX file is one protobuf message, ``ModelProto``: (field << 3 | wire type), then a varint or a length and as many
bytes. The fields read here are ``ir_version`` (1), ``opset_import`` (8: domain 1, version 2) and ``metadata_props``
(14: key 1, value 2); the graph (7) is skipped unread, so a large file costs nothing. It answers *which* opset a file
needs even where the device's onnxruntime is too old to open it. Standard library only.
Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import BinaryIO, Dict, Iterator, List, Mapping, Tuple, Union

from _edgexfer_environment import DeviceError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
IR_VERSION, GRAPH, OPSET_IMPORT, METADATA_PROPS = 1, 7, 8, 14
NODE = 1  # in a graph; a node: input 1, output 2, name 3, op_type 4


@dataclass(frozen=True)
class Node:
    """An operator of the graph: what it takes and gives, by name."""

    name: str
    op_type: str
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]


@dataclass(frozen=True)
class Header:
    """What stands outside the graph.

    Attributes:
        ir_version: Version of the file format.
        opsets: Version of each operator set by its domain; the standard one is ``""``.
        metadata: Free metadata, text by key.
    """

    ir_version: int
    opsets: Mapping[str, int]
    metadata: Mapping[str, str]

    def needs(self) -> str:
        """In words: ``"opset 18, IR version 9"``."""
        opset = self.opsets.get("", self.opsets.get("ai.onnx", 1))
        return f"opset {opset}, IR version {self.ir_version}"


def read_header(path: str) -> Header:
    """Reads the head of an ONNX file.

    Raises:
        DeviceError: The file cannot be read or is not an ONNX file.
    """
    try:
        with open(path, "rb") as stream:
            return _read(stream, os.fstat(stream.fileno()).st_size)
    except OSError as error:
        raise DeviceError(f"cannot read {path!r}: {error.strerror}") from error
    except (ValueError, UnicodeDecodeError, EOFError) as error:
        raise DeviceError(f"{path!r} is not an ONNX file, or not the whole of one ({error}); copy it again") from error


def read_nodes(path: str) -> List[Node]:
    """The operators of the graph, in the order of the file.

    Raises:
        DeviceError: The file cannot be read or is not an ONNX file.
    """
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            graphs = [value for field, value in _fields(stream, size, (GRAPH,)) if field == GRAPH]
        return [_node(value) for graph in graphs for field, value in _bytes(graph, (NODE,)) if field == NODE]
    except OSError as error:
        raise DeviceError(f"cannot read {path!r}: {error.strerror}") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise DeviceError(f"{path!r} is not an ONNX file, or not the whole of one ({error}); copy it again") from error


def _node(content: Union[int, bytes]) -> Node:
    parts: Dict[int, List[str]] = {1: [], 2: [], 3: [], 4: []}
    for field, value in _bytes(content, (1, 2, 3, 4)):
        if field in parts:
            parts[field].append(_text(value))
    return Node("".join(parts[3]), "".join(parts[4]), tuple(parts[1]), tuple(parts[2]))


def _bytes(content: Union[int, bytes], wanted: Tuple[int, ...]) -> Iterator[Tuple[int, Union[int, bytes]]]:
    held = content if isinstance(content, bytes) else b""
    return _fields(io.BytesIO(held), len(held), wanted)


def _read(stream: BinaryIO, size: int) -> Header:
    ir_version = 0
    has_graph = False
    opsets: Dict[str, int] = {}
    metadata: Dict[str, str] = {}
    for field, value in _fields(stream, size, (OPSET_IMPORT, METADATA_PROPS)):
        if field == IR_VERSION and isinstance(value, int):
            ir_version = value
        elif field == GRAPH:
            has_graph = True
        elif field == OPSET_IMPORT and isinstance(value, bytes):
            parts = _message(value)
            version = parts.get(2, 1)
            opsets[_text(parts.get(1, b""))] = version if isinstance(version, int) else 1
        elif field == METADATA_PROPS and isinstance(value, bytes):
            parts = _message(value)
            metadata[_text(parts.get(1, b""))] = _text(parts.get(2, b""))
    if not ir_version or not has_graph:
        raise ValueError("it holds no graph")
    return Header(ir_version, opsets, metadata)


def _message(content: bytes) -> Dict[int, Union[int, bytes]]:
    return dict(_fields(io.BytesIO(content), len(content), (1, 2)))


def _text(value: Union[int, bytes]) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _fields(stream: BinaryIO, size: int, wanted: Tuple[int, ...]) -> Iterator[Tuple[int, Union[int, bytes]]]:
    """Each field with its number; the content of unwanted ones is skipped and given as ``b""``."""
    while stream.tell() < size:
        key = _varint(stream)
        field, wire = key >> 3, key & 7
        if wire == VARINT:
            yield field, _varint(stream)
            continue
        if wire not in (FIXED64, BYTES, FIXED32):
            raise ValueError(f"wire type {wire}")
        length = _varint(stream) if wire == BYTES else (8 if wire == FIXED64 else 4)
        if stream.tell() + length > size:
            raise ValueError("it ends too early")
        if field in wanted:
            yield field, stream.read(length)
        else:
            stream.seek(length, os.SEEK_CUR)
            yield field, b""


def _varint(stream: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            raise ValueError("it ends too early")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number is too long")
