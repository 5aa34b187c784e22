"""The network of *Let there be Color!*: local and global features, fused, and a color branch.

Owns the architecture. `width=1.0` without batch norm, with sigmoid fusion and the mean head, is the paper's network,
layer for layer. The shipped network has fewer channels, ReLU at fusion, batch norm, which folds into the convolutions
at export, and predicts a distribution over colors.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import UsageError
from .. import activations
from .bins import annealed_mean, bin_centers, num_bins

GLOBAL_SIZE = 224  # side of the image that the global branch sees, fixed by its fully connected layers
LUMA_MEAN = 0.45  # subtracted from the input; the authors' own figure is not known
FUSIONS = ("sigmoid", "relu")
HEADS = ("mean", "distribution")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorizerOptions:
    """What makes one colorizer differ from another.

    Parameters
    ----------
    width : factor on every channel count; 1.0 is the paper
    color_width : factor on the channels from the last mid-level layer on; None is `width`
    batch_norm : batch norm after every convolution; the paper's own use of it is not certain
    noise : `None` for plain sigmoids, else a variant of `steadyframe.models.activations`
    classes : outputs of the classification head; 0 leaves it out
    fusion : activation of the fusion layer, ``sigmoid`` or ``relu``; the paper leaves it open
    head : ``mean`` (the paper: a* and b* at half size) or ``distribution`` (over bins of ab, at quarter size)
    temperature : of the annealed mean that a distribution is turned into
    undo : share of the training's weights of rare colors that is taken back, 0..1; 1 gives the photos' frequencies
    """

    width: float = 1.0
    color_width: float | None = None
    batch_norm: bool = False
    noise: str | None = None
    classes: int = 0
    fusion: str = "sigmoid"
    head: str = "mean"
    temperature: float = 0.5
    undo: float = 0.5

    def __post_init__(self) -> None:
        for name, value, known in (("fusion", self.fusion, FUSIONS), ("head", self.head, HEADS)):
            if value not in known:
                raise UsageError(f"There is no {name} {value!r}", available=known)
        if self.noise is not None and self.fusion == "relu" and self.head == "distribution":
            raise UsageError(
                "Noise needs an activation that saturates, and this colorizer has none",
                found=f"noise {self.noise!r}", todo="Take --fusion sigmoid or --head mean",
            )  # fmt: skip


class Colorizer(nn.Module):
    """Predicts the a* and b* of an image from its luma.

    Parameters
    ----------
    options : see `ColorizerOptions`

    References
    ----------
    Iizuka et al. 2016, section 3 and table 1; fusion by their equation 4. The head `distribution` follows Zhang,
    Isola and Efros 2016.
    """

    def __init__(self, options: ColorizerOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or ColorizerOptions()
        norm = options.batch_norm
        color_width = options.width if options.color_width is None else options.color_width

        def channels(paper: int, width: float = options.width) -> int:
            return max(8, round(paper * width / 8) * 8)

        def in_color(paper: int) -> int:
            return channels(paper, color_width)

        self.low_level = _convs(1, [(channels(64), 2), (channels(128), 1), (channels(128), 2), (channels(256), 1),
                                    (channels(256), 2), (channels(512), 1)], norm=norm)  # fmt: skip
        self.global_convs = _convs(channels(512), [(channels(512), 2), (channels(512), 1)] * 2, norm=norm)
        side = GLOBAL_SIZE // 32
        self.fc1 = _fully_connected(side * side * channels(512), channels(1024), norm=norm)
        self.fc2 = _fully_connected(channels(1024), channels(512), norm=norm)
        self.fc3 = _fully_connected(channels(512), channels(256), norm=norm)
        self.classify: nn.Module | None = None
        if options.classes:
            hidden = _fully_connected(channels(512), channels(256), norm=norm)
            self.classify = nn.Sequential(hidden, nn.Linear(channels(256), options.classes))

        self.mid_level = _convs(channels(512), [(channels(512), 1), (in_color(256), 1)], norm=norm)
        # One 1x1 convolution over [global; mid] is a 1x1 convolution over mid plus a linear map of global, added
        # everywhere: the same numbers, without copying the vector to every pixel.
        self.fuse_mid = nn.Conv2d(in_color(256), in_color(256), 1, bias=not norm)
        self.fuse_global = nn.Linear(channels(256), in_color(256), bias=False)
        self.fuse_norm = nn.BatchNorm2d(in_color(256)) if norm else nn.Identity()
        sigmoid = options.fusion == "sigmoid"
        self.fuse_activation = activations.sigmoid(options.noise, in_color(256)) if sigmoid else nn.ReLU(inplace=True)

        self.color1 = _convs(in_color(256), [(in_color(128), 1)], norm=norm)
        self.color2 = _convs(in_color(128), [(in_color(64), 1)] * 2, norm=norm)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.global_features = channels(256)
        if options.head == "mean":
            self.color3 = _convs(in_color(64), [(in_color(32), 1)], norm=norm)
            self.output = nn.Conv2d(in_color(32), 2, 3, padding=1)
            self.output_activation = activations.sigmoid(options.noise, 2)
        else:
            self.bins = nn.Conv2d(in_color(64), num_bins(), 1)
            self.register_buffer("centers", bin_centers())
            self.register_buffer("log_weights", torch.zeros(num_bins()))

    def describe(self, luma: Tensor) -> tuple[Tensor, Tensor | None]:
        """Global features and class scores of a whole image.

        Parameters
        ----------
        luma : (B, 1, 224, 224) in [0, 1]

        Returns
        -------
        (B, G) global features; (B, classes) scores, or None without a classification head
        """
        return self._describe(self.low_level(luma - LUMA_MEAN))

    def predict_ab(self, luma: Tensor, global_features: Tensor) -> Tensor:
        """Predict a* and b* in CIELAB units, at half size (head `mean`) or at quarter size.

        Parameters
        ----------
        luma : (B, 1, H, W) in [0, 1], H and W multiples of 8
        global_features : (B, G), of this image or of another one whose mood it shall take

        Returns
        -------
        (B, 2, H/2, W/2) or (B, 2, H/4, W/4)
        """
        found = self._color(self._fuse(self.low_level(luma - LUMA_MEAN), global_features))
        return ab_from_chroma(found) if self.options.head == "mean" else self.ab_from_logits(found)

    def ab_from_logits(self, logits: Tensor) -> Tensor:
        """Turn the distribution into one color a pixel, (B, 2, H, W) in CIELAB units, by the options' two knobs."""
        if self.options.undo:
            logits = logits - self.options.undo * self.log_weights.view(1, -1, 1, 1)
        return annealed_mean(logits, self.centers, self.options.temperature)

    def forward(self, luma: Tensor) -> dict[str, Tensor]:
        """Run every branch on square crops, as training does; low-level features are computed once.

        Parameters
        ----------
        luma : (B, 1, S, S) in [0, 1]; S is 224 in the paper, and may be smaller in a first, cheap stage of training

        Returns
        -------
        dict with `chroma` (B, 2, S/2, S/2) in [0, 1] or `bins` (B, Q, S/4, S/4) logits, and `classes` (B, N) where
        the network has that head
        """
        low = self.low_level(luma - LUMA_MEAN)
        side = GLOBAL_SIZE // 8
        whole = low if low.shape[-1] == side else nn.functional.interpolate(low, size=(side, side))
        features, classes = self._describe(whole)
        color = self._color(self._fuse(low, features))
        found = {"chroma" if self.options.head == "mean" else "bins": color, "classes": classes}
        return {name: value for name, value in found.items() if value is not None}

    def _describe(self, low: Tensor) -> tuple[Tensor, Tensor | None]:
        second = self.fc2(self.fc1(self.global_convs(low).flatten(1)))
        return self.fc3(second), None if self.classify is None else self.classify(second)

    def _fuse(self, low: Tensor, features: Tensor) -> Tensor:
        fused = self.fuse_mid(self.mid_level(low)) + self.fuse_global(features)[:, :, None, None]
        return self.fuse_activation(self.fuse_norm(fused))  # (B, 256w, H/8, W/8)

    def _color(self, fused: Tensor) -> Tensor:
        """Chroma at half size, or logits of the bins at quarter size."""
        quarter = self.color2(self.upsample(self.color1(fused)))  # (B, 64w, H/4, W/4)
        if self.options.head == "distribution":
            return self.bins(quarter)
        half = self.color3(self.upsample(quarter))  # (B, 32w, H/2, W/2)
        return self.output_activation(self.output(half))


