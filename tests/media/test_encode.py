"""What is written is what players expect: codec, order, times, aspect, tags, sound."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import cards
import numpy as np
import pytest
from steadyframe.runtime.errors import SinkError
from steadyframe.runtime.io.decode import open_path
from steadyframe.runtime.io.encode import VideoPlan, VideoWriter, time_base_for
from steadyframe.runtime.io.names import ffmpeg_name
from steadyframe.runtime.io.soundtrack import Soundtrack


def copied(source: Path, target: Path, *, limit: int | None = None, quality: int | None = None) -> list[str]:
    """Decode and write again, planes untouched; returns what was not kept."""
    decoder = open_path(source, source.name)
    facts = decoder.facts
    beside = Soundtrack(ffmpeg_name(source), {}, facts.start_ns, decoder.video_index)
    writer = None
    for number, frame in enumerate(decoder):
        if number == limit:
            break
        if writer is None:
            plan = VideoPlan(
                fps=facts.fps, time_base=facts.time_base, sample_aspect=facts.sample_aspect, quality=quality
            )
            size = frame.planes.size_wh if frame.planes else (frame.pixels.shape[1], frame.pixels.shape[0])
            writer = VideoWriter(target, size, frame.planes.tags if frame.planes else None, plan, beside)
        writer.write(frame.planes or frame.pixels, frame.time_ns)
    writer.finish()
    decoder.close()
    return beside.notes


def times_of(facts: dict) -> list[float]:
    return sorted(float(packet["pts_time"]) for packet in facts["packets"])


def video_of(facts: dict) -> dict:
    return next(stream for stream in facts["streams"] if stream["codec_type"] == "video")


def sounds_of(facts: dict) -> list[str]:
    return [stream["codec_name"] for stream in facts["streams"] if stream["codec_type"] == "audio"]


NAMES = ("plain.mp4", "camera.ts", "vfr.mp4", "pause.mkv", "ntsc.mp4", "slow.mp4", "fast_1200.mkv", "raw.h264",
         "dvd_pal.mpg", "bt709.mp4", "gbrp.mkv", "grey.mkv", "odd_sides.mkv", "one_frame.mp4", "one_pixel.mkv",
         "interlaced.mp4", "phone_90.mp4", "yuv444.mp4", "ten_bit.mp4")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_h264_in_420_with_the_times_of_the_source(odd, ffprobe, tmp_path, name):
    target = tmp_path / "out.mp4"
    copied(odd(name), target)
    facts = ffprobe(target)
    video = video_of(facts)
    assert video["codec_name"] == "h264"
    assert video["pix_fmt"] in ("yuv420p", "yuvj420p")
    source = open_path(odd(name), name)
    wanted = np.array([frame.time_ns for frame in source]) / 1e9
    assert np.abs(np.array(times_of(facts)) - wanted).max() <= 0.0005
    step = 1 / (source.facts.fps or 25)
    if source.facts.duration_s:
        assert abs(float(facts["format"]["duration"]) - source.facts.duration_s) <= step + 0.001


def test_the_index_comes_first(odd, tmp_path):
    target = tmp_path / "out.mp4"
    copied(odd("plain.mp4"), target)
    content = target.read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")


def test_a_dvd_keeps_its_shape(odd, ffprobe, tmp_path):
    copied(odd("dvd_pal.mpg"), tmp_path / "out.mp4")
    assert video_of(ffprobe(tmp_path / "out.mp4"))["sample_aspect_ratio"] == "64:45"


@pytest.mark.parametrize(
    ("name", "matrix", "spread"),
    [("bt709.mp4", "bt709", "tv"), ("bt709_full.mp4", "bt709", "pc"), ("plain.mp4", "smpte170m", "tv"),
     ("gbrp.mkv", "smpte170m", "tv")],
)  # fmt: skip
def test_colors_are_tagged_and_right(odd, ffprobe, tmp_path, name, matrix, spread):
    target = tmp_path / "out.mp4"
    copied(odd(name), target, quality=4)
    video = video_of(ffprobe(target))
    assert (video["color_space"], video["color_range"]) == (matrix, spread)
    frame = next(iter(open_path(target, name)))
    assert cards.worst_corner(frame.planes.to_bgr()) <= 6


@pytest.mark.parametrize("name", ["plain.mp4", "bt709.mp4", "bt709_full.mp4", "grey.mkv"])
def test_luma_of_a_lossless_output_is_the_inputs_bit_for_bit(odd, tmp_path, name):
    target = tmp_path / "out.mp4"
    copied(odd(name), target, quality=0)
    pairs = zip(open_path(odd(name), name), open_path(target, "out"), strict=True)
    assert all(np.array_equal(one.planes.y, other.planes.y) for one, other in pairs)


@pytest.mark.parametrize(
    ("name", "suffix", "kept"),
    [("sound.mp4", ".mp4", ["aac"]), ("sound.mp4", ".mkv", ["aac"]), ("sound.mp4", ".webm", ["opus"]),
     ("sound.mp4", ".mov", ["aac"]), ("sound.mp4", ".avi", ["mp3"]), ("pcm_sound.mkv", ".mp4", ["aac"]),
     ("subtitled.mkv", ".mkv", ["aac", "aac"]), ("subtitled.mkv", ".mp4", ["aac", "aac"])],
)  # fmt: skip
def test_sound_is_kept(odd, ffprobe, tmp_path, name, suffix, kept):
    target = tmp_path / f"out{suffix}"
    notes = copied(odd(name), target)
    facts = ffprobe(target)
    assert sounds_of(facts) == kept
    whole = float(ffprobe(odd(name))["format"]["duration"])
    assert abs(float(facts["format"]["duration"]) - whole) <= 0.1
    assert any("encoded anew" in note for note in notes) == (suffix in (".webm", ".avi") or name == "pcm_sound.mkv")


def test_copied_sound_is_the_same_bytes(odd, tmp_path):
    target = tmp_path / "out.mp4"
    copied(odd("sound.mp4"), target)

    def sound(path: Path) -> bytes:
        line = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a", "-c", "copy", "-f", "adts", "-"]
        return subprocess.run(line, capture_output=True, check=True).stdout

    assert sound(target) == sound(odd("sound.mp4")) != b""


def test_a_late_video_stays_late(odd, ffprobe, tmp_path):
    copied(odd("late_video.mkv"), tmp_path / "out.mkv")
    assert times_of(ffprobe(tmp_path / "out.mkv"))[0] == pytest.approx(0.5, abs=0.01)


def test_sound_ends_with_video_that_was_ended_early(odd, ffprobe, tmp_path):
    copied(odd("sound.mp4"), tmp_path / "out.mp4", limit=10)
    assert float(ffprobe(tmp_path / "out.mp4")["format"]["duration"]) == pytest.approx(0.5, abs=0.06)


def test_sound_that_is_longer_than_the_video_is_kept_whole(odd, ffprobe, tmp_path):
    copied(odd("long_sound.mp4"), tmp_path / "out.mp4")
    assert float(ffprobe(tmp_path / "out.mp4")["format"]["duration"]) == pytest.approx(3.0, abs=0.06)


def test_chapters_and_subtitles_are_kept_or_named(odd, ffprobe, tmp_path):
    assert copied(odd("subtitled.mkv"), tmp_path / "out.mkv") == []
    facts = ffprobe(tmp_path / "out.mkv")
    assert [chapter["tags"]["title"] for chapter in facts["chapters"]] == ["part 0", "part 500"]
    assert [stream["codec_name"] for stream in facts["streams"] if stream["codec_type"] == "subtitle"] == ["subrip"]
    assert facts["format"]["tags"]["title"] == "cards"
    notes = copied(odd("subtitled.mkv"), tmp_path / "out.mp4")
    assert len(notes) == 1
    assert "subtitles (srt) are not kept" in notes[0]
    assert len(ffprobe(tmp_path / "out.mp4")["chapters"]) == 2


def test_a_player_that_seeks_has_a_keyframe_within_two_seconds(ffprobe, tmp_path):
    writer = VideoWriter(tmp_path / "long.mp4", (64, 48), None, VideoPlan(fps=20))
    for number in range(100):
        writer.write(cards.card(64, 48, number), number * 50_000_000)
    writer.finish()
    packets = ffprobe(tmp_path / "long.mp4")["packets"]
    keys = [float(packet["pts_time"]) for packet in packets if "K" in packet["flags"]]
    assert max(np.diff([*keys, 5.0])) <= 2.0


LIVE = """
import sys, time
from pathlib import Path
import numpy as np
from steadyframe.runtime.io.encode import VideoPlan, VideoWriter
writer = VideoWriter(Path(sys.argv[1]), (160, 120), None, VideoPlan(fps=20, live=True))
noise = np.random.default_rng(0)
for number in range(400):
    writer.write(noise.integers(0, 256, (120, 160, 3), np.uint8), number * 50_000_000)
    print(number, flush=True)
    time.sleep(0.01)
