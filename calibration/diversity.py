"""Choice of frames that differ: what a stream shows, not what it shows most.

Owns the signature of a frame (perceptual hash, brightness, motion) and the selection, which holds no more frames
than are wanted, whatever the length of the stream. Random pixels are refused here: ranges measured on them are the
ranges of nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import CalibrationError
from ..runtime.frame import Frame

_THUMB_WH = (32, 32)
_HASH_SIDE = 8
_SAME = 0.08  # two frames nearer than this (five bits of 64) are one frame twice
_LEAST_CORRELATION = 0.3  # of neighbouring pixels; photos have 0.8 to 1, noise 0
_BRIGHTNESS_BINS = 8


@dataclass(frozen=True, slots=True)
class Signature:
    """What two frames are compared by.

    Parameters
    ----------
    bits : (64,) bool, signs of the low frequencies of the small grey image
    brightness : mean luma, 0 to 1
    motion : mean absolute change of the small image since the frame before, 0 to 1
    """

    bits: NDArray[np.bool_]
    brightness: float
    motion: float

    def distance(self, other: Signature) -> float:
        """Share of hash bits that differ, plus the differences in brightness and motion.

        References
        ----------
        The hash is the well-known one of cosine-transform signs; the sum is ours.
        """
        bits = float(np.count_nonzero(self.bits != other.bits)) / self.bits.size
        return bits + abs(self.brightness - other.brightness) + abs(self.motion - other.motion)


@dataclass(frozen=True, slots=True)
class Selection:
    """Frames that were chosen, and what they cover.

    Parameters
    ----------
    frames : in the order of the stream
    hashes : sha256 of every frame's size and pixels, in the same order
    seen : frames looked at
    brightness : darkest and brightest frame, 0 to 1
    brightness_bins : how many of 8 equal steps of brightness have a frame
    motion : stillest and liveliest frame, 0 to 1
    nearest : smallest distance between two chosen frames
    """

    frames: tuple[Frame, ...]
    hashes: tuple[str, ...]
    seen: int
    brightness: tuple[float, float]
    brightness_bins: int
    motion: tuple[float, float]
    nearest: float


def signature_of(
    pixels: NDArray[np.uint8], before: NDArray[np.float32] | None
) -> tuple[Signature, NDArray[np.float32]]:
    """Describe a frame.

    Parameters
    ----------
    pixels : (H, W, 3) uint8 BGR
    before : small image of the frame before, or None at the start of a stream

    Returns
    -------
    the signature, and the frame's own small image, (32, 32) float32 in [0, 1]
    """
    grey = cv2.cvtColor(cv2.resize(pixels, _THUMB_WH, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    small = grey.astype(np.float32) / 255
    waves = cv2.dct(small)[:_HASH_SIDE, :_HASH_SIDE].ravel()
    waves[0] = np.median(waves[1:])  # the mean is brightness, which is counted by itself
    motion = 0.0 if before is None else float(np.abs(small - before).mean())
    return Signature(waves > np.median(waves[1:]), float(small.mean()), motion), small


def content_hash(pixels: NDArray[np.uint8]) -> str:
    """Hash the size and the pixels of a frame, (H, W, 3) uint8, to identify it in a calibration set."""
    return hashlib.sha256(str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def diverse_frames(frames: Iterable[Frame], count: int, *, most: int = 10_000) -> Selection:
    """Pick frames that differ as much as possible from each other, in one pass over a stream.

    A frame is taken while there is room; afterwards it takes the place of one of the two most alike, if it is
    further than their distance from all others. Frames that are (nearly) the same as a chosen one are never taken.

    Parameters
    ----------
    frames : a source, or any frames
    count : frames wanted; a dull stream may give fewer
    most : frames looked at, so that a camera comes to an end

    Raises
    ------
    CalibrationError
        If nothing was read, `count` is below 1, or the pixels are random.

    Examples
    --------
    >>> ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None], (64, 1, 3))
    >>> film = [Frame(ramp + np.uint8(i // 50 * 100), index=i) for i in range(100)]
    >>> [frame.index for frame in diverse_frames(film, 8).frames]
    [0, 50]
    """
    if count < 1:
        raise CalibrationError("At least one frame must be chosen", expected="count >= 1", found=count)
    kept: list[tuple[Signature, Frame]] = []
    before: NDArray[np.float32] | None = None
    seen = 0
    for frame in islice(frames, most):
        signature, before = signature_of(frame.pixels, before)
        seen += 1
        gap = min((signature.distance(other) for other, _ in kept), default=np.inf)
        if gap < _SAME:
            continue
        kept.append((signature, frame))
        if len(kept) > count:
            _drop_most_alike(kept)
    if not kept:
        raise CalibrationError("The calibration input has no frames", todo="Name a clip, a folder or a camera")
    _refuse_noise([frame for _, frame in kept])
    return _selection(kept, seen)


def neighbour_correlation(pixels: NDArray[np.uint8]) -> float:
    """Correlate horizontal neighbors in the green channel of (H, W, 3) uint8 BGR pixels; 1 without any contrast."""
    green = pixels[..., 1].astype(np.float32)
    left, right = green[:, :-1].ravel(), green[:, 1:].ravel()
    if left.size < 2 or left.std() < 1 or right.std() < 1:
        return 1.0
    return float(np.corrcoef(left, right)[0, 1])


def _drop_most_alike(kept: list[tuple[Signature, Frame]]) -> None:
    """Of the two most alike, drop the one that is nearer to the rest."""
    signatures = [signature for signature, _ in kept]
    table = np.array([[one.distance(other) for other in signatures] for one in signatures])
    np.fill_diagonal(table, np.inf)
    first, second = np.unravel_index(int(table.argmin()), table.shape)
    rests = []
    for i, twin in ((int(first), int(second)), (int(second), int(first))):
        row = np.delete(table[i], [i, twin])
        rests.append((float(row.min()) if row.size else np.inf, i))
    del kept[min(rests)[1]]


def _refuse_noise(frames: list[Frame]) -> None:
    """Refuse frames whose pixels know nothing of their neighbours."""
    correlation = float(np.median([neighbour_correlation(frame.pixels) for frame in frames]))
    if correlation < _LEAST_CORRELATION:
        raise CalibrationError(
            "The calibration frames are random pixels",
            expected=f"neighbouring pixels that correlate, at least {_LEAST_CORRELATION}",
            found=f"a correlation of {correlation:.2f}",
            todo="Calibrate on images of the camera that the network will see",
        )


def _selection(kept: list[tuple[Signature, Frame]], seen: int) -> Selection:
    """Sum up what was chosen."""
    levels = [signature.brightness for signature, _ in kept]
    motions = [signature.motion for signature, _ in kept]
    gaps = [one.distance(other) for i, (one, _) in enumerate(kept) for other, _ in kept[:i]]
    frames = tuple(frame for _, frame in kept)
    return Selection(
        frames=frames,
        hashes=tuple(content_hash(frame.pixels) for frame in frames),
        seen=seen,
        brightness=(min(levels), max(levels)),
        brightness_bins=len({min(int(level * _BRIGHTNESS_BINS), _BRIGHTNESS_BINS - 1) for level in levels}),
        motion=(min(motions), max(motions)),
        nearest=min(gaps, default=float("inf")),
    )
