"""The pose network as one graph: a square image in, joints, presence and people out.

Owns what the exporter sees: decoding, calibration of scores and the search for people's centres, all with fixed
shapes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...runtime.bundle.manifest import Skeleton
from ...runtime.errors import BundleError
from ..checkpoint import Checkpoint
from .edge import CENTRE_STRIDE, STRIDE, EdgeDetector
from .messages import FourierMessages, LowRankMessages
from .net import PoseNet, build
from .scenes import BOX_UNIT
from .skeleton import make_skeleton
from .targets import decode, to_pixels

CANDIDATES = 12  # people that the graph names at most
LEAST_SCORE = 0.05  # of a person; the rows of the others are zero, for their order would be chance
RANK = 3  # of the kernels, unless the checkpoint says otherwise; None there means exact, through spectra
OUTPUTS = ("keypoints", "presence", "people", "maps")


class PoseGraph(nn.Module):
    """Pose of square images, (B, 3, S, S) float32 BGR in [0, 1].

    Parameters
    ----------
    net : an edge network, with or without its spatial model
    calibration : slope and offset of the logistic curve from a peak's logarithm to the chance that the joint is right
    rank : of the spatial model's factored kernels; None computes them exactly, through spectra

    Returns of the network
    ----------------------
    keypoints : (B, J, 3), x and y in pixels of the image, and the score in [0, 1]
    presence : (B,), chance that a person fills the image
    people : (B, 12, 4), centre x, y, side in pixels, and score of the people in it, best first
    maps : (B, J, S/4, S/4), the heat-maps that were decoded
    """

    def __init__(
        self, net: PoseNet, *, calibration: tuple[float, float] = (1.0, 0.0), rank: int | None = None
    ) -> None:
        super().__init__()
        assert isinstance(net.detector, EdgeDetector)
        self.detector, self.spatial = net.detector, net.spatial
        self.calibration = calibration
        self.as_trained = False  # True: the convolutions themselves, for parity
        self.messages: FourierMessages | LowRankMessages | None = None
        if self.spatial is not None and self.spatial.options.torso:
            raise BundleError("This spatial model is told the true torso, which nobody knows at run time")
        if self.spatial is not None:
            self.messages = FourierMessages(self.spatial) if rank is None else LowRankMessages(self.spatial, rank)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Detect, apply the spatial model, decode: (B, 3, S, S) to the four outputs of the class."""
        found = self.detector(image)
        maps = found["maps"]
        if self.spatial is not None:
            messages: Callable[[Tensor], Tensor] | None = self.spatial.messages if self.as_trained else self.messages
            assert messages is not None
            maps = self.spatial.weigh(maps, messages)
        cells, peaks = decode(maps)
        slope, offset = self.calibration
        scores = torch.sigmoid(torch.log(peaks.clamp(min=1e-4)) * slope + offset)
        keypoints = torch.cat((to_pixels(cells, STRIDE), scores.unsqueeze(-1)), -1)
        presence = torch.sigmoid(found["presence"])[:, 0]
        return keypoints, presence, find_people(found["centre"], found["box"]), maps


def of_checkpoint(checkpoint: Checkpoint) -> PoseGraph:
    """Build the graph of a trained edge network, with its calibration and the rank of its kernels, in eval mode.

    Raises
    ------
    BundleError
        If the checkpoint holds another network, or weights that do not fit it.
    """
    net = build(checkpoint.config)
    if not isinstance(net.detector, EdgeDetector):
        raise BundleError("Only the edge network becomes a bundle", expected="--network edge", found="paper")
    try:
        net.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise BundleError(f"Weights and configuration of the checkpoint do not fit ({str(error)[:300]})") from error
    slope, offset = checkpoint.config.get("calibration", (1.0, 0.0))
    rank = checkpoint.config.get("rank", RANK)
    return PoseGraph(net.eval(), calibration=(float(slope), float(offset)), rank=rank).eval()


def skeleton_of(checkpoint: Checkpoint) -> Skeleton:
    """Give the skeleton that a checkpoint was trained on."""
    return make_skeleton(str(checkpoint.config.get("skeleton", "union-19")), checkpoint.config["joints"])


def find_people(centre: Tensor, box: Tensor) -> Tensor:
    """Take the highest peaks of the centre map, (B, 1, h, w) logits, and the boxes there: (B, K, 4)."""
    width = centre.shape[-1]
    heat = torch.sigmoid(centre)
    peak = heat * (heat >= F.max_pool2d(heat, 3, 1, 1)).to(heat.dtype)
    scores, place = torch.topk(peak.flatten(1), CANDIDATES, dim=1)
    values = box.flatten(2).gather(2, place.unsqueeze(1).expand(-1, 3, -1))  # (B, 3, K)
    x = to_pixels((place % width).to(box.dtype) + values[:, 1], CENTRE_STRIDE)
    y = to_pixels(torch.div(place, width, rounding_mode="floor").to(box.dtype) + values[:, 2], CENTRE_STRIDE)
    side = torch.exp(values[:, 0].clamp(-4, 4)) * BOX_UNIT
    found = torch.stack((x, y, side, scores), -1)
    return found * (scores > LEAST_SCORE).to(found.dtype).unsqueeze(-1)
