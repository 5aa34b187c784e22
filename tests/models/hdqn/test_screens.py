"""The paper's observation: screens, mask, memory, and a short training on them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.hdqn.deep import DeepOptions
from steadyframe.models.hdqn.graph import of_checkpoint
from steadyframe.models.hdqn.memory import ReplayMemory
from steadyframe.models.hdqn.montezuma import SCENE, Montezuma
from steadyframe.models.hdqn.qfunction import Batch
from steadyframe.models.hdqn.screens import ScreenQ, Screens, objects_of, observation_dtype


def test_screens_are_the_last_four_newest_last():
    world = Screens(Montezuma(seed=1), size=84)
    first, _ = world.reset()
    assert first["screens"].shape == (4, 84, 84) and first["screens"].std() > 10
    assert (first["screens"] == first["screens"][:1]).all()
    seen = [world.step(3)[0] for _ in range(5)]
    assert (seen[4]["screens"][2] == seen[3]["screens"][3]).all()
    assert (seen[4]["screens"][0] == seen[1]["screens"][3]).all()
    assert (seen[4]["screens"][3] != seen[4]["screens"][0]).any(), "the agent has moved"
    assert np.array_equal(objects_of(seen[4])[2:4], objects_of(seen[3])[:2])


def test_the_mask_tells_the_goal():
    world = Screens(Montezuma(seed=1), size=42)
    rows = np.repeat(np.asarray([world.reset()[0]]), 7)
    q = ScreenQ(42, num_choices=8, masked=True, options=DeepOptions())
    planes = q._planes(rows, np.arange(7))
    assert planes.shape == (7, 5, 42, 42)
    for goal in range(7):
        y, x = (axis.mean() / 42 for axis in np.nonzero(planes[goal, 4]))
        left, top, right, bottom = SCENE.goals[goal].box
        assert x == pytest.approx((left + right) / 2 / 160, abs=0.03)
        assert y == pytest.approx((top + bottom) / 2 / 210, abs=0.03)
    assert len({tuple(row) for row in q.values(rows, np.arange(7)).round(6).tolist()}) == 7
    blind = ScreenQ(42, num_choices=7, masked=False, options=DeepOptions())
    assert np.ptp(blind.values(rows, np.arange(7)), axis=0) == pytest.approx(0, abs=1e-5)
    with pytest.raises(ValueError, match="one goal"):
        nothing = np.zeros((7, 7), np.float32)
        q.learn(Batch(rows, np.zeros(7, np.int64), nothing, nothing > 0, rows))


def test_a_memory_of_screens_survives_a_checkpoint():
    dtype = observation_dtype(42)
    memory, again = (ReplayMemory(8, {"observation": ((), dtype), "choice": ((), np.int64)}) for _ in range(2))
    rows = np.zeros(5, dtype)
    rows["screens"], rows["objects"] = np.random.default_rng(0).integers(0, 256, (5, 4, 42, 42)), 7.0
    memory.store(observation=rows, choice=np.arange(5))
    again.restore(memory.state())
    assert (again.rows["observation"][:5] == memory.rows["observation"][:5]).all()
    assert len(again) == 5


def test_training_on_screens_runs_resumes_and_gives_a_checkpoint(tmp_path):
    words = ["--out", str(tmp_path), "--network", "small", "--no-all-goals", "--memory", "2000", "--batch", "8"]
    words += ["--random-goals", "20000", "--games", "0", "--update-every", "512"]
    for decisions in ("2048", "4096"):
        command = [sys.executable, "-m", "steadyframe.models.hdqn.montezuma_train", *words, "--decisions", decisions]
        said = subprocess.run([*command, "--minutes", "0"], check=True, capture_output=True, text=True).stdout
    assert "goes on at 2048 decisions" in said
    entries = json.loads((tmp_path / "history.json").read_text())
    assert [entry["decisions"] for entry in entries] == [2_048, 4_096]
    checkpoint = Checkpoint.load(tmp_path / "at_00000k.pt", task="policy")
    world = of_checkpoint(checkpoint)
    assert checkpoint.config["world"] == "montezuma-pixels"
    assert tuple(world.example.shape) == (1, 5, 42, 42)
