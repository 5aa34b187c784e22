"""The network of *Let there be Color!*: local and global features, fused, and a color branch at half size.

Owns the architecture. `width=1.0` without batch norm is the paper's network, layer for layer; the edge network is
the same drawing with a quarter of the channels and with batch norm, which folds into the convolutions at export.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .. import activations

GLOBAL_SIZE = 224  # side of the picture that the global branch sees, fixed by its fully connected layers
LUMA_MEAN = 0.45  # subtracted from the input; the authors' own figure is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorizerOptions:
    """What makes one colorizer differ from another.

    Parameters
    ----------
    width : factor on every channel count; 1.0 is the paper, 0.25 the edge network
    batch_norm : batch norm after every convolution; the paper's own use of it is not certain
    noise : `None` for plain sigmoids, else a variant of `steadyframe.models.activations`
    classes : outputs of the classification head; 0 leaves it out
    bins : outputs of the auxiliary soft-binned color head, used in training only; 0 leaves it out
    """

    width: float = 1.0
    batch_norm: bool = False
    noise: str | None = None
    classes: int = 0
    bins: int = 0


class Colorizer(nn.Module):
    """Predicts the a* and b* of a picture from its luma.

    Parameters
    ----------
    options : see `ColorizerOptions`

    References
    ----------
    Iizuka et al. 2016, section 3 and table 1; fusion by their equation 4. The auxiliary color head is ours, after
    the soft bins of Zhang et al. 2016.
    """

    def __init__(self, options: ColorizerOptions | None = None) -> None:
        super().__init__()
        self.options = options or ColorizerOptions()
        norm = self.options.batch_norm

        def channels(paper: int) -> int:
            return max(8, round(paper * self.options.width / 8) * 8)

        def convs(inputs: int, *layers: tuple[int, int]) -> nn.Sequential:
            """3x3 convolutions with ReLU, one for each (channels in the paper, stride)."""
            parts: list[nn.Module] = []
            for outputs, stride in layers:
                parts.append(_conv(inputs, channels(outputs), stride, norm=norm))
                inputs = channels(outputs)
            return nn.Sequential(*parts)

        self.low_level = convs(1, (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1))
        self.global_convs = convs(channels(512), (512, 2), (512, 1), (512, 2), (512, 1))
        side = GLOBAL_SIZE // 32
        self.fc1 = _fully_connected(side * side * channels(512), channels(1024), norm=norm)
        self.fc2 = _fully_connected(channels(1024), channels(512), norm=norm)
        self.fc3 = _fully_connected(channels(512), channels(256), norm=norm)
        self.classify: nn.Module | None = None
        if self.options.classes:
            hidden = _fully_connected(channels(512), channels(256), norm=norm)
            self.classify = nn.Sequential(hidden, nn.Linear(channels(256), self.options.classes))

        self.mid_level = convs(channels(512), (512, 1), (256, 1))
        # One 1x1 convolution over [global; mid] is a 1x1 convolution over mid plus a linear map of global, added
        # everywhere: the same numbers, without copying the vector to every pixel.
        self.fuse_mid = nn.Conv2d(channels(256), channels(256), 1, bias=not norm)
        self.fuse_global = nn.Linear(channels(256), channels(256), bias=False)
        self.fuse_norm = nn.BatchNorm2d(channels(256)) if norm else nn.Identity()
        self.fuse_activation = activations.sigmoid(self.options.noise, channels(256))

        self.color1 = convs(channels(256), (128, 1))
        self.color2 = convs(channels(128), (64, 1), (64, 1))
        self.color3 = convs(channels(64), (32, 1))
        self.output = nn.Conv2d(channels(32), 2, 3, padding=1)
        self.output_activation = activations.sigmoid(self.options.noise, 2)
        self.bins = nn.Conv2d(channels(64), self.options.bins, 1) if self.options.bins else None
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.global_features = channels(256)

    def describe(self, luma: Tensor) -> tuple[Tensor, Tensor | None]:
        """Global features and class scores of a whole picture.

        Parameters
        ----------
        luma : (B, 1, 224, 224) in [0, 1]

        Returns
        -------
        (B, G) global features; (B, classes) scores, or None without a classification head
        """
        return self._describe(self.low_level(luma - LUMA_MEAN))

    def color(self, luma: Tensor, global_features: Tensor) -> Tensor:
        """Chroma at half size, (B, 2, H/2, W/2), as (ab / 100 + 1) / 2 in [0, 1].

        Parameters
        ----------
        luma : (B, 1, H, W) in [0, 1], H and W multiples of 8
        global_features : (B, G), of this picture or of another one whose mood it shall take
        """
        return self._color(self._fuse(self.low_level(luma - LUMA_MEAN), global_features))[0]

    def forward(self, luma: Tensor) -> dict[str, Tensor]:
        """Run every branch on squares, as training does; low-level features are computed once.

        Parameters
        ----------
        luma : (B, 1, S, S) in [0, 1]; S is 224 in the paper, and may be smaller in a first, cheap stage of training

        Returns
        -------
        dict with `chroma` (B, 2, S/2, S/2) and, where the heads exist, `classes` (B, N) and `bins` (B, Q, S/4, S/4)
        """
        low = self.low_level(luma - LUMA_MEAN)
        side = GLOBAL_SIZE // 8
        whole = low if low.shape[-1] == side else nn.functional.interpolate(low, size=(side, side))
        features, classes = self._describe(whole)
        chroma, bins = self._color(self._fuse(low, features))
        found = {"chroma": chroma, "classes": classes, "bins": bins}
        return {name: value for name, value in found.items() if value is not None}

    def _describe(self, low: Tensor) -> tuple[Tensor, Tensor | None]:
        second = self.fc2(self.fc1(self.global_convs(low).flatten(1)))
        return self.fc3(second), None if self.classify is None else self.classify(second)

    def _fuse(self, low: Tensor, features: Tensor) -> Tensor:
        fused = self.fuse_mid(self.mid_level(low)) + self.fuse_global(features)[:, :, None, None]
        return self.fuse_activation(self.fuse_norm(fused))  # (B, 256w, H/8, W/8)

    def _color(self, fused: Tensor) -> tuple[Tensor, Tensor | None]:
        quarter = self.color2(self.upsample(self.color1(fused)))  # (B, 64w, H/4, W/4)
        bins = self.bins(quarter) if self.bins is not None and self.training else None
        half = self.color3(self.upsample(quarter))  # (B, 32w, H/2, W/2)
        return self.output_activation(self.output(half)), bins


def ab_from_chroma(chroma: Tensor) -> Tensor:
    """CIELAB a* and b* of the network's output: 0.5 is neutral, the range is -100 to 100."""
    return 200 * chroma - 100


def chroma_from_ab(ab: Tensor) -> Tensor:
    """Target of the network for given a* and b*; what lies outside of [-100, 100] is clipped."""
    return (ab / 200 + 0.5).clamp(0, 1)


def build(config: dict[str, Any]) -> Colorizer:
    """Build the network that a checkpoint's `config` describes."""
    return Colorizer(ColorizerOptions(**config["net"]))


def _conv(inputs: int, outputs: int, stride: int, *, norm: bool) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=not norm)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU(inplace=True))


def _fully_connected(inputs: int, outputs: int, *, norm: bool) -> nn.Sequential:
    linear = nn.Linear(inputs, outputs, bias=not norm)
    return nn.Sequential(linear, *([nn.BatchNorm1d(outputs)] if norm else []), nn.ReLU(inplace=True))
