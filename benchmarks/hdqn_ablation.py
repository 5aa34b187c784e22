"""What each addition to the paper's form brings in Montezuma's Revenge: train without it, then play whole games.

Every row is trained from nothing for the same number of decisions, with goals drawn at random (the paper's first
phase), by `python -m steadyframe.models.hdqn.montezuma_train`. Then the controller plays games from the start with
sticky actions (0.25), up to 30 random no-op frames and epsilon 0.1; the order of the goals is the taught rule in
every row, so that the rows differ in the controller alone. Finished rows are kept and not trained again.

    python benchmarks/hdqn_ablation.py --decisions 200000 --seeds 1 --games 50
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hdqn_montezuma import interval
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.hdqn.deep import DeepOptions, DeepQ
from steadyframe.models.hdqn.graph import of_checkpoint
from steadyframe.models.hdqn.montezuma import GameOptions
from steadyframe.models.hdqn.play import Score, play_games
from steadyframe.models.hdqn.screens import SIZES, ScreenQ
from steadyframe.models.hdqn.teach import TaughtOrder

PAPER = ["--no-all-goals", "--no-floors", "--no-double", "--no-ceiling", "--no-hard-goals", "--no-goal-ends"]
PAPER += ["--priority", "0", "--restarts", "none"]
SCREENS = ["--network", "small", "--memory", "40000", "--batch", "32"]
ROWS: dict[str, list[str]] = {
    "everything": [],
    "without all-goals updates": ["--no-all-goals"],
    "without restarts": ["--restarts", "none"],
    "without floors": ["--no-floors"],
    "without the ceiling": ["--no-ceiling"],
    "without double DQN": ["--no-double"],
    "without prioritized replay": ["--priority", "0"],
    "without hard goals first": ["--no-hard-goals"],
    "without the goal's end": ["--no-goal-ends", "--no-ceiling"],
    "the paper's form, objects": PAPER,
    "screens of 42 x 42 instead of objects": [*SCREENS, "--no-all-goals"],
    "the paper's form, screens of 42 x 42": [*SCREENS, *PAPER],
    "the paper's form": [*SCREENS, *PAPER, "--network", "paper"],  # its 84 x 84
}


def train(row: str, folder: Path, seed: int, decisions: int) -> Path:
    """Train a row, or go on where it was cut off; gives its last checkpoint."""
    command = [sys.executable, "-m", "steadyframe.models.hdqn.montezuma_train", "--out", str(folder)]
    command += ["--seed", str(seed), "--decisions", str(decisions), "--random-goals", str(decisions)]
    command += ["--games", "0", *ROWS[row]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / f"at_{decisions // 50_000 * 50:05d}k.pt"


def measure(checkpoint: Path, games: int) -> dict[str, Any]:
    """Play games with the taught order of goals; gives shares, and how often each chosen goal was reached."""
    loaded = Checkpoint.load(checkpoint, task="policy")
    net, size = of_checkpoint(loaded).controller, SIZES.get(loaded.config["args"]["network"], 0)
    controller: DeepQ = DeepQ(net, DeepOptions())
    if size:
        controller = ScreenQ(size, num_choices=controller.num_choices, masked=True, options=DeepOptions())
        controller.net.load_state_dict(net.state_dict())
    options = GameOptions(sticky=0.25, one_life=False, max_decisions=2_500, screens=size)
    scores = play_games(controller, TaughtOrder(), options, games=games, seed=1)
    chosen = [hit for score in scores for _, hit in score.goals]
    return Score.shares(scores) | {"goals": float(np.mean(chosen)) if chosen else 0.0}


def of_training(folder: Path, last: int = 5) -> dict[str, float]:
    """Give the share of attempts that reached their goal, over the last entries, and the minutes of CPU time."""
    entries = json.loads((folder / "history.json").read_text())
    reached, attempts = (sum(sum(entry[name]) for entry in entries[-last:]) for name in ("reached", "attempts"))
    return {"attempts": reached / max(1, attempts), "minutes": entries[-1]["cpu_seconds"] / 60}


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Write the rows as a table of a document."""
    lines = ["| trained | key (95 %) | door (95 %) | goals reached in games | in training | CPU minutes |"]
    lines.append("|---|---|---|---|---|---|")
    for row, seeds in results.items():
        games = sum(seed["games"] for seed in seeds)
        cells = []
        for what in ("key", "door"):
            share = float(np.mean([seed[what] for seed in seeds]))
            low, high = interval(share, games)
            cells.append(f"{100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f})")
        goals, attempts, minutes = (
            float(np.mean([seed[name] for seed in seeds])) for name in ("goals", "attempts", "minutes")
        )
        lines.append(
            f"| {row} | {' | '.join(cells)} | {100 * goals:.0f} % | {100 * attempts:.0f} % | {minutes:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--games", type=int, default=50)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--out", type=Path, default=Path("runs/hdqn/ablation"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, list[dict[str, Any]]] = {}
    for row in options.rows:
        for seed in range(options.seeds):
            folder = options.out / f"{row.replace(' ', '-')}-{seed}"
            kept = folder / f"measured_{options.decisions}_{options.games}.json"
            if not kept.is_file():
                checkpoint = train(row, folder, seed, options.decisions)
                kept.write_text(json.dumps(measure(checkpoint, options.games)))
            results.setdefault(row, []).append(json.loads(kept.read_text()) | of_training(folder))
            print(row, seed, json.dumps(results[row][-1]), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
