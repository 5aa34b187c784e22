"""A live view for the Foxglove app: `foxglove://127.0.0.1:8765`.

Owns `FoxgloveSink`. The app gets the same ROS 2 messages that a recording holds.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import foxglove

from ..errors import SinkError, UsageError
from ..io.info import SourceInfo
from ..io.sinks.descriptor import SinkDescriptor
from ..io.sinks.video_options import VideoOptions
from ..tasks.task import Result
from .codec import schema_of
from .conversion import Wanted, messages_of, topics_of
from .frames import Stamps

_PORT = 8765


class FoxgloveSink:
    """Serve results to the Foxglove app, as many of its windows as are opened.

    Parameters
    ----------
    host, port : to bind to
    info : of the source
    task : name of the task

    Raises
    ------
    SinkError
        If the address cannot be bound.
    """

    in_callers_thread = False
    wants = "newest"
    notes = ()

    def __init__(self, host: str, port: int, info: SourceInfo, task: str) -> None:
        self._task = task
        self._stamps = Stamps(live=info.live)
        self._wanted = Wanted(camera=task not in ("colorize", "stylize"), result=True)
        self._context = foxglove.Context()
        self._channels: dict[str, Any] = {}
        for topic, typename in topics_of(task, self._wanted):  # so that the app finds them when it connects
            self._channel(topic, typename)
        try:
            self._server = foxglove.start_server(name="Steadyframe", host=host, port=port, context=self._context)
        except (OSError, RuntimeError) as error:
            raise SinkError(
                f"The live view cannot be bound to {host}:{port} ({error})",
                todo="Name another port: foxglove://:8766",
            ) from error
        self.address = f"foxglove://{host}:{self._server.port}"

    def write(self, result: Result[Any]) -> None:
        """Show one result to whoever looks."""
        stamp_ns, frame_id = self._stamps.of(result.frame)
        for message in messages_of(result, self._task, stamp_ns, frame_id, self._wanted):
            channel = self._channel(message.topic, message.typename)
            if channel.has_sinks():
                channel.log(message.encoded(), log_time=message.stamp_ns)

    def _channel(self, topic: str, typename: str) -> Any:
        if topic not in self._channels:
            schema = foxglove.Schema(name=typename, encoding="ros2msg", data=schema_of(typename).encode())
            self._channels[topic] = foxglove.Channel(
                f"/{topic}", schema=schema, message_encoding="cdr", context=self._context
            )
        return self._channels[topic]

    def close(self) -> None:
        """End the server."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        self._server.stop()

    def discard(self) -> None:
        """End the server."""
        self.close()


def open_foxglove(address: str, info: SourceInfo, *, task: str, video: VideoOptions | None) -> FoxgloveSink:
    """Open ``foxglove://HOST:PORT``; without them 127.0.0.1 and 8765.

    Raises
    ------
    UsageError
        If the address is none.
    """
    del video
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "127.0.0.1", parts.port if parts.port is not None else _PORT
    except ValueError as error:
        raise UsageError(f"{address} is no address", expected="foxglove://127.0.0.1:8765") from error
    return FoxgloveSink(host, port, info, task)


descriptor = SinkDescriptor(open=open_foxglove)
