"""The policy task: objects from pixels, goals, actions; and a game that is played through a stream."""

import json

import numpy as np
import pytest
from steadyframe.runtime.bundle.manifest import Graph, GraphFile, Manifest, TensorSpec
from steadyframe.runtime.errors import BundleError, ShapeMismatch, SourceNotFound, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.opening import open_processor, open_task
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.policy.detect import Blob, Colors
from steadyframe.runtime.tasks.policy.scene import Goal, Scene
from steadyframe.runtime.tasks.registry import build_task
from steadyframe.runtime.temporal.options import SteadyOptions

# A world of 60 x 100 pixels: a red agent, a white hazard, a green gem that can be taken, a place at the right.
SCENE = Scene(
    size_hw=(60, 100),
    goals=(
        Goal("gem", (10, 20, 15, 25), takeable=True),
        Goal("exit", (90, 0, 99, 59), region=(80, 0, 99, 59)),
    ),
    actions=("left", "right", "noop"),
    history=2,
)
RED, WHITE, GREEN = (0, 0, 200), (255, 255, 255), (0, 200, 0)
COLORS = Colors(Blob((RED,), (0, 0, 99, 59), 3.0), Blob((WHITE,), (0, 40, 99, 59), 2.0), (GREEN,))


def draw(x, *, gem=True, hazard=50):
    """Draw the world with the agent's left edge at x (None: no agent)."""
    pixels = np.zeros((60, 100, 3), np.uint8)
    if gem:
        pixels[20:26, 10:16] = GREEN
    if hazard is not None:
        pixels[50:54, hazard : hazard + 4] = WHITE
    if x is not None:
        pixels[30:37, x : x + 5] = RED
    return pixels


class Values:
    """A session whose values are a function of its feeds."""

    device = "cpu"
    inputs = ()

    def __init__(self, function, choices):
        self.function, self.seen = function, []
        self.outputs = (TensorSpec("values", "float32", ("batch", choices)),)

    def run(self, feeds):
        self.seen.append(feeds)
        return {"values": np.asarray(self.function(feeds), np.float32)}

    def close(self):
        pass


def manifest(**settings):
    file = {"fp32": GraphFile("x.onnx", "0" * 64)}
    observation = TensorSpec("observation", "float32", ("batch", SCENE.length))
    goal = TensorSpec("goal", "float32", ("batch", 2))
    graphs = {
        "meta": Graph(file, (observation,), (TensorSpec("values", "float32", ("batch", 2)),)),
        "controller": Graph(file, (observation, goal), (TensorSpec("values", "float32", ("batch", 3)),)),
    }
    whole = {"observation": "objects", "scene": SCENE.to_settings(), "colors": COLORS.to_settings()}
    made = Manifest("toy", "policy", "1", graphs, "Apache-2.0", settings=whole | settings)
    return Manifest.from_json(made.to_json())  # on its way through JSON tuples become lists


def sessions():
    """Prefers the gem; goes left for the gem, right for the exit."""
    return {
        "meta": Values(lambda feeds: [[1, 0]], 2),
        "controller": Values(lambda feeds: [[1, 0, 0]] if feeds["goal"][0, 0] else [[0, 1, 0]], 3),
    }


def opened(**options):
    return Processor(build_task(manifest(), sessions(), options))


def actions(processor, images):
    """The output of every image, in order."""
    return [processor.process(Frame(image, index=i))[0].output for i, image in enumerate(images)]


def test_goal_is_kept_until_the_critic_says_reached():
    with opened() as processor:
        first, second, third, fourth = actions(
            processor, [draw(40), draw(30), draw(16, gem=False), draw(20, gem=False)]
        )
    assert [(a.goal_name, a.action_name) for a in (first, second)] == [("gem", "left")] * 2
    assert first.reached is None
    assert third.reached == 0, "the gem is gone"
    assert (third.goal_name, third.action_name) == ("exit", "right"), "what is taken cannot be chosen again"
    assert fourth.reached is None


def test_a_place_is_reached_by_being_there():
    with opened() as processor:
        images = [draw(x, gem=False) for x in (50, 65, 78, 79)]
        found = actions(processor, images)
    assert [a.reached for a in found] == [None, None, 1, 1]


def test_vector_holds_history_hazard_and_flags():
    task = build_task(manifest(), sessions())
    with Processor(task) as processor:
        actions(processor, [draw(40), draw(44, hazard=52), draw(None, gem=False, hazard=None)])
    seen = task._sessions["controller"].seen
    assert seen[0]["observation"].tolist() == [[42, 33, 42, 33, 51.5, 51.5, 1]]
    assert seen[1]["observation"].tolist() == [[46, 33, 42, 33, 53.5, 51.5, 1]]
    assert seen[2]["observation"].tolist() == [[46, 33, 46, 33, -1, 53.5, 0]], "out of sight: stays where it was"


def test_an_agent_put_elsewhere_starts_anew():
    task = build_task(manifest(), sessions())
    with Processor(task) as processor:
        found = actions(processor, [draw(80, gem=False), draw(20, gem=False)])
    assert task._sessions["controller"].seen[1]["observation"][0, :4].tolist() == [22, 33, 22, 33]
    assert found[1].reached is None


def test_horizon_gives_up_and_a_critic_can_be_given():
    meta = sessions()
    with Processor(build_task(manifest(), meta, {"horizon": "2"})) as processor:
        actions(processor, [draw(40)] * 6)
    assert len(meta["meta"].seen) == 3, "a new goal every second decision"
    always = {"critic": lambda before, after: np.array([True, True])}
    with Processor(build_task(manifest(), sessions(), always)) as processor:
        assert [a.reached for a in actions(processor, [draw(40)] * 3)] == [None, 0, 0]


