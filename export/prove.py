"""A graph at sizes that its export did not see, against PyTorch, before a bundle is written.

Owns `prove_sizes`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from ..runtime.errors import BundleError, ShapeMismatch
from .adapt import plain_cause

_TOLERANCE = 1e-3  # of the largest value
_GREY_LEVELS = 1.0


def prove_sizes(
    model: onnx.ModelProto, module: nn.Module, names: tuple[str, ...], sizes_wh: list[tuple[int, int]]
) -> None:
    """Run a graph and its module on noise of several sizes, and compare.

    Parameters
    ----------
    model : takes `frame`, (1, H, W, 3) uint8
    module : that it was exported from
    names : of the outputs, in order
    sizes_wh : none of them the size of the export

    Raises
    ------
    BundleError
        If the graph fails or differs at one of them.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    noise = np.random.default_rng(0)
    for width, height in sizes_wh:
        frame = noise.integers(0, 256, (1, height, width, 3), np.uint8)
        wanted = _wanted(module, frame, (width, height))
        try:
            found = session.run(list(names), {"frame": frame})
        except Exception as error:  # ONNX Runtime has no public tree of errors
            raise _fixed(width, height, plain_cause(error)) from error
        for name, one, other in zip(names, found, wanted, strict=True):
            if one.shape != other.shape:
                raise _fixed(width, height, f"output {name!r} is {one.shape}, PyTorch's is {other.shape}")
            far = float(np.abs(one.astype(np.float64) - other).max()) if one.size else 0.0
            least = _GREY_LEVELS if one.dtype == np.uint8 else _TOLERANCE * max(1.0, float(np.abs(other).max()))
            if not far <= least:
                raise _fixed(width, height, f"output {name!r} differs from PyTorch's by {far:.3g}")


def _wanted(module: nn.Module, frame: Any, size_wh: tuple[int, int]) -> list[Any]:
    try:
        with torch.no_grad():
            given = module(torch.from_numpy(frame))
    except Exception as error:
        raise ShapeMismatch(
            f"The module itself cannot be run on {size_wh[0]}x{size_wh[1]} ({plain_cause(error)})",
            todo="Export it for one size: preprocess=Preprocess('area', size_hw=(HEIGHT, WIDTH))",
        ) from error
    return [one.numpy() for one in (given if isinstance(given, tuple) else (given,))]


def _fixed(width: int, height: int, reason: str) -> BundleError:
    return BundleError(
        f"The exported graph holds for the size of its export only: at {width}x{height} {reason}",
        todo="Export it for one size: preprocess=Preprocess('area', size_hw=(HEIGHT, WIDTH))",
    )
