"""Videos of the kinds that people have, made of test cards by Debian's ffmpeg.

Owns `CLIPS`, name -> maker. A maker gets the path to write and `make`, which gives the path of another file. Every
clip is short and small; what is special about it stands in its maker.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import cards
import numpy as np

Make = Callable[[str], Path]
Maker = Callable[[Path, Make], object]
CLIPS: dict[str, Maker] = {}
TONE = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100")


def clip(name: str) -> Callable[[Maker], Maker]:
    """Register the maker of a file."""

    def register(maker: Maker) -> Maker:
        CLIPS[name] = maker
        return maker

    return register


def ffmpeg(*words: object, given: bytes | None = None) -> None:
    """Run ffmpeg; an error fails the test with its text."""
    line = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *map(str, words)]
    if given is not None:
        line.remove("-nostdin")
    done = subprocess.run(line, input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")


def encode(
    path: Path,
    *words: object,
    size: tuple[int, int] = (160, 120),
    count: int = 20,
    fps: str = "20",
    codec: str = "libx264",
    pixels: str = "yuv420p",
    first: int = 0,
) -> Path:
    """Encode numbered cards; `words` are further options of the output."""
    frames = b"".join(cards.card(*size, first + number).tobytes() for number in range(count))
    good = {"libx264": ("-preset", "ultrafast", "-crf", "10"), "mjpeg": ("-q:v", "2")}.get(codec, ())
    into = () if "-vf" in words else ("-pix_fmt", pixels)
    ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", fps, "-i", "-"),
        *(*into, "-c:v", codec, *good, *words, path),
        given=frames,
    )
    return path


def _plain(name: str, *words: object, **facts: object) -> None:
    CLIPS[name] = lambda path, make: encode(path, *words, **facts)  # type: ignore[arg-type]


_PACE = "settb=1/1000,setpts='if(lt(N,10),{first},{then})/TB',format=yuv420p"

_plain("plain.mp4")
_plain("camera.ts")
_plain("fragmented.mp4", "-movflags", "frag_keyframe+empty_moov")
_plain("open_gop.mp4", "-bf", "3", "-g", "6", "-x264-params", "open-gop=1")
_plain("raw.h264")  # no container, no stamps; 20 frames a second in its headers
_plain("raw.mjpeg", codec="mjpeg", pixels="yuvj420p")
_plain("one_frame.mp4", count=1)
# Rates: 10/s then 40/s, as a phone does when light comes; a still of 3 s; fractions; fast and slow.
_plain(
    "vfr.mp4",
    "-vf",
    _PACE.format(first="N*0.1", then="1+(N-10)*0.025"),
    "-vsync",
    "passthrough",
    "-enc_time_base",
    "1/1000",
)
_plain(
    "pause.mkv",
    "-vf",
    _PACE.format(first="N*0.05", then="3.5+(N-10)*0.05"),
    "-vsync",
    "passthrough",
    "-enc_time_base",
    "1/1000",
)
_plain("ntsc.mp4", fps="30000/1001", count=30)
_plain("slow.mp4", fps="1/2", count=4)
_plain("fast_1200.mkv", fps="1200", count=24)
# What the numbers mean.
_HD = {"size": (1280, 720), "count": 4}
_BT709 = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
_plain("bt709.mp4", "-vf", "scale=out_color_matrix=bt709,format=yuv420p", *_BT709, **_HD)
_plain(
    "bt709_full.mp4",
    "-vf",
    "scale=out_color_matrix=bt709:out_range=full,format=yuvj420p",
    *_BT709,
    "-color_range",
    "pc",
    **_HD,
)
_plain(
    "bt601_full.mp4",
    "-vf",
    "scale=out_range=full:out_color_matrix=bt601,format=yuvj420p",
    "-color_range",
    "pc",
    "-colorspace",
    "smpte170m",
)
_plain(
    "bt2020.mp4",
    "-vf",
    "scale=out_color_matrix=bt2020,format=yuv420p10le",
    "-colorspace",
    "bt2020nc",
    "-color_primaries",
    "bt2020",
    "-color_trc",
    "bt2020-10",
)
_plain(
    "hlg10.mp4",
    "-vf",
    "scale=out_color_matrix=bt2020,format=yuv420p10le",
    "-x265-params",
    "log-level=error:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc:crf=8",
    "-tag:v",
    "hvc1",
    codec="libx265",
    count=6,
)
_plain("ten_bit.mp4", pixels="yuv420p10le", count=6)
_plain("yuv422.mkv", codec="ffv1", pixels="yuv422p", count=6)
_plain("yuv444.mp4", pixels="yuv444p", count=6)
_plain("gbrp.mkv", "-vf", "format=gbrp", codec="ffv1", count=6)
_plain("grey.mkv", "-vf", "format=gray", codec="ffv1", count=6)
_plain("grey16.mkv", "-vf", "format=gray16le", codec="ffv1", count=6)
_plain("alpha.webm", "-vf", "format=yuva420p", "-auto-alt-ref", "0", codec="libvpx-vp9", count=6)
# Shapes.
_plain(
    "dvd_pal.mpg",
    "-vf",
    "setsar=64/45,format=yuv420p",
    "-b:v",
    "4M",
    codec="mpeg2video",
    size=(720, 576),
    fps="25",
    count=8,
)
_plain("odd_sides.mkv", pixels="yuv444p", size=(161, 121), count=6)
_plain("portrait.mp4", size=(90, 160), count=6)
_plain("tiny.mkv", codec="ffv1", pixels="bgr0", size=(2, 2), count=6)
_plain("one_pixel.mkv", codec="ffv1", pixels="bgr0", size=(1, 1), count=6)
# Two fields a frame, each of another card: woven together they would show two numbers at once.
_plain(
    "interlaced.mp4",
    "-vf",
    "tinterlace=interleave_top,format=yuv420p",
    "-flags",
    "+ildct+ilme",
    "-x264-params",
    "tff=1",
    count=40,
)
_plain("flagged_only.mp4", "-flags", "+ildct+ilme", "-x264-params", "tff=1")


@clip("sound.mp4")
def _sound(path: Path, make: Make) -> None:
    ffmpeg(
        "-i", make("plain.mp4"), *TONE, "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", "-shortest", path
    )


@clip("long_sound.mp4")
def _long_sound(path: Path, make: Make) -> None:
    ffmpeg("-i", make("plain.mp4"), *TONE, "-t", "3", "-c:v", "copy", "-c:a", "aac", path)


@clip("late_video.mkv")
def _late_video(path: Path, make: Make) -> None:
    """Sound begins half a second before the image."""
    ffmpeg(
        "-itsoffset", "0.5", "-i", make("plain.mp4"), *TONE, "-t", "1.5", "-c:v", "copy", "-c:a", "pcm_s16le", path
    )


@clip("timecode.mp4")
def _timecode(path: Path, make: Make) -> None:
    """Have a data stream beside the video, as action cameras and editing programs write it."""
    ffmpeg("-i", make("plain.mp4"), "-map", "0:v", "-c", "copy", "-timecode", "00:00:00:00", path)


@clip("trimmed.mp4")
def _trimmed(path: Path, make: Make) -> None:
    """Begin in the middle of a group of images: an edit list hides what lies before."""
    whole = encode(path.with_suffix(".whole.mp4"), "-g", "20", "-bf", "0", count=30)
    ffmpeg("-ss", "0.5", "-i", whole, "-c", "copy", path)


@clip("sound_only.m4a")
def _sound_only(path: Path, make: Make) -> None:
    ffmpeg(*TONE, "-t", "0.5", "-c:a", "aac", path)


@clip("with_cover.mp4")
def _with_cover(path: Path, make: Make) -> None:
    """Two images in one file, the cover first."""
    cover = path.with_suffix(".png")
    ffmpeg("-f", "lavfi", "-i", "color=yellow:size=400x400", "-frames:v", "1", cover)
    ffmpeg(
        "-i",
        make("sound.mp4"),
        "-i",
        cover,
        "-map",
        "1:v",
        "-map",
        "0:v",
        "-map",
        "0:a",
        "-c",
        "copy",
        "-disposition:v:0",
        "attached_pic",
        path,
    )


@clip("subtitled.mkv")
def _subtitled(path: Path, make: Make) -> None:
    """Chapters, subtitles, two sound tracks, a title."""
    words = path.with_suffix(".srt")
    words.write_text("1\n00:00:00,100 --> 00:00:00,800\nhello\n")
    facts = path.with_suffix(".txt")
    parts = "".join(
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={a}\nEND={b}\ntitle=part {a}\n" for a, b in ((0, 500), (500, 1000))
    )
    facts.write_text(f";FFMETADATA1\ntitle=cards\n{parts}")
    ffmpeg(
        "-i",
        make("sound.mp4"),
        "-i",
        words,
        "-i",
        facts,
        *TONE,
        "-map",
        "0:v",
        "-map",
        "0:a",
        "-map",
        "3:a",
        "-map",
        "1:s",
        "-map_metadata",
        "2",
        "-map_chapters",
        "2",
        "-c:v",
        "copy",
        "-c:a",
        "aac",
        "-t",
        "1",
        "-c:s",
        "srt",
        path,
    )


@clip("pcm_sound.mkv")
def _pcm_sound(path: Path, make: Make) -> None:
    """Sound of a kind that an .mp4 of browsers does not hold."""
    ffmpeg(
        "-i",
        make("plain.mp4"),
        *TONE,
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c:v",
        "copy",
        "-c:a",
        "pcm_s16le",
        "-t",
        "1",
        path,
    )


@clip("size_change.ts")
def _size_change(path: Path, make: Make) -> None:
    """As cameras do when they switch from day to night."""
    parts = (
        encode(path.with_suffix(".1.ts"), count=10),
        encode(path.with_suffix(".2.ts"), count=10, size=(320, 240), first=10),
    )
    path.write_bytes(b"".join(part.read_bytes() for part in parts))


@clip("cut.mp4")
def _cut_mp4(path: Path, make: Make) -> None:
    """The index came first, the end is missing."""
    whole = encode(path.with_suffix(".whole.mp4"), "-movflags", "faststart", count=40)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])


@clip("no_index.mp4")
def _no_index(path: Path, make: Make) -> None:
    """The index would have come last, as every interrupted recording shows."""
    content = make("plain.mp4").read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


@clip("hole.ts")
def _hole(path: Path, make: Make) -> None:
    content = bytearray(encode(path.with_suffix(".whole.ts"), "-g", "10", count=40).read_bytes())
    third = len(content) // 3
    content[third : third + 3000] = bytes(3000)
    path.write_bytes(content)


@clip("dirty.avi")
def _dirty(path: Path, make: Make) -> None:
    """One JPEG in the middle is nothing but zeros."""
    content = bytearray(
        encode(path.with_suffix(".whole.avi"), codec="mjpeg", pixels="yuvj420p", count=30).read_bytes()
    )
    at = content.find(b"00dc", len(content) // 2)
    (size,) = struct.unpack("<I", content[at + 4 : at + 8])
    content[at + 8 : at + 8 + size] = bytes(size)
    path.write_bytes(content)


# Display matrix of a track that a player turns by so many degrees clockwise; 16.16 numbers, the last row 2.30.
_MATRIX = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def _turned(path: Path, degrees: int, *words: object) -> None:
    """Write a display matrix into the track header, as phones do; the cards lie as the phone was held."""
    content = bytearray(encode(path.with_suffix(".whole.mp4"), *words).read_bytes())
    at = content.find(b"tkhd") + 4
    at += 4 + (32 if content[at] == 1 else 20) + 16  # version and flags; times and ids; layer, volume
    a, b, c, d = (sign << 16 & 0xFFFFFFFF for sign in _MATRIX[degrees])
    struct.pack_into(">9I", content, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


for _degrees in _MATRIX:
    CLIPS[f"phone_{_degrees}.mp4"] = lambda path, make, degrees=_degrees: _turned(path, degrees)
    # Pixels that are wider than high, as anamorphic lenses make them.
    CLIPS[f"wide_{_degrees}.mp4"] = lambda path, make, degrees=_degrees: _turned(
        path, degrees, "-vf", "setsar=4/3,format=yuv420p"
    )


def noise(length: int) -> bytes:
    """Bytes that hold any marker sooner or later."""
    return np.random.default_rng(1).integers(0, 256, length, np.uint8).tobytes()
