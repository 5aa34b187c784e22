"""What a batch job hands to the encoder is what one run hands to it, frame by frame."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from steadyframe.runtime.batch import work
from steadyframe.runtime.batch.clip import ClipFrames, index_of
from steadyframe.runtime.batch.driver import run_job
from steadyframe.runtime.batch.planning import Plan
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.opening import open_stream
from steadyframe.runtime.temporal.options import SteadyOptions


def single_run(bundle: object, clip: Path, output: Path, mode: str = "auto", every: str | None = None) -> None:
    """Run as `steadyframe run` does, on one thread."""
    steady = "auto" if mode == "auto" else SteadyOptions.of(mode, every=every)
    open_stream(bundle, str(clip), [str(output)], steady=steady, precision="fp32", threads=1).run()


def planned(job, clip, folder) -> int:
    return len(work.plan(job, clip, str(folder.segments(clip))).starts)


@pytest.mark.parametrize(
    "steady", [("off", None), ("blend", None), ("keyframe", None), ("keyframe", "4"), ("keyframe", "40")]
)
def test_colorize(tiny_bundle, make_scenes, make_job, in_process, encoded, tmp_path, steady):
    mode, every = steady
    clip = make_scenes()
    single_run(tiny_bundle, clip, tmp_path / "single.mp4", mode, every)
    expected = list(encoded)
    encoded.clear()
    job, clips, folder = make_job(tiny_bundle, clip, steady=mode, every=every)
    assert planned(job, clips[0], folder) == 3
    outcome = run_job(job, clips, folder, in_process())
    assert outcome.done == clips and not outcome.failed
    assert encoded == expected and len(expected) == 72
    # The same frames, times and sound, through the same writer, are the same file.
    assert (tmp_path / "out" / "scenes.mp4").read_bytes() == (tmp_path / "single.mp4").read_bytes()


@pytest.mark.parametrize("mode", ["off", "blend", "keyframe"])
def test_stylize(make_scenes, make_job, in_process, encoded, tmp_path, mode):
    clip = make_scenes(scenes=2, frames=12)
    single_run("stylize-wave", clip, tmp_path / "single.mp4", mode)
    expected = list(encoded)
    encoded.clear()
    job, clips, folder = make_job("stylize-wave", clip, steady=mode)
    assert planned(job, clips[0], folder) == 2
    run_job(job, clips, folder, in_process())
    assert encoded == expected and len(expected) == 24


def test_pose_is_one_segment_because_people_keep_their_numbers(make_scenes, make_job, in_process, encoded, tmp_path):
    clip = make_scenes(scenes=2, frames=12)
    single_run("pose", clip, tmp_path / "single.mp4")
    expected = list(encoded)
    encoded.clear()
    job, clips, folder = make_job("pose", clip)
    assert planned(job, clips[0], folder) == 1
    run_job(job, clips, folder, in_process())
    assert encoded == expected and len(expected) == 24


def test_lines_of_json(tiny_bundle, make_scenes, make_job, in_process, tmp_path):
    clip = make_scenes()
    single_run(tiny_bundle, clip, tmp_path / "single.jsonl")
    job, clips, folder = make_job(tiny_bundle, clip, suffixes=(".jsonl",))
    run_job(job, clips, folder, in_process())

    def lines(path: Path) -> list[dict]:
        read = [json.loads(line) for line in path.read_text().splitlines()]
        for line in read:
            for measured in ("captured_ns", "wall_ns", "age_ms", "timings_ms"):
                line.pop(measured, None)
        return read

    assert lines(tmp_path / "out" / "scenes.jsonl") == lines(tmp_path / "single.jsonl")
    assert not list(folder.segments(clips[0]).glob("*"))


def test_a_cut_where_the_task_still_remembers_is_not_made(
    tiny_bundle, make_scenes, make_job, in_process, encoded, tmp_path, monkeypatch
):
    clip = make_scenes()
    single_run(tiny_bundle, clip, tmp_path / "single.mp4")
    expected = list(encoded)
    encoded.clear()
    job, clips, folder = make_job(tiny_bundle, clip)
    wrong = Plan((0, 13, 24, 37), index_of(str(clip)))
    monkeypatch.setattr(work, "plan_clip", lambda *given: wrong)
    workers = in_process()
    run_job(job, clips, folder, workers)
    assert encoded == expected
    assert ("work", 13) in workers.calls or ("work", 24) in workers.calls


def test_a_cut_inside_a_group_of_pictures_is_found(tiny_bundle, make_scenes, make_job):
    clip = make_scenes(options={"crf": "18", "x264-params": "scenecut=0:keyint=200"})
    assert index_of(str(clip)).keyframes == (0,)
    job, clips, folder = make_job(tiny_bundle, clip)
    assert work.plan(job, clips[0], str(folder.segments(clips[0]))).starts == (0, 24, 48)


@pytest.mark.parametrize("options", [{"bf": "3"}, {"x264-params": "open-gop=1:keyint=10:bframes=3"}, {"g": "1"}])
def test_frames_from_the_middle_are_those_of_a_run_from_the_start(make_scenes, options):
    clip = make_scenes(options={"crf": "18"} | options)
    index = index_of(str(clip))
    every = [(frame.index, frame.time_ns, frame.pixels.tobytes()) for frame in open_source(str(clip))]
    for start in (1, 11, 24, 30, 71):
        later = [(f.index, f.time_ns, f.pixels.tobytes()) for f in ClipFrames(str(clip), start, index)]
        assert later == every[start:]


def test_short_clips_are_not_cut(tiny_bundle, make_scenes, make_job):
    job, clips, folder = make_job(tiny_bundle, make_scenes(scenes=2, frames=12), shortest=13)
    assert work.plan(job, clips[0], str(folder.segments(clips[0]))).starts == (0,)


def test_a_clip_that_two_workers_decode_differently_is_worked_on_whole(
    tiny_bundle, make_scenes, make_job, in_process, encoded, tmp_path, monkeypatch
):
    clip = make_scenes()
    single_run(tiny_bundle, clip, tmp_path / "single.mp4")
    expected = list(encoded)
    encoded.clear()
    job, clips, folder = make_job(tiny_bundle, clip)
    never_the_same = itertools.count()
    monkeypatch.setattr(work, "frame_hash", lambda frame: str(next(never_the_same)))
    workers = in_process()
    assert run_job(job, clips, folder, workers).done == clips
    assert encoded == expected
    assert workers.calls.count(("work", 0)) == 2  # in segments, and whole


def test_a_task_that_reads_another_bundle(make_scenes, make_job, in_process):
    """Its lines of JSON are there for every frame; the policy remembers, so the clip is one segment."""
    job, clips, folder = make_job("policy-camera", make_scenes(scenes=1, frames=12), suffixes=(".jsonl",))
    outcome = run_job(job, clips, folder, in_process())
    assert not outcome.failed
    lines = [json.loads(line) for line in Path(clips[0].outputs[0]).read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(12)) and lines[0]["task"] == "policy"
