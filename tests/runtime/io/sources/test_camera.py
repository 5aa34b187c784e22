"""Live sources over a real socket, and cameras that are not there."""

from __future__ import annotations

import threading
import time

import pytest
from steadyframe.runtime.errors import SignalLost, SourceNotFound
from steadyframe.runtime.io.http import ask
from steadyframe.runtime.io.info import Signal
from steadyframe.runtime.io.live.policy import LivePolicy
from steadyframe.runtime.io.live.source import LiveSource
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.io.sources.camera import cameras, capture_stamp
from steadyframe.runtime.io.sources.network import MotionJpegFeed
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream

LOST = (Signal.NO_SIGNAL, Signal.RECONNECTING)


def live(server, **policy):
    """A live source with short waits."""
    policy = {"backoff_s": (0.05,), **policy}
    return LiveSource(
        server.address,
        lambda: MotionJpegFeed(ask(server.address, server.address)),
        policy=LivePolicy(**policy),
    )


def test_a_network_camera_is_live_and_stamps_its_frames_on_the_monotonic_clock(camera_server):
    before = time.monotonic_ns()
    source = open_source(camera_server().address)
    assert source.info.live
    assert source.info.count is None
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == 10:
            source.stop()
    source.close()
    indices = [frame.index for frame in frames]
    assert indices == sorted(set(indices))
    stamps = [frame.captured_ns for frame in frames]
    assert before < stamps[0]
    assert stamps == sorted(stamps)
    assert stamps[-1] < time.monotonic_ns()
    assert all(frame.time_ns == frame.captured_ns for frame in frames)
    assert source.signal is Signal.ENDED


def test_a_loss_of_signal_is_a_state_and_the_source_comes_back(camera_server):
    first = camera_server()
    source = live(first)
    frames, states = [], []

    def unplug_and_replug():
        first.unplug()
        while source.signal not in LOST:
            time.sleep(0.005)
        states.append(len(frames))
        time.sleep(0.1)
        assert source.signal in LOST
        states.append(len(frames))
        camera_server(port=first.port)

    for frame in source:
        frames.append(frame)
        if len(frames) == 8:
            threading.Thread(target=unplug_and_replug, daemon=True).start()
        if source.reconnects and len(frames) > states[0] + 8:
            assert source.signal is Signal.LIVE
            break
    source.stop()
    source.close()
    assert source.reconnects == 1
    assert states[0] == states[1]  # while there is no signal, there is no frame: no black one, no old one
    assert source.signal is Signal.ENDED
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert all(frame.pixels.mean() > 40 for frame in frames)


def test_who_gives_up_gets_an_error_with_what_was_delivered(camera_server, capfd):
    server = camera_server()
    source = live(server, give_up_after_s=0.3)
    frames = []
    with pytest.raises(SignalLost, match=r"did not come back within 0\.3 s") as raised:
        for frame in source:
            frames.append(frame)
            if len(frames) == 5:
                server.unplug()
    assert f"{len(frames)} frames" in str(raised.value)
    assert raised.value.kind == "REFUSED"
    assert source.signal is Signal.ENDED
    assert capfd.readouterr().err == ""


def test_stopping_wakes_a_source_that_waits_to_reconnect(camera_server):
    server = camera_server()
    source = live(server, backoff_s=(600.0,))

    def stop_once_lost():
        while source.signal not in LOST:
            time.sleep(0.005)
        source.stop()

    for frame in source:
        if frame.index == 3:
            server.unplug()
            threading.Thread(target=stop_once_lost, daemon=True).start()
    assert source.signal is Signal.ENDED


def test_a_stream_on_a_network_camera_drops_and_shows_its_signal(camera_server, negative):
    stream = Stream(camera_server(fps=200).address, Processor(negative(slow_s=0.02)), limit=15)
    assert len(list(stream)) == 15
    assert stream.stats.dropped > 0


def test_a_camera_that_comes_back_with_another_size_resets_the_task(camera_server, negative):
    task = negative()
    first = camera_server()
    source = live(first)
    sizes = []
    for result in Stream(source, Processor(task), limit=20):
        sizes.append(result.frame.size_wh)
        if len(sizes) == 8:
            first.unplug()
            camera_server(port=first.port, size="80x64")
    assert sizes[0] == (160, 120)
    assert sizes[-1] == (80, 64)
    assert len(task.restarts) == 2


def test_a_whole_file_behind_http_is_a_file(make_clip):
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Keep quiet."""

    path = make_clip("clip.mkv", frames=20)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(path.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source = open_source(f"http://127.0.0.1:{server.server_port}/clip.mkv")
    assert not source.info.live
    assert len(list(source)) == 20
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("address", ["97", "/dev/video97", "v4l2:///dev/video97"])
def test_a_camera_that_is_not_there_is_told_quietly(address, capfd):
    with pytest.raises(SourceNotFound) as raised:
        open_source(address)
    assert "/dev/video97" in str(raised.value)
    assert "sample://" in raised.value.todo
    assert raised.value.available == (cameras() or ("no camera",))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("position_ms", "now_s", "expected_s"),
    [
        (9_990.0, 10.0, 9.99),  # the driver's stamp, 10 ms ago
        (10_001.0, 10.0, 10.0),  # in the future: another clock
        (5_000.0, 10.0, 10.0),  # too long ago: time since the start of the stream
        (0.0, 10.0, 10.0),
        (float("nan"), 10.0, 10.0),
    ],
)
def test_the_drivers_stamp_is_taken_only_if_it_is_one_of_the_monotonic_clock(position_ms, now_s, expected_s):
    assert capture_stamp(position_ms, round(now_s * 1e9)) == round(expected_s * 1e9)
