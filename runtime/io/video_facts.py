"""What a container says of its video before the first frame is decoded.

Owns `VideoFacts` and the choice of the video among the streams. Imports PyAV.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from .failures import Failure, not_opened

_SECOND = 1_000_000_000
_ATTACHED_PICTURE = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What a container says of its video.

    Parameters
    ----------
    fps : nominal frames a second; None where nothing is said
    count : frames, where the container counts them
    duration_s : None where it is not known
    time_base : unit of the time stamps in seconds
    sample_aspect : width of a pixel over its height, as it is stored: where a video is turned by 90 degrees, its
        upright frames have the inverse (`Decoder.upright_aspect`)
    codec, container : FFmpeg's names
    start_ns : time stamp at which the container begins
    """

    fps: float | None
    count: int | None
    duration_s: float | None
    time_base: Fraction
    sample_aspect: Fraction
    codec: str
    container: str
    start_ns: int


def best_video(container: Any, shown: str) -> Any:
    """Take the best video that is no cover image.

    Raises
    ------
    SourceNotFound
        If there is none, or it cannot be decoded; `shown` names the source.
    """
    videos = [one for one in container.streams.video if not is_cover(one)]
    if not videos:
        kinds = sorted({one.type for one in container.streams})
        raise not_opened(
            shown, Failure.NOT_MEDIA, "it holds no video", todo=f"It holds {', '.join(kinds) or 'nothing'}"
        )
    best = max(videos, key=lambda one: (_area(one), -one.index))
    if best.codec_context is None:
        raise not_opened(shown, Failure.CODEC, "no decoder for its video")
    return best


def facts_of(container: Any, stream: Any) -> VideoFacts:
    """Collect what a container says of one of its videos."""
    context = stream.codec_context
    rate = stream.guessed_rate if stream.average_rate is None or container.duration is None else None
    if stream.average_rate is None and context.framerate:
        rate = context.framerate
    rate = rate or stream.average_rate or stream.guessed_rate
    length = stream.duration * stream.time_base if stream.duration else None
    if length is None and container.duration:
        length = Fraction(container.duration, av.time_base)
    aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1)
    return VideoFacts(
        fps=float(rate) if rate else None,
        count=stream.frames or None,
        duration_s=float(length) if length else None,
        time_base=stream.time_base or Fraction(1, 90_000),
        sample_aspect=Fraction(aspect) if aspect > 0 else Fraction(1),
        codec=context.name,
        container=container.format.name,
        start_ns=_origin_ns(container.start_time, stream),
    )


def _origin_ns(start: int | None, stream: Any) -> int:
    """Time stamp that counts as the beginning; sound that is padded to begin before zero does not move it."""
    if start is not None and start >= 0:
        return int(start) * (_SECOND // av.time_base)
    return min(0, round((stream.start_time or 0) * stream.time_base * _SECOND)) if stream.time_base else 0


def is_cover(stream: Any) -> bool:
    """Whether a stream is the cover image of a piece of music or a film."""
    return bool(int(getattr(stream, "disposition", 0) or 0) & _ATTACHED_PICTURE)


def _area(stream: Any) -> int:
    context = stream.codec_context
    return 0 if context is None else context.width * context.height
