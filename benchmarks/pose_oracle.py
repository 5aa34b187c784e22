"""What a perfect choice among a heat-map's highest peaks would bring: the room that any spatial model has.

PCK at 0.2 torsos of the twelve limb joints in crops of the true boxes x 1.25, one pass, when that one of the K
highest peaks counts that is nearest to the truth. With a checkpoint that has a spatial model, its row stands beside
the detector's. Usage::

    python benchmarks/pose_oracle.py ../shared/data NAME=CHECKPOINT.pt [NAME=BUNDLE ...]
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.pose.augment import Cropper
from steadyframe.models.pose.batches import collate
from steadyframe.models.pose.edge import STRIDE
from steadyframe.models.pose.evaluate import run
from steadyframe.models.pose.metrics import errors_in_torsos, pck
from steadyframe.models.pose.net import build
from steadyframe.models.pose.people import People, load_people
from steadyframe.models.pose.skeleton import SKELETONS
from steadyframe.models.pose.targets import SMOOTHING, decode, to_pixels

KEPT = 5
SETS = {"sports": "pose/lspet/val.json", "new people": "pose/teacher/people_val.json"}
DRAWS = 300


@torch.no_grad()
def peaks(maps: torch.Tensor) -> torch.Tensor:
    """Give the K highest peaks of each map, (B, K, J, 2) in pixels; the first is the one that `decode` takes."""
    smooth = maps
    for _ in range(SMOOTHING):
        smooth = F.avg_pool2d(smooth, 3, 1, 1, count_include_pad=False)
    top = smooth * (smooth >= F.max_pool2d(smooth, 5, 1, 2))
    place = top.flatten(2).topk(KEPT).indices  # (B, J, K)
    cells = torch.stack((place % maps.shape[-1], place // maps.shape[-1]), -1).float().transpose(1, 2)
    cells[:, 0] = decode(maps)[0]
    return to_pixels(cells, STRIDE)


@torch.no_grad()
def errors(net: torch.nn.Module, people: People, size: int, *, pairs: bool = False) -> dict[str, np.ndarray]:
    """Errors in torsos, (N, J), when the best of 1, 2, 3 and 5 peaks counts, and of the spatial model.

    With `pairs`, a second person stands beside each.
    """
    skeleton = SKELETONS["union-19"]
    cropper, found, final, joints = Cropper(people, skeleton, np.random.default_rng(0)), [], [], []
    cut = cropper.pair if pairs else cropper.plain
    for start in range(0, len(people), 32):
        samples = [cut(i, size) for i in range(start, min(start + 32, len(people)))]
        batch = collate(samples, len(samples), "cpu")
        outputs = run(net, batch, skeleton)
        found.append(peaks(outputs["maps"].float()).numpy())
        final.append(to_pixels(decode(outputs["final"].float())[0], STRIDE).numpy())
        joints.append(batch.joints.numpy())
    truth, at = np.concatenate(joints), np.concatenate(found)
    each = np.stack(
        [errors_in_torsos(at[:, k], truth, people.known, skeleton.joints) for k in range(KEPT)]
    )  # (K, N, J)
    rows = {f"best of {k}": each[:k].min(0) for k in (1, 2, 3, 5)}
    if getattr(net, "spatial", None) is not None:
        rows["spatial model"] = errors_in_torsos(np.concatenate(final), truth, people.known, skeleton.joints)
    return rows


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.argument("named", nargs=-1, required=True, metavar="NAME=CHECKPOINT...")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("runs/pose/cache"), show_default=True)
def main(data: Path, named: tuple[str, ...], cache: Path) -> None:
    """Print a table a checkpoint."""
    skeleton, rng = SKELETONS["union-19"], np.random.default_rng(0)
    for item in named:
        name, path = item.split("=", 1)
        checkpoint = Checkpoint.load(path, task="pose")
        net = build(checkpoint.config)
        net.load_state_dict(checkpoint.weights)
        for title, labels in SETS.items():
            people = load_people([data / labels], skeleton, root=data, size=320, cache=cache)
            for row, seen in errors(net.eval(), people, int(checkpoint.config["size"])).items():
                draws = (rng.integers(0, len(people), len(people)) for _ in range(DRAWS))
                low, high = np.percentile([pck(seen[d], skeleton.joints)["limbs"] for d in draws], [2.5, 97.5])
                share = pck(seen, skeleton.joints)["limbs"]
                print(f"{name:12s} {title:10s} {row:14s} {share:.3f} ({low:.3f} .. {high:.3f})")


if __name__ == "__main__":
    main()
