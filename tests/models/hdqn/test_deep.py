"""Networks as Q-functions: shapes, targets, learning, and what `encode` promises."""

import numpy as np
import pytest
import torch
from steadyframe.models.hdqn.deep import DeepOptions, DeepQ
from steadyframe.models.hdqn.montezuma import SCENE
from steadyframe.models.hdqn.net import ObjectNet, PaperNet
from steadyframe.models.hdqn.qfunction import Batch


def object_vectors(count, seed=0):
    """Random object vectors within the room."""
    rng = np.random.default_rng(seed)
    vectors = np.empty((count, SCENE.length), np.float32)
    vectors[:, : 2 * SCENE.history] = rng.uniform(40, 150, (count, 2 * SCENE.history))
    vectors[:, 2 * SCENE.history : 2 * SCENE.history + 2] = rng.uniform(0, 160, (count, 2))
    vectors[:, 2 * SCENE.history + 2 :] = rng.integers(0, 2, (count, len(SCENE.takeable)))
    return vectors


def nets():
    """Every network, with observations for it."""
    planes = np.random.default_rng(0).integers(0, 256, (5, 5, 84, 84), np.uint8)
    return [
        (ObjectNet(SCENE, num_goals=7, num_choices=8, hidden=16), object_vectors(5), 7),
        (PaperNet(num_choices=8), planes, 1),
    ]


@pytest.mark.parametrize(("net", "observations", "goals"), nets(), ids=["objects", "paper"])
def test_values_of_each_row_are_those_of_its_goal(net, observations, goals):
    wanted = np.arange(5) % 7
    every = net(torch.from_numpy(observations)).detach().numpy()
    assert every.shape == (5, goals, 8)
    values = DeepQ(net, DeepOptions()).values(observations, wanted)
    assert np.allclose(values, every[np.arange(5), wanted if goals > 1 else 0], atol=1e-6)


def test_the_papers_network_has_the_papers_size():
    net = PaperNet(num_choices=18)
    assert [tuple(layer.weight.shape) for layer in net.features if hasattr(layer, "weight")] == [
        (32, 5, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3),
    ]  # fmt: skip
    assert net.layers[0].weight.shape == (512, 7 * 7 * 64)


