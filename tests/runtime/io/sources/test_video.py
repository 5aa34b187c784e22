"""Video files: whole, cut off, and not videos at all."""

from __future__ import annotations

import pytest
from steadyframe.runtime.errors import SignalLost, SourceNotFound
from steadyframe.runtime.io.info import Signal
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_whole_clip_comes_out_whole(make_clip, suffix):
    source = open_source(str(make_clip(f"clip.{suffix}", frames=30)))
    frames = list(source)
    assert [(frame.index, frame.independent) for frame in frames] == [(index, False) for index in range(30)]
    assert source.info.fps == 25.0
    assert source.info.count in (30, 31)
    assert source.signal is Signal.ENDED
    assert frames[29].time_ns == pytest.approx(29 / 25 * 1e9)


def test_every_real_clip_counts_as_whole(data_root):
    """The containers' own counts are off by one here and there; that must not look like damage."""
    for path in [*sorted((data_root / "videos").glob("webcam_*.mkv")), data_root / "videos" / "davis_dog.mp4"]:
        source = open_source(str(path))
        frames = sum(1 for _ in source)
        assert abs(frames - source.info.count) <= 2, path.name


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def test_a_cut_off_matroska_gives_its_good_frames_then_says_how_many(make_clip):
    path = cut(make_clip("clip.mkv", frames=60), 0.5)
    frames = []
    with pytest.raises(SignalLost, match="cut off") as raised:
        for frame in open_source(str(path)):
            frames.append(frame)
    assert 10 < len(frames) < 50
    assert f"{len(frames)} frames" in str(raised.value)
    assert raised.value.expected == "2.40 s"


def test_a_cut_off_real_clip_is_found_too(data_root, tmp_path):
    path = tmp_path / "clip.mkv"
    path.write_bytes((data_root / "videos" / "webcam_bird.mkv").read_bytes())
    with pytest.raises(SignalLost, match="cut off"):
        list(open_source(str(cut(path, 0.6))))


def index_first(path):
    """Move the index of an .mp4 before its images, as for the web, and correct the places it points to."""
    content = path.read_bytes()
    boxes, at = {}, 0
    while at < len(content):
        size, name = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        boxes[name] = content[at : at + size]
        at += size
    index = bytearray(boxes[b"moov"])
    table = index.find(b"stco") + 8
    for entry in range(int.from_bytes(index[table : table + 4], "big")):
        place = table + 4 + 4 * entry
        moved = int.from_bytes(index[place : place + 4], "big") + len(index)
        index[place : place + 4] = moved.to_bytes(4, "big")
    path.write_bytes(boxes[b"ftyp"] + bytes(index) + boxes.get(b"free", b"") + boxes[b"mdat"])
    return path


def test_a_cut_off_mp4_with_its_index_first_gives_its_good_frames_then_says_how_many(make_clip):
    path = index_first(make_clip("clip.mp4", frames=60))
    assert len(list(open_source(str(path)))) == 60
    cut(path, 0.6)
    frames = []
    with pytest.raises(SignalLost, match="60 frames"):
        for frame in open_source(str(path)):
            frames.append(frame)
    assert 5 < len(frames) < 58


def test_a_cut_off_mp4_with_its_index_last_cannot_be_opened_and_the_error_says_why(make_clip, capfd):
    with pytest.raises(SourceNotFound, match="index at the end"):
        open_source(str(cut(make_clip("clip.mp4", frames=60), 0.6)))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 4096, b"\x1a\x45\xdf\xa3" + b"\xff" * 512])
def test_what_is_no_video_is_refused_quietly(tmp_path, content, capfd):
    path = tmp_path / "clip.mkv"
    path.write_bytes(content)
    with pytest.raises(SourceNotFound, match=r"clip\.mkv"):
        open_source(str(path))
    assert capfd.readouterr().err == ""


def test_the_output_of_a_cut_off_clip_holds_its_good_frames(make_clip, negative, tmp_path):
    path = cut(make_clip("clip.mkv", frames=60), 0.5)
    stream = Stream(str(path), Processor(negative()), [str(tmp_path / "out.mp4")])
    with pytest.raises(SignalLost):
        stream.run()
    assert stream.stats.frames == len(list(open_source(str(tmp_path / "out.mp4")))) > 10
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["clip.mkv", "out.mp4"]


def test_a_limit_before_the_damage_is_reached_is_a_clean_end(make_clip, negative):
    path = cut(make_clip("clip.mkv", frames=60), 0.5)
    assert Stream(str(path), Processor(negative()), limit=5).run().frames == 5
