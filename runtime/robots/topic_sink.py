"""Results as messages of ROS 2 on a transport.

Owns `TopicSink`. Which transport carries them is decided by whoever makes the descriptor.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import UsageError
from ..io.info import SourceInfo
from ..io.sinks.descriptor import SinkDescriptor
from ..io.sinks.video_options import VideoOptions
from ..tasks.task import Result
from .codec import Message
from .conversion import Wanted, diagnostics_message, messages_of, topics_of
from .frames import DEFAULT_FRAME_ID, Stamps
from .topics import NODE, Publication, TopicAddress, Transport

_OPTIONS = ("camera", "frame_id", "result")
_DIAGNOSTICS_S = 1.0
_SILENT_S = 2.0  # without a result for so long, the diagnostics say that there is no signal
_WINDOW = 600  # results over which they are computed
_FORGOTTEN_S = 10.0  # a topic of a person who left is taken back after so long


class TopicSink:
    """Publish results: images, people, and diagnostics once a second.

    An image is encoded only if somebody listens to its topic: ``NAME/image`` (`Image`) and ``NAME/image/compressed``
    (`CompressedImage`) are both announced.

    Parameters
    ----------
    address : of the topics' prefix
    info : of the source
    task : name of the task
    transport : open; closed with the sink
    """

    in_callers_thread = False
    wants = "newest"
    notes = ()

    def __init__(self, address: TopicAddress, info: SourceInfo, task: str, transport: Transport) -> None:
        self.address = address.shown
        self._transport = transport
        self._task, self._info = task, info
        prefix = address.name or NODE
        self._wanted = Wanted(prefix=prefix, camera=_yes(address, "camera"), result=_yes(address, "result"))
        self._stamps = Stamps(live=info.live, frame_id=address.options.get("frame_id", DEFAULT_FRAME_ID))
        self._topics: dict[str, Publication] = {}
        self._used_s: dict[str, float] = {}
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, float, bool]] = deque(maxlen=_WINDOW)
        self._images = [f"{prefix}/image", *([f"{prefix}/camera/image"] if self._wanted.camera else [])]
        for name, typename in topics_of(task, replace(self._wanted, raw=True, jpeg=True)):
            self._topic(name, typename)
        self._stopped = threading.Event()
        self._reporter = threading.Thread(target=self._report, name="steadyframe diagnostics", daemon=True)
        self._reporter.start()

    def _topic(self, name: str, typename: str) -> Publication:
        with self._lock:
            if name not in self._topics:
                self._topics[name] = self._transport.publish(name, typename)
            self._used_s[name] = time.monotonic()
            return self._topics[name]

    def write(self, result: Result[Any]) -> None:
        """Publish the messages of one result.

        Raises
        ------
        SinkError
            If the transport refuses one.
        """
        self._recent.append((time.monotonic(), result.age_ms, result.keyframe))
        stamp_ns, frame_id = self._stamps.of(result.frame)
        with self._lock:
            topics = dict(self._topics)  # the diagnostics may add theirs meanwhile
        listened = [name for name in self._images_of(topics) if topics[name].has_readers]
        wanted = replace(
            self._wanted,
            raw=any(name in listened for name in self._images),
            jpeg=any(f"{name}/compressed" in listened for name in self._images),
        )
        for message in messages_of(result, self._task, stamp_ns, frame_id, wanted):
            self._put(message)
        self._forget_old()

    def _images_of(self, topics: Mapping[str, Publication]) -> list[str]:
        """Name the topics of images, in both forms."""
        return [name for image in self._images for name in (image, f"{image}/compressed") if name in topics]

    def _put(self, message: Message) -> None:
        self._topic(message.topic, message.typename).put(message.buffer(), time.time_ns())

    def _forget_old(self) -> None:
        """Take back the topics of people who have left."""
        old = time.monotonic() - _FORGOTTEN_S
        with self._lock:
            gone = [name for name, used in self._used_s.items() if used < old and name.endswith("/skeleton2d")]
            for name in gone:
                self._topics.pop(name).close()
                del self._used_s[name]

    def _report(self) -> None:
        while not self._stopped.wait(_DIAGNOSTICS_S):
            figures, age_s = self._figures()
            signal = "CONNECTING" if age_s is None else "LIVE" if age_s < _SILENT_S else "NO_SIGNAL"
            name = f"steadyframe: {self._task or 'task'}"
            self._put(
                diagnostics_message("diagnostics", name, signal, figures, time.time_ns(), source=self._info.address)
            )

    def _figures(self) -> tuple[Mapping[str, Any], float | None]:
        """Rate, age and keyframes of the last seconds, and the seconds since the last result."""
        now = time.monotonic()
        recent = [each for each in list(self._recent) if each[0] > now - 5.0]
        last = self._recent[-1][0] if self._recent else None
        if not recent:
            return {"fps": 0.0}, None if last is None else now - last
        ages = sorted(age for _, age, _ in recent)
        span_s = recent[-1][0] - recent[0][0]
        return {
            "fps": (len(recent) - 1) / span_s if span_s > 0 else 0.0,
            "age_ms_p50": ages[(len(ages) - 1) // 2],
            "age_ms_p95": ages[min(len(ages) - 1, round(0.95 * len(ages)))],
            "keyframes_share": sum(key for _, _, key in recent) / len(recent),
        }, now - recent[-1][0]

    def close(self) -> None:
        """Take every topic back and leave."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._reporter.join(2 * _DIAGNOSTICS_S)
        with self._lock:
            for publication in self._topics.values():
                publication.close()
            self._topics.clear()
        self._transport.close()

    def discard(self) -> None:
        """Leave; what was published cannot be taken back."""
        self.close()


def _yes(address: TopicAddress, name: str) -> bool:
    value = address.options.get(name, "no")
    if value not in ("yes", "no"):
        raise UsageError(f"Option {name!r} is yes or no", found=value)
    return value == "yes"


def topic_sink(transport: Callable[[TopicAddress], Transport], *, options: tuple[str, ...] = ()) -> SinkDescriptor:
    """Make the descriptor of a transport's sinks.

    Parameters
    ----------
    transport : opens the transport of an address
    options : of the addresses, that the transport knows
    """

    def open_topics(address: str, info: SourceInfo, *, task: str, video: VideoOptions | None) -> TopicSink:
        del video
        read = TopicAddress.of(address, (*_OPTIONS, *options))
        for name in ("camera", "result"):
            _yes(read, name)
        return TopicSink(read, info, task, transport(read))

    return SinkDescriptor(open=open_topics)
