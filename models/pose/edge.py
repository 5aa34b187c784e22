"""The edge part detector: two banks as in the paper, built from convolutions that are cheap today.

Owns the real-time network. The **fine bank** sees the image at full size and keeps a small receptive field; the
**coarse bank** sees it at half size, looks at all of it, and comes back up; both meet at the heat-map's stride of 4,
where they are summed as in the paper. What is modern, and why:

* stride-2 stems and full 3x3 convolutions while there are few channels: faster on a CPU than depthwise ones;
* inverted residuals with depthwise 3x3 and 5x5 kernels elsewhere: a ninth of the multiplications;
* batch norm (folded into the convolutions at export) and ReLU: both fuse into the convolution in every engine and
  keep their range in int8;
* gates (squeeze and excite) only at the two coarsest grids: next to nothing there, and each takes an activation of
  `models.activations`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import sigmoid

STRIDE = 4  # input pixels a heat-map cell
CENTRE_STRIDE = 8  # input pixels a cell of the person maps
DEPTH = (2, 3, 1)  # residual blocks at strides 8, 16 and 32; more cost little there
PRIOR = -3.5  # logit that the person maps start from: nobody there


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOptions:
    """Widths of the edge network.

    Parameters
    ----------
    joints : heat-maps
    banks : 1 is the fine bank alone, 2 adds the coarse one
    fine : channels at the heat-map's resolution
    coarse : channels at strides 8, 16 and 32
    depth : residual blocks at strides 8, 16 and 32
    noise : of the gates: None (plain sigmoid), "nan" or "nah"
    """

    joints: int = 19
    banks: int = 2
    fine: int = 40
    coarse: tuple[int, int, int] = (80, 144, 192)
    depth: tuple[int, int, int] = DEPTH
    noise: str | None = None

    def plain(self) -> dict[str, Any]:
        """Give values that JSON and a checkpoint can hold."""
        return asdict(self) | {"coarse": list(self.coarse), "depth": list(self.depth)}


def conv(
    inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution, batch norm, and ReLU unless told otherwise."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class Gate(nn.Module):
    """Squeeze and excite: channels weighed by what the whole map says."""

    def __init__(self, channels: int, noise: str | None) -> None:
        super().__init__()
        squeezed = max(8, channels // 8)
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)
        self.activation = sigmoid(noise, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh (B, C, H, W)."""
        pooled = x.mean((2, 3), keepdim=True)
        return x * self.activation(self.excite(F.relu(self.squeeze(pooled))))