def test_action_draws_and_writes_itself():
    with opened() as processor:
        result = processor.process(Frame(draw(40)))[0]
    action = result.output
    assert action.mask.sum() == 36
    assert action.mask[20:26, 10:16].all()
    assert result.draw().shape == (600, 1000, 3)
    assert (result.draw() != np.repeat(np.repeat(draw(40), 10, 0), 10, 1)).any()
    line = json.loads(json.dumps(action.as_json()))
    assert line == {"goal": "gem", "action": "left", "reached": None, "agent": [42.0, 33.0]}


def test_what_does_not_fit_is_refused():
    with opened() as processor, pytest.raises(ShapeMismatch, match="size"):
        processor.process(Frame(np.zeros((61, 100, 3), np.uint8)))
    with pytest.raises(UsageError, match="share"):
        opened(epsilon="2")
    with pytest.raises(UsageError, match="number"):
        opened(horizon="far")
    with pytest.raises(UsageError, match="option"):
        opened(speed=3)
    with pytest.raises(BundleError, match="scene"):
        build_task(manifest(scene={"goals": []}), sessions())
    with pytest.raises(BundleError, match="does not look at frames"):
        build_task(manifest(observation="state"), sessions())
    with pytest.raises(UsageError, match="steadied"):
        build_task(manifest(), sessions()).make_stage(SteadyOptions(mode="blend"))


class Walk:
    """A world that is played: the agent moves 5 px by each action, the gem goes when it is touched."""

    signal, notes = None, ()

    def __init__(self, info):
        self.info, self.x, self.gem, self.told = info, 40, True, []
        self.stopped = False

    def __iter__(self):
        for index in range(25):
            yield Frame(draw(self.x, gem=self.gem), index)
            assert len(self.told) == index + 1, "the action of a frame is there before the next frame is asked for"
            self.x += {"left": -5, "right": 5, "noop": 0}[self.told[-1]]
            self.gem &= self.x > 15

    def react(self, output):
        self.told.append(output.action_name)

    def stop(self):
        self.stopped = True

    def close(self):
        pass


def test_processor_closes_the_loop_without_threads():
    world = Walk(None)
    names = []
    with opened() as processor:
        for frame in world:
            output = processor.process(frame)[0].output
            names.append(output.goal_name)
            world.react(output)
    assert world.told[:5] == ["left"] * 5
    assert not world.gem
    assert names[0] == "gem"
    assert names[-1] == "exit"
    assert world.x >= 80


def test_a_game_is_played_through_a_stream(tmp_path):
    pytest.importorskip("ale_py", reason="the game comes with ale-py (pip install 'steadyframe[rl]')")
    from steadyframe.models.hdqn.montezuma import COLORS as GAME_COLORS
    from steadyframe.models.hdqn.montezuma import SCENE as ROOM

    settings = {"observation": "objects", "scene": ROOM.to_settings(), "colors": GAME_COLORS.to_settings()}
    made = manifest(**settings)
    right = [[0, 0, 0, 1, 0, 0, 0, 0]]
    found = {"meta": Values(lambda feeds: [np.eye(7)[6]], 7), "controller": Values(lambda feeds: right, 8)}
    task = build_task(made, found, {"episodes": "2"})
    out = tmp_path / "game.jsonl"
    with Stream(open_source("ale://montezuma?noops=0"), Processor(task), [str(out)]) as stream:
        for _ in stream:
            pass
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["episode"] for line in lines} == {0, 1}
    assert {line["goal"] for line in lines} == {"right door"}
    assert lines[0]["agent"] == [79.5, 83.0]
    assert lines[1]["agent"][0] > lines[0]["agent"][0], "the action was taken"
    assert [line["step"] for line in lines[:3]] == [0, 1, 2]
    assert lines[-1]["lives"] == 0, "walking off the edge loses every life"
    assert lines[-1]["score"] == 0


def test_addresses_of_games(tmp_path):
    pytest.importorskip("ale_py", reason="the game comes with ale-py (pip install 'steadyframe[rl]')")
    with pytest.raises(SourceNotFound, match="no game"):
        open_source("ale://pong")
    with pytest.raises(UsageError, match="sticky"):
        open_source("ale://montezuma?sticky=2")
    source = open_source("ale://montezuma")
    with pytest.raises(UsageError, match="policy"):
        source.react(object())


def test_the_shipped_policy_finds_its_way_in_pixels():
    pytest.importorskip("ale_py", reason="the game comes with ale-py (pip install 'steadyframe[rl]')")
    reached = []
    source = open_source("ale://montezuma?noops=0")
    with open_processor("policy-montezuma", device="cpu", options={"epsilon": 0}) as processor:
        for frame in source:
            action = processor.process(frame)[0].output
            source.react(action)
            if action.reached is not None:
                reached.append(action.scene.goals[action.reached].name)
            if frame.index == 150 or "right ladder" in reached:
                break
    source.stop()
    assert reached[:3] == ["middle ladder", "rope", "right ladder"]


def test_a_bundle_names_the_share_of_its_random_choices():
    own = open_task("policy-montezuma", device="cpu")
    none = open_task("policy-montezuma", device="cpu", options={"epsilon": 0})
    assert (own._policy.epsilon, none._policy.epsilon) == (0.1, 0)
    own.close()
    none.close()
