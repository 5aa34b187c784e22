"""The spatial model: every joint tells every other where it may be, in one round of belief propagation.

Owns the model, its start from displacement histograms, and nothing of training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOOR = 1e-3  # of the heat-maps; the paper's eps, 0 < eps <= 0.01, keeps the logarithm finite


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialOptions:
    """Shape of the spatial model.

    Parameters
    ----------
    joints : heat-maps
    grid_hw : cells of a heat-map; the kernels reach any displacement on it
    coarsen : 1 is the paper's model. 2 sends the messages on a grid of half the size and keeps each joint's own map
        at full size: a quarter of the weights
    tempered : learn, for each joint, how far to trust the product of all messages; joints are not independent
        witnesses, and the plain product counts the same evidence many times
    beta : of SoftPlus, 1/2 to 2
    torso : one more map that only tells: the true torso of the person who is meant, as in the paper's evaluation.
        For comparison; nobody knows it at run time, and such a model is not exported
    """

    joints: int = 19
    grid_hw: tuple[int, int] = (48, 48)
    coarsen: int = 2
    tempered: bool = True
    beta: float = 1.0
    torso: bool = False

    @property
    def sources(self) -> int:
        """Maps that tell."""
        return self.joints + int(self.torso)

    def plain(self) -> dict[str, Any]:
        """Give values that JSON and a checkpoint can hold."""
        return asdict(self) | {"grid_hw": list(self.grid_hw)}


class SpatialModel(nn.Module):
    """e_A = exp(sum over v of log(SoftPlus(k_A|v) * ReLU(e_v) + SoftPlus(b_v->A))), v running over all joints.

    `*` is convolution, not correlation: a joint A that lies 10 cells right of v has its kernel's mass at +10, and a
    blob of v is moved 10 cells to the right.

    Parameters of the network
    -------------------------
    kernels : (J, J, 2h - 1, 2w - 1), A first, before SoftPlus; the middle is no displacement
    biases : (J, J) before SoftPlus; of both, v has one more where the torso tells
    trust : (J,) exponent of the messages before SoftPlus, where tempered

    References
    ----------
    Tompson et al. 2014, section 3.2, equation 2 and figure 4. One bias a pair, as the figure draws. Tempering and the
    coarser grid of the messages: ours.
    """

    def __init__(self, options: SpatialOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or SpatialOptions()
        count, sources = options.joints, options.sources
        height, width = (side // options.coarsen for side in options.grid_hw)
        self.grid_hw = height, width
        start = _unsoft(torch.tensor(1e-3), options.beta)
        self.kernels = nn.Parameter(torch.full((count, sources, 2 * height - 1, 2 * width - 1), float(start)))
        self.biases = nn.Parameter(torch.full((count, sources), float(_unsoft(torch.tensor(0.1), options.beta))))
        if options.tempered:
            # Of a positive number: held at zero by a clamp, it would get no gradient and never come back.
            self.trust = nn.Parameter(torch.full((count,), math.log(math.expm1(1.0 / count))))

    def positive(self, weights: Tensor) -> Tensor:
        """Apply SoftPlus to weights of any shape."""
        return F.softplus(weights, beta=self.options.beta)

    def messages(self, maps: Tensor) -> Tensor:
        """Convolve every map with every kernel: (B, J of v, h, w) -> (B, J of A, J of v, h, w), biases added."""
        height, width = self.grid_hw
        size = (2 * height, 2 * width)  # large enough that nothing wraps around into the result
        spectrum = torch.fft.rfft2(F.relu(maps), s=size)
        kernels = torch.fft.rfft2(self.positive(self.kernels), s=size)
        # kernel index 0 stands for a displacement of -(h - 1), so the full result starts that much before the map
        moved = torch.fft.irfft2(spectrum.unsqueeze(1) * kernels, s=size)
        moved = moved[..., height - 1 : 2 * height - 1, width - 1 : 2 * width - 1]
        return F.relu(moved) + self.positive(self.biases)[..., None, None]

    def forward(self, maps: Tensor, torso: Tensor | None = None) -> Tensor:
        """Weigh (B, J, H, W) heat-maps by what the other joints say; the same shape, float32.

        Where the model is told the torso, `torso` is its map, (B, 1, H, W); None says nothing.
        """
        with torch.autocast(maps.device.type, enabled=False):
            maps = maps.float()
            if self.options.torso:
                maps = torch.cat((maps, torch.zeros_like(maps[:, :1]) if torso is None else torso), 1)
            return self.weigh(maps, self.messages)

    def weigh(self, maps: Tensor, messages: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute what `forward` computes from all maps that tell, with other messages; the exporter calls it.

        Parameters
        ----------
        maps : (B, V, H, W) in 0..1, of everything that tells; the first J are those of the joints
        messages : maps, coarsened as the options say, to (B, J, V, h, w), what each of V says of each joint

        Returns
        -------
        (B, J, H, W)
        """
        options = self.options
        told = maps.clamp(min=FLOOR)
        clipped = told[:, : options.joints]
        if options.coarsen == 1:
            total = torch.log(messages(told).clamp(min=1e-8)).sum(2)
            return torch.exp((total * self._trust() if options.tempered else total).clamp(max=2.0))
        logs = torch.log(messages(F.avg_pool2d(told, options.coarsen)).clamp(min=1e-8))
        others = 1 - torch.eye(options.joints, options.sources, device=maps.device)[..., None, None]
        total = (logs * others).sum(2)
        total = F.interpolate(total, scale_factor=float(options.coarsen), mode="bilinear", align_corners=False)
        if options.tempered:
            total = total * self._trust()
        return clipped * torch.exp(total.clamp(max=2.0))

    def _trust(self) -> Tensor:
        return F.softplus(self.trust)[:, None, None]

    @torch.no_grad()
    def start_from(self, cells: Tensor, shown: Tensor, maps: Tensor) -> None:
        """Set the kernels from histograms of displacements, and their scale so that the truth scores about 1.

        Parameters
        ----------
        cells : (N, J, 2) joints, and the torso where it tells, in cells of the full heat-map
        shown : (N, J) bool
        maps : (M, J, H, W) heat-maps of the first M of them

        References
        ----------
        Tompson et al. 2014, section 3.2 (empirical distribution of displacements). The scale is ours: with the plain
        product of 19 normalised histograms every output would vanish.
        """
        joints = self.options.joints
        histograms = displacement_histograms(cells / self.options.coarsen, shown, self.grid_hw)[:joints]
        self.kernels.copy_(_unsoft(histograms.clamp(min=1e-7), self.options.beta))
        small = F.avg_pool2d(maps.float().clamp(min=FLOOR), self.options.coarsen)
        count, height, width = len(small), *self.grid_hw
        told = (
            torch.cat([self.messages(part) for part in small.split(16)]) - self.positive(self.biases)[..., None, None]
        )
        near = (cells[:count, :joints] / self.options.coarsen).round().long()
        place = (near[..., 1].clamp(0, height - 1) * width + near[..., 0].clamp(0, width - 1))[:, :, None, None]
        at_truth = told.flatten(3).gather(3, place.expand(-1, -1, told.shape[2], 1))[..., 0]  # (M, A, v)
        weight = (shown[:count, :joints, None] & shown[:count, None, :]).to(at_truth.dtype)
        mean = (at_truth * weight).sum(0) / weight.sum(0).clamp(min=1)
        scaled = histograms * (0.9 / mean.clamp(min=1e-6))[..., None, None]
        self.kernels.copy_(_unsoft(scaled.clamp(min=1e-7), self.options.beta))


