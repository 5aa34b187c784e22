"""Parity passes where it should, and fails for every reason it should."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper
from steadyframe.calibration.frames import spread_frames
from steadyframe.export.commands import parity
from steadyframe.export.parity import ParityReport, StageParity, compare
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.runtime.bundle import Bundle
from steadyframe.runtime.errors import BundleError, ParityError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.streaming.sources import open_source


@pytest.fixture(scope="module")
def frames(data_root: Path) -> list[Frame]:
    source = open_source(str(data_root / "videos" / "webcam_bird.mkv"))
    chosen = spread_frames(source, 3, most=40)
    source.close()
    return chosen


def altered(bundle: Bundle, folder: Path, role: str, change: Callable[[onnx.ModelProto], None]) -> Bundle:
    """A copy of a bundle with one graph changed and its hash put right, as a faulty exporter would leave it."""
    shutil.copytree(bundle.folder, folder)
    path = folder / f"{role}.onnx"
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    data = json.loads((folder / "manifest.json").read_text())
    data["graphs"][role]["files"]["fp32"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(data))
    return Bundle.load(folder)


def test_a_faithful_bundle_passes(bundle: Bundle, checkpoint: Checkpoint, frames: list[Frame]) -> None:
    report = compare(bundle, checkpoint, frames)
    report.check()
    assert [stage.name for stage in report.stages][-1] == "picture"
    assert {stage.samples for stage in report.stages} == {3}
    assert json.loads(report.to_json())["passed"] is True


def test_a_channel_swap_fails(bundle: Bundle, checkpoint: Checkpoint, frames: list[Frame], tmp_path: Path) -> None:
    def swap(model: onnx.ModelProto) -> None:
        (weights,) = (i for i in model.graph.initializer if list(i.dims) == [1, 3, 1, 1])
        weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights)[:, ::-1].copy(), weights.name))

    report = compare(altered(bundle, tmp_path / "b", "color", swap), checkpoint, frames)
    assert not report.passed
    assert report.first_diverging == "color.ab"


@pytest.mark.parametrize("change", [{"kernel": "nearest"}, {"short_side": 184}])
def test_a_wrong_resize_fails(
    bundle: Bundle, checkpoint: Checkpoint, frames: list[Frame], change: dict[str, object]
) -> None:
    graph = bundle.manifest.graphs["color"]
    wrong = dataclasses.replace(graph, preprocess=dataclasses.replace(graph.preprocess, **change))
    manifest = dataclasses.replace(bundle.manifest, graphs={**bundle.manifest.graphs, "color": wrong})
    report = compare(Bundle(bundle.folder, manifest), checkpoint, frames)
    assert not report.passed
    assert report.first_diverging == "color.frame"


def test_a_dropped_output_fails(bundle: Bundle, checkpoint: Checkpoint, frames: list[Frame], tmp_path: Path) -> None:
    def drop(model: onnx.ModelProto) -> None:
        model.graph.output[0].name = "something_else"
        for node in model.graph.node:
            node.output[:] = ["something_else" if name == "ab" else name for name in node.output]

    with pytest.raises(BundleError, match="not what the manifest says"):
        compare(altered(bundle, tmp_path / "b", "color", drop), checkpoint, frames)


def test_a_missing_stage_is_a_failure_and_not_a_pass() -> None:
    stage = StageParity("color.ab", tolerance=1.0)
    stage.add(np.zeros(3, np.float32), None)
    assert not stage.passed
    assert stage.tolerance_needed is None
    assert stage.problems == ["missing in the bundle"]


@pytest.mark.parametrize("found", [np.array([np.nan], np.float32), np.zeros(2, np.float32), np.zeros(1, np.float64)])
def test_what_cannot_be_compared_fails(found: np.ndarray) -> None:
    stage = StageParity("x", tolerance=np.inf)
    stage.add(np.zeros(1, np.float32), found)
    assert not stage.passed


def test_an_empty_input_set_fails(bundle: Bundle, checkpoint: Checkpoint) -> None:
    report = compare(bundle, checkpoint, [])
    assert not report.passed
    with pytest.raises(ParityError, match="Nothing was compared"):
        report.check()
    assert not ParityReport("b", "c", "cpu", "fp32", 1, ()).passed


def test_other_weights_fail(bundle: Bundle, checkpoint: Checkpoint, frames: list[Frame]) -> None:
    weights = dict(checkpoint.weights)
    weights["output.bias"] = weights["output.bias"] + 0.01
    report = compare(bundle, dataclasses.replace(checkpoint, weights=weights), frames)
    assert report.first_diverging == "color.ab"
    with pytest.raises(ParityError, match=r"color\.ab"):
        report.check()


def test_tasks_must_agree(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="cannot be compared"):
        compare(bundle, Checkpoint(task="pose", config={}, weights={}), [])


def test_command(bundle: Bundle, checkpoint: Checkpoint, data_root: Path, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.pt")
    clip = str(data_root / "videos" / "webcam_bird.mkv")
    words = [str(bundle.folder), str(tmp_path / "c.pt"), clip, "--frames", "2", "--json", str(tmp_path / "r.json")]
    done = CliRunner().invoke(parity, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert "passed" in done.stdout
    assert json.loads((tmp_path / "r.json").read_text())["frames"] == 2
