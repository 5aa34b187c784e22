"""Every kind of video is decoded to the right pixels at the right times."""

from __future__ import annotations

import subprocess
import threading
import time
from fractions import Fraction
from pathlib import Path

import cards
import numpy as np
import pytest
from steadyframe.runtime.errors import SignalLost, SourceNotFound
from steadyframe.runtime.io.decode import Decoded, Decoder, open_path
from steadyframe.runtime.io.names import ffmpeg_name


def bgr(frame: Decoded) -> np.ndarray:
    return frame.pixels if frame.pixels is not None else frame.planes.to_bgr()


def decoded(path: Path) -> tuple[Decoder, list[Decoded]]:
    decoder = open_path(path, path.name)
    frames = list(decoder)
    decoder.close()
    return decoder, frames


def steps(first: float, step: float, count: int) -> list[float]:
    return [first + step * number for number in range(count)]


# name -> times in seconds
TIMES = {
    "plain.mp4": steps(0, 0.05, 20),
    "camera.ts": steps(0, 0.05, 20),
    "fragmented.mp4": steps(0, 0.05, 20),
    "open_gop.mp4": steps(0, 0.05, 20),
    "raw.h264": steps(0, 0.05, 20),
    "vfr.mp4": steps(0, 0.1, 10) + steps(1.0, 0.025, 10),
    "pause.mkv": steps(0, 0.05, 10) + steps(3.5, 0.05, 10),
    "ntsc.mp4": steps(0, 1001 / 30000, 30),
    "slow.mp4": steps(0, 2.0, 4),
    "fast_1200.mkv": steps(0, 1 / 1200, 24),
    "one_frame.mp4": [0.0],
    "late_video.mkv": steps(0.5, 0.05, 20),
    "timecode.mp4": steps(0, 0.05, 20),
    "size_change.ts": steps(0, 0.05, 20),
    "long_sound.mp4": steps(0, 0.05, 20),
    "with_cover.mp4": steps(0, 0.05, 20),
    "dvd_pal.mpg": steps(0, 0.04, 8),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_and_order(odd, name):
    decoder, frames = decoded(odd(name))
    assert [cards.number_of(bgr(frame)) for frame in frames] == list(range(len(TIMES[name])))
    found = np.array([frame.time_ns for frame in frames]) / 1e9
    assert np.abs(found - TIMES[name]).max() <= 0.0011  # Matroska counts milliseconds
    assert (np.diff(found) > 0).all()
    decoder.judge_end()


# name -> largest error of a corner's color in levels: FFmpeg's own conversion is off by 5 at white
COLORS = {
    "plain.mp4": 6,
    "bt709.mp4": 6,
    "bt709_full.mp4": 4,
    "bt601_full.mp4": 4,
    "bt2020.mp4": 6,
    "ten_bit.mp4": 4,
    "yuv422.mkv": 6,
    "yuv444.mp4": 4,
    "gbrp.mkv": 0,
    "alpha.webm": 8,
    "dvd_pal.mpg": 12,
    "raw.mjpeg": 4,
    "hlg10.mp4": 6,
    "odd_sides.mkv": 4,
    "portrait.mp4": 6,
}


@pytest.mark.parametrize("name", COLORS)
def test_colors(odd, name):
    _, frames = decoded(odd(name))
    assert cards.worst_corner(bgr(frames[-1])) <= COLORS[name]


@pytest.mark.parametrize("name", ["plain.mp4", "bt709.mp4", "bt709_full.mp4", "yuv422.mkv", "ten_bit.mp4"])
def test_pixels_are_those_of_ffmpeg(odd, name):
    _, frames = decoded(odd(name))
    line = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(odd(name)),
        "-frames:v",
        "1",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "bgr24",
        "-",
    ]
    raw = subprocess.run(line, capture_output=True, check=True).stdout
    pixels = bgr(frames[0])
    wanted = np.frombuffer(raw, np.uint8).reshape(pixels.shape)
    assert np.abs(pixels.astype(int) - wanted).mean() <= 1.5


@pytest.mark.parametrize("name", ["grey.mkv", "grey16.mkv"])
def test_grey_stays_as_bright_as_it_is(odd, name):
    _, frames = decoded(odd(name))
    corners = [corner[0] for corner in cards.corners_of(bgr(frames[0]))]
    assert np.abs(np.array(corners) - (76, 150, 29, 255)).max() <= 2


@pytest.mark.parametrize("name", ["plain.mp4", "bt709.mp4", "ten_bit.mp4", "yuv444.mp4", "grey.mkv", "camera.ts"])
def test_the_decoders_own_luma_is_kept(odd, name):
    _, frames = decoded(odd(name))
    assert all(frame.planes is not None for frame in frames)
    path = str(odd(name))
    words = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt"]
    layout = "gray" if name == "grey.mkv" else "yuv420p" if name == "ten_bit.mp4" else frames[0].planes.format
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, *words, layout, "-"], capture_output=True, check=True
    ).stdout
    y = frames[0].planes.y
    wanted = np.frombuffer(raw, np.uint8)[: y.size].reshape(y.shape)
    assert np.abs(y.astype(int) - wanted).max() <= (1 if name == "ten_bit.mp4" else 0)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_phones_rotation_is_obeyed(odd, degrees):
    _, frames = decoded(odd(f"phone_{degrees}.mp4"))
    turned = {90: (2, 0, 3, 1), 180: (3, 2, 1, 0), 270: (1, 3, 0, 2)}[degrees]
    found = cards.corners_of(bgr(frames[0]))
    wanted = [cards.CORNERS[place] for place in turned]
    assert np.abs(np.array(found) - wanted).max() <= 8
    assert frames[0].planes.size_wh == ((160, 120) if degrees == 180 else (120, 160))


