"""What a decision of h-DQN's training costs on one core, in CPU time: playing, choosing and learning together.

`python benchmarks/hdqn_training.py`, or `python benchmarks/hdqn_training.py --network paper --rounds 5`
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from steadyframe.models.hdqn.montezuma_train import Args, Run

PLAIN = {"all_goals": False, "memory": 20_000, "batch": 32}  # of networks that see screens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="objects", choices=("objects", "paper", "small"))
    parser.add_argument("--rounds", type=int, default=10, help="of 1,024 decisions each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    run = Run(Args(network=options.network, **({} if options.network == "objects" else PLAIN)))
    games, costs = run.environments(), []
    for _ in run.agent.run(games, 10_000):  # fills the memory and warms up
        pass
    for _ in range(options.rounds):
        began = time.process_time()
        for _ in run.agent.run(games, 1_024):
            pass
        costs.append(1_000 * (time.process_time() - began) / 1_024)
    low, middle, high = np.percentile(costs, [5, 50, 95])
    print(f"{options.network}: {middle:.2f} ms of CPU time a decision ({low:.2f} to {high:.2f}, {len(costs)} rounds)")


if __name__ == "__main__":
    main()
