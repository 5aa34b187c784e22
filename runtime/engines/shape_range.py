"""How large the inputs of a graph may become: an engine is built for a range of shapes.

Owns the rule by which the range follows from the manifest. Imports no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..bundle.manifest import Graph, Preprocess, TensorSpec
from ..errors import BundleError
from ..image import network_size_wh

# Frames between 2.4:1 and 1:2.4 fit: that is every camera, and the widest cinema format.
_SQUARE_WH, _OPT_WH, _WIDEST_WH = (1000, 1000), (1920, 1080), (2400, 1000)
_SIDES = {"H": 1, "W": 0}
_BATCH = (1, 1, 64)  # of an axis N that is dynamic: one input at a time, and what a batch job may give at once


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """Min, opt and max shape of one input; equal where no axis is dynamic."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]

    @property
    def fixed(self) -> bool:
        """Whether there is only one shape."""
        return self.min == self.max

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Whether a shape is inside the range."""
        return len(shape) == len(self.max) and all(
            low <= size <= high for low, size, high in zip(self.min, shape, self.max, strict=True)
        )

    def __str__(self) -> str:
        """Write it as ``1x192x192x3..1x460x460x3``, or as the one shape there is."""
        ends = (self.min,) if self.fixed else (self.min, self.opt, self.max)
        return "..".join("x".join(map(str, shape)) for shape in ends)


def shape_ranges_of(graph: Graph) -> dict[str, ShapeRange]:
    """Find the range of every input's shape.

    Height and width follow from the preprocessing of the manifest: the short side is given, and the long one is at
    most 2.4 times as long. Images of any size come one at a time; inputs of a fixed size in batches of 64 at most.

    Returns
    -------
    dict
        Input name -> `ShapeRange`; `opt` is the shape of a 16:9 image in landscape.

    Raises
    ------
    BundleError
        If an axis is dynamic and the manifest has no size for it.

    References
    ----------
    Ours.
    """
    return {spec.name: _extent(spec, graph.preprocess) for spec in graph.inputs}


def shapes_text(shape_ranges: Mapping[str, ShapeRange]) -> str:
    """Write the ranges in one line, the same for the same ranges."""
    return "; ".join(f"{name}={extent}" for name, extent in sorted(shape_ranges.items()))


def _extent(spec: TensorSpec, preprocess: Preprocess | None) -> ShapeRange:
    """Range of one input."""
    letters = spec.layout or " " * len(spec.axes)
    sizes = any(side in _SIDES and isinstance(axis, str) for axis, side in zip(spec.axes, letters, strict=True))
    shapes: list[tuple[int, int, int]] = []
    for axis, letter in zip(spec.axes, letters, strict=True):
        if isinstance(axis, int):
            shapes.append((axis, axis, axis))
        elif preprocess is not None and letter in _SIDES:
            shapes.append(_lengths(preprocess, _SIDES[letter]))
        elif letter == "N":
            shapes.append((1, 1, 1) if sizes else _BATCH)
        else:
            raise BundleError(
                f"An engine needs a range of sizes, and the manifest has none for axis {axis!r} of {spec.name!r}",
                expected="fixed axes; or a layout with H and W, and a preprocess with short_side or size_hw",
                todo="Export the graph with this axis fixed, or add its size to the manifest",
            )
    ends = (tuple(lengths) for lengths in zip(*shapes, strict=True)) if shapes else ((), (), ())
    return ShapeRange(*ends)


def _lengths(preprocess: Preprocess, side: int) -> tuple[int, int, int]:
    """Min, opt and max length of one side in pixels; the longer side may be either."""
    square, opt, widest = (network_size_wh(size, preprocess) for size in (_SQUARE_WH, _OPT_WH, _WIDEST_WH))
    return min(square), opt[side], max(widest)
