"""The discrete process, its oracle values, and both agents on it."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from steadyframe.models.hdqn.mdp import FAR, LEFT, RIGHT, START, DiscreteMdp, oracle, reached
from steadyframe.models.hdqn.mdp_train import Args, train, train_hdqn, train_q_learning


def play(rng, *, right_before, right_after, episodes, seed=0):
    """Simulate a policy that knows whether s6 was visited; mean reward and mean visits."""
    environment, total, visits = DiscreteMdp(), 0.0, np.zeros(6)
    environment.reset(seed=seed)
    for _ in range(episodes):
        state, _ = environment.reset()
        seen, ended = False, False
        visits[state] += 1
        while not ended:
            right = rng.random() < (right_after if seen else right_before)
            state, reward, ended, _, _ = environment.step(RIGHT if right else LEFT)
            seen |= state == FAR
            visits[state] += 1
        total += reward
    return total / episodes, visits / episodes


def test_gymnasium_accepts_the_environment():
    check_env(DiscreteMdp(), skip_render_check=True)
    capped = gymnasium.wrappers.TimeLimit(DiscreteMdp(), 100)
    assert capped.reset(seed=1)[0] == START


@pytest.mark.parametrize(
    ("right_before", "right_after", "reward", "reach"),
    [(1, 0, 0.208, 0.2), (0.95, 0.05, 0.1705, 0.1621), (0.5, 0.5, 0.0182, 0.0083), (0, 0, 0.01, 0.0)],
    ids=["oracle", "oracle with epsilon 0.1", "uniform", "always left"],
)
def test_exact_values_of_fixed_policies(right_before, right_after, reward, reach):
    found_reward, found_reach, _ = oracle(right_before, right_after)
    assert found_reward == pytest.approx(reward, abs=5e-5)
    assert found_reach == pytest.approx(reach, abs=5e-5)


def test_expected_visits_of_the_oracle():
    assert oracle(1, 0)[2] == pytest.approx([1, 1.8, 1.4, 1.0, 0.6, 0.2])
    assert oracle(0.95, 0.05)[2] == pytest.approx([1, 1.76, 1.31, 0.89, 0.51, 0.17], abs=5e-3)


def test_simulation_agrees_with_the_exact_values():
    reward, visits = play(np.random.default_rng(0), right_before=1, right_after=0, episodes=20_000)
    assert reward == pytest.approx(0.208, abs=4 * 0.4 / np.sqrt(20_000))  # four standard errors
    assert visits == pytest.approx([1, 1.8, 1.4, 1.0, 0.6, 0.2], abs=0.05)


def test_only_the_visit_to_the_far_end_earns_the_large_reward():
    environment = DiscreteMdp()
    environment.reset(seed=0)
    assert environment.step(LEFT)[:3] == (0, 0.01, True)
    for seed in range(200):  # until an episode goes all the way
        environment.reset(seed=seed)
        states = []
        while not states or states[-1] not in (0, FAR):
            states.append(environment.step(RIGHT)[0])
        if states[-1] == FAR:
            break
    else:
        pytest.fail("s6 was never reached")
    while True:
        state, reward, ended, _, _ = environment.step(LEFT)
        assert reward == (1.0 if ended else 0.0)
        if ended:
            break
    assert state == 0


def test_the_critic_names_the_state_that_was_entered():
    assert reached(2, 3).tolist() == [False, False, False, True, False, False]


def test_hierarchical_agent_learns_to_go_far_and_back():
    args = Args(episodes=6_000, anneal=8_000, seeds=1)
    history, agent = train_hdqn(args, seed=0)
    last = history.rewards[-1500:].mean()
    assert last > 0.1, "ten times what plain Q-learning is known for"
    assert last < oracle(0.95, 0.05)[0] + 4 * 0.4 / np.sqrt(1500), "nobody beats the oracle but by luck"
    assert agent.controller.table[FAR, START : FAR - 1].argmax(-1).tolist() == [RIGHT] * 3  # s2, s3, s4 to goal s6
    assert agent.meta.table[0, FAR].argmax() == 0, "at s6 the goal that pays is s1"


def test_plain_q_learning_stays_far_below(tmp_path):
    history, _ = train_q_learning(Args(episodes=6_000, anneal=8_000), seed=0)
    assert history.rewards[-1500:].mean() < 0.08
    assert history.visits.shape == (6_000, 6)
    assert (history.visits[:, 0] == 1).all(), "every episode ends at s1 once"


def test_training_writes_its_histories(tmp_path):
    result = train(Args(episodes=300, seeds=2, out=str(tmp_path)))
    stored = np.load(tmp_path / "hdqn.npz")
    assert stored["rewards"].shape == (2, 300)
    assert result["mean"] == pytest.approx(stored["rewards"].mean())
    assert (np.diff(stored["decisions"], axis=1) > 0).all()
