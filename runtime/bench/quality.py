"""Flicker of a mode, and its distance to running the network on every frame.

Owns `Quality`, and the replay of a stream in one thread, frame by frame beside the other modes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from ..motion.flow import Flow, FlowEstimator, FlowOptions
from ..motion.masks import reliable
from ..tasks.task import Image
from .likeness import Likeness
from .metrics import delta_e_2000, warping_error
from .subject import Subject

# Slower and better than any flow that the runtime steadies with.
REFERENCE_FLOW = FlowOptions("medium", short_side=360)
_DELTA_E_EVERY = 5  # frames; and on every second pixel each way: it costs more than all else together
_WHITE = 255.0


@dataclass(slots=True)
class Quality:
    """Flicker and fidelity of one mode; the lists have one entry a pair of frames, or a frame.

    Parameters
    ----------
    masked, all_pixels : E_warp of every pair of frames, on the task's own channels in 0..1, before any rounding
    squared_error : mean squared difference of every frame's image to that of `off`, in grey levels
    delta_e : mean CIEDE2000 to the image of `off`, every fifth frame
    likeness : local correlation with `off` where things move, and sharpness over that of `off`
    """

    masked: list[float] = field(default_factory=list)
    all_pixels: list[float] = field(default_factory=list)
    squared_error: list[float] = field(default_factory=list)
    delta_e: list[float] = field(default_factory=list)
    likeness: Likeness = field(default_factory=Likeness)

    @property
    def flicker(self) -> float:
        """Mean E_warp, masked denominator; pairs without a single reliable pixel are left out."""
        return float(np.nanmean(self.masked)) if not np.all(np.isnan(self.masked)) else math.nan

    @property
    def flicker_p95(self) -> float:
        """95th percentile of E_warp over the pairs: where pulses show."""
        return float(np.nanpercentile(self.masked, 95)) if not np.all(np.isnan(self.masked)) else math.nan

    @property
    def psnr_db(self) -> float:
        """PSNR of the whole video to `off`, from the mean of the squared errors; infinite if it is the same."""
        error = float(np.mean(self.squared_error))
        return 10 * math.log10(_WHITE**2 / error) if error else math.inf

    @property
    def mean_delta_e(self) -> float:
        """Mean CIEDE2000 to `off`."""
        return float(np.mean(self.delta_e))

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON; an infinite PSNR is null."""
        worst = max(self.squared_error)
        return {
            "flicker": {
                "masked_mean": self.flicker,
                "masked_p95": self.flicker_p95,
                "all_pixels_mean": float(np.mean(self.all_pixels)),
                "all_pixels_p95": float(np.percentile(self.all_pixels, 95)),
                "pairs": len(self.masked),
            },
            "fidelity": {
                "psnr_db": None if math.isinf(self.psnr_db) else round(self.psnr_db, 3),
                "worst_frame_psnr_db": round(10 * math.log10(_WHITE**2 / worst), 3) if worst else None,
                "delta_e_2000": round(self.mean_delta_e, 4),
                "frames": len(self.squared_error),
            },
            "likeness": {
                "mean": round(self.likeness.mean, 4),
                "p5": round(self.likeness.p5, 4),
                "sharpness": round(self.likeness.mean_sharpness, 4),
                "frames": len(self.likeness.likeness),
            },
        }


def measure_quality(
    subject: Subject, frames: list[Frame], *, on_frame: Callable[[], None] = lambda: None
) -> dict[str, Quality] | None:
    """Run every mode over the frames, side by side.

    Parameters
    ----------
    frames : of one size, two or more
    on_frame : called after every frame

    Returns
    -------
    dict of mode -> Quality, or None
        None for a task whose result is no image.

    References
    ----------
    Lai et al. 2018, E_warp, with the flow of the input video by a slower preset than the runtime's; the all-pixel
    denominator is Ruder et al. 2018's.
    """
    processors = {mode: subject.processor(mode) for mode in subject.modes}
    output = processors["off"].task.propagated
    if output is None:
        return None
    figures = {mode: Quality() for mode in processors}
    estimator = FlowEstimator(REFERENCE_FLOW)
    before: dict[str, NDArray[np.float32]] = {}
    results = [processor.process_all(frames) for processor in processors.values()]
    for number, (frame, *found) in enumerate(zip(frames, *results, strict=True)):
        pair = estimator.step(frame.pixels)
        images: dict[str, NDArray[np.uint8]] = {}
        for mode, result in zip(processors, found, strict=True):
            value = result.outputs[output.name]
            if not isinstance(result.output, Image) or value.ndim != 3:
                return None
            images[mode] = result.output.pixels
            channels = np.asarray(value, np.float32) / np.float32(_WHITE)
            if pair is not None:
                # From frame t to t + 1: the earlier frame is compared with the later one, brought back to it.
                there = Flow(pair.forward.vectors)
                error = warping_error(before[mode], channels, there, reliable(pair.forward, pair.backward))
                figures[mode].masked.append(error.masked)
                figures[mode].all_pixels.append(error.all_pixels)
            before[mode] = channels
        for mode, image in images.items():
            figures[mode].likeness.add(frame.luma, image, images["off"])
        _compare(figures, images, with_delta_e=number % _DELTA_E_EVERY == 0)
        on_frame()
    return figures


def _compare(figures: dict[str, Quality], images: dict[str, NDArray[np.uint8]], *, with_delta_e: bool) -> None:
    """Record the distance of every mode's image to that of `off`."""
    expected = images["off"]
    for mode, found in images.items():
        difference = found.astype(np.float32) - expected
        figures[mode].squared_error.append(float(np.mean(difference * difference, dtype=np.float64)))
        if with_delta_e:
            same = mode == "off"
            figures[mode].delta_e.append(
                0.0 if same else float(delta_e_2000(found[::2, ::2], expected[::2, ::2]).mean())
            )
