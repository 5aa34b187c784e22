"""Flicker and fidelity of a stylizer on clips that it was not trained on.

Owns the measurement during training. The figures of a finished bundle come from `benchmarks/`.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .backbone import Backbone
from .clips import ClipSource, clip_cache
from .losses import gram, style_distance
from .measures import compare_styled
from .motion import Sequence, warp
from .targets import StyleTarget

FRAMES = 12


@dataclass(slots=True)
class HeldOut:
    """The middle of a few clips, and the teacher's images of it once they were needed.

    Parameters
    ----------
    names : of the clips
    clips : their frames, B clips side by side
    """

    names: list[str]
    clips: Sequence
    taught: Tensor | None = None

    @classmethod
    def of_clips(cls, paths: Many[Path], *, size: int, cache: Path, device: str) -> HeldOut:
        """Decode the middle of some clips and cut square crops of `size` pixels, a multiple of 8, out of them."""
        found = clip_cache(paths, frames=FRAMES, cache=cache)
        source = ClipSource(found, device=device)
        whole = {name: start for name, (start, end) in found.starts.items() if end - start == FRAMES}
        cuts = [source.cut(start, FRAMES, (48, 128), size) for start in whole.values()]
        return cls(list(whole), Sequence(*(torch.stack(part, 1) for part in zip(*cuts, strict=True))))

    @torch.no_grad()
    def measure(self, net: nn.Module, target: StyleTarget, backbone: Backbone) -> dict[str, float]:
        """Compare a network with the teacher, or, where there is none, with itself frame by frame.

        Returns
        -------
        dict
            `flicker_*`: warping error over the per-frame one, for each kind of clip (the word before the first
            underscore); `style`: relative distance of Gram matrices to the teacher's; `pixel`: mean absolute
            difference to the teacher's image; `edges`, `contrast`, `weave`: see `measures.Likeness`, on first
            frames.
        """
        styled = run(net, self.clips)
        taught = self._per_frame(net, target)
        ours, theirs = warping_errors(styled, self.clips), warping_errors(taught, self.clips)
        kinds = sorted({name.split("_")[0] for name in self.names})
        metrics = {}
        for kind in kinds:
            of_kind = [index for index, name in enumerate(self.names) if name.split("_")[0] == kind]
            metrics[f"flicker_{kind}"] = float((ours[of_kind] / theirs[of_kind]).max())
        last = self.clips.frames[-1]
        wanted = target.target(last)
        layers = backbone(styled[-1])
        grams = {name: gram(layers[name]) for name in wanted.grams}
        metrics["style"] = float(style_distance(grams, wanted.grams))
        first = net(self.clips.frames[0], torch.zeros_like(last), torch.zeros_like(last[:, :1]))
        metrics["pixel"] = float((first - taught[0]).abs().mean())
        pairs = zip(_images(first), _images(taught[0]), strict=True)
        likenesses = [compare_styled(ours, theirs) for ours, theirs in pairs]
        for name in ("edges", "contrast", "weave"):
            metrics[name] = float(np.mean([getattr(likeness, name) for likeness in likenesses]))
        return metrics

    @torch.no_grad()
    def sheet(self, net: nn.Module, target: StyleTarget) -> NDArray[np.uint8]:
        """Draw frame, per-frame image, first image and last image of some clips: (H, W, 3) uint8 BGR."""
        styled, taught = run(net, self.clips), self._per_frame(net, target)
        rows = []
        for index in range(0, len(self.names), max(1, len(self.names) // 4)):
            images = (self.clips.frames[-1], taught[-1], styled[0], styled[-1])
            rows.append(torch.cat([image[index] for image in images], 2))
        sheet = torch.cat(rows, 1).permute(1, 2, 0).clamp(0, 1) * 255
        return sheet.round().byte().cpu().numpy()

    def _per_frame(self, net: nn.Module, target: StyleTarget) -> Tensor:
        """(T, B, 3, H, W) without any memory: the teacher's, kept; or the network's own in first-frame mode."""
        if self.taught is None:
            images = [target.image(frame) for frame in self.clips.frames]
            if any(image is None for image in images):
                zeros = torch.zeros_like(self.clips.frames[0])
                return torch.stack([net(frame, zeros, zeros[:, :1]) for frame in self.clips.frames])
            self.taught = torch.stack(images)
        return self.taught


@torch.no_grad()
def run(net: nn.Module, clips: Sequence) -> Tensor:
    """Stylize clips frame after frame, each knowing the last; give (T, B, 3, H, W)."""
    mask = torch.zeros_like(clips.frames[0, :, :1])
    previous, outputs = torch.zeros_like(clips.frames[0]), []
    for t, frame in enumerate(clips.frames):
        if t:
            previous, mask = warp(outputs[-1], clips.flows[t - 1]), clips.masks[t - 1]
        outputs.append(net(frame, previous, mask).float())
    return torch.stack(outputs)


def _images(batch: Tensor) -> list[NDArray[np.uint8]]:
    """(B, 3, H, W) in [0, 1] as BGR images, (H, W, 3) uint8 each."""
    return list((batch.permute(0, 2, 3, 1) * 255).round().clamp(0, 255).byte().cpu().numpy())


def warping_errors(images: Tensor, clips: Sequence) -> Tensor:
    """Mean squared change along the motion where the flow is reliable, (B,)."""
    errors = []
    for t in range(1, len(images)):
        off = (images[t] - warp(images[t - 1], clips.flows[t - 1])).square().mean(1, keepdim=True)
        mask = clips.masks[t - 1]
        errors.append((off * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp_min(1))
    return torch.stack(errors).mean(0)
