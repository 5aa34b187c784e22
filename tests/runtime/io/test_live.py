"""The parts of a live source: states, clock, backlog, stillness, and a connection that hangs."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from steadyframe.runtime.errors import SourceError, SourceNotFound, UsageError
from steadyframe.runtime.io.failures import Failure
from steadyframe.runtime.io.live.clock import CaptureClock, Settling
from steadyframe.runtime.io.live.feed import Taken
from steadyframe.runtime.io.live.frozen import Stillness
from steadyframe.runtime.io.live.policy import LivePolicy
from steadyframe.runtime.io.live.signal import Signal, SignalLog
from steadyframe.runtime.io.live.source import LiveSource
from steadyframe.runtime.planes import Planes

MS = 1_000_000


def noise(seed, size_hw=(48, 64)):
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


class Scripted:
    """A feed of given images; a number waits so many seconds, an error is raised."""

    fps, media, frozen_frames = 30.0, None, 5

    def __init__(self, *steps):
        self.steps = steps
        self.closed = False
        self.woken = threading.Event()

    def __iter__(self):
        for step in self.steps:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, float):
                self.woken.wait(step)
                continue
            time.sleep(0.01)
            yield Taken(step, time.monotonic_ns())

    def cancel(self):
        self.woken.set()

    def close(self):
        self.closed = True


def connecting(*feeds):
    """A function that opens one feed after the other, and then fails."""
    waiting = list(feeds)

    def connect():
        if not waiting:
            raise SourceNotFound("it is gone", kind="REFUSED")
        feed = waiting.pop(0)
        if isinstance(feed, BaseException):
            raise feed
        return feed

    return connect


QUICK = LivePolicy(backoff_s=(0.01,), silence_s=0.2, first_frame_s=0.5, give_up_after_s=0.3)


def read(source, limit=None):
    frames = []
    with pytest.raises(SourceError) as raised:
        for frame in source:
            frames.append(frame)
            if len(frames) == limit:
                source.stop()
        raise SourceError("stopped")
    source.close()
    return frames, raised.value


def test_a_log_counts_losses_and_returns_and_calls_its_listeners():
    log, heard = SignalLog(), []
    log.subscribe(heard.append)
    log.change(Signal.LIVE)
    for _ in range(2):
        log.change(Signal.NO_SIGNAL, Failure.LOST)
        log.change(Signal.NO_SIGNAL, Failure.LOST)  # the same again
        log.change(Signal.RECONNECTING, Failure.LOST, attempt=1)
        log.change(Signal.LIVE)
    assert (log.stalls, log.reconnects) == (2, 2)
    assert [event.signal.name for event in heard][:4] == ["LIVE", "NO_SIGNAL", "RECONNECTING", "LIVE"]
    assert log.events[-1].as_json()["signal"] == "live"
    for attempt in range(1000):
        log.change(Signal.RECONNECTING, Failure.LOST, attempt=attempt)
    assert len(log.events) == 256


def test_a_backlog_shows_as_age_and_a_clock_that_begins_anew_does_not():
    clock = CaptureClock()
    for index in range(10):
        assert clock.captured(index * 40 * MS, (1000 + index * 40) * MS) == (1000 + index * 40) * MS
    # five seconds in which nothing came, then all at once
    ages = [clock.captured(index * 40 * MS, 6400 * MS) for index in range(10, 130)]
    assert [(6400 * MS - at) // MS for at in ages[:2]] == [5000, 4960]
    restarted = clock.captured(0, 20_000 * MS)
    assert restarted == 20_000 * MS


def test_a_senders_clock_is_used_only_if_it_agrees_with_ours():
    wall = 1_700_000_000_000 * MS
    agrees, is_off = CaptureClock(), CaptureClock()
    assert agrees.captured(0, 500 * MS, sender_ns=wall - 80 * MS, wall_ns=wall) == 420 * MS
    assert agrees.of_sender
    for off_ns in (-3_600_000 * MS, 5_000 * MS):
        assert is_off.captured(0, 500 * MS, sender_ns=wall + off_ns, wall_ns=wall) == 500 * MS
        assert not is_off.of_sender


def test_the_first_frame_that_had_to_be_waited_for_ends_a_backlog():
    settling = Settling()
    backlog = [settling.is_current(index * 40 * MS, 1000 * MS + index, 10) for index in range(25)]
    assert not any(backlog)
    assert settling.is_current(1000 * MS, 1040 * MS, 39 * MS)
    slow = Settling()  # one that cannot decode as fast as frames come is not kept waiting for ever
    assert [slow.is_current(n * 40 * MS, n * 60 * MS, 0) for n in range(30)].count(False) < 20


def test_one_byte_makes_a_frame_another_one():
    still, image = Stillness(), noise(0)
    assert [still.count(Taken(image.copy(), n)) for n in range(3)] == [1, 2, 3]
    changed = image.copy()
    changed[47, 63, 2] ^= 1
    assert still.count(Taken(changed, 4)) == 1
    y, chroma = image[..., 0].copy(), image[:24, :32, 1].copy()
    other = chroma.copy()
    other[5, 5] ^= 1
    assert [still.count(Taken(Planes(y, chroma, chroma), 5)) for _ in range(2)] == [1, 2]
    assert still.count(Taken(Planes(y, other, chroma), 6)) == 1


def test_a_frozen_camera_is_opened_again_and_its_image_is_not_delivered_twice():
    same = noise(1)
    first = Scripted(noise(0), *[same] * 20, 9.0)
    second = Scripted(*[same.copy()] * 5, noise(2), noise(3))
    source = LiveSource("camera", connecting(first, second), policy=QUICK)
    frames, _ = read(source)
    delivered = [int(frame.pixels.sum()) for frame in frames]
    assert delivered[-2:] == [int(noise(2).sum()), int(noise(3).sum())]
    assert delivered.count(int(same.sum())) <= 5
    causes = [event.cause for event in source.signal_log.events]
    assert Failure.FROZEN in causes
    assert "frozen" in " ".join(source.notes)
    assert source.reconnects == 1


def test_frames_of_a_still_scene_pass_if_that_is_asked_for():
    feed = Scripted(*[noise(1)] * 20)
    frames, _ = read(LiveSource("camera", connecting(feed), policy=LivePolicy(frozen_frames=0)), limit=15)
    assert len(frames) == 15


def test_silence_is_a_loss_by_our_own_clock_and_the_hung_feed_is_woken():
    feed = Scripted(noise(0), 60.0)
    source = LiveSource("camera", connecting(feed), policy=QUICK)
    started = time.monotonic()
    frames, error = read(source)
    assert len(frames) == 1
    assert time.monotonic() - started < 2.0
    assert error.kind == "REFUSED"  # of the last attempt
    assert Failure.STALLED in [event.cause for event in source.signal_log.events]
    assert feed.closed


def test_a_first_connection_that_delivers_nothing_is_an_error():
    with pytest.raises(SourceNotFound, match="delivered no frame") as raised:
        for _ in LiveSource("camera", connecting(Scripted(60.0)), policy=QUICK):
            pass
    assert raised.value.kind == "STALLED"


def test_only_what_may_pass_is_tried_again_at_the_first_connection():
    refused = SourceNotFound("refused", kind="REFUSED")
    source = LiveSource("camera", connecting(refused, refused, Scripted(noise(0))), policy=LivePolicy())
    assert [event.cause for event in source.signal_log.events][1:] == [Failure.REFUSED] * 2
    source.close()
    with pytest.raises(SourceNotFound, match="wrong password"):
        LiveSource("camera", connecting(SourceNotFound("wrong password", kind="AUTH"), Scripted(noise(0))))


def test_a_defect_of_a_feed_is_not_taken_for_a_loss():
    source = LiveSource("camera", connecting(Scripted(noise(0), ZeroDivisionError("x"))), policy=QUICK)
    with pytest.raises(ZeroDivisionError):
        list(source)


def test_a_connection_that_hangs_times_out_and_no_more_than_three_are_left_hanging():
    hung = threading.Event()
    opened = []

    def connect():
        opened.append(1)
        hung.wait(30)
        raise SourceNotFound("woken")

    with pytest.raises(SourceNotFound, match="no answer in time") as raised:
        LiveSource("camera", connect, policy=LivePolicy(open_s=0.1, connect_s=0.0))
    assert raised.value.kind == "TIMEOUT"
    opened.clear()
    source = LiveSource("camera", connect, policy=LivePolicy(open_s=0.05, wait=True, backoff_s=(0.01,)))
    thread = threading.Thread(target=lambda: list(source), daemon=True)
    thread.start()
    time.sleep(0.6)
    assert len(opened) == 3
    started = time.monotonic()
    source.stop()
    thread.join(2.0)
    assert time.monotonic() - started < 0.5
    hung.set()


def test_old_frames_after_a_reconnect_are_dropped():
    def old(seconds):
        return Taken(noise(int(seconds * 100)), time.monotonic_ns() - round(seconds * 1e9))

    class Backlog(Scripted):
        def __iter__(self):
            for seconds in (1.5, 1.2, 0.9, 0.0, 0.0):
                time.sleep(0.02)
                yield old(seconds)

    source = LiveSource("camera", connecting(Scripted(noise(0)), Backlog()), policy=QUICK)
    frames, _ = read(source)
    assert len(frames) == 3
    assert "had waited" in " ".join(source.notes)


@pytest.mark.parametrize(
    "wrong", [{"silence_s": 0}, {"connect_s": -1}, {"give_up_after_s": 0}, {"frozen_frames": -1}]
)
def test_times_that_are_none_are_refused(wrong):
    with pytest.raises(UsageError):
        LivePolicy(**wrong)
