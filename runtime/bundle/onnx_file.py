"""Refuse ONNX files that point at other files.

Owns a walk over the protobuf of a graph, by hand, because the runtime has no onnx library. An ONNX tensor may name a
file that holds its values, and OpenVINO and TensorRT read whatever file it names, wherever it lies: a bundle from
somewhere else could so read any file of the user into a result. A graph of a bundle is one file, and names none.
"""

from __future__ import annotations

from ..errors import BundleError

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
_VARINT, _EIGHT_BYTES, _MESSAGE, _FOUR_BYTES = 0, 1, 2, 5
_MAX_DEPTH = 64
_MAX_VARINT_BYTES = 10


def require_self_contained(content: bytes, problem: str) -> None:
    """Refuse a graph with a tensor that lies in another file, and what is no ONNX file at all.

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
    Field numbers of onnx.proto3; wire types of the protobuf encoding.
    """
    view = memoryview(content)
    stack = [("model", 0, len(view), 0)]
    while stack:
        message, at, end, depth = stack.pop()
        if depth > _MAX_DEPTH:
            raise BundleError(f"{problem} (it is nested too deeply to be an ONNX graph)")
        while at < end:
            field, wire, at, length = _field(view, at, end, problem)
            if message == "tensor" and field in _EXTERNAL and not (field == 14 and wire == _VARINT and length == 0):
                raise BundleError(
                    f"{problem} (a tensor of it lies in another file)",
                    expected="a graph in one file",
                    todo="Export it again with `steadyframe export`, or save it without external data",
                )
            inner = _HOLDS[message].get(field)
            if wire == _VARINT:
                continue
            if inner is not None and wire == _MESSAGE:
                stack.append((inner, at, at + length, depth + 1))
            at += length


def _field(view: memoryview, at: int, end: int, problem: str) -> tuple[int, int, int, int]:
    """Read a field's head.

    Returns
    -------
    Number, wire type, where its content begins, and how many bytes that has; a varint is read already, and in place
    of the length stands its value.
    """
    tag, at = _varint(view, at, end, problem)
    field, wire = tag >> 3, tag & 7
    if field == 0 or tag >> 32:
        raise BundleError(f"{problem} (it is no ONNX file, or is cut off)")
    if wire == _VARINT:
        value, at = _varint(view, at, end, problem)
        return field, wire, at, value
    if wire == _MESSAGE:
        length, at = _varint(view, at, end, problem)
    else:
        length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire, -1)
    if length < 0 or at + length > end:
        raise BundleError(f"{problem} (it is no ONNX file, or is cut off)")
    return field, wire, at, length


def _varint(view: memoryview, at: int, end: int, problem: str) -> tuple[int, int]:
    """Read a variable-length number, and where it ends."""
    value = 0
    for count in range(min(_MAX_VARINT_BYTES, end - at)):
        byte = view[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise BundleError(f"{problem} (it is no ONNX file, or is cut off)")