@torch.no_grad()
def fold_knobs(net: Colorizer) -> Colorizer:
    """Copy a network with `undo` and `temperature` in the weights of its last convolution, for export."""
    net = copy.deepcopy(net)
    if net.options.head == "distribution":
        net.bins.bias.sub_(net.options.undo * net.log_weights).div_(net.options.temperature)
        net.bins.weight.div_(net.options.temperature)
        net.options = dataclasses.replace(net.options, undo=0.0, temperature=1.0)
    return net


def ab_from_chroma(chroma: Tensor) -> Tensor:
    """Convert the network's output, (N, 2, h, w) around 0.5, to CIELAB a* and b* from -100 to 100."""
    return 200 * chroma - 100


def chroma_from_ab(ab: Tensor) -> Tensor:
    """Convert (N, 2, h, w) a* and b* to the target of the head `mean`; values outside [-100, 100] are clipped."""
    return (ab / 200 + 0.5).clamp(0, 1)


def build(config: dict[str, Any]) -> Colorizer:
    """Build the network that a checkpoint's `config` describes."""
    return Colorizer(ColorizerOptions(**config["net"]))


def _convs(inputs: int, layers: list[tuple[int, int]], *, norm: bool) -> nn.Sequential:
    """3x3 convolutions with ReLU, one for each (channels, stride)."""
    parts: list[nn.Module] = []
    for outputs, stride in layers:
        parts.append(_conv(inputs, outputs, stride, norm=norm))
        inputs = outputs
    return nn.Sequential(*parts)


def _conv(inputs: int, outputs: int, stride: int, *, norm: bool) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=not norm)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU(inplace=True))


def _fully_connected(inputs: int, outputs: int, *, norm: bool) -> nn.Sequential:
    linear = nn.Linear(inputs, outputs, bias=not norm)
    return nn.Sequential(linear, *([nn.BatchNorm1d(outputs)] if norm else []), nn.ReLU(inplace=True))
