"""Find a scene's objects in pixels: colored blobs that move, drawn objects that are there or gone.

Owns `ColorDetector`, made from the colors in a manifest. Exact colors are compared, so it is for drawn worlds (games,
simulations), not for cameras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BundleError, ShapeMismatch
from .scene import Box, Scene

Color = tuple[int, int, int]  # BGR


@dataclass(frozen=True, slots=True)
class Blob:
    """A moving object.

    Parameters
    ----------
    colors : BGR colors it is drawn in
    area : where it can be, pixels of the frame, inclusive
    from_bottom : pixels from the blob's lowest row up to the object's center
    least : pixels of these colors below which it is not there
    """

    colors: tuple[Color, ...]
    area: Box
    from_bottom: float
    least: int = 8


@dataclass(frozen=True, slots=True)
class Colors:
    """What a `ColorDetector` looks for.

    Parameters
    ----------
    agent, hazard : the two moving objects of a scene
    takeable : color of each takeable goal, inside its box
    """

    agent: Blob
    hazard: Blob
    takeable: tuple[Color, ...]

    def to_settings(self) -> dict[str, Any]:
        """Give plain values for a manifest."""
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Colors:
        """Read what `to_settings` gave, after its way through JSON.

        Raises
        ------
        BundleError
            If a key is missing, unknown or of the wrong type.
        """
        try:
            agent, hazard = (
                Blob(
                    tuple(_color(color) for color in part["colors"]),
                    tuple(float(edge) for edge in part["area"]),  # type: ignore[arg-type]
                    float(part["from_bottom"]),
                    int(part.get("least", 8)),
                )
                for part in (settings["agent"], settings["hazard"])
            )
            return cls(agent, hazard, tuple(_color(color) for color in settings["takeable"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(
                "The manifest's detector is not valid",
                expected="agent and hazard (colors, area, from_bottom, least), takeable (colors)",
                found=f"{type(error).__name__}: {error}",
                todo="Export the bundle again with `steadyframe export`",
            ) from error


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one frame shows.

    Parameters
    ----------
    agent_xy : center of the agent in pixels, or None while it is out of sight
    hazard_x : center of the hazard, or -1
    present : (T,) float32, 1 for each takeable goal that is there
    """

    agent_xy: tuple[float, float] | None
    hazard_x: float
    present: NDArray[np.float32]


class ColorDetector:
    """Compare pixels with the colors of a scene's objects.

    Parameters
    ----------
    scene : goals and size of the frame
    colors : what each object is drawn in
    """

    def __init__(self, scene: Scene, colors: Colors) -> None:
        if len(colors.takeable) != len(scene.takeable):
            raise BundleError(
                "The detector needs a color for each takeable goal",
                expected=len(scene.takeable),
                found=len(colors.takeable),
            )
        self.scene, self.colors = scene, colors
        self._agent, self._hazard = _codes(colors.agent.colors), _codes(colors.hazard.colors)
        self._takeable = _codes(colors.takeable)

    def __call__(self, pixels: NDArray[np.uint8]) -> Sighting:
        """Find the objects.

        Parameters
        ----------
        pixels : (H, W, 3) uint8 BGR, of the scene's size

        Raises
        ------
        ShapeMismatch
            If the frame has another size: colors and boxes would mean nothing.
        """
        if pixels.shape != (*self.scene.size_hw, 3):
            raise ShapeMismatch(
                "The frame does not have the size that this policy was trained on",
                expected=(*self.scene.size_hw, 3),
                found=pixels.shape,
            )
        codes = pixels[..., 0].astype(np.int32) << 16 | pixels[..., 1].astype(np.int32) << 8 | pixels[..., 2]
        agent = _find(codes, self.colors.agent, self._agent)
        hazard = _find(codes, self.colors.hazard, self._hazard)
        present = np.zeros(len(self._takeable), np.float32)
        for i, goal in enumerate(self.scene.takeable):
            present[i] = (_cut(codes, self.scene.goals[goal].box)[0] == self._takeable[i]).any()
        return Sighting(agent, -1.0 if hazard is None else hazard[0], present)


def _find(codes: NDArray[np.int32], blob: Blob, colors: NDArray[np.int32]) -> tuple[float, float] | None:
    """Give the center of a blob: middle of its columns, a fixed height above its lowest row."""
    part, (left, top) = _cut(codes, blob.area)
    hit = part == colors[0]
    for color in colors[1:]:
        hit |= part == color
    rows = np.flatnonzero(hit.any(1))
    if len(rows) == 0 or np.count_nonzero(hit) < blob.least:
        return None
    columns = np.flatnonzero(hit.any(0))
    return left + (columns[0] + columns[-1]) / 2, top + float(rows[-1]) - blob.from_bottom


def _cut(codes: NDArray[np.int32], box: Box) -> tuple[NDArray[np.int32], tuple[int, int]]:
    """Cut a box out, and give its corner."""
    left, top, right, bottom = (round(edge) for edge in box)
    return codes[top : bottom + 1, left : right + 1], (left, top)


def _codes(colors: Sequence[Color]) -> NDArray[np.int32]:
    """Turn BGR colors into one number each."""
    return np.array([blue << 16 | green << 8 | red for blue, green, red in colors], np.int32)


def _color(values: Any) -> Color:
    blue, green, red = (int(value) for value in values)
    return blue, green, red
