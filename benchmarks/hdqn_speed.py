"""Decisions a second of exported policies on one core: goal and action values, one observation at a time.

Networks have random weights, which changes nothing for the time. Time is CPU time of this process, so that others on
the machine do not count.

    python benchmarks/hdqn_speed.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from steadyframe.export.bundle import BundleFacts, export_bundle
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.hdqn.graph import WORLDS, weights_of
from steadyframe.runtime.engines.registry import open_sessions
from steadyframe.runtime.tasks.policy.policy import Policy

ROUNDS, DECISIONS = 20, 200


def main() -> None:
    for name, build in WORLDS.items():
        config = {"world": name, "args": {"hidden": 128}}
        world = build(config)
        checkpoint = Checkpoint("policy", config, weights_of(world.controller, world.meta))
        with tempfile.TemporaryDirectory() as folder:
            bundle = export_bundle(checkpoint, Path(folder) / name, BundleFacts(name=name))
            policy = Policy(bundle.manifest, open_sessions(bundle, device="cpu", threads=1))
        state, rates = world.example.numpy()[0], []
        for _ in range(ROUNDS):
            began = time.process_time()
            for _ in range(DECISIONS):
                policy.choose_action(state, 0)
            rates.append(DECISIONS / (time.process_time() - began))
        low, middle, high = np.percentile(rates[2:], [5, 50, 95])  # the first two rounds warm up
        print(f"{name}: {middle:,.0f} decisions/s of CPU time ({low:,.0f} to {high:,.0f})", flush=True)
        policy.close()


if __name__ == "__main__":
    main()
