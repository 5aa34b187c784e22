r"""What each step of the paper brings: one bank, two banks, the spatial model, joint training, and their controls.

PCK at 0.2 torsos of several checkpoints on LSP's validation people, each with its gain over the one before, or over
the one that `NAME/BEFORE=CHECKPOINT` says; crops are the ground truth's boxes x 1.25, one pass, no flip. The gain's
interval is a paired bootstrap over people. Beside it stands what Tompson et al. 2014 say of FLIC's wrists and elbows:
5 points by overlapping receptive fields in banks, 10 to 15 by the spatial model, 3 by joint training.

*Best of 2* is what a perfect choice among the detector's two highest peaks would reach. `--permuted` adds a row to
each checkpoint with a spatial model: its kernels and biases exchanged between pairs of joints. `--pairs` puts a
second person beside each, as in many images of FLIC; checkpoints of `--torso` are told the true torso. A detector
that got the minutes of the joint stage is made with `--stage detector --start`. Usage::

    python benchmarks/pose_ablation.py ../shared/data detector=runs/pose/edge/detector.pt \
        spatial=runs/pose/edge2/spatial.pt longer/detector=runs/pose/longer/detector.pt \
        joint/longer=runs/pose/edge2/joint.pt --permuted --plot ablation.png
"""

from __future__ import annotations

import copy
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from pose_oracle import errors as errors_of
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.pose.metrics import RADII, detection_curve, pck
from steadyframe.models.pose.net import build
from steadyframe.models.pose.people import load_people
from steadyframe.models.pose.skeleton import SKELETONS
from steadyframe.models.pose.spatial import SpatialModel

PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
PAPER = {"banks": "5", "two": "5", "spatial": "10-15", "joint": "3"}  # a name that starts so -> points in the paper
SKELETON = SKELETONS["union-19"]


def permuted(model: SpatialModel, seed: int = 0) -> SpatialModel:
    """Exchange the kernels and biases between pairs of joints: as much is said, and nothing of it is true."""
    mixed = copy.deepcopy(model)
    count = mixed.options.joints
    pairs = [(a, v) for a in range(count) for v in range(count) if a != v]
    order = np.random.default_rng(seed).permutation(len(pairs))
    with torch.no_grad():
        for (a, v), other in zip(pairs, order, strict=True):
            mixed.kernels[a, v], mixed.biases[a, v] = model.kernels[pairs[other]], model.biases[pairs[other]]
    return mixed


def limbs(errors: NDArray[np.float64]) -> float:
    """Points of PCK over the twelve limb joints."""
    return 100 * pck(errors, SKELETON.joints)["limbs"]


def interval(errors: NDArray[np.float64], before: NDArray[np.float64] | None) -> tuple[float, float]:
    """95 % of the bootstrap over people: of the points, or of the gain over another network on the same people."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(300):
        draw = rng.integers(0, len(errors), len(errors))
        values.append(limbs(errors[draw]) - (0 if before is None else limbs(before[draw])))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.argument("named", nargs=-1, required=True, metavar="NAME[/BEFORE]=CHECKPOINT...")
@click.option("--permuted", "control", is_flag=True, help="Also each spatial model with its kernels exchanged.")
@click.option("--pairs", is_flag=True, help="Put a second person beside each.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("runs/pose/cache"), show_default=True)
@click.option("--plot", type=click.Path(path_type=Path), help="Image of the detection-rate curves.")
def main(data: Path, named: tuple[str, ...], control: bool, pairs: bool, cache: Path, plot: Path | None) -> None:
    """Compare CHECKPOINTS, each with the one before; names may start with banks, spatial, joint."""
    people = load_people([data / "pose/lspet/val.json"], SKELETON, root=data, size=320, cache=cache)
    rows: dict[str, NDArray[np.float64]] = {}
    last: str | None = None
    print(f"{len(people)} people of lspet/val{', each beside another' if pairs else ''}, PCK@0.2 in points")
    print(f"{'':18s} {'trained':>16s} {'limbs':>6s} {'95 %':>14s} " + " ".join(f"{p:>8s}" for p in PARTS)
          + f" {'best of 2':>9s} {'gain':>6s} {'95 %':>14s}  paper")  # fmt: skip
    for item in named:
        name, path = item.split("=", 1)
        name, _, before = name.partition("/")
        checkpoint = Checkpoint.load(path, task="pose")
        net = build(checkpoint.config)
        net.load_state_dict(checkpoint.weights)
        size, trained = int(checkpoint.config["size"]), f"{checkpoint.seconds / 60:.0f} min, {checkpoint.step}"
        seen = errors_of(net.eval(), people, size, pairs=pairs)
        rows[name] = seen.get("spatial model", seen["best of 1"])
        print(line(name, trained, rows[name], seen["best of 2"], rows.get(before or last or "")), flush=True)
        if control and net.spatial is not None:
            net.spatial = permuted(net.spatial)
            mixed = errors_of(net, people, size, pairs=pairs)["spatial model"]
            print(line("  kernels exchanged", "", mixed, seen["best of 2"], rows[name]), flush=True)
        last = name
    if plot is not None:
        draw({name: detection_curve(errors, SKELETON.joints) for name, errors in rows.items()}, plot)


def line(
    name: str,
    trained: str,
    errors: NDArray[np.float64],
    best: NDArray[np.float64],
    before: NDArray[np.float64] | None,
) -> str:
    """One row of the table."""
    shares = pck(errors, SKELETON.joints)
    parts = " ".join(f"{50 * (shares[f'left_{p}'] + shares[f'right_{p}']):8.1f}" for p in PARTS)
    low, high = interval(errors, None)
    row = f"{name:18s} {trained:>16s} {limbs(errors):6.1f} {low:6.1f} .. {high:4.1f} {parts} {limbs(best):9.1f}"
    if before is not None:
        low, high = interval(errors, before)
        row += f" {limbs(errors) - limbs(before):+6.1f} {low:+6.1f} .. {high:+4.1f}  "
        row += next((points for start, points in PAPER.items() if name.startswith(start)), "-")
    return row


def draw(curves: dict[str, NDArray[np.float64]], path: Path) -> None:
    """Plot the detection-rate curves."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, curve in curves.items():
        axes.plot(RADII, 100 * curve, label=name)
    axes.set(
        xlabel="radius in torso heights", ylabel="detection rate, % (12 limb joints)", ylim=(0, 100), xlim=(0, 0.5)
    )
    axes.axvline(0.2, color="grey", linewidth=0.6)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