class Residual(nn.Module):
    """Two dense 3x3 convolutions, the second gated where asked, added to their input.

    A fresh one gives its input back, so that blocks can be added to a trained network without harm.
    """

    def __init__(self, channels: int, gate: nn.Module | None = None) -> None:
        super().__init__()
        self.first = conv(channels, channels, 3)
        self.second = conv(channels, channels, 3, relu=False)
        self.gate = gate if gate is not None else nn.Identity()
        nn.init.zeros_(self.second[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, H, W)."""
        return F.relu(x + self.gate(self.second(self.first(x))))


class FineBank(nn.Module):
    """Full-size bank: stride 4, a receptive field of about 30 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = conv(12, channels, 3, stride=2)
        self.body = Residual(channels)

    def forward(self, image: Tensor) -> Tensor:
        """Turn (B, 3, H, W) into (B, C, H/4, W/4)."""
        folded = self.stem[0].in_channels == image.shape[1]
        return self.body(self.stem(image if folded else F.pixel_unshuffle(image, 2)))

    @torch.no_grad()
    def fold(self) -> None:
        """Fold the rearrangement of pixels into the stem: the same sums in one pass less, as a graph wants them."""
        plain = self.stem[0]
        assert isinstance(plain, nn.Conv2d)
        outputs, inputs = plain.out_channels, plain.in_channels // 4
        folded = nn.Conv2d(inputs, outputs, 6, 4, 2, bias=False).to(plain.weight)
        # (O, C, dy, dx, ky, kx) -> (O, C, ky, dy, kx, dx): where each weight's pixel lies in the image
        weight = plain.weight.view(outputs, inputs, 2, 2, 3, 3).permute(0, 1, 4, 2, 5, 3)
        folded.weight.copy_(weight.reshape(outputs, inputs, 6, 6))
        self.stem[0] = folded


class CoarseBank(nn.Module):
    """Half-size bank: down to stride 32 of the full image with a view of all of it, and up again to stride 8."""

    def __init__(self, options: EdgeOptions) -> None:
        super().__init__()
        a, b, c = options.coarse
        d8, d16, d32 = options.depth

        def gated(channels: int, count: int) -> list[nn.Module]:
            return [Residual(channels, Gate(channels, options.noise)) for _ in range(count)]

        self.stem = conv(3, options.fine, 3, stride=2)
        self.stride8 = nn.Sequential(conv(options.fine, a, 3, stride=2), *(Residual(a) for _ in range(d8)))
        self.stride16 = nn.Sequential(conv(a, b, 3, stride=2), *gated(b, d16))
        self.stride32 = nn.Sequential(conv(b, c, 3, stride=2), *gated(c, d32))
        self.down16, self.up16 = conv(c, b, relu=False), conv(b, b, 3)
        self.down8, self.up8 = conv(b, a, relu=False), conv(a, a, 3)

    def forward(self, image: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Turn (B, 3, H/2, W/2) and the fine bank's (B, C, H/4, W/4) into stride 8 and stride 32 features."""
        x8 = self.stride8(self.stem(image) + fine)
        x16 = self.stride16(x8)
        x32 = self.stride32(x16)
        y16 = self.up16(F.relu(x16 + F.interpolate(self.down16(x32), scale_factor=2.0, mode="nearest")))
        y8 = self.up8(F.relu(x8 + F.interpolate(self.down8(y16), scale_factor=2.0, mode="nearest")))
        return y8, x32


class EdgeDetector(nn.Module):
    """Part maps, person maps and presence of an image.

    Input: (B, 3, H, W) BGR in [0, 1], H and W multiples of 32. Output: a dictionary of

    * `maps` (B, J, H/4, W/4): heat-maps, about 1 at a joint, 0 elsewhere, not clipped;
    * `centre` (B, 1, H/8, W/8): logit that a person's box is centred in the cell;
    * `box` (B, 3, H/8, W/8): natural logarithm of the box's longer side over 64 pixels, and the centre's place in the
      cell, x and y, in cells from its middle;
    * `presence` (B, 1): logit that a person fills this crop.

    With one bank the person maps and the presence come from the fine features alone.

    References
    ----------
    Tompson et al. 2014, section 3.1 (two banks with overlapping fields, summed). Inverted residuals, gates and the
    person maps: ours to combine.
    """

    def __init__(self, options: EdgeOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or EdgeOptions()
        a, _, c = options.coarse
        self.fine = FineBank(options.fine)
        self.coarse = CoarseBank(options) if options.banks > 1 else None
        if self.coarse is None:
            a = c = options.fine
        else:
            self.meet = conv(a, options.fine, relu=False)
        self.head = conv(options.fine, 64, 3)
        self.maps = nn.Conv2d(64, options.joints, 1)
        self.person = conv(a, 48, 3)
        self.centre, self.box = nn.Conv2d(48, 1, 1), nn.Conv2d(48, 3, 1)
        self.presence = nn.Linear(c, 1)
        nn.init.normal_(self.maps.weight, std=0.01)
        nn.init.zeros_(self.maps.bias)
        nn.init.constant_(self.centre.bias, PRIOR)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Detect in (B, 3, H, W); see the class for the outputs."""
        image = image * 4 - 2  # about the range of normalised photos
        fine = self.fine(image)
        if self.coarse is None:
            low, far = F.avg_pool2d(fine, 2), fine
            both = fine
        else:
            low, far = self.coarse(F.avg_pool2d(image, 2), fine)
            both = F.relu(fine + F.interpolate(self.meet(low), scale_factor=2.0, mode="nearest"))
        person = self.person(low)
        return {
            "maps": self.maps(self.head(both)),
            "centre": self.centre(person),
            "box": self.box(person),
            "presence": self.presence(far.mean((2, 3))),
        }