def test_interlaced_frames_are_made_whole_and_said(odd):
    decoder, frames = decoded(odd("interlaced.mp4"))
    # The last bit is always 0 in the first field and 1 in the second: to any filter a pattern that stands still.
    assert [cards.number_of(bgr(frame)) // 2 for frame in frames] == list(range(20))
    assert cards.worst_corner(bgr(frames[5])) <= 8
    assert any("interlaced" in note for note in decoder.notes)
    y = frames[5].planes.y.astype(int)[30:60, 40:120]  # a smooth part: combs would be rows that differ
    assert np.abs(y[1:-1] - (y[:-2] + y[2:]) / 2).mean() < 2.0


def test_frames_that_are_only_flagged_as_interlaced_keep_their_image(odd):
    decoder, frames = decoded(odd("flagged_only.mp4"))
    assert [cards.number_of(bgr(frame)) for frame in frames] == list(range(20))
    assert cards.worst_corner(bgr(frames[0])) <= 8
    assert any("interlaced" in note for note in decoder.notes)


def test_sample_aspect_is_known(odd):
    decoder, _ = decoded(odd("dvd_pal.mpg"))
    assert decoder.facts.sample_aspect == Fraction(64, 45)


def test_an_edit_list_hides_what_lies_before(odd):
    decoder, frames = decoded(odd("trimmed.mp4"))
    assert cards.number_of(bgr(frames[0])) == 10
    assert frames[0].time_ns < 0.05e9
    decoder.judge_end()


def test_one_broken_frame_is_left_out_and_told_at_the_end(odd):
    decoder, frames = decoded(odd("dirty.avi"))
    assert len(frames) == 29
    assert decoder.broken == 1
    with pytest.raises(SignalLost, match=r"1 of 30 frames"):
        decoder.judge_end()


def test_a_hole_does_not_end_the_clip(odd):
    _, frames = decoded(odd("hole.ts"))
    assert cards.number_of(bgr(frames[-1])) == 39
    assert len(frames) > 30


def test_a_file_that_is_cut_off_says_so(odd):
    decoder, frames = decoded(odd("cut.mp4"))
    assert 15 < len(frames) < 40
    with pytest.raises(SignalLost, match="cut off"):
        decoder.judge_end()


@pytest.mark.parametrize(("name", "kind"), [("no_index.mp4", "NOT_MEDIA"), ("sound_only.m4a", "NOT_MEDIA")])
def test_what_is_no_video_is_refused_with_its_kind(odd, name, kind):
    with pytest.raises(SourceNotFound) as caught:
        open_path(odd(name), name)
    assert caught.value.kind == kind


def test_hdr_is_told(odd):
    decoder, _ = decoded(odd("hlg10.mp4"))
    assert any("HDR" in note for note in decoder.notes)


@pytest.mark.parametrize("name", ["tiny.mkv", "one_pixel.mkv"])
def test_smallest_frames(odd, name):
    _, frames = decoded(odd(name))
    assert len(frames) == 6


@pytest.mark.parametrize(
    "name",
    [
        "2024-01-01T12:30:00.mp4",
        "100%.mp4",
        "take%03d.mp4",
        "-dash.mp4",
        "[v2] cut.mp4",
        "a b.mp4",
        "日本.mp4",
        "new\nline.mp4",
        "x" * 240 + ".mp4",
        b"bad\xff.mp4".decode("utf-8", "surrogateescape"),
        "123",
    ],
)
def test_any_name_is_read(odd, tmp_path, monkeypatch, name):
    content = odd("plain.mp4").read_bytes()
    (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)  # relative names are the hard ones
    decoder = Decoder(ffmpeg_name(name), name)
    assert len(list(decoder)) == 20


def test_a_file_that_is_still_written_is_read_as_it_grows(odd, tmp_path):
    content = odd("camera.ts").read_bytes()
    path = tmp_path / "growing.ts"
    path.write_bytes(content[: len(content) // 4])
    decoder = open_path(path, path.name)

    def record() -> None:
        with path.open("ab") as file:
            for place in range(1, 4):
                file.write(content[place * len(content) // 4 : (place + 1) * len(content) // 4])
                file.flush()
                time.sleep(0.5)

    recorder = threading.Thread(target=record)
    recorder.start()
    time.sleep(0.1)
    frames = list(decoder)
    recorder.join()
    assert [cards.number_of(bgr(frame)) for frame in frames] == list(range(20))
