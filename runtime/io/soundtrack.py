"""What travels beside the video of a file: sound, chapters, subtitles, title.

Owns `Soundtrack`, which copies them from the input into an output as its video is written. Sound is encoded anew
only where the container of the output cannot hold it. Imports PyAV.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import av

_SECOND = 1_000_000_000

# Output suffix -> kinds of sound that its players know, and the encoder for any other.
_SOUND = {
    ".mp4": (("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"), "aac"),
    ".m4v": (("aac", "mp3", "ac3", "eac3", "alac"), "aac"),
    ".mov": (("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"), "aac"),
    ".webm": (("opus", "vorbis"), "libopus"),
    ".avi": (("mp3", "ac3", "pcm_s16le"), "libmp3lame"),
}
_SUBTITLES = {
    ".mp4": ("mov_text",),
    ".m4v": ("mov_text",),
    ".mov": ("mov_text",),
    ".webm": ("webvtt",),
    ".avi": (),
}
_NO_CHAPTERS = (".avi",)
_RATES = {"libopus": (48_000,), "aac": (48_000, 44_100, 32_000, 24_000, 16_000), "libmp3lame": (48_000, 44_100)}
_NOT_OURS = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "handler_name")


@dataclass(slots=True)
class _Track:
    """One stream that goes along."""

    stream: Any
    into: Any
    encoder: Callable[[Any], Iterator[Any]] | None = None
    last_dts: int | None = field(default=None)


class Soundtrack:
    """Copies everything but the video from an input into an output.

    Parameters
    ----------
    target : name of the input for FFmpeg
    options : of FFmpeg's demuxer and protocol
    start_ns : time stamp of the input that is the output's zero
    video_index : index of the input's video stream

    Notes
    -----
    Where the video ends before the input's does, since somebody stopped it, the sound ends with it.
    """

    def __init__(self, target: str, options: dict[str, str], start_ns: int, video_index: int) -> None:
        self._input = av.open(target, options=options, metadata_errors="replace")
        self._start_ns = start_ns
        self._video_index = video_index
        self._tracks: dict[int, _Track] = {}
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None
        self.notes: list[str] = []

    def begin(self, output: Any, suffix: str) -> None:
        """Add the streams, the chapters and the title to an output that was not started."""
        for stream in self._input.streams:
            if stream.index == self._video_index:
                continue
            track = self._track(output, stream, suffix)
            if track is not None:
                self._tracks[stream.index] = track
        for name, value in self._input.metadata.items():
            if name.lower() not in _NOT_OURS:
                output.metadata[name] = value
        self._copy_chapters(output, suffix)
        self._packets = self._input.demux()

    def _track(self, output: Any, stream: Any, suffix: str) -> _Track | None:
        """Decide what becomes of one stream."""
        name = stream.codec_context.name if stream.codec_context is not None else "unknown"
        if stream.type == "audio":
            known, encoder = _SOUND.get(suffix, ((name,), ""))
            track = self._copied(output, stream) if name in known else None
            track = track or (self._encoded(output, stream, encoder) if encoder else None)
            if track is None:
                self.notes.append(f"sound ({name}) is not kept: {suffix} cannot hold it")
            elif track.encoder is not None:
                self.notes.append(f"sound was encoded anew, from {name} to {encoder.removeprefix('lib')}")
            return track
        if stream.type == "subtitle":
            track = self._copied(output, stream) if name in _SUBTITLES.get(suffix, (name,)) else None
            if track is None:
                self.notes.append(f"subtitles ({name}) are not kept: {suffix} cannot hold them, .mkv can")
            return track
        if not int(getattr(stream, "disposition", 0) or 0) & (1 << 10):  # a cover is no loss worth a line
            self.notes.append(f"a {stream.type} stream ({name}) is not kept")
        return None

    def _copied(self, output: Any, stream: Any) -> _Track | None:
        try:
            into = output.add_stream_from_template(stream)
        except (av.FFmpegError, ValueError):
            return None
        _describe(into, stream)
        return _Track(stream, into)

    def _encoded(self, output: Any, stream: Any, name: str) -> _Track | None:
        context = stream.codec_context
        rates = _RATES.get(name, (48_000,))
        rate = context.sample_rate if context.sample_rate in rates else rates[0]
        try:
            into = output.add_stream(name, rate=rate)
            into.codec_context.layout = "mono" if context.channels == 1 else "stereo"
            into.codec_context.bit_rate = 96_000 * min(context.channels, 2)
            into.codec_context.open()
        except (av.FFmpegError, ValueError):
            return None
        _describe(into, stream)
        return _Track(stream, into, _sound_encoder(into.codec_context))

    def _copy_chapters(self, output: Any, suffix: str) -> None:
        chapters = self._input.chapters() if hasattr(self._input, "chapters") else []
        if not chapters:
            return
        if suffix in _NO_CHAPTERS:
            self.notes.append(f"{len(chapters)} chapters are not kept: {suffix} cannot hold them")
            return
        output.set_chapters(chapters)

    def follow(self, output: Any, time_ns: int) -> None:
        """Write what belongs before the video at `time_ns`; not more, since it may be the last one."""
        self._copy_until(output, time_ns, None)

    def finish(self, output: Any, video_end_ns: int, slack_ns: int) -> None:
        """Write the rest; if the input's video goes on behind `video_end_ns`, only up to there."""
        self._copy_until(output, None, video_end_ns + slack_ns, video_end_ns)
        for track in self._tracks.values():
            if track.encoder is not None:
                for packet in track.encoder(None):
                    packet.stream = track.into
                    output.mux(packet)

    def close(self) -> None:
        """Close the input."""
        self._input.close()

    def _copy_until(
        self, output: Any, until_ns: int | None, video_goes_on_ns: int | None, end_ns: int | None = None
    ) -> None:
        """Copy packets up to a time; with `video_goes_on_ns`, a later video means that all ends at `end_ns`."""
        cut_ns = None
        held: list[Any] = []
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                break
            if packet.size == 0 or packet.pts is None:
                continue
            at_ns = round(packet.pts * packet.time_base * _SECOND) - self._start_ns
            if until_ns is not None and at_ns > until_ns:
                self._waiting = packet
                return
            if packet.stream_index == self._video_index:
                if video_goes_on_ns is not None and at_ns > video_goes_on_ns:
                    cut_ns = end_ns
                    break
                continue
            if end_ns is not None and at_ns >= end_ns:
                held.append(packet)  # kept only if the video really ends here
            else:
                self._write(output, packet)
        if cut_ns is None:
            for packet in held:
                self._write(output, packet)

    def _write(self, output: Any, packet: Any) -> None:
        track = self._tracks.get(packet.stream_index)
        if track is None:
            return
        if track.encoder is not None:
            made = list(self._encode(track, packet))
        else:
            shift = round(self._start_ns / _SECOND / packet.time_base)
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            if track.last_dts is not None and packet.dts <= track.last_dts:
                return  # a stamp that goes back: recordings that were glued together
            track.last_dts = packet.dts
            made = [packet]
        for one in made:
            one.stream = track.into
            output.mux(one)

    def _encode(self, track: _Track, packet: Any) -> Iterator[Any]:
        assert track.encoder is not None
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            return
        for frame in frames:
            if frame.pts is not None and frame.time_base:
                frame.pts -= round(self._start_ns / _SECOND / frame.time_base)
            yield from track.encoder(frame)


def _sound_encoder(context: Any) -> Callable[[Any], Iterator[Any]]:
    """Make a function that turns a frame of sound, or None at the end, into packets."""
    resampler = av.AudioResampler(
        format=context.format, layout=context.layout, rate=context.sample_rate, frame_size=context.frame_size or None
    )

    def encode(frame: Any) -> Iterator[Any]:
        for part in resampler.resample(frame):
            yield from context.encode(part)
        if frame is None:
            yield from context.encode(None)

    return encode


def _describe(into: Any, stream: Any) -> None:
    """Copy the language and the name of a stream."""
    for name, value in stream.metadata.items():
        if name.lower() in ("language", "title"):
            into.metadata[name] = value
