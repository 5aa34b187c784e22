"""The real-time stylizer: seven channels in, an image out, nearly all work at an eighth of the resolution.

Owns the network and the folding of its normalization. Knows nothing of losses, flow or files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

NORMS = ("batch", "standardized", "instance")
MULTIPLE = 8  # height and width of what the network takes


@dataclass(frozen=True, slots=True, kw_only=True)
class StylizeOptions:
    """Sizes of `StylizeNet`, chosen by measured speed on two CPU cores.

    Parameters
    ----------
    quarter, eighth : channels at a quarter and at an eighth of the resolution
    blocks : inverted residual blocks at an eighth
    expansion : their inner channels over their outer ones
    norm : ``batch`` (folded away at export), ``standardized`` (weights, folded too) or ``instance`` (for comparison)
    refine : kernel of a last convolution at full size, against the weave of the 4x4 sub-pixels; 0 has none
    """

    quarter: int = 32
    eighth: int = 64
    blocks: int = 5
    expansion: int = 2
    norm: str = "batch"
    refine: int = 0

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ValueError(f"norm is one of {', '.join(NORMS)}, not {self.norm!r}")
        if self.refine not in (0, 3, 5):
            raise ValueError(f"refine is 0, 3 or 5, not {self.refine!r}")

    def plain(self) -> dict[str, Any]:
        """Give the options as plain values for a checkpoint."""
        return asdict(self)


class StylizeNet(nn.Module):
    """Restyle a frame, given the previous output warped to it and a mask that says where to trust that.

    The image is made as ``fresh + gate * mask * (previous - fresh)``: where the mask allows it, the network can
    keep a brush stroke instead of having to paint the same one again. With a mask of zeros (the first frame, a cut)
    it paints everything afresh.

    Parameters
    ----------
    options : sizes and normalization

    References
    ----------
    The seven channels and the first-frame mode: Ruder et al. 2018, section 3. Space-to-depth stem, the inverted
    residual trunk and the gate: ours.
    """

    def __init__(self, options: StylizeOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or StylizeOptions()
        norm, quarter, eighth = options.norm, options.quarter, options.eighth
        self.stem = ConvNorm(7, quarter, 4, stride=4, norm=norm)  # (B, quarter, H/4, W/4)
        self.down = ConvNorm(quarter, eighth, 3, stride=2, norm=norm)  # (B, eighth, H/8, W/8)
        self.trunk = nn.Sequential(
            *(InvertedResidual(eighth, eighth * options.expansion, norm=norm) for _ in range(options.blocks))
        )
        self.up = ConvNorm(eighth, 4 * quarter, 1, norm=norm, relu=False)
        # Four planes of 4x4 sub-pixels: three colors and the gate.
        self.head = nn.Conv2d(quarter, 4 * 16, 3, padding=1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.refine: nn.Conv2d | None = None
        if options.refine:
            self.refine = nn.Conv2d(4, 4, options.refine, padding=options.refine // 2)
            nn.init.dirac_(self.refine.weight)
            nn.init.zeros_(self.refine.bias)

    def forward(self, frame: Tensor, previous: Tensor, mask: Tensor) -> Tensor:
        """Restyle a batch.

        Parameters
        ----------
        frame : (B, 3, H, W) BGR in [0, 1]; H and W are multiples of 8
        previous : (B, 3, H, W) BGR in [0, 1]; the last output, warped to this frame
        mask : (B, 1, H, W) in [0, 1]; 1 where `previous` may be trusted

        Returns
        -------
        (B, 3, H, W) BGR in [0, 1]
        """
        x = torch.cat((frame - 0.5, (previous - 0.5) * mask, mask), 1)
        x = self.stem(x)
        x = F.relu(x + F.pixel_shuffle(self.up(self.trunk(self.down(x))), 2))
        x = F.pixel_shuffle(self.head(x), 4)
        x = torch.sigmoid(x if self.refine is None else self.refine(x))
        fresh, gate = x[:, :3], x[:, 3:]
        return fresh + gate * mask * (previous - fresh)


class ConvNorm(nn.Module):
    """A convolution, its normalization, and usually a ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        norm: str,
        stride: int = 1,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        padding = 0 if kernel == stride else kernel // 2
        convolution = StandardizedConv2d if norm == "standardized" else nn.Conv2d
        biased = norm == "standardized"
        self.conv = convolution(inputs, outputs, kernel, stride, padding, groups=groups, bias=biased)
        self.norm: nn.Module = nn.Identity()
        if norm == "batch":
            self.norm = nn.BatchNorm2d(outputs, momentum=0.05)
        elif norm == "instance":
            self.norm = nn.InstanceNorm2d(outputs, affine=True)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalize, rectify: (B, C, H, W)."""
        x = self.norm(self.conv(x))
        return F.relu(x) if self.relu else x


class InvertedResidual(nn.Module):
    """Widen, filter every channel by itself, narrow again, add."""

    def __init__(self, channels: int, inner: int, *, norm: str) -> None:
        super().__init__()
        self.widen = ConvNorm(channels, inner, 1, norm=norm)
        self.filter = ConvNorm(inner, inner, 3, groups=inner, norm=norm)
        self.narrow = ConvNorm(inner, channels, 1, norm=norm, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Add what the three convolutions find to (B, C, h, w) features."""
        return x + self.narrow(self.filter(self.widen(x)))


