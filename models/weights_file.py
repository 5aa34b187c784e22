"""Checkpoints as `.safetensors`: the weights that a bundle carries so that it can be trained on and compared.

Owns the file's form: eight bytes with the header's length, a JSON header, the tensors one after the other. The
safetensors library reads such files, too; to write and read them, the standard library and PyTorch are enough.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import torch

from ..runtime.errors import BundleError

_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_TYPES = {name: dtype for dtype, name in _NAMES.items()}
_MAX_HEADER = 100_000_000  # bytes, as the format's own readers have it
LARGEST = 65504.0  # of float16
LEAST = 2.0**-14  # below it float16 loses digits


def is_half_exact(value: torch.Tensor) -> bool:
    """Check whether a floating-point tensor of any shape keeps every value in float16."""
    return bool((value.to(torch.float16).to(value.dtype) == value).all())


def rounded(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Round floating-point weights to what float16 can hold; they stay in their type.

    A tensor that float16 cannot hold (larger than 65504, or nothing but values below 6.1e-5) is left as it is.
    """
    return {name: _rounded(value) for name, value in weights.items()}


def _rounded(value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point() or not value.numel():
        return value
    largest = float(value.abs().max())
    if not largest <= LARGEST or 0 < largest < LEAST:
        return value
    return value.to(torch.float16).to(value.dtype)


def to_bytes(weights: Mapping[str, torch.Tensor], about: Mapping[str, str]) -> bytes:
    """Write tensors of any shape and a dictionary of texts; values that float16 holds exactly take two bytes each."""
    header: dict[str, Any] = {"__metadata__": dict(about)}
    parts, at = [], 0
    for name, value in weights.items():
        tensor = value.detach().cpu()
        if tensor.is_floating_point() and is_half_exact(tensor):
            tensor = tensor.to(torch.float16)
        content = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + len(content)],
        }
        parts.append(content)
        at += len(content)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


def from_bytes(content: bytes, name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read tensors of any shape (float16 becomes float32) and texts; `name` is for the error.

    Raises
    ------
    BundleError
        If the bytes are no safetensors file, or one that is cut.
    """
    try:
        (length,) = struct.unpack("<Q", content[:8])
        if length > min(_MAX_HEADER, len(content)):
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(content[8 : 8 + length])
        about = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        body = memoryview(content)[8 + length :]
        weights = {}
        for key, entry in header.items():
            start, end = entry["data_offsets"]
            dtype, shape = _TYPES[entry["dtype"]], entry["shape"]
            if not 0 <= start <= end <= len(body):
                raise ValueError(f"tensor {key!r} ends after the file")
            flat = (
                torch.frombuffer(bytearray(body[start:end]), dtype=dtype)
                if end > start
                else torch.empty(0, dtype=dtype)
            )
            tensor = flat.reshape(shape)
            weights[key] = tensor.float() if dtype is torch.float16 else tensor
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RuntimeError, UnicodeDecodeError) as error:
        raise BundleError(f"{name} cannot be read as safetensors ({str(error)[:200]})") from error
    return weights, about
