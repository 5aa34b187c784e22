"""Metrics of the server in the text format of Prometheus.

Owns `Metrics`. All names begin with `steadyframe_`; README and guide list them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from ..io.live.signal import SignalLog
from .figures import temperature_c
from .room import Room

CONTENT_TYPE = CONTENT_TYPE_LATEST
_COUNTERS: tuple[tuple[str, str, Callable[[Room], int]], ...] = (
    ("frames", "Results", lambda room: room.figures.frames),
    ("keyframes", "Results with a run of the network on their own frame", lambda room: room.figures.keyframes),
    ("dropped", "Frames that a newer one replaced", lambda room: room.dropped),
    ("switches", "Changes of network or steady mode", lambda room: room.switches),
)
_AGE_S = (0.01, 0.02, 0.033, 0.05, 0.066, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class Metrics(Collector):
    """Counters that the server's parts raise, and gauges that are read when they are asked for.

    Parameters
    ----------
    rooms : gives name -> room
    clients : gives the number of connections
    refused : gives reason -> requests that were refused
    signal_log : gives the events of the server's source, or None
    """

    def __init__(
        self,
        rooms: Callable[[], Iterable[tuple[str, Room]]],
        clients: Callable[[], int],
        refused: Callable[[], dict[str, int]],
        signal_log: Callable[[], SignalLog | None],
    ) -> None:
        self._rooms, self._clients, self._refused, self._signal_log = rooms, clients, refused, signal_log
        self._registry = CollectorRegistry()
        self.images = Counter("steadyframe_images_sent", "Images sent to clients", registry=self._registry)
        self.sent_bytes = Counter("steadyframe_sent_bytes", "Bytes of images sent", registry=self._registry)
        self.bad_uploads = Counter(
            "steadyframe_uploads_refused", "Images and messages of clients that were refused", registry=self._registry
        )
        self.seen_age = Histogram(
            "steadyframe_client_age_seconds",
            "Age of an image when the client acknowledged that it is on its screen",
            buckets=_AGE_S,
            registry=self._registry,
        )
        self._registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand: the gauges depend on the rooms."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Read the gauges."""
        yield _gauge("steadyframe_clients", "Connections that look at images or results", self._clients())
        celsius = temperature_c()
        if celsius is not None:
            yield _gauge("steadyframe_temperature_celsius", "Hottest thermal zone of the machine", celsius)
        refused = CounterMetricFamily("steadyframe_requests_refused", "Requests refused", labels=["reason"])
        for reason, count in self._refused().items():
            refused.add_metric([reason], count)
        yield refused
        log = self._signal_log()
        if log is not None:
            yield _gauge("steadyframe_stalls_last_hour", "Losses of the signal in the last hour", log.stalls)
            yield _gauge("steadyframe_reconnects_last_hour", "Returns of the signal in the last hour", log.reconnects)
        yield from self._of_rooms()

    def _of_rooms(self) -> Iterator[Metric]:
        rooms = list(self._rooms())
        for name, text, value_of in _COUNTERS:
            family = CounterMetricFamily(f"steadyframe_{name}", text, labels=["room"])
            for title, room in rooms:
                family.add_metric([title], value_of(room))
            yield family
        gauges = {
            "fps": ("Results a second, over two seconds", "fps", 1.0),
            "age_seconds": ("Age of a result, median over two seconds", "age_p50", 1e-3),
            "age_p95_seconds": ("Age of a result, 95th percentile over two seconds", "age_p95", 1e-3),
            "flicker": ("Change of the result where the camera's image stands still", "flicker", 1.0),
        }
        figures = [(title, room.figures.as_json()) for title, room in rooms]
        for name, (text, key, factor) in gauges.items():
            gauge = GaugeMetricFamily(f"steadyframe_{name}", text, labels=["room"])
            for title, values in figures:
                if values[key] is not None:
                    gauge.add_metric([title], values[key] * factor)
            yield gauge
        signal = GaugeMetricFamily("steadyframe_signal", "1 for the state of the source", labels=["room", "state"])
        for title, room in rooms:
            signal.add_metric([title, room.signal.name], 1)
        yield signal

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
