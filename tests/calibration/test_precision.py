"""The whole way: a bundle, real photos, and a bundle with more precisions that the task accepts."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper
from steadyframe.calibration import precision as module
from steadyframe.calibration.commands import calibrate
from steadyframe.calibration.conversion import GraphConversion
from steadyframe.calibration.diversity import Selection, diverse_frames
from steadyframe.calibration.judging import Judge
from steadyframe.calibration.precision import add_to_bundle, make_precision
from steadyframe.calibration.quality import QualityMetric, delta_e
from steadyframe.calibration.recipe import read_recipes
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.errors import CalibrationError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import open_task
from steadyframe.runtime.processor import Processor


@pytest.fixture(scope="module")
def shipped():
    return Bundle.load("colorize")


@pytest.fixture(scope="module")
def selection(data_root):
    paths = sorted((data_root / "photos" / "val").glob("osie*"))[:12]
    photos = (cv2.imread(str(path)) for path in paths)
    small = (cv2.resize(photo, (200, 150), interpolation=cv2.INTER_AREA) for photo in photos)
    return diverse_frames((Frame(pixels, index=i) for i, pixels in enumerate(small)), 6)


@pytest.fixture(scope="module")
def int8(shipped, selection):
    return make_precision(shipped, selection, "int8")


def test_int8_of_the_shipped_colorizer_holds_on_photos_it_was_not_calibrated_on(int8, selection):
    assert int8.value <= int8.limit == 1.0
    assert int8.frames == 3
    assert set(int8.contents) == {"global", "color"}
    assert int8.recipes["color"].frames == selection.hashes


def test_fp16_is_nearer_than_int8(shipped, selection, int8):
    fp16 = make_precision(shipped, selection, "fp16")
    assert fp16.value < int8.value
    assert fp16.value < 0.2


def test_a_bundle_with_int8_runs_and_says_how_good_it_is(shipped, int8, tmp_path, selection):
    made = add_to_bundle(shipped, tmp_path / "made", [int8])
    assert "int8" in made.precisions()
    assert made.manifest.parity["int8"]["mean"] == round(int8.value, 4)
    assert read_recipes(made.folder / "recipe.json")["global"] == int8.recipes["global"]
    left, right = (open_task(made, precision=name) for name in ("fp32", "int8"))
    images = [Processor(task).process(selection.frames[0])[0].output for task in (left, right)]
    assert 0 < delta_e(*images) < 3


def test_what_was_in_the_folder_stays(shipped, int8, tmp_path):
    first = add_to_bundle(shipped, tmp_path / "made", [int8])
    (first.folder / "card.md").write_text("# Card\n")
    second = add_to_bundle(first, first.folder, [int8])
    assert (second.folder / "card.md").read_text() == "# Card\n"
    assert second.graph_bytes("color", "fp32") == shipped.graph_bytes("color", "fp32")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_nodes_are_kept_until_the_task_holds(shipped, selection, int8, monkeypatch):
    limit = int8.value * 0.95
    metric = QualityMetric("mean Delta-E", delta_e, {"int8": limit}, higher_is_better=False)
    monkeypatch.setattr(module, "quality_metric_of", lambda task: metric)
    # The order is another test's matter: here the color branch goes first, from its end.
    monkeypatch.setattr(module, "worst_first", lambda nodes, damage: list(reversed(nodes)))
    outcome = make_precision(shipped, selection, "int8")
    assert len(int8.kept) < len(outcome.kept) < 50
    assert outcome.value <= limit
    model = onnx.load_from_string(outcome.contents["color"])
    plain = {node.name for node in model.graph.node if node.op_type == "Conv" and "Dequantize" not in node.input[1]}
    assert {node.split("/")[1] for node in outcome.kept if "conv" in node} <= plain | {"node_conv2d_1"}


def test_a_node_that_is_made_worse_does_more_damage(shipped, selection):
    color = GraphConversion(shipped, "color", "int8", selection.frames[:2], "minmax")
    first, last = (node for node in color.candidates if node in ("node_conv2d_2", "node_conv2d_12"))
    damage = {node: color.damage(node) for node in (first, last)}
    assert 0 < damage[first] < 0.5
    low, high = color.ranges["conv2d_12"]
    color.ranges["conv2d_12"] = (low / 100, high / 100)
    assert color.damage(last) > 2 * damage[last]


def test_a_limit_out_of_reach_is_an_error(shipped, selection, monkeypatch):
    metric = QualityMetric("mean Delta-E", delta_e, {"int8": 1e-3}, higher_is_better=False)
    monkeypatch.setattr(module, "quality_metric_of", lambda task: metric)
    monkeypatch.setattr(module, "fewest_kept", lambda ranked, holds: holds(ranked) and list(ranked))
    monkeypatch.setattr(module, "_damage", lambda *given: 0.0)
    with pytest.raises(CalibrationError, match="not good enough on any node"):
        make_precision(shipped, selection, "int8")


def test_the_judge_sees_wrong_colors(shipped, selection):
    contents = {role: shipped.graph_bytes(role, "fp32") for role in shipped.manifest.graphs}
    judge = Judge(shipped, selection.frames[:1])
    assert judge.value(contents) == (0.0, 1, "cpu")
    model = onnx.load_from_string(contents["color"])
    (last,) = (node for node in model.graph.node if "ab" in node.output)
    last.output[list(last.output).index("ab")] = "right_ab"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(30), "off"))
    model.graph.node.append(onnx.helper.make_node("Add", ["right_ab", "off"], ["ab"]))
    value, *_ = judge.value({**contents, "color": model.SerializeToString()})
    assert value > 2


def test_three_frames_are_too_few(shipped, selection):
    few = Selection(selection.frames[:3], selection.hashes[:3], 3, (0, 1), 1, (0, 1), 1.0)
    with pytest.raises(CalibrationError, match="Too few"):
        make_precision(shipped, few, "int8")


def test_the_command_adds_fp16_and_reports(shipped, data_root, tmp_path):
    output = tmp_path / "made"
    photos = f"{data_root}/photos/val/osie*"
    frames = tmp_path / "frames"
    result = CliRunner().invoke(
        calibrate,
        ["colorize", photos, "-o", str(output), "--precision", "fp16", "--frames", "4", "--most", "8",
         "--save-frames", str(frames)],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == 0
    assert "mean Delta-E" in result.stdout
    manifest = json.loads((output / "manifest.json").read_text())
    for role in ("global", "color"):
        entry = manifest["graphs"][role]["files"]["fp16"]
        assert hashlib.sha256((output / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
    assert len(list(frames.glob("*.png"))) == 4


@pytest.mark.parametrize("address", ["test://?size=64x48&frames=20"])
def test_a_test_pattern_is_refused(address):
    result = CliRunner().invoke(calibrate, ["colorize", address])
    assert isinstance(result.exception, CalibrationError)
    assert "test pattern" in str(result.exception)


def test_noise_is_refused(tmp_path):
    for i in range(5):
        cv2.imwrite(
            str(tmp_path / f"{i}.png"), np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        )
    result = CliRunner().invoke(calibrate, ["colorize", str(tmp_path)])
    assert isinstance(result.exception, CalibrationError)
    assert "random pixels" in str(result.exception)


def test_pytorch_is_not_needed():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import steadyframe.calibration.precision, steadyframe.calibration.commands"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_frames_of_one_color_do_not_break_it(shipped):
    frames = [Frame(np.full((48, 64, 3), level, np.uint8), index=i) for i, level in enumerate((0, 80, 160, 255))]
    selection = diverse_frames(frames, 4)
    outcome = make_precision(shipped, selection, "fp16")
    assert np.isfinite(outcome.value)