class StandardizedConv2d(nn.Conv2d):
    """A convolution whose kernels have zero mean and unit norm, times a learned gain: needs no statistics at all.

    References
    ----------
    Qiao et al. 2019, Weight Standardization; gain as in Brock et al. 2021.
    """

    def __init__(self, *sizes: int, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.gain = nn.Parameter(torch.full((self.out_channels, 1, 1, 1), 2**0.5))

    def kernels(self) -> Tensor:
        """Compute the standardized kernels that the convolution uses, (C_out, C_in, k, k)."""
        spread, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, unbiased=False)
        fan_in = self.weight[0].numel()
        return self.gain * (self.weight - mean) * torch.rsqrt(spread * fan_in + 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W) with the standardized kernels."""
        return F.conv2d(x, self.kernels(), self.bias, self.stride, self.padding, groups=self.groups)


@torch.no_grad()
def fold(net: StylizeNet) -> StylizeNet:
    """Give a copy for export in which every batch norm and standardization is part of its convolution.

    Instance norm depends on the frame and stays.
    """
    folded = StylizeNet(net.options)
    folded.load_state_dict(net.state_dict())
    folded.eval()
    for module in folded.modules():
        if isinstance(module, ConvNorm):
            if isinstance(module.norm, nn.BatchNorm2d):
                module.conv = nn.utils.fusion.fuse_conv_bn_eval(module.conv.eval(), module.norm)
                module.norm = nn.Identity()
            elif isinstance(module.conv, StandardizedConv2d):
                module.conv = _plain(module.conv)
    return folded


@torch.no_grad()
def folding_scales(net: StylizeNet) -> dict[str, NDArray[np.float32]]:
    """Compute by what `fold` multiplies each kernel's outputs, (C,) float32 by the weight's name; 1 is left out."""
    scales = {}
    for name, module in net.named_modules():
        if isinstance(module, ConvNorm) and isinstance(module.norm, nn.BatchNorm2d):
            assert module.norm.running_var is not None
            scale = torch.rsqrt(module.norm.running_var + module.norm.eps) * module.norm.weight
            scales[f"{name}.conv.weight"] = scale.cpu().numpy()
    return scales


def _plain(conv: StandardizedConv2d) -> nn.Conv2d:
    """Make an ordinary convolution with the standardized kernels."""
    stride, padding = conv.stride[0], int(conv.padding[0])
    plain = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size[0], stride, padding, groups=conv.groups)
    plain.weight.copy_(conv.kernels())
    assert conv.bias is not None and plain.bias is not None
    plain.bias.copy_(conv.bias)
    return plain
