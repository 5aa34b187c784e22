"""Recordings: read by an independent reader, replayed by us, and what a crash leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.errors import SinkError, SourceError, SourceNotFound, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.info import SourceInfo
from steadyframe.runtime.io.sinks import open_sink
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.robots.frames import StampedFrame
from steadyframe.runtime.tasks.pose.people import People, Person
from steadyframe.runtime.tasks.task import Image, Result

CLIP = SourceInfo("clip.mp4", fps=25.0, count=3)
STEP_NS = 40_000_000


def painted(index: int, *, stamp_ns: int | None = None) -> Result:
    pixels = np.full((48, 64, 3), 20 * index, np.uint8)
    pixels[:, 32:] = (10, 20 * index, 200)
    if stamp_ns is None:
        frame = Frame(pixels, index, source="clip.mp4", time_ns=index * STEP_NS)
    else:
        frame = StampedFrame(pixels, index, time_ns=index * STEP_NS, stamp_ns=stamp_ns, frame_id="front")
    return Result(frame, Image(255 - pixels), timings_ms={"infer": 1.0})


def posed(index: int) -> Result:
    frame = Frame(np.zeros((480, 640, 3), np.uint8), index, time_ns=index * STEP_NS)
    skeleton = Bundle.load("pose").manifest.skeleton
    joints = np.zeros((len(skeleton.joints), 3), np.float32)
    joints[skeleton.joints.index("left_wrist")] = (320, 120, 0.75)
    person = Person(28, 0.875, (100.0, 50.0, 200.0, 300.0), joints)
    return Result(frame, People((person,), skeleton, frame))


def messages(path: Path) -> list:
    """What mcap-ros2-support, which shares no code with rosbags, finds in a file: topic, type, message."""
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        assert reader.get_header().profile == "ros2"
        found = list(reader.iter_decoded_messages(log_time_order=False))
        assert reader.get_summary().statistics.message_count == len(found)
    return [(each.channel.topic, each.schema.name, each.decoded_message) for each in found]


def written(path: Path, results: list[Result], address: str | None = None, task: str = "stylize") -> list:
    sink = open_sink(address or str(path), CLIP, task=task)
    for result in results:
        sink.write(result)
    assert not path.exists()
    sink.close()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    return messages(path)


def test_an_independent_reader_reads_every_message(tmp_path):
    found = written(tmp_path / "out.mcap", [painted(index) for index in range(4)])
    images = [message for topic, _, message in found if topic == "/steadyframe/image/compressed"]
    assert {name for topic, name, _ in found if "image" in topic} == {"sensor_msgs/msg/CompressedImage"}
    pixels = cv2.imdecode(np.frombuffer(images[3].data, np.uint8), cv2.IMREAD_COLOR)
    assert len(images) == 4 and images[3].format == "jpeg" and abs(int(pixels[10, 10, 0]) - (255 - 60)) < 4
    stamps = [each.header.stamp.sec * 10**9 + each.header.stamp.nanosec for each in images]
    assert np.diff(stamps).tolist() == [STEP_NS] * 3
    assert abs(stamps[0] / 1e9 - time.time()) < 60 and images[0].header.frame_id == "camera"
    lines = [message.data for topic, _, message in found if topic == "/steadyframe/result"]
    assert len(lines) == 4 and lines[0].startswith('{"schema":1')


def test_raw_images_and_the_cameras_own(tmp_path):
    path = tmp_path / "out.mcap"
    found = written(path, [painted(2)], f"mcap://{path}?images=raw&camera=yes&frame_id=eye")
    by_topic = {topic: message for topic, _, message in found}
    camera, image = by_topic["/steadyframe/camera/image"], by_topic["/steadyframe/image"]
    assert (image.height, image.width, image.step, image.encoding) == (48, 64, 192, "bgr8")
    assert camera.header.frame_id == "eye"
    assert np.array_equal(np.frombuffer(image.data, np.uint8), 255 - np.frombuffer(camera.data, np.uint8))


def test_people_as_rep_155_and_as_detections(tmp_path):
    found = written(tmp_path / "out.mcap", [posed(0)], task="pose")
    by_topic = {topic: message for topic, _, message in found}
    assert list(by_topic["/humans/bodies/tracked"].ids) == ["aaabc"]
    skeleton = by_topic["/humans/bodies/aaabc/skeleton2d"]
    assert len(skeleton.skeleton) == 18
    wrist = skeleton.skeleton[7]  # LEFT_WRIST
    assert (wrist.x, wrist.y, wrist.c) == (0.5, 0.25, 0.75)
    detection = by_topic["/steadyframe/detections"].detections[0]
    assert detection.id == "aaabc" and detection.results[0].hypothesis.class_id == "person"
    assert detection.results[0].hypothesis.score == 0.875
    assert (detection.bbox.center.position.x, detection.bbox.center.position.y) == (200.0, 200.0)
    assert (detection.bbox.size_x, detection.bbox.size_y) == (200.0, 300.0)
    assert "/steadyframe/camera/image/compressed" in by_topic  # to look at them later


def test_a_recording_is_replayed_with_its_stamps(tmp_path):
    path = tmp_path / "out.mcap"
    begun_ns = time.time_ns() - 30_000_000_000
    stamps = [begun_ns + index * STEP_NS for index in range(5)]
    raw = f"mcap://{path}?images=raw"
    written(path, [painted(index, stamp_ns=stamp) for index, stamp in enumerate(stamps)], raw)
    source = open_source(str(path))
    assert source.info.count == 5 and source.info.fps == pytest.approx(25.0) and not source.info.live
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == stamps
    assert [frame.time_ns for frame in frames] == [index * STEP_NS for index in range(5)]
    assert all(time.monotonic_ns() - frame.captured_ns < 10e9 for frame in frames)  # not the age of the recording
    assert frames[0].frame_id == "front" and [frame.index for frame in frames] == list(range(5))
    assert np.array_equal(frames[3].pixels, painted(3).output.pixels)
    again = tmp_path / "again"
    again.mkdir()
    sink = open_sink(str(again / "b.mcap"), source.info, task="stylize")
    sink.write(Result(frames[4], Image(frames[4].pixels)))
    sink.close()
    image = next(message for topic, _, message in messages(again / "b.mcap") if "image" in topic)
    assert (image.header.stamp.sec, image.header.stamp.nanosec) == divmod(stamps[4], 10**9)
    assert image.header.frame_id == "front"


def test_one_of_several_topics(tmp_path):
    path = tmp_path / "out.mcap"
    written(path, [painted(1)], f"mcap://{path}?camera=yes")
    source = open_source(path)
    assert source.notes and "/steadyframe/camera/image/compressed" in source.notes[0]
    image = open_source(f"mcap://{path}?topic=steadyframe/image/compressed")
    assert abs(float(next(iter(image)).pixels[0, 0, 0]) - 235) < 4
    with pytest.raises(SourceNotFound, match="topic /none"):
        open_source(f"mcap://{path}?topic=/none")


RECORDER = """
import sys, time
import numpy as np
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.info import SourceInfo
from steadyframe.runtime.io.sinks import open_sink
from steadyframe.runtime.tasks.task import Image, Result
sink = open_sink(sys.argv[1], SourceInfo("camera", live=True), task="stylize")
for index in range(10_000):
    pixels = np.random.default_rng(index).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    sink.write(Result(Frame(pixels, index), Image(pixels)))
    print(index, time.time_ns(), flush=True)
    time.sleep(0.02)
