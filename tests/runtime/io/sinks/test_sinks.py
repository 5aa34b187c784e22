"""Outputs: what they write, what they refuse, and what they leave behind."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import SinkError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.info import SourceInfo
from steadyframe.runtime.io.sinks import VideoOptions, open_sink
from steadyframe.runtime.io.sinks.display import display_problem
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.task import Image, Result

VIDEO = SourceInfo("clip.mp4", fps=25.0, count=3)
ALBUM = SourceInfo("album", independent=True, count=3)


def result(index=0, size=(32, 24), *, source="clip.mp4", captured_ns=0, value=None):
    pixels = np.full((size[1], size[0], 3), index * 10 if value is None else value, np.uint8)
    frame = Frame(pixels, index, captured_ns, source)
    return Result(frame, Image(pixels), age_ms=1.5, timings_ms={"infer": 1.25})


def names(folder):
    return sorted(str(entry.relative_to(folder)) for entry in folder.rglob("*"))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "mov", "m4v"])
def test_a_video_has_every_frame_the_rate_and_the_size(tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    sink = open_sink(str(path), VIDEO)
    assert names(tmp_path) == []  # nothing is there before the first result
    for index in range(12):
        sink.write(result(index, (64, 48)))
    assert not path.exists()  # nor under its name before it is whole
    sink.close()
    assert names(tmp_path) == [path.name]
    written = open_source(str(path))
    assert written.info.fps == pytest.approx(25.0)
    levels = [frame.pixels.mean() for frame in written]
    assert len(levels) == 12
    assert np.abs(np.array(levels) - np.arange(12) * 10).max() < 4
    assert frame_size(path) == (64, 48)


def frame_size(path):
    return next(iter(open_source(str(path)))).size_wh


def test_a_fractional_rate_is_kept(tmp_path):
    path = tmp_path / "out.mp4"
    sink = open_sink(str(path), SourceInfo("clip.mp4", fps=30000 / 1001))
    sink.write(result())
    sink.close()
    assert open_source(str(path)).info.fps == pytest.approx(29.97, abs=0.001)


@pytest.mark.parametrize(
    ("size", "written"),
    [((33, 25), (34, 26)), ((1, 1), (2, 2)), ((2, 2), (2, 2)), ((1920, 1080), (1920, 1080))],
)
def test_odd_sides_grow_by_a_pixel_because_codecs_halve_them(tmp_path, size, written):
    path = tmp_path / "out.mp4"
    sink = open_sink(str(path), VIDEO)
    sink.write(result(size=size))
    sink.close()
    assert frame_size(path) == written


def test_a_recording_of_a_live_source_keeps_real_time_by_stamps(tmp_path):
    path = tmp_path / "out.mp4"
    sink = open_sink(str(path), SourceInfo("camera", live=True, fps=25.0))
    at_ms = (0, 40, 80, 480, 490, 520)
    for index, captured_ms in enumerate(at_ms):
        sink.write(result(index, (64, 48), captured_ns=(7_000 + captured_ms) * 1_000_000, value=index * 40))
        assert path.exists()  # a crash now would keep what was recorded
    sink.close()
    frames = list(open_source(str(path)))
    assert [round(frame.pixels.mean() / 40) for frame in frames] == list(range(6))
    assert [round(frame.time_ns / 1e6) for frame in frames] == list(at_ms)


def test_a_video_refuses_another_size_and_leaves_nothing(tmp_path):
    sink = open_sink(str(tmp_path / "out.mp4"), VIDEO)
    sink.write(result(0, (64, 48)))
    with pytest.raises(SinkError, match="one size") as raised:
        sink.write(result(1, (48, 64)))
    assert (raised.value.expected, raised.value.found) == ("64x48", "48x64")
    sink.discard()
    assert names(tmp_path) == []


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    failed = open_sink(str(path), VIDEO)
    failed.write(result())
    failed.discard()
    assert path.read_bytes() == b"old"
    good = open_sink(str(path), VIDEO)
    good.write(result())
    good.close()
    assert frame_size(path) == (32, 24)


def test_no_results_make_no_video(tmp_path):
    open_sink(str(tmp_path / "out.mp4"), VIDEO).close()
    assert names(tmp_path) == []


UNWRITABLE = ["file/out.mp4", "file/out.avi", "file/x/out_%03d.png", "file/folder/", "file/out.jsonl", "file/"]


@pytest.mark.parametrize("address", UNWRITABLE)
def test_what_cannot_be_written_is_refused_on_opening(tmp_path, address):
    """Below a regular file nobody can write, not even root."""
    (tmp_path / "file").write_text("precious")
    with pytest.raises(SinkError) as raised:
        open_sink(f"{tmp_path}/{address}", VIDEO)
    assert str(tmp_path / "file") in str(raised.value)
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "precious"


def test_an_encoder_that_this_machine_lacks_is_named(tmp_path):
    with pytest.raises(SinkError, match="h264_v4l2m2m"):
        open_sink(str(tmp_path / "out.mp4"), VIDEO, video=VideoOptions(encoder="v4l2m2m"))
    assert names(tmp_path) == []


@pytest.mark.parametrize("options", [{"encoder": "x265"}, {"quality": 52}, {"quality": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UsageError):
        VideoOptions(**options)


@pytest.mark.parametrize("address", ["out.mp3", "out", "out.gif", "rtsp://host/x"])
def test_an_output_that_says_nothing_is_a_usage_error(tmp_path, address):
    with pytest.raises(UsageError) as raised:
        open_sink(address if "://" in address else f"{tmp_path}/{address}", VIDEO)
    assert raised.value.available


def test_the_input_is_never_written_over(make_clip, tmp_path):
    clip = make_clip("clip.mp4")
    with pytest.raises(SinkError, match="is the input"):
        open_sink(str(tmp_path / "." / "clip.mp4"), open_source(str(clip)).info)


def test_numbered_images_carry_the_frames_index(tmp_path):
    sink = open_sink(f"{tmp_path}/new/out_%03d.png", VIDEO)
    for index in (0, 1, 7):
        sink.write(result(index))
    sink.close()
    assert names(tmp_path / "new") == ["out_000.png", "out_001.png", "out_007.png"]
    assert cv2.imread(f"{tmp_path}/new/out_007.png")[0, 0, 0] == 70


@pytest.mark.parametrize("address", ["a%02d_%03d.png", "a%%d_%d.png", "a%d.xyz"])
def test_a_pattern_that_is_none_is_refused(tmp_path, address):
    with pytest.raises(UsageError):
        open_sink(f"{tmp_path}/{address}", VIDEO)


def test_a_folder_keeps_the_names_of_images(tmp_path):
    sink = open_sink(f"{tmp_path}/out/", ALBUM)
    for index, name in enumerate(("in/b.jpg", "in/a.png", "in/c.ppm", "in/D.WEBP")):
        sink.write(result(index, source=name))
    assert names(tmp_path / "out") == ["D.WEBP", "a.png", "b.jpg", "c.png"]


def test_a_folder_numbers_the_frames_of_a_video(tmp_path):
    sink = open_sink(f"{tmp_path}/out/", VIDEO)
    sink.write(result(3))
    assert names(tmp_path / "out") == ["000003.png"]


def test_two_inputs_of_one_name_are_refused_and_not_written_over(tmp_path):
    sink = open_sink(f"{tmp_path}/out/", ALBUM)
    sink.write(result(1, source="one/a.png"))
    with pytest.raises(SinkError, match="Two inputs"):
        sink.write(result(2, source="two/a.png"))
    assert cv2.imread(f"{tmp_path}/out/a.png")[0, 0, 0] == 10


def test_the_folder_that_is_read_is_never_written_over(tmp_path):
    cv2.imwrite(f"{tmp_path}/a.png", np.zeros((2, 2, 3), np.uint8))
    info = open_source(str(tmp_path)).info
    with pytest.raises(SinkError, match="write over"):
        open_sink(f"{tmp_path}/", info)


def test_one_image_goes_to_one_file(tmp_path):
    sink = open_sink(f"{tmp_path}/out.png", SourceInfo("in.png", independent=True, count=1))
    sink.write(result(5, source="in.png"))
    assert names(tmp_path) == ["out.png"]


def test_many_frames_do_not_go_to_one_image(tmp_path):
    for info in (VIDEO, ALBUM, SourceInfo("camera", live=True)):
        with pytest.raises(SinkError, match="holds one image"):
            open_sink(f"{tmp_path}/out.png", info)


def test_the_image_that_is_read_is_never_written_over(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((2, 2, 3), np.uint8))
    sink = open_sink(str(path), open_source(str(path)).info)
    with pytest.raises(SinkError, match="is being read"):
        sink.write(result(source=str(path)))


def test_lines_of_json_have_the_fields_of_the_contract(tmp_path):
    path = tmp_path / "out.jsonl"
    sink = open_sink(str(path), VIDEO, task="colorize")
    sink.write(result(0))
    sink.write(result(1))
    assert not path.exists()
    sink.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[1] == {
        "schema": 1, "source": "clip.mp4", "index": 1, "captured_ns": 0, "wall_ns": lines[1]["wall_ns"],
        "time_ns": 0, "age_ms": 1.5,
        "size": [32, 24],
        "task": "colorize", "keyframe": True, "timings_ms": {"infer": 1.25},
    }  # fmt: skip


def test_a_result_adds_its_own_fields(tmp_path):
    class Two:
        def as_json(self):
            return {"people": [1, 2]}

    path = tmp_path / "out.jsonl"
    sink = open_sink(str(path), VIDEO)
    sink.write(Result(result().frame, Two()))
    sink.close()
    assert json.loads(path.read_text())["people"] == [1, 2]


def test_discarded_lines_leave_nothing(tmp_path):
    sink = open_sink(str(tmp_path / "out.jsonl"), VIDEO)
    sink.write(result())
    sink.discard()
    assert names(tmp_path) == []


def test_a_result_without_pixels_is_told_where_it_can_go(tmp_path):
    sink = open_sink(str(tmp_path / "out.mp4"), VIDEO)
    with pytest.raises(SinkError, match=r"\.jsonl"):
        sink.write(Result(result().frame, object()))


def test_a_image_that_cannot_be_written_leaves_nothing_half(tmp_path):
    sink = open_sink(f"{tmp_path}/out/", VIDEO)
    (tmp_path / "out").rmdir()
    with pytest.raises(SinkError, match="cannot be written"):
        sink.write(result())
    assert names(tmp_path) == []


@pytest.mark.parametrize("display", ["", "nonsense", ":987", "127.0.0.1:5987"])
def test_without_a_screen_the_window_is_refused_and_the_process_lives(monkeypatch, display):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    assert display_problem()
    with pytest.raises(SinkError, match="--headless"):
        open_sink("display://", VIDEO)


def test_several_sinks_get_the_same_results(negative, tmp_path):
    addresses = [f"{tmp_path}/a.mp4", f"{tmp_path}/b_%02d.png", f"{tmp_path}/c/", f"{tmp_path}/d.jsonl", "null://"]
    Stream("test://?size=32x24&frames=4", Processor(negative()), addresses).run()
    assert names(tmp_path) == [
        *("a.mp4", "b_00.png", "b_01.png", "b_02.png", "b_03.png"),
        *("c", "c/000000.png", "c/000001.png", "c/000002.png", "c/000003.png", "d.jsonl"),
    ]


def test_each_line_of_a_live_source_is_in_the_file_at_once_and_stays(tmp_path):
    path = tmp_path / "out.jsonl"
    sink = open_sink(str(path), replace(VIDEO, live=True), task="colorize")
    sink.write(result(0))
    assert len(path.read_text().splitlines()) == 1  # what `tail -f` sees
    sink.write(result(1))
    sink.discard()
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [0, 1]


def test_a_function_is_a_sink():
    seen = []
    sink = open_sink(seen.append, VIDEO)
    sink.write(result(3))
    sink.close()
    assert [one.frame.index for one in seen] == [3]
    assert "append" in sink.address
