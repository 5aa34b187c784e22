r"""What each step of the paper brings: one bank, two banks, the spatial model, joint training.

PCK at 0.2 torsos and the detection-rate curve of several checkpoints on LSP's validation people, in the order given,
each with its gain over the one before; crops are the ground truth's boxes x 1.25, one pass, no flip. The gain's
interval is a paired bootstrap over people. Beside it stands what Tompson et al. 2014 say of FLIC's wrists and elbows:
5 points by overlapping receptive fields in banks, 10 to 15 by the spatial model, 3 by joint training. Usage::

    python benchmarks/pose_ablation.py ../shared/data detector=runs/pose/edge/detector.pt \
        spatial=runs/pose/edge2/spatial.pt --plot ablation.png
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.pose.evaluate import Evaluation, evaluate
from steadyframe.models.pose.metrics import RADII, pck
from steadyframe.models.pose.net import build
from steadyframe.models.pose.people import People, load_people
from steadyframe.models.pose.skeleton import SKELETONS

PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
PAPER = {"banks": "5", "two": "5", "spatial": "10-15", "joint": "3"}  # a name that starts so -> points in the paper
SKELETON = SKELETONS["union-19"]


def evaluated(path: str, people: People) -> tuple[Evaluation, str]:
    """Run a checkpoint over everybody; also how long it was trained."""
    checkpoint = Checkpoint.load(path, task="pose")
    net = build(checkpoint.config)
    net.load_state_dict(checkpoint.weights)
    seen = evaluate(net.eval(), people, SKELETON, size=checkpoint.config["size"], device="cpu")
    return seen, f"{checkpoint.seconds / 60:.0f} min"


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
@click.argument("named", nargs=-1, required=True, metavar="NAME=CHECKPOINT...")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("runs/pose/cache"), show_default=True)
@click.option("--plot", type=click.Path(path_type=Path), help="Image of the detection-rate curves.")
def main(data: Path, named: tuple[str, ...], cache: Path, plot: Path | None) -> None:
    """Compare CHECKPOINTS, each with the one before; names may start with banks, spatial, joint."""
    people = load_people([data / "pose/lspet/val.json"], SKELETON, root=data, size=320, cache=cache)
    curves: dict[str, NDArray[np.float64]] = {}
    before: NDArray[np.float64] | None = None
    print(f"{len(people)} people of lspet/val, PCK@0.2 in points")
    print(f"{'':14s} {'trained':>8s} {'limbs':>6s} {'95 %':>14s} " + " ".join(f"{p:>8s}" for p in PARTS)
          + f" {'gain':>6s} {'95 %':>14s}  paper")  # fmt: skip
    for item in named:
        name, path = item.split("=", 1)
        seen, trained = evaluated(path, people)
        errors = seen.errors
        curves[name] = seen.curve()
        shares = pck(errors, SKELETON.joints)
        parts = " ".join(f"{50 * (shares[f'left_{p}'] + shares[f'right_{p}']):8.1f}" for p in PARTS)
        low, high = interval(errors, None)
        row = f"{name:14s} {trained:>8s} {limbs(errors):6.1f} {low:6.1f} .. {high:4.1f} {parts}"
        if before is not None:
            low, high = interval(errors, before)
            row += f" {limbs(errors) - limbs(before):+6.1f} {low:+6.1f} .. {high:+4.1f}  "
            row += next((points for start, points in PAPER.items() if name.startswith(start)), "-")
        print(row, flush=True)
        before = errors
    if plot is not None:
        draw(curves, plot)


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
