"""The taught order of goals."""

import numpy as np
import torch
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.hdqn.graph import of_checkpoint, weights_of
from steadyframe.models.hdqn.montezuma import SCENE
from steadyframe.models.hdqn.net import ObjectNet
from steadyframe.models.hdqn.teach import LEFT_DOOR, RIGHT_DOOR, TaughtOrder, next_goal, teach

NAMES = [goal.name for goal in SCENE.goals]


def walk(start, *, has_key):
    """Go from goal to goal by the rule, from the middle of each to the next."""
    place, names = start, []
    for _ in range(8):
        goal = next_goal(*place, has_key=has_key)
        names.append(NAMES[goal])
        if NAMES[goal] == "key" or goal in (LEFT_DOOR, RIGHT_DOOR):
            return names
        left, top, right, bottom = SCENE.goals[goal].region
        place = (left + right) / 2, (top + bottom) / 2
    return names


def test_the_rule_leads_from_the_start_to_the_key_and_back_to_a_door():
    assert walk((80, 83), has_key=False) == ["middle ladder", "rope", "right ladder", "left ladder", "key"]
    back = walk((20, 126), has_key=True)
    assert back[:-1] == ["left ladder", "right ladder", "rope", "middle ladder"]
    assert back[-1] in ("left door", "right door")


def test_a_network_learns_the_rule():
    config = {"world": "montezuma", "args": {"hidden": 16}}
    nets = [
        ObjectNet(SCENE, num_goals=7, num_choices=8, hidden=16),
        ObjectNet(SCENE, num_goals=1, num_choices=7, hidden=64),
    ]
    checkpoint = Checkpoint("policy", config, weights_of(*nets), step=5)
    taught = teach(checkpoint, updates=250)
    assert taught.metrics["taught_order"] > 0.9
    assert taught.config["meta"] == "taught"
    assert taught.step == 5
    assert torch.equal(
        of_checkpoint(taught).controller.table, checkpoint.weights["controller.table"].half().float()
    ), "the controller is only rounded"
    start = np.tile(np.float32([[80, 83]]), (1, 7))[:, : SCENE.length]
    start[:, 2 * SCENE.history :] = [80, 80, 1, 1, 1]
    assert int(of_checkpoint(taught).meta(torch.from_numpy(start))[0, 0].argmax()) == NAMES.index("middle ladder")


def test_the_rule_as_a_q_function_names_its_goal():
    rows = np.zeros((3, SCENE.length), np.float32)
    key = 2 * SCENE.history + 2
    rows[:, :2] = (80, 83), (20, 126), (20, 126)
    rows[:, key:] = 1
    rows[2, key] = 0  # the key was taken
    chosen = TaughtOrder().values(rows, np.zeros(3, np.int64)).argmax(1)
    assert [NAMES[goal] for goal in chosen] == ["middle ladder", "key", "left ladder"]