def test_bumps_interpolate_position():
    net = ObjectNet(SCENE, num_goals=1, num_choices=2)
    vectors = object_vectors(50)
    rows, weights = (part.numpy() for part in net.encode(torch.from_numpy(vectors)))
    corners, shares = rows[:, :4], weights[:, :4]
    assert shares.sum(1) == pytest.approx(1, abs=1e-5)
    step, first = net.step.numpy(), net.first.numpy()
    x = first[0] + step[0] * (corners // net.rows * shares).sum(1)
    y = first[1] + step[1] * (corners % net.rows * shares).sum(1)
    assert x == pytest.approx(vectors[:, 0], abs=1e-3)
    assert y == pytest.approx(vectors[:, 1], abs=1e-3)
    assert rows.max() == len(net.table) - 1
    assert weights[:, -3:].tolist() == vectors[:, -3:].tolist()


def test_every_row_of_the_table_belongs_to_one_figure():
    net = ObjectNet(SCENE, num_goals=1, num_choices=2)
    extreme = np.array([np.full(SCENE.length, -1e4), np.full(SCENE.length, 1e4)], np.float32)
    extreme[:, -3:] = 1
    rows, weights = net.encode(torch.from_numpy(extreme))
    assert rows.min() >= 0
    assert rows.max() < len(net.table)
    used = rows[1][weights[1] > 0]
    assert len(set(used.tolist())) == len(used)


def test_the_gradient_of_the_table_is_that_of_a_plain_sum():
    torch.manual_seed(0)
    net = ObjectNet(SCENE, num_goals=1, num_choices=2, hidden=16)
    torch.nn.init.normal_(net.layers[-1].weight)
    vectors = torch.from_numpy(object_vectors(40))
    net(vectors).square().sum().backward()
    found, net.table.grad = net.table.grad.clone(), None
    rows, weights = net.encode(vectors)
    hidden = (net.table[rows] * weights.unsqueeze(2)).sum(1)
    net.layers(hidden + net.bias).square().sum().backward()
    assert torch.allclose(found, net.table.grad, atol=1e-4)
    assert found.abs().max() > 0.1


def one_transition(*, all_goals, ends, reward=1.0):
    """64 equal transitions between two vectors."""
    first, second = object_vectors(2)
    shape = (64, 7) if all_goals else (64,)
    return Batch(
        observations=np.tile(first, (64, 1)), choices=np.full(64, 3), rewards=np.full(shape, reward, np.float32),
        ends=np.full(shape, ends), next_observations=np.tile(second, (64, 1)),
        goals=None if all_goals else np.full(64, 2),
    )  # fmt: skip


@pytest.mark.parametrize("all_goals", [True, False])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_learning_reaches_the_target_of_a_terminal_transition(all_goals, optimizer):
    torch.manual_seed(0)
    q = DeepQ(ObjectNet(SCENE, num_goals=7, num_choices=8, hidden=32), DeepOptions(lr=3e-3, optimizer=optimizer))
    batch = one_transition(all_goals=all_goals, ends=True)
    first = q.learn(batch).mean()
    for _ in range(150):
        last = q.learn(batch).mean()
    assert last < 0.1 * first
    values = q.net(torch.from_numpy(batch.observations[:1]))[0, :, 3]
    assert values[2].item() == pytest.approx(1, abs=0.1)
    assert (values > 0.9).sum() == (7 if all_goals else 1), "the other heads learn only with all_goals"


def test_bootstrap_is_the_targets_value_of_the_networks_choice():
    torch.manual_seed(0)
    q = DeepQ(ObjectNet(SCENE, num_goals=7, num_choices=8, hidden=16), DeepOptions(gamma=0.5))
    for net in (q.net, q.target):
        torch.nn.init.normal_(net.layers[-1].weight)
    batch = one_transition(all_goals=False, ends=False, reward=0.0)
    following = torch.from_numpy(batch.next_observations)
    chosen = q.net(following)[0, 2].argmax()
    expected = 0.5 * q.target(following)[0, 2, chosen] - q.net(torch.from_numpy(batch.observations))[0, 2, 3]
    assert q.learn(batch)[0] == pytest.approx(abs(expected.item()), rel=1e-4)


def test_forbidden_choices_are_not_bootstrapped():
    torch.manual_seed(0)
    q = DeepQ(ObjectNet(SCENE, num_goals=1, num_choices=7, hidden=16), DeepOptions(gamma=1.0))
    torch.nn.init.normal_(q.target.layers[-1].weight)
    batch = one_transition(all_goals=False, ends=False, reward=0.0)
    only = np.zeros((64, 7), bool)
    only[:, 5] = True
    batch = Batch(
        batch.observations, batch.choices, batch.rewards, batch.ends, batch.next_observations, np.zeros(64, np.int64),
        next_allowed=only,
    )  # fmt: skip
    expected = q.target(torch.from_numpy(batch.next_observations))[0, 0, 5].item()
    assert q.learn(batch)[0] == pytest.approx(abs(expected), rel=1e-4)


def test_target_follows_slowly_and_state_comes_back():
    torch.manual_seed(0)
    q = DeepQ(ObjectNet(SCENE, num_goals=7, num_choices=8, hidden=16), DeepOptions(target_rate=0.1))
    before = q.target.layers[-1].bias.clone()
    q.learn(one_transition(all_goals=True, ends=True))
    moved, whole = q.target.layers[-1].bias - before, q.net.layers[-1].bias - before
    assert torch.allclose(moved, 0.1 * whole, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in q.target.parameters())
    again = DeepQ(ObjectNet(SCENE, num_goals=7, num_choices=8, hidden=16), DeepOptions())
    again.restore(q.state())
    assert again.updates == 1
    assert torch.equal(again.target.layers[-1].bias, q.target.layers[-1].bias)


def test_what_follows_a_long_choice_counts_less():
    following, lr = 2.0, 1e-2
    targets = []
    for durations in (None, np.array([1, 3], np.float32)):
        net = ObjectNet(SCENE, num_goals=1, num_choices=2, hidden=8)
        with torch.no_grad():
            net.layers[-1].bias.fill_(following)
        q, vectors = DeepQ(net, DeepOptions(gamma=0.5, lr=lr)), object_vectors(2)
        batch = Batch(
            observations=vectors, choices=np.zeros(2, np.int64), rewards=np.zeros(2, np.float32),
            ends=np.zeros(2, bool), next_observations=vectors, goals=np.zeros(2, np.int64), durations=durations,
        )  # fmt: skip
        targets.append(following - q.learn(batch))  # the error is the value less the target
    assert targets[0] == pytest.approx([1.0, 1.0])
    assert targets[1] == pytest.approx([1.0, 0.25])