def displacement_histograms(cells: Tensor, shown: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Count where joint A lies seen from joint v, smoothed and normalised: (J of A, J of v, 2h - 1, 2w - 1)."""
    height, width = grid_hw
    joints = cells.shape[1]
    tall, wide = 2 * height - 1, 2 * width - 1
    counts = torch.zeros(joints, joints, tall * wide, device=cells.device)
    for a in range(joints):
        for v in range(joints):
            both = shown[:, a] & shown[:, v]
            step = (cells[both, a] - cells[both, v]).round().long()
            x = (step[:, 0] + width - 1).clamp(0, wide - 1)
            y = (step[:, 1] + height - 1).clamp(0, tall - 1)
            counts[a, v] = torch.bincount(y * wide + x, minlength=tall * wide).float()
    bell = counts.new_tensor([1.0, 4, 6, 4, 1])
    images = counts.view(joints * joints, 1, tall, wide)
    images = F.conv2d(images, (bell[:, None] * bell[None, :] / bell.sum() ** 2)[None, None], padding=2)
    images = images + 1e-6 * images.sum((2, 3), keepdim=True) + 1e-6
    return (images / images.sum((2, 3), keepdim=True)).view(joints, joints, tall, wide)


def _unsoft(value: Tensor, beta: float) -> Tensor:
    """Invert SoftPlus."""
    return value + torch.log(-torch.expm1(-beta * value)) / beta