"""


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_live_recording_loses_a_second_at_most(tmp_path, suffix):
    target = tmp_path / f"live{suffix}"
    with subprocess.Popen([sys.executable, "-c", LIVE, str(target)], stdout=subprocess.PIPE, text=True) as child:
        last = 0
        while last < 100:
            last = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        last = max([last, *(int(line) for line in child.stdout)])
    frames = list(open_path(target, target.name))
    assert len(frames) >= last + 1 - 20


def test_a_full_disk_is_told_at_once(tmp_path):
    started = time.monotonic()
    with pytest.raises(SinkError, match="No space left"):
        writer = _full_writer()
        for number in range(3000):
            noise = np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)
            writer.write(noise, number * 50_000_000)
            assert number < 200, "thousands of frames for nothing"
    assert time.monotonic() - started < 20


def _full_writer() -> VideoWriter:
    """Write into a file system without room: the device that Linux keeps for this."""
    link = Path("/dev/shm") / f"steadyframe-test-{os.getpid()}.mkv"
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    link.symlink_to("/dev/full")
    try:
        return VideoWriter(link, (64, 48), None, VideoPlan(fps=20))
    finally:
        link.unlink()


def test_time_bases():
    assert time_base_for(Fraction(1, 12_800), 20.0) == Fraction(1, 12_800)
    assert time_base_for(Fraction(1, 1000), 20.0) == Fraction(1, 90_000)
    assert time_base_for(None, 25.0, constant=True) == Fraction(1, 25)


def test_a_colorized_file_keeps_the_luma_of_its_input_bit_for_bit(odd, tmp_path):
    """Through the whole product: the shipped path of planes, not a copy."""
    target = tmp_path / "colored.mp4"
    command = [Path(sys.executable).with_name("steadyframe"), "run", "colorize", odd("bt709.mp4"), target]
    subprocess.run([*command, "--device", "cpu", "--quality", "0"], check=True, capture_output=True)
    before, after = (list(open_path(path, path.name)) for path in (odd("bt709.mp4"), target))
    assert len(before) == len(after) == 4
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one.planes.y, other.planes.y)
        assert not np.array_equal(one.planes.u, other.planes.u)
        assert one.planes.tags == other.planes.tags
