"""Parity passes where it should, and fails for every reason it should."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper
from steadyframe.calibration.frames import spread_frames
from steadyframe.calibration.recording import recorded_feeds
from steadyframe.export.bundle import BundleFacts, export_bundle
from steadyframe.export.commands import parity
from steadyframe.export.parity.compare import Target, compare, compare_all, reference_of
from steadyframe.export.parity.diverging import first_diverging_node
from steadyframe.export.parity.report import (
    ParityReport,
    StageParity,
    TaskParity,
    reports_as_json,
    reports_as_junit,
    reports_as_markdown,
)
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.errors import BundleError, ParityError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.sources import open_source

from ..conftest import small_checkpoint


@pytest.fixture(scope="module")
def frames(data_root: Path) -> list[Frame]:
    source = open_source(str(data_root / "videos" / "webcam_bird.mkv"))
    chosen = spread_frames(source, 3, most=40)
    source.close()
    return chosen


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Checkpoint]:
    checkpoint = small_checkpoint(None)
    bundle = export_bundle(checkpoint, tmp_path_factory.mktemp("plain") / "small", BundleFacts(name="small"))
    return bundle, checkpoint


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
    assert [stage.name for stage in report.stages][-1] == "image"
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

    with pytest.raises(BundleError, match="not match the manifest"):
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
    assert json.loads((tmp_path / "r.json").read_text())["runs"][0]["frames"] == 2
    failing = CliRunner().invoke(parity, [*words[:3], "--frames", "1", "--tolerance", "color.ab=0"])
    assert isinstance(failing.exception, ParityError)


def test_a_record_is_kept_in_the_bundle_and_only_of_what_passed(
    bundle: Bundle, checkpoint: Checkpoint, data_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(bundle.folder, tmp_path / "small")
    checkpoint.save(tmp_path / "c.pt")
    clip = str(data_root / "videos" / "webcam_bird.mkv")
    words = [str(tmp_path / "small"), str(tmp_path / "c.pt"), clip, "--frames", "1", "--record"]
    failing = CliRunner().invoke(parity, [*words, "--tolerance", "color.ab=0"])
    assert isinstance(failing.exception, ParityError)
    assert not Bundle.load(tmp_path / "small").manifest.parity
    CliRunner().invoke(parity, words, catch_exceptions=False)
    found = Bundle.load(tmp_path / "small").manifest.parity
    assert found["source"] == "webcam_bird.mkv" and found["runs"]["cpu/fp32"]["frames"] == 1
    stage = found["runs"]["cpu/fp32"]["stages"]["color.ab"]
    assert 0 <= stage["max_abs"] <= stage["tolerance"]


def test_a_part_of_a_stage_is_compared_where_there_is_one() -> None:
    stage = StageParity("part", 0.1, optional=True)
    assert stage.passed and stage.verdict == "nothing to compare"
    stage.add(np.zeros(2, np.float32), np.full(2, 0.2, np.float32))
    assert not stage.passed


def test_command_compares_with_the_weights_in_the_bundle(
    checkpoint: Checkpoint, data_root: Path, tmp_path: Path
) -> None:
    rounded = dataclasses.replace(checkpoint, weights=dict(checkpoint.weights))
    rounded.round_weights()
    export_bundle(rounded, tmp_path / "small", BundleFacts(name="small"))
    photo = str(data_root / "photos" / "val" / "osie_07200.webp")
    done = CliRunner().invoke(parity, [str(tmp_path / "small"), photo, "--frames", "1"], catch_exceptions=False)
    assert done.exit_code == 0 and "passed" in done.stdout
    (tmp_path / "small" / "weights.safetensors").unlink()
    failing = CliRunner().invoke(parity, [str(tmp_path / "small"), photo])
    assert isinstance(failing.exception, BundleError) and "carries no weights" in str(failing.exception)
    many = CliRunner().invoke(parity, [str(tmp_path / "small"), "a.pt", photo, "b"])
    assert isinstance(many.exception, UsageError)


def with_file(
    bundle: Bundle, folder: Path, precision: str, changes: dict[str, Callable[[onnx.ModelProto], None]]
) -> Bundle:
    """A copy of a bundle with one more precision, whose graphs are changed copies of fp32."""
    shutil.copytree(bundle.folder, folder)
    data = json.loads((folder / "manifest.json").read_text())
    for role in data["graphs"]:
        model = onnx.load(folder / f"{role}.onnx")
        changes.get(role, lambda model: None)(model)
        content = model.SerializeToString()
        (folder / f"{role}.{precision}.onnx").write_bytes(content)
        entry = {"file": f"{role}.{precision}.onnx", "sha256": hashlib.sha256(content).hexdigest()}
        data["graphs"][role]["files"][precision] = entry
    (folder / "manifest.json").write_text(json.dumps(data))
    return Bundle.load(folder)


def scaled(name: str, factor: float) -> Callable[[onnx.ModelProto], None]:
    """Multiply the weights of the named convolution."""

    def change(model: onnx.ModelProto) -> None:
        (node,) = (node for node in model.graph.node if node.name == name)
        (weights,) = (i for i in model.graph.initializer if i.name == node.input[1])
        weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(factor), weights.name))

    return change


def convolutions(bundle: Bundle, role: str) -> list[str]:
    model = onnx.load_from_string(bundle.graph_bytes(role, "fp32"))
    return [node.name for node in model.graph.node if node.op_type == "Conv"]


@pytest.mark.parametrize("place", [1, 5, -1])
def test_the_first_node_that_differs_is_found(
    plain: tuple[Bundle, Checkpoint], frames: list[Frame], tmp_path: Path, place: int
) -> None:
    bundle, _ = plain
    name = convolutions(bundle, "color")[place]
    wrong = with_file(bundle, tmp_path / "b", "fp16", {"color": scaled(name, 1.5)})
    feeds = next(recorded_feeds(bundle, frames))["color"][0]
    found = first_diverging_node(wrong, "color", feeds, precision="fp16")
    assert found is not None
    assert (found.role, found.node, found.kind) == ("color", name, "Conv")
    assert found.error > found.limit > found.error_before
    assert (
        first_diverging_node(wrong, "global", feeds={"frame": np.zeros((1, 224, 224, 3), np.uint8)}, precision="fp16")
        is None
    )


def test_a_cheap_precision_is_judged_by_the_task_and_its_node_is_named(
    plain: tuple[Bundle, Checkpoint], frames: list[Frame], tmp_path: Path
) -> None:
    bundle, checkpoint = plain
    last = convolutions(bundle, "color")[-1]
    wrong = with_file(bundle, tmp_path / "b", "int8", {"color": scaled(last, 30)})
    good = with_file(bundle, tmp_path / "g", "int8", {})
    right = compare(good, checkpoint, frames, precision="int8")
    assert right.passed
    assert [stage.tolerance for stage in right.stages] == [0.0, None, 0.0, None, None]
    report = compare(wrong, checkpoint, frames, precision="int8")
    assert not report.passed
    assert report.first_diverging == "mean Delta-E"
    assert f"color/{last}" in str(report.node)
    with pytest.raises(ParityError, match=last):
        report.check()


def test_frames_that_say_nothing_do_not_pass_a_cheap_precision() -> None:
    stage = StageParity("x", None)
    stage.add(np.zeros(1), np.zeros(1))
    for judges, passed in ((True, False), (False, True)):
        task = TaskParity("joints lost, %", 1.0, higher_is_better=False, judges=judges)
        assert ParityReport("b", "c", "cpu", "int8", 1, (stage,), task).passed is passed
    nan = TaskParity("m", 1.0, higher_is_better=False, judges=True, values=[float("nan")])
    assert not nan.passed


def test_another_number_of_people_is_a_note_where_the_task_judges() -> None:
    judged, shown = StageParity("people", 0.5), StageParity("people", None)
    for stage in (judged, shown):
        stage.add(np.zeros((1, 3)), np.zeros((2, 3)))
    assert not judged.passed
    assert shown.passed and "instead of" in shown.notes[0]
    shown.add(np.zeros((1, 3)), np.full((1, 3), np.nan))
    assert not shown.passed


def test_one_run_of_the_trained_network_serves_every_engine(
    plain: tuple[Bundle, Checkpoint], frames: list[Frame]
) -> None:
    pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    bundle, checkpoint = plain
    reference = reference_of(bundle, checkpoint)
    calls = []
    stages = reference.stages
    reference.stages = lambda pixels: calls.append(1) or stages(pixels)  # type: ignore[method-assign]
    reports = compare_all(bundle, reference, frames, [Target("cpu"), Target("openvino")])
    assert [report.device for report in reports] == ["cpu", "openvino"]
    assert all(report.passed for report in reports)
    assert len(calls) == len(frames)


def test_a_tolerance_may_be_given(plain: tuple[Bundle, Checkpoint], frames: list[Frame]) -> None:
    bundle, checkpoint = plain
    reference = reference_of(bundle, checkpoint)
    (report,) = compare_all(bundle, reference, frames, [Target()], tolerances={"color.ab": 0.0})
    assert report.first_diverging == "color.ab"
    assert report.stages[3].tolerance_needed > 0
    with pytest.raises(UsageError, match="no such stage"):
        compare_all(bundle, reference, frames, [Target()], tolerances={"color.chroma": 0.0})


def test_reports_in_every_form() -> None:
    good, bad = StageParity("a", 1.0), StageParity("b", 1.0)
    good.add(np.zeros(2), np.zeros(2))
    bad.add(np.zeros(2), np.full(2, 3.0))
    task = TaskParity("mean Delta-E", 1.0, higher_is_better=False, judges=False, values=[0.5, 2.5])
    reports = [
        ParityReport("net", "c.pt", "cpu", "fp32", 1, (good,)),
        ParityReport("net", "c.pt", "openvino", "fp32", 1, (good, bad), task, "color/conv (Conv): relative error 1"),
    ]
    data = json.loads(reports_as_json(reports))
    assert (data["passed"], [run["passed"] for run in data["runs"]]) == (False, [True, False])
    assert data["runs"][1]["task"] == {
        "measure": "mean Delta-E", "mean": 1.5, "worst": 2.5, "limit": 1.0, "frames": 2, "passed": False,
    }  # fmt: skip
    page = reports_as_markdown(reports)
    assert "| openvino | fp32 | FAILED | b |" in page
    assert "first diverging node: color/conv" in page
    suites = ElementTree.fromstring(reports_as_junit(reports))
    assert [(s.get("name"), s.get("tests"), s.get("failures")) for s in suites] == [
        ("net.cpu.fp32", "1", "0"), ("net.openvino.fp32", "3", "2"),
    ]  # fmt: skip
    assert [case.get("name") for case in suites[1] if case.find("failure") is not None] == ["b", "mean Delta-E"]
    nothing = ElementTree.fromstring(reports_as_junit([ParityReport("n", "c", "cpu", "fp32", 0, ())]))
    assert nothing[0].get("failures") == "1"
    assert json.loads(reports_as_json([]))["passed"] is False
