"""The stylize task: what it shows the network, when it forgets, and how the painting is mixed with the frame."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from steadyframe.runtime.errors import BundleError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.image import luma
from steadyframe.runtime.opening import open_task
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.tasks.stylize import Stylize
from steadyframe.runtime.temporal.feedback import FeedbackStage
from steadyframe.runtime.temporal.options import SteadyOptions
from steadyframe.runtime.temporal.repainting import RepaintStage
from steadyframe.runtime.temporal.stage import EveryFrame


def _graph() -> bytes:
    """Paints the negative; where the mask allows it, keeps the previous output."""
    nodes = [
        helper.make_node("Sub", ["white", "frame"], ["negative"]),
        helper.make_node("Greater", ["mask", "half"], ["keep"]),
        helper.make_node("Where", ["keep", "previous", "negative"], ["styled"]),
    ]
    weights = [
        numpy_helper.from_array(np.array(255, np.uint8), "white"),
        numpy_helper.from_array(np.array(127, np.uint8), "half"),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [1, "height", "width", channels])
        for name, channels in (("frame", 3), ("previous", 3), ("mask", 1))
    ]
    output = helper.make_tensor_value_info("styled", TensorProto.UINT8, [1, "height", "width", 3])
    graph = helper.make_graph(nodes, "stylize", inputs, [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    def make(**changes: Any) -> Path:
        folder, content = tmp_path / "negative", _graph()
        folder.mkdir()
        (folder / "stylize.onnx").write_bytes(content)
        axes: list[Any] = [1, "height", "width"]
        spec = {"dtype": "uint8", "layout": "NHWC"}
        inputs = [{"name": n, "axes": [*axes, c], **spec} for n, c in (("frame", 3), ("previous", 3), ("mask", 1))]
        graph = {
            "files": {"fp32": {"file": "stylize.onnx", "sha256": hashlib.sha256(content).hexdigest()}},
            "inputs": inputs,
            "outputs": [{"name": "styled", "axes": [*axes, 3], **spec}],
            "preprocess": {"kernel": "area", "short_side": 96, "multiple": 8},
        }
        manifest = {
            "schema": 1, "name": "negative", "task": "stylize", "version": "1", "licence": "CC0-1.0",
            "graphs": {"stylize": graph}, "state": {"styled": "previous"},
        }  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps(manifest | changes))
        return folder

    return make


@pytest.fixture
def photo(data_root: Path) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(sorted((data_root / "photos" / "val").glob("osie*"))[3]))
    return cv2.resize(pixels, (192, 128), interpolation=cv2.INTER_AREA)


def moving(photo: NDArray[np.uint8], count: int) -> list[Frame]:
    """Frames of 144 x 96 that move right by two pixels each."""
    return [Frame(np.ascontiguousarray(photo[:96, 2 * n : 2 * n + 144]), n, n, "moving") for n in range(count)]


def paint(task: Stylize, frames: list[Frame], mode: str | SteadyOptions = "off") -> list[NDArray[np.uint8]]:
    """Run the frames of one stream."""
    options = mode if isinstance(mode, SteadyOptions) else SteadyOptions.of(mode)
    with Processor(task, task.make_stage(options)) as processor:
        return [result.output.pixels for result in processor.process_all(frames)]


def test_without_a_stage_every_frame_is_a_first_one(make_bundle: Callable[..., Path], photo: Any) -> None:
    task = open_task(make_bundle())
    frames = moving(photo, 3)
    for frame, image in zip(frames, paint(task, frames), strict=True):
        assert np.array_equal(image, 255 - frame.pixels)


def test_the_stage_feeds_the_output_back(make_bundle: Callable[..., Path]) -> None:
    task = open_task(make_bundle())
    assert isinstance(task.make_stage(SteadyOptions(mode="off")), EveryFrame)
    for live in (False, True):
        stage = task.make_stage(SteadyOptions(), live=live)
        assert isinstance(stage, FeedbackStage if live else RepaintStage) and stage.lookahead == 0


def test_the_network_is_shown_its_last_output_where_it_went(make_bundle: Callable[..., Path], photo: Any) -> None:
    task = open_task(make_bundle())
    frames = moving(photo, 4)
    images = paint(task, frames, "blend")
    assert np.array_equal(images[0], 255 - frames[0].pixels)
    # The graph keeps what it is shown: the first painting, two pixels further left every frame.
    inner = slice(16, -16), slice(16, -24)
    for n, image in enumerate(images[1:], 1):
        expected = np.roll(images[0], -2 * n, axis=1)[inner].astype(int)
        assert np.abs(image[inner] - expected).mean() < 6
    # What comes into view at the right was never painted before.
    assert np.abs(images[1][20:-20, -1].astype(int) - (255 - frames[1].pixels[20:-20, -1])).mean() < 1


@pytest.mark.parametrize("forget", ["cut", "reset", "independent", "size"])
def test_a_cut_and_a_restart_are_first_frames(make_bundle: Callable[..., Path], photo: Any, forget: str) -> None:
    task = open_task(make_bundle())
    frames = moving(photo, 2)
    noise = np.random.default_rng(0).integers(0, 256, (96, 144, 3), dtype=np.uint8)
    pixels = {"cut": noise, "size": cv2.resize(frames[1].pixels, (120, 96))}.get(forget, frames[1].pixels)
    last = Frame(pixels, 2, 2, "moving", independent=forget == "independent")
    with Processor(task, task.make_stage(SteadyOptions.of("blend"))) as processor:
        for frame in frames:
            step = processor.prepare(frame)
            shown = processor.finish(step, processor.infer(step))[0].output.pixels
        assert step.motion.path is not None
        assert not np.array_equal(shown, 255 - frames[1].pixels)  # it remembers
        if forget == "reset":
            processor.reset()
        step = processor.prepare(last)
        assert set(step.feeds) == {"frame"}
        (result,) = processor.finish(step, processor.infer(step))
    assert np.array_equal(result.output.pixels, 255 - last.pixels)


@pytest.mark.parametrize("before", ["blend", "keyframe"])
@pytest.mark.parametrize("after", ["off", "blend", "keyframe"])
def test_a_task_that_is_used_again_knows_nothing_of_the_old_stream(
    make_bundle: Callable[..., Path], photo: Any, before: str, after: str
) -> None:
    folder, frames = make_bundle(), moving(photo, 6)
    used, fresh = open_task(folder), open_task(folder)
    paint(used, frames, before)
    for again, first in zip(paint(used, frames[2:], after), paint(fresh, frames[2:], after), strict=True):
        assert np.array_equal(again, first)
    feeds, _ = used.preprocess(frames[5])
    assert set(feeds) == {"frame"}


def test_between_keyframes_the_painting_is_propagated(make_bundle: Callable[..., Path], photo: Any) -> None:
    task = open_task(make_bundle())
    runs = 0
    infer = task.infer

    def counted(feeds: Any) -> Any:
        nonlocal runs
        runs += 1
        return infer(feeds)

    task.infer = counted
    frames = moving(photo, 9)
    images = paint(task, frames, SteadyOptions(mode="keyframe", repaint=None))
    assert runs == 2
    inner = slice(16, -16), slice(16, -40)
    for n in (1, 3, 5, 8):
        assert np.abs(images[n][inner].astype(int) - (255 - frames[n].pixels[inner])).mean() < 12


def test_a_larger_frame_gets_its_painting_at_its_own_size(make_bundle: Callable[..., Path], photo: Any) -> None:
    large = cv2.resize(photo, (500, 334), interpolation=cv2.INTER_CUBIC)
    (image,) = paint(open_task(make_bundle()), [Frame(large, 0, 0, "large")])
    assert image.shape == large.shape
    assert np.abs(image.astype(int) - (255 - large)).mean() < 12


def test_strength_mixes_and_keep_colors_keeps_chroma(make_bundle: Callable[..., Path], photo: Any) -> None:
    folder, (frame,) = make_bundle(), moving(photo, 1)
    (none,) = paint(open_task(folder, options={"strength": 0.0}), [frame])
    assert np.array_equal(none, frame.pixels)
    (half,) = paint(open_task(folder, options={"strength": 0.5}), [frame])
    assert np.abs(half.astype(int) - 127.5).max() <= 1
    (own,) = paint(open_task(folder, options={"keep_colors": True}), [frame])
    inside = (own > 0).all(-1) & (own < 255).all(-1)  # elsewhere the color leaves the gamut
    chroma = [cv2.cvtColor(p, cv2.COLOR_BGR2YCrCb)[..., 1:][inside].astype(int) for p in (own, frame.pixels)]
    assert inside.mean() > 0.3 and np.abs(chroma[0] - chroma[1]).max() <= 3
    assert np.abs(luma(own)[inside].astype(int) - luma(255 - frame.pixels)[inside]).max() <= 2


def test_wrong_bundles_and_options_are_refused(make_bundle: Callable[..., Path]) -> None:
    with pytest.raises(BundleError, match="not complete"):
        open_task(make_bundle(state={}))


def test_unknown_options_are_refused(make_bundle: Callable[..., Path]) -> None:
    folder = make_bundle()
    with pytest.raises(UsageError, match="no such option"):
        open_task(folder, options={"color": 1})
    with pytest.raises(UsageError, match="out of range"):
        open_task(folder, options={"strength": 2.0})


def test_wrong_settings_are_the_bundles(make_bundle: Callable[..., Path]) -> None:
    with pytest.raises(BundleError, match="out of range"):
        open_task(make_bundle(settings={"strength": 2.0}))
