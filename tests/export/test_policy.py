"""Policies: from a checkpoint to a bundle whose choices are PyTorch's."""

import time

import numpy as np
import pytest
import torch
from steadyframe.export.bundle import BundleFacts, export_bundle
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.hdqn.camera import SCENE as CAMERA_SCENE
from steadyframe.models.hdqn.graph import WORLDS, of_checkpoint, weights_of
from steadyframe.models.hdqn.montezuma import SCENE, GameOptions, Montezuma
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.registry import open_sessions
from steadyframe.runtime.errors import BundleError, UsageError
from steadyframe.runtime.tasks.policy.policy import Policy

STATES = 10_000


@pytest.fixture(scope="module")
def checkpoints():
    """Every world with random weights."""
    torch.manual_seed(0)
    found = {}
    for name, build in WORLDS.items():
        config = {"world": name, "args": {"hidden": 128}}
        world = build(config)
        weights = weights_of(world.controller, world.meta)
        for key, value in weights.items():
            if value.is_floating_point() and ("weight" in key or "table" in key):
                torch.nn.init.normal_(value, std=0.05)
        found[name] = Checkpoint("policy", config, weights)
    return found


@pytest.fixture(scope="module")
def policies(checkpoints, tmp_path_factory):
    """Worlds exported and opened, each when it is asked for."""

    class Opened(dict):
        def __missing__(self, name):
            folder = tmp_path_factory.mktemp("policies") / name
            bundle = export_bundle(checkpoints[name], folder, BundleFacts(name=f"policy-{name}"))
            self[name] = Policy(bundle.manifest, open_sessions(bundle, device="cpu", threads=1))
            return self[name]

    opened = Opened()
    yield opened
    for policy in opened.values():
        policy.close()


def observations(name, count, rng):
    """Random observations of a world."""
    if name == "mdp":
        return rng.integers(0, 6, count)
    if name == "camera":
        return rng.uniform(0, 160, (count, CAMERA_SCENE.length)).astype(np.float32)
    if name == "montezuma":
        vectors = rng.uniform(0, 180, (count, SCENE.length)).astype(np.float32)
        vectors[:, 2 * SCENE.history + 2 :] = rng.integers(0, 2, (count, len(SCENE.takeable)))
        return vectors
    return rng.integers(0, 256, (count, 5, 84, 84), np.uint8)


# 10,000 inputs of the paper's size take minutes in PyTorch on one core: 1,000 of them here.
@pytest.mark.parametrize("name", WORLDS)
def test_exported_choices_are_those_of_pytorch(name, checkpoints, policies):
    world, policy, rng = of_checkpoint(checkpoints[name]), policies[name], np.random.default_rng(0)
    compared, near_ties, states_of_world = 0, 0, 1_000 if name == "montezuma-pixels" else STATES
    for count in [500] * (states_of_world // 500):
        states, goals = observations(name, count, rng), rng.integers(0, policy.num_goals, count)
        with torch.inference_mode():
            every = world.controller(torch.from_numpy(states)).numpy()
            meta = world.meta(torch.from_numpy(states)).numpy()[:, 0]
        rows = np.arange(count)
        controller = every[rows, goals] if every.shape[1] > 1 else every[:, 0]
        for expected, found in (
            (controller, policy.action_values(states, goals)),
            (meta, policy.goal_values(states)),
        ):
            assert found == pytest.approx(expected, abs=1e-4, rel=1e-4)
            differs = expected.argmax(1) != found.argmax(1)
            best_two = np.sort(expected, 1)[:, -2:]
            near_ties += int(differs.sum())
            assert (np.diff(best_two[differs])[:, 0] < 1e-4).all(), "only values equal to rounding may swap"
        compared += count
    assert compared == states_of_world
    assert near_ties <= states_of_world // 1000


@pytest.mark.parametrize("name", ["mdp", "montezuma"])
def test_thousand_decisions_a_second_on_one_core(name, policies):
    policy, rng = policies[name], np.random.default_rng(0)
    states = observations(name, 300, rng)
    for state in states[:20]:
        policy.choose_action(state, 0)
    began = time.process_time()
    for state in states:
        policy.choose_action(state, 0)
    assert 300 / (time.process_time() - began) > 1_000


def test_epsilon_and_allowed_goals(checkpoints, policies, tmp_path):
    policy = policies["montezuma"]
    state = observations("montezuma", 1, np.random.default_rng(0))[0]
    assert {policy.choose_action(state, 2) for _ in range(20)} == {policy.choose_action(state, 2)}
    allowed = np.zeros(7, bool)
    allowed[4] = True
    assert policy.choose_goal(state, allowed) == 4
    with pytest.raises(UsageError, match="every object"):
        policy.choose_goal(state, np.zeros(7, bool))
    bundle = export_bundle(checkpoints["montezuma"], tmp_path / "b", BundleFacts(name="b"))
    sessions = open_sessions(bundle, device="cpu")
    random = Policy(bundle.manifest, sessions, epsilon=1.0)
    assert len({random.choose_action(state, 2) for _ in range(200)}) == 8
    with pytest.raises(UsageError, match="share"):
        Policy(bundle.manifest, sessions, epsilon=1.5)
    random.close()


def test_weights_of_another_world_are_refused(checkpoints):
    wrong = Checkpoint("policy", {"world": "mdp", "args": {}}, checkpoints["montezuma"].weights)
    with pytest.raises(BundleError, match="do not fit"):
        of_checkpoint(wrong)
    with pytest.raises(BundleError, match="no known world"):
        of_checkpoint(Checkpoint("policy", {"world": "chess"}, {}))


def played_states(policy, count):
    """Object vectors that come up in real games which the policy plays, a third of its actions at random."""
    game, rng, rows = Montezuma(GameOptions(sticky=0.25, one_life=False), seed=5), np.random.default_rng(5), []
    while len(rows) < count:
        state, _ = game.reset()
        over, goal, age = False, -1, 0
        while not over and len(rows) < count:
            rows.append(state)
            if goal < 0 or age > 100:
                goal, age = policy.choose_goal(state, SCENE.allowed(state)), 0
            random = rng.random() < 1 / 3
            action = int(rng.integers(policy.num_actions)) if random else policy.choose_action(state, goal)
            after, _, over, cut, _ = game.step(action)
            age, over = age + 1, over or cut
            if SCENE.reached(state, after)[goal]:
                goal = -1
            state = after
    return np.array(rows)


def test_the_shipped_policy_chooses_as_pytorch_does_in_real_games():
    bundle = Bundle.load("policy-montezuma")
    world, policy = (
        of_checkpoint(Checkpoint.load("policy-montezuma")),
        Policy(bundle.manifest, open_sessions(bundle, device="cpu", threads=1)),
    )
    states = played_states(policy, STATES)
    assert len(np.unique(states[:, :2], axis=0)) > 500, "they lie all over the room"
    goals = np.random.default_rng(1).integers(0, policy.num_goals, STATES)
    with torch.inference_mode():
        actions = world.controller(torch.from_numpy(states)).numpy()[np.arange(STATES), goals]
        meta = world.meta(torch.from_numpy(states)).numpy()[:, 0]
    same_actions = actions.argmax(1) == policy.action_values(states, goals).argmax(1)
    same_goals = meta.argmax(1) == policy.goal_values(states).argmax(1)
    policy.close()
    assert same_actions.mean() >= 0.9995, "but for values that are equal to rounding"
    assert same_goals.mean() >= 0.9995
