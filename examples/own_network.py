"""Take a network of your own the whole way: train, export, calibrate, prove equal, run.

The network here cleans images of a noisy camera. It is trained for a few seconds on the very clip, with noise
added; put your own module in its place.

Usage: python examples/own_network.py CLIP [FOLDER] [STEPS]        needs the extras [export] and [calibrate]
"""

import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from steadyframe.calibration.diversity import diverse_frames
from steadyframe.calibration.precision import add_to_bundle, make_precision
from torch import nn

import steadyframe as sf

SMALL_WH = (160, 120)  # the graph takes any size; frames are brought to this shorter side
NOISE = 0.08


class Cleaner(nn.Module):
    """(1, 3, H, W) RGB in [0, 1] to the same without noise: what a few convolutions say the noise is, taken away."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.noise = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 3, 3, padding=1),
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Clean."""
        return image - self.noise(image)


def train(net: Cleaner, images: torch.Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        y, x = (int(torch.randint(0, side - 63, (), generator=generator)) for side in images.shape[2:])
        clean = images[torch.randint(0, len(images), (8,), generator=generator), :, y : y + 64, x : x + 64]
        noisy = clean + NOISE * torch.randn(clean.shape, generator=generator)
        loss = (net(noisy) - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 49:
            print(
                f"step {step + 1}: {10 * np.log10(1 / loss.item()):.1f} dB, {20 * np.log10(1 / NOISE):.1f} with noise"
            )
    net.eval()


clip = sys.argv[1]
folder = Path(sys.argv[2] if len(sys.argv) > 2 else "cleaner")
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 300

torch.manual_seed(0)
source = sf.open_source(clip)
chosen = diverse_frames(islice(source, 400), 16)
source.close()
small = np.stack([cv2.resize(frame.pixels, SMALL_WH, interpolation=cv2.INTER_AREA) for frame in chosen.frames])
net = Cleaner()
train(net, torch.from_numpy(small[..., ::-1].copy()).permute(0, 3, 1, 2) / 255, steps)  # BGR to RGB

bundle = sf.export(net, folder, example=small[0])
made = [make_precision(bundle, chosen, precision) for precision in ("fp16", "int8")]
bundle = add_to_bundle(bundle, folder, made)

for precision in bundle.precisions():
    report = sf.compare(bundle, net, clip, precision=precision)
    print(report.to_markdown())
    report.check()

stats = sf.open_stream(bundle, clip, [folder / "cleaned.mp4"], device="cpu", limit=60).run()
print(f"{folder / 'cleaned.mp4'}: {stats.frames} frames. Again: steadyframe run {folder} {clip} out.mp4")
