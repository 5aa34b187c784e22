"""Reject ONNX files that refer to other files.

Owns a walk over the protobuf of a graph, since the runtime has no onnx library. An ONNX tensor may name a
file that holds its values, and OpenVINO and TensorRT read whatever file it names, wherever it lies: a bundle from
somewhere else could so read any file of the user into a result. A graph of a bundle is one file, and names none.
"""

from __future__ import annotations

from ..errors import BundleError
from .protobuf import MESSAGE, VARINT, Malformed, read_field

# Message -> {field number: message in it}; fields that are not named here cannot hold a tensor.
_HOLDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL = (13, 14)  # TensorProto: external_data, data_location
_MAX_DEPTH = 64


def require_self_contained(content: bytes, problem: str) -> None:
    """Reject a graph with a tensor in another file, and anything that is no ONNX file.

    Parameters
    ----------
    content : of the file
    problem : how the message begins, such as ``The runtime cannot load pose/pose``

    Raises
    ------
    BundleError
        If it names another file, or cannot be read to its end.

    References
    ----------
    Field numbers of onnx.proto3.
    """
    view = memoryview(content)
    stack = [("model", 0, len(view), 0)]
    while stack:
        message, at, end, depth = stack.pop()
        if depth > _MAX_DEPTH:
            raise BundleError(f"{problem} (it is nested too deeply to be an ONNX graph)")
        while at < end:
            try:
                field, wire, at, length = read_field(view, at, end)
            except Malformed:
                raise BundleError(f"{problem} (it is no ONNX file, or is cut off)") from None
            if message == "tensor" and field in _EXTERNAL and not (field == 14 and wire == VARINT and length == 0):
                raise BundleError(
                    f"{problem} (one of its tensors is in another file)",
                    expected="a graph in one file",
                    todo="Export it again with `steadyframe export`, or save it without external data",
                )
            inner = _HOLDS[message].get(field)
            if wire == VARINT:
                continue
            if inner is not None and wire == MESSAGE:
                stack.append((inner, at, at + length, depth + 1))
            at += length
