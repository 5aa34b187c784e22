"""Draw the discrete process: reward and visits over training, h-DQN beside Q-learning and the published levels.

Train first (each takes a few minutes on one core):

    python -m steadyframe.models.hdqn.mdp_train --out runs/hdqn/mdp
    python -m steadyframe.models.hdqn.mdp_train --method q_learning --out runs/hdqn/mdp
    python benchmarks/hdqn_mdp.py runs/hdqn/mdp --images docs/images
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot
from steadyframe.models.hdqn.mdp import oracle

PUBLISHED = {"h-DQN": 0.13, "Q-learning": 0.01}  # Kulkarni et al. 2016, read off figure 4
NAMES = {"hdqn": "h-DQN", "q_learning": "Q-learning"}


def smooth(values: np.ndarray, window: int = 1_000) -> np.ndarray:
    """Average over the last `window` episodes: (S, E) -> (S, E - window + 1)."""
    sums = np.cumsum(np.pad(values.astype(np.float64), ((0, 0), (1, 0))), axis=1)
    return (sums[:, window:] - sums[:, :-window]) / window


def draw_rewards(results: dict[str, np.lib.npyio.NpzFile], path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(7, 4), constrained_layout=True)
    for index, (name, result) in enumerate(results.items()):
        curves, color = smooth(result["rewards"]), f"C{index}"
        decisions = result["decisions"][:, -curves.shape[1] :].mean(0)
        at = slice(None, None, 100)
        mean, spread = curves.mean(0)[at], curves.std(0, ddof=1)[at]
        axes.plot(decisions[at], mean, color=color, label=f"{NAMES[name]}, {len(curves)} seeds: mean ± sd")
        axes.fill_between(decisions[at], mean - spread, mean + spread, color=color, alpha=0.2, linewidth=0)
        axes.axhline(PUBLISHED[NAMES[name]], color=color, linestyle=":", label=f"{NAMES[name]} as published, about")
    axes.axhline(oracle(0.95, 0.05)[0], color="grey", linestyle="--", label="best policy at epsilon 0.1 (exact)")
    axes.set(xlabel="decisions", ylabel="reward, mean of the last 1,000 episodes", ylim=(0, 0.2))
    axes.legend(fontsize=8)
    save(figure, path)


def draw_visits(result: np.lib.npyio.NpzFile, path: Path) -> None:
    figure, all_axes = pyplot.subplots(2, 3, figsize=(8, 4.5), sharex=True, constrained_layout=True)
    expected = oracle(0.95, 0.05)[2]
    visits = result["visits"]  # (S, E, 6)
    blocks = visits.reshape(len(visits), -1, 1_000, 6).mean(2)  # (S, E / 1000, 6)
    for state, axes in enumerate(all_axes.flat):
        mean, spread = blocks[..., state].mean(0), blocks[..., state].std(0, ddof=1)
        thousands = np.arange(1, len(mean) + 1)
        axes.plot(thousands, mean)
        axes.fill_between(thousands, mean - spread, mean + spread, alpha=0.25, linewidth=0)
        axes.axhline(expected[state], color="grey", linestyle="--", linewidth=0.8)
        axes.set(title=f"s{state + 1}", ylim=(0, 1.25 * max(mean.max(), expected[state])))
    figure.supxlabel("thousand episodes")
    figure.supylabel("visits an episode")
    save(figure, path)


def save(figure: pyplot.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    figure.savefig(temporary, dpi=90)
    temporary.replace(path)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds hdqn.npz and q_learning.npz")
    parser.add_argument("--images", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    results = {name: np.load(options.folder / f"{name}.npz") for name in NAMES}
    for name, result in results.items():
        last = result["rewards"][:, -1_000:].mean(1)
        visits = ", ".join(f"{x:.2f}" for x in result["visits"][:, -1_000:].mean((0, 1)))
        print(
            f"{NAMES[name]}: {last.mean():.4f} ± {last.std(ddof=1):.4f}, seeds {last.min():.3f} to {last.max():.3f}"
        )
        print(f"  visits of s1 to s6 an episode: {visits}")
    draw_rewards(results, options.images / "hdqn_mdp_reward.png")
    draw_visits(results["hdqn"], options.images / "hdqn_mdp_visits.png")


if __name__ == "__main__":
    main()
