"""Measures a pose network on labelled people: PCK a joint, the detection-rate curve, and what presence says.

Owns running a network over ground-truth crops. Protocol: box x 1.25, no flip, no averaging of scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...runtime.bundle.manifest import Skeleton
from ...runtime.engines.session import Session
from .augment import Cropper
from .batches import Batch, collate
from .edge import STRIDE
from .metrics import detection_curve, errors_in_torsos, pck
from .net import PoseNet
from .people import People
from .targets import decode, to_cells, to_pixels, torso_maps


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Joints found in the crops of one set.

    Parameters
    ----------
    found, joints : (N, J, 2) in pixels of the crop; peaks : (N, J); known : (N, J), 0 where nobody marked
    presence : (N,) in [0, 1]
    errors : (N, J) in torsos, NaN where unknown
    """

    found: NDArray[np.float32]
    joints: NDArray[np.float32]
    peaks: NDArray[np.float32]
    known: NDArray[np.float32]
    presence: NDArray[np.float32]
    errors: NDArray[np.float64]
    names: tuple[str, ...]

    def pck(self, radius: float = 0.2) -> dict[str, float]:
        """Share of joints within `radius` torsos."""
        return pck(self.errors, self.names, radius)

    def curve(self) -> NDArray[np.float64]:
        """Compute the mean detection rate of the limb joints, (len(RADII),), over `metrics.RADII`."""
        return detection_curve(self.errors, self.names)


@torch.no_grad()
def evaluate(
    net: nn.Module, people: People, skeleton: Skeleton, *, size: int, device: str, output: str = "final",
    pairs: bool = False,
) -> Evaluation:  # fmt: skip
    """Run a network in eval mode over every person's true crop; with `pairs`, another person stands beside."""
    cropper = Cropper(people, skeleton, np.random.default_rng(0))
    cut = cropper.pair if pairs else cropper.plain
    found, joints, peaks, presence = [], [], [], []
    for start in range(0, len(people), 32):
        samples = [cut(i, size) for i in range(start, min(start + 32, len(people)))]
        batch = collate(samples, len(samples), device)
        outputs = run(net, batch, skeleton)
        cells, height = decode(outputs[output].float())
        found.append(to_pixels(cells, STRIDE).cpu())
        peaks.append(height.cpu())
        joints.append(batch.joints.cpu())
        here = outputs.get("presence")
        unknown = torch.full((len(samples),), torch.nan)
        presence.append(unknown if here is None else torch.sigmoid(here.float())[:, 0].cpu())
    at, truth = torch.cat(found).numpy(), torch.cat(joints).numpy()
    errors = errors_in_torsos(at, truth, people.known, skeleton.joints)
    return Evaluation(
        at, truth, torch.cat(peaks).numpy(), people.known, torch.cat(presence).numpy(), errors, skeleton.joints
    )


def run(net: nn.Module, batch: Batch, skeleton: Skeleton) -> dict[str, Tensor]:
    """Run a network on a batch of crops; one whose spatial model is told the torso gets the true one.

    Parameters
    ----------
    batch : its `image` is (B, 3, S, S) float32 BGR in [0, 1]

    Returns
    -------
    dict
        What the network gives, such as `maps` (B, J, S / 4, S / 4).
    """
    outputs: dict[str, Tensor]
    if isinstance(net, PoseNet) and net.spatial is not None and net.spatial.options.torso:
        grid = batch.image.shape[-1] // STRIDE
        outputs = net(
            batch.image, torso_maps(to_cells(batch.joints, STRIDE), batch.shown, skeleton.joints, (grid, grid))
        )
    else:
        outputs = net(batch.image)
    return outputs


def session_pck(session: Session, people: People, skeleton: Skeleton, *, count: int) -> float:
    """Measure an exported graph: PCK of the limb joints at 0.2 torsos over the first `count` people, in percent.

    Parameters
    ----------
    session : of the graph of a pose bundle, on any device and in any precision
    """
    size, count = int(session.inputs[0].axes[1]), min(count, len(people))
    cropper = Cropper(people, skeleton, np.random.default_rng(0))
    found, joints = [], []
    for index in range(count):
        crop = cropper.plain(index, size)
        found.append(session.run({"frame": np.ascontiguousarray(crop.image[None])})["keypoints"][0, :, :2])
        joints.append(crop.joints)
    errors = errors_in_torsos(np.stack(found), np.stack(joints), people.known[:count], skeleton.joints)
    return 100 * pck(errors, skeleton.joints)["limbs"]
