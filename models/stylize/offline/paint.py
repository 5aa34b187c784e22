"""Stylize a whole video frame by frame, in one pass or many.

Owns the order of frames, their starting images and anchors, and what is written when. Loss, solver and flow are
in their own files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....runtime.errors import UsageError
from ....runtime.motion.masks import long_term
from .flows import MEAN_BGR, Motion
from .objective import Anchor, Objective
from .solver import Solution, SolverOptions, minimize

STARTS = ("random", "image", "prev", "prevWarped", "first")
Report = Callable[[int, int, int, float], None]  # pass, frame, iterations, loss


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintOptions:
    """How the frames of a video depend on each other.

    Parameters
    ----------
    first, later : solver of the first frame and of the others
    start : where later frames begin: one of `STARTS`
    offsets : J, how many frames back the temporal loss looks; (1,) is short-term only, () none at all
    passes : 1 is the single pass; more alternate forward and backward
    pass_iterations : of each pass when there is more than one
    temporal_from : the pass that first has a temporal loss
    blend : weight of the neighbor that a pass has just done, before its mask
    seed : of the noise that `random` and the first frame begin with

    References
    ----------
    Ruder et al. 2016, sections 4.1 to 4.3; released code: 15 passes of 100 iterations, temporal loss from the eighth.
    """

    first: SolverOptions = field(default_factory=lambda: SolverOptions(iterations=2000))
    later: SolverOptions = field(default_factory=SolverOptions)
    start: str = "prevWarped"
    offsets: tuple[int, ...] = (1,)
    passes: int = 1
    pass_iterations: int = 100
    temporal_from: int = 8
    blend: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise UsageError(f"There is no start {self.start!r}", available=STARTS)
        if any(offset < 1 for offset in self.offsets) or sorted(set(self.offsets)) != list(self.offsets):
            raise UsageError("Offsets are frames back, rising", expected="such as 1,2,4", found=self.offsets)
        if self.passes < 1 or self.pass_iterations < 1:
            raise UsageError("At least one pass of one iteration", found=(self.passes, self.pass_iterations))


class Painter:
    """Paints a video into a folder; what is there already is not painted again.

    Frames are handed on as the 8-bit images that were written, so that a run that was cut and resumed gives the
    same as one that was not.

    Parameters
    ----------
    frames : (H, W, 3) uint8 BGR, all of one size
    folder : gets `pass-01/00000.png` and so on
    """

    def __init__(
        self,
        frames: Sequence[NDArray[np.uint8]],
        objective: Objective,
        motion: Motion,
        options: PaintOptions,
        folder: Path,
        *,
        device: str = "cpu",
    ) -> None:
        self.frames, self.objective, self.motion = frames, objective, motion
        self.options, self.folder, self.device = options, folder, device
        generator = np.random.default_rng(options.seed)
        noise = generator.standard_normal((*frames[0].shape[:2], 3), np.float32) * np.float32(0.001)
        self._noise = (noise + MEAN_BGR) / 255

    def path(self, number: int, index: int) -> Path:
        """Where frame `index` of pass `number` (from 1) lies."""
        return self.folder / f"pass-{number:02d}" / f"{index:05d}.png"

    def paint(self, report: Report | None = None) -> list[Path]:
        """Paint all that is missing; give the images of the last pass."""
        for number in range(1, self.options.passes + 1):
            forward = number % 2 == 1
            indices = range(len(self.frames))
            for position, index in enumerate(indices if forward else reversed(indices)):
                if not self.path(number, index).is_file():
                    solution = self._frame(number, index, position, report)
                    self._write(number, index, solution)
        return [self.path(self.options.passes, index) for index in range(len(self.frames))]

    def _frame(self, number: int, index: int, position: int, report: Report | None) -> Solution:
        options = self.options
        if options.passes == 1:
            start = self._single_start(index)
            anchors = self._anchors(index, [index - j for j in options.offsets if index - j >= 0], number)
            solver = options.later if index else options.first
        else:
            neighbor = index - (1 if number % 2 == 1 else -1)
            known = position > 0 and number > 1
            start = self._blended_start(number, index, neighbor if known else None)
            temporal = known and number >= options.temporal_from
            anchors = self._anchors(index, [neighbor], number) if temporal else []
            solver = replace(options.later, iterations=options.pass_iterations, tolerance=0.0)
        loss = self.objective.of_frame(self._tensor(self.frames[index] / np.float32(255)), anchors)

        def progress(iterations: int, value: float) -> None:
            if report is not None:
                report(number, index, iterations, value)

        return minimize(loss, self._tensor(start), solver, progress)

    def _single_start(self, index: int) -> NDArray[np.float32]:
        """Where a frame of the single pass begins."""
        start = self.options.start
        if start == "image":
            return self.frames[index] / np.float32(255)
        if index == 0 or start == "random":
            return self._noise
        if start == "first":
            return self._read(1, 0)
        previous = self._read(1, index - 1)
        return previous if start == "prev" else self.motion.propagate(previous, index - 1, index)

    def _blended_start(self, number: int, index: int, neighbor: int | None) -> NDArray[np.float32]:
        """Where a frame of a later pass begins: its own last image, blended with the neighbor just done.

        References
        ----------
        Ruder et al. 2016, equations 11 and 12, in the released code's normalized form.
        """
        if number == 1:
            return self._noise
        own = self._read(number - 1, index)
        if neighbor is None:
            return own
        weight = self.options.blend * self.motion.mask(neighbor, index)[..., None]
        propagated = self.motion.propagate(self._read(number, neighbor), neighbor, index)
        return np.asarray((own + weight * propagated) / (1 + weight), np.float32)

    def _anchors(self, index: int, sources: Sequence[int], number: int) -> list[Anchor]:
        """Stylized frames that bind this one, nearest first, each pixel bound by the nearest that knows it."""
        masks = long_term([self.motion.mask(source, index) for source in sources])
        anchors = []
        for source, mask in zip(sources, masks, strict=True):
            propagated = self.motion.propagate(self._read(number, source), source, index)
            anchors.append(Anchor(self._tensor(propagated), self._tensor(mask[..., None])))
        return anchors

    def _tensor(self, image: NDArray[np.float32]) -> Tensor:
        """(H, W, C) -> (1, C, H, W) on the device."""
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].float().to(self.device)

    def _read(self, number: int, index: int) -> NDArray[np.float32]:
        pixels = cv2.imread(str(self.path(number, index)), cv2.IMREAD_COLOR)
        if pixels is None:
            raise UsageError(f"{self.path(number, index)} cannot be read", todo="Delete it, and run again")
        return pixels.astype(np.float32) / np.float32(255)

    def _write(self, number: int, index: int, solution: Solution) -> None:
        pixels = (solution.image[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().cpu().numpy()
        path = self.path(number, index)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp.png")
        cv2.imwrite(str(temporary), pixels)
        temporary.replace(path)
