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
from .batches import collate
from .edge import STRIDE
from .metrics import detection_curve, errors_in_torsos, pck
from .people import People
from .targets import decode, to_pixels


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
    net: nn.Module, people: People, skeleton: Skeleton, *, size: int, device: str, output: str = "final"
) -> Evaluation:
    """Run a network in eval mode over every person's ground-truth crop."""
    cropper = Cropper(people, skeleton, np.random.default_rng(0))
    found, joints, peaks, presence = [], [], [], []
    for start in range(0, len(people), 32):
        samples = [cropper.plain(i, size) for i in range(start, min(start + 32, len(people)))]
        batch = collate(samples, len(samples), device)
        outputs: dict[str, Tensor] = net(batch.image)
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
