"""The wire format of protobuf, as much of it as ONNX files need.

Owns reading and writing of fields; the runtime has no protobuf library. Knows nothing of ONNX.

References
----------
Wire types and variable-length numbers of the protobuf encoding.
"""

from __future__ import annotations

VARINT, EIGHT_BYTES, MESSAGE, FOUR_BYTES = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


class Malformed(Exception):
    """The bytes are no protobuf message, or are cut off."""


def read_field(view: memoryview, at: int, end: int) -> tuple[int, int, int, int]:
    """Read a field's head.

    Returns
    -------
    Number, wire type, where its content begins, and how many bytes that has; a varint is read already, and in place
    of the length stands its value.

    Raises
    ------
    Malformed
        If there is no field there.
    """
    tag, at = read_varint(view, at, end)
    field, wire = tag >> 3, tag & 7
    if field == 0 or tag >> 32:
        raise Malformed
    if wire == VARINT:
        value, at = read_varint(view, at, end)
        return field, wire, at, value
    if wire == MESSAGE:
        length, at = read_varint(view, at, end)
    else:
        length = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(wire, -1)
    if length < 0 or at + length > end:
        raise Malformed
    return field, wire, at, length


def read_varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    """Read a variable-length number, and where it ends.

    Raises
    ------
    Malformed
        If it does not end.
    """
    value = 0
    for count in range(min(_MAX_VARINT_BYTES, end - at)):
        byte = view[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise Malformed


def varint(value: int) -> bytes:
    """Write a variable-length number.

    Examples
    --------
    >>> varint(300).hex()
    'ac02'
    """
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*groups, value))


def number(field: int, value: int) -> bytes:
    """Write a field that holds a number."""
    return varint(field << 3 | VARINT) + varint(value)


def message(field: int, content: bytes) -> bytes:
    """Write a field that holds a message, or bytes."""
    return varint(field << 3 | MESSAGE) + varint(len(content)) + content


def text(field: int, value: str) -> bytes:
    """Write a field that holds text."""
    return message(field, value.encode())
