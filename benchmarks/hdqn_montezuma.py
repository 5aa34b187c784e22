"""Play Montezuma's Revenge with a trained h-DQN, and draw how its goals were learned.

Games are whole (6 lives), from the start, with up to 30 random no-op frames; a game ends with a door open (score
400), with the last life, or after `--decisions`. Both controllers act at random in `--epsilon` of their choices.
Objects come from the game's memory, or with `--pixels` from the screen through the exported bundle, as at run time.

    python benchmarks/hdqn_montezuma.py runs/hdqn/montezuma/at_00500k.pt --games 100
    python benchmarks/hdqn_montezuma.py policy-montezuma --pixels --games 100
    python benchmarks/hdqn_montezuma.py policy-montezuma --games 0 --history runs/hdqn/montezuma/history.json
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.hdqn.deep import DeepOptions, DeepQ
from steadyframe.models.hdqn.graph import of_checkpoint
from steadyframe.models.hdqn.montezuma import SCENE, GameOptions
from steadyframe.models.hdqn.play import Score, play_games


def play_memory(checkpoint: str, options: GameOptions, games: int, epsilon: float) -> list[Score]:
    """Play on objects from the game's memory, with the networks in PyTorch."""
    world = of_checkpoint(Checkpoint.load(checkpoint, task="policy"))
    controller, meta = DeepQ(world.controller, DeepOptions()), DeepQ(world.meta, DeepOptions())
    return play_games(controller, meta, options, games=games, seed=1, epsilon=epsilon)


def play_pixels(bundle: str, options: GameOptions, games: int, epsilon: float) -> list[Score]:
    """Play on objects from the screen, with the exported graphs, through the synchronous processor."""
    from steadyframe.runtime.io.sources.ale import AleSource, GameFrame

    import steadyframe as sf

    address = f"ale://montezuma?episodes={games}&sticky={options.sticky}&seed=1&noops={options.max_noops}"
    source, scores = AleSource(address), [Score() for _ in range(games)]
    with sf.open_processor(bundle, device="cpu", options={"epsilon": epsilon}) as processor:
        for frame in source:
            assert isinstance(frame, GameFrame)
            action = processor.process(frame)[0].output
            source.react(action)
            score = scores[frame.game.episode]
            score.score, score.decisions = frame.game.score, frame.game.step
            score.lives_lost = 6 - frame.game.lives
            if action.reached is not None:
                score.goals.append((action.reached, True))
    return scores


def interval(share: float, count: int) -> tuple[float, float]:
    """Give Wilson's 95 % interval of a share."""
    z = 1.96
    center, spread = (
        share + z * z / (2 * count),
        z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)),
    )
    low, high = (float(end / (1 + z * z / count)) for end in (center - spread, center + spread))
    return max(0.0, low), min(1.0, high)


def report(name: str, scores: list[Score], seconds: float) -> str:
    """Describe a set of games in one line."""
    shares = Score.shares(scores)
    parts = []
    for what in ("key", "door"):
        low, high = interval(shares[what], len(scores))
        parts.append(f"{what} {100 * shares[what]:.0f} % ({100 * low:.0f} to {100 * high:.0f})")
    rate = sum(score.decisions for score in scores) / seconds
    reached = Counter(SCENE.goals[goal].name for score in scores for goal, hit in score.goals if hit)
    goals = ", ".join(f"{goal} {count / len(scores):.1f}" for goal, count in reached.most_common())
    return (
        f"{name}: {len(scores)} games, {', '.join(parts)}, mean score {shares['score']:.0f}, lives lost "
        f"{shares['lives_lost']:.1f}; {rate:.0f} decisions/s; goals reached a game: {goals}"
    )


def draw_history(history: list[dict[str, Any]], path: Path, window: int = 5) -> None:
    """Draw the share of attempts that reached each goal, over `window` entries of 10,000 decisions."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    attempts = np.array([entry["attempts"] for entry in history], np.float64)
    reached = np.array([entry["reached"] for entry in history], np.float64)
    decisions = np.array([entry["decisions"] for entry in history]) / 1000
    figure, axes = pyplot.subplots(figsize=(7, 4), constrained_layout=True)
    kernel = np.ones(window)
    for goal, about in enumerate(SCENE.goals):
        tries, hits = (np.convolve(x[:, goal], kernel, "valid") for x in (attempts, reached))
        rates = np.divide(hits, tries, out=np.full_like(hits, np.nan), where=tries > 0)
        axes.plot(decisions[window - 1 :], rates, label=about.name)
    axes.set(xlabel="thousand decisions", ylabel="attempts that reached the goal", ylim=(0, 1))
    axes.legend(fontsize=8, ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    figure.savefig(temporary, dpi=90)
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", help="a checkpoint; with --pixels a bundle")
    parser.add_argument("--games", type=int, default=100)
    parser.add_argument("--epsilon", type=float, default=0.1)
    parser.add_argument("--decisions", type=int, default=5_000, help="longest game")
    parser.add_argument("--pixels", action="store_true", help="objects from the screen, exported graphs")
    parser.add_argument("--sticky", type=float, nargs="+", default=[0.0, 0.25])
    parser.add_argument("--history", type=Path, help="history.json of the training, to draw")
    parser.add_argument("--images", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    play = play_pixels if options.pixels else play_memory
    for sticky in options.sticky if options.games else ():
        game = GameOptions(sticky=sticky, one_life=False, max_decisions=options.decisions)
        began = time.monotonic()
        scores = play(options.policy, game, options.games, options.epsilon)
        name = f"{'pixels' if options.pixels else 'memory'}, sticky {sticky:g}, epsilon {options.epsilon:g}"
        print(report(name, scores, time.monotonic() - began), flush=True)
    if options.history:
        draw_history(json.loads(options.history.read_text()), options.images / "hdqn_montezuma_goals.png")


if __name__ == "__main__":
    main()
