"""Why a comparison fails: the mistakes that everybody makes, tried one after the other.

Owns `likely_cause`. What a bundle gave is compared with what the trained network gives when it is fed in another way:
with red and blue swapped, another normalization, another resize. Where that fits, the cause is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .report import StageParity

Stages = Mapping[str, NDArray[Any]]
SWAPPED = "red and blue are swapped: one side takes RGB, the other BGR"


class Trained(Protocol):
    """What is needed of a trained side; see `Reference` in `compare`."""

    def stages(self, pixels: NDArray[np.uint8]) -> Stages:
        """Run one image, (H, W, 3) BGR, and give every stage."""

    def reset(self) -> None:
        """Forget the images before."""


class _Swapped:
    """A trained side that sees red and blue swapped."""

    def __init__(self, reference: Trained) -> None:
        self._reference = reference

    def stages(self, pixels: NDArray[np.uint8]) -> Stages:
        """Run one image, (H, W, 3), with its channels in the other order."""
        return self._reference.stages(np.ascontiguousarray(pixels[..., ::-1]))

    def reset(self) -> None:
        self._reference.reset()


def likely_cause(
    reference: Any, pixels: NDArray[np.uint8], found: Stages, tolerances: Mapping[str, float | None]
) -> str | None:
    """Try the usual mistakes on one frame that failed.

    Parameters
    ----------
    reference : trained; its `variants()`, where it has them, give texts and trained sides that are fed in other ways
    pixels : (H, W, 3) uint8 BGR, the frame
    found : what the bundle gave for it
    tolerances : stage -> largest difference that passes; None is not compared

    Returns
    -------
    the cause, if one of them makes all stages agree
    """
    exact = tuple(getattr(reference, "exact", ()))
    sizes = _other_size(reference, pixels, found)
    if sizes:
        return sizes
    variants = getattr(reference, "variants", None)
    tries: Iterable[tuple[str, Trained, tuple[str, ...]]] = (
        [(SWAPPED, _Swapped(reference), exact)] if variants is None else [(*one, ()) for one in variants()]
    )
    for cause, variant, left_out in tries:
        wanted = {name: value for name, value in tolerances.items() if value is not None and name not in left_out}
        try:
            variant.reset()
            expected = variant.stages(pixels)
        except Exception:  # a module may not even take what is tried here
            continue
        if wanted and all(_fits(expected.get(name), found.get(name), value) for name, value in wanted.items()):
            return cause
    return None


def _other_size(reference: Any, pixels: NDArray[np.uint8], found: Stages) -> str | None:
    """Say that both sides resize the frame to other sizes, if that is so."""
    expected = reference.stages(pixels)
    for name in getattr(reference, "exact", ()):
        ours, theirs = expected.get(name), found.get(name)
        if ours is not None and theirs is not None and ours.shape != theirs.shape:
            high, wide = theirs.shape[1:3]
            return f"another size: the bundle sees {wide}x{high}, the trained network {ours.shape[2]}x{ours.shape[1]}"
    return None


def _fits(expected: NDArray[Any] | None, found: NDArray[Any] | None, tolerance: float) -> bool:
    stage = StageParity("tried", tolerance)
    stage.add(expected, found)
    return stage.passed