"""


def test_kill_9_costs_a_live_recording_less_than_a_second(tmp_path):
    path = tmp_path / "live.mcap"
    with subprocess.Popen([sys.executable, "-c", RECORDER, str(path)], stdout=subprocess.PIPE, text=True) as recorder:
        lines = [recorder.stdout.readline() for _ in range(150)]
        recorder.send_signal(signal.SIGKILL)
        lines += recorder.stdout.read().splitlines()
    assert recorder.returncode == -signal.SIGKILL
    last_index, last_ns = map(int, lines[-1].split())
    source = open_source(str(path))
    frames = list(source)
    assert "cut off" in source.notes[0] and source.info.count == len(frames)
    assert 0 <= last_index - frames[-1].index < 100  # 0 where the kill met a flush
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert last_ns - frames[-1].stamp_ns < 1_000_000_000


def test_what_fails_leaves_nothing_and_says_why(tmp_path):
    path = tmp_path / "out.mcap"
    sink = open_sink(str(path), CLIP, task="stylize")
    sink.write(painted(0))
    sink.discard()
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="images"):
        open_sink(f"mcap://{path}?images=png", CLIP)
    with pytest.raises(UsageError, match="option"):
        open_sink(f"mcap://{path}?none=1", CLIP)
    with pytest.raises(SinkError):
        open_sink("/proc/none/out.mcap", CLIP)
    path.write_bytes(b"no mcap at all")
    with pytest.raises(SourceNotFound, match="no MCAP file"):
        open_source(str(path))
    path.write_bytes(b"")
    with pytest.raises(SourceNotFound):
        open_source(str(path))
    with pytest.raises(SourceError):
        open_source(f"mcap://{tmp_path}/none.mcap")


def test_damage_anywhere_is_no_traceback(tmp_path):
    path = tmp_path / "out.mcap"
    written(path, [painted(index) for index in range(6)])
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(200):
        content = bytearray(whole[: int(rng.integers(10, len(whole)))] if trial % 2 else whole)
        for _ in range(3):
            content[int(rng.integers(len(content)))] = int(rng.integers(256))
        path.write_bytes(content)
        try:
            for frame in open_source(str(path)):
                assert frame.pixels.ndim == 3
        except SourceError:
            continue
