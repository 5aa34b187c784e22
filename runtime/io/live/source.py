"""A live source under supervision: what comes at its own time, may stop, and comes back.

Owns `LiveSource`. What is read, and how, is a `Feed`; how long it is waited for, a `LivePolicy`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from ...errors import SignalLost, SourceError, SourceNotFound
from ...frame import Frame
from ..address import redact
from ..failures import Failure
from ..info import SourceInfo
from .feed import Feed, Taken
from .frozen import Stillness
from .policy import LivePolicy
from .reader import Reader
from .signal import Signal, SignalLog

_MAX_FPS = 240  # what drivers and containers say beyond is a time base, not a rate
_HANGING = 3  # abandoned connections at once; no further attempt is made until one of them has ended
_CLOSE_S = 0.4  # a device is closed after so long, or when its driver answers
_STALE_S = 0.5  # a frame after a reconnect that is older was waiting somewhere
_STALE_FOR_S = 2.0  # a source whose frames are still old after so long is a slow one
# What no further attempt can change: at the first connection they are told at once.
_LASTING = frozenset(
    (Failure.AUTH, Failure.NOT_FOUND, Failure.NO_HOST, Failure.TLS, Failure.NOT_MEDIA, Failure.CODEC)
)
# A camera may lock a user out after wrong passwords; after a minute they are tried no more often than this.
_REFUSED_FOR_S, _REFUSED_WAIT_S = 60.0, 30.0
_FROZEN_WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # between two attempts to thaw a camera by opening it again


class LiveSource:
    """A camera or a network stream that delivers at its own pace.

    Its state is `signal`; the events behind it, with their causes, are in `signal_log`. When no frame comes for two
    seconds, or all frames are byte-identical, or the connection ends, the state is `Signal.NO_SIGNAL`. Then no frame
    is made up and none is delivered, and the source is opened again, without an end unless the policy has one.
    `stop` ends the iteration at once in every state, also while a driver or a connection hangs.

    Parameters
    ----------
    address : as given; shown without credentials
    connect : opens a feed, or raises `SourceError`; called in a thread of its own
    policy : how long it is waited for

    Raises
    ------
    SourceNotFound
        If the first connection cannot be made, and the policy does not wait for it.

    Attributes
    ----------
    info : known after the first connection; before, with `wait`, only the address
    dropped : decoded frames that a newer one replaced before they were delivered
    """

    def __init__(self, address: str, connect: Callable[[], Feed], *, policy: LivePolicy | None = None) -> None:
        self.signal_log = SignalLog()
        self.dropped = 0
        self.info = SourceInfo(address=redact(address), live=True)
        self._connect = connect
        self._policy = policy or LivePolicy()
        self._changed = threading.Condition()
        self._stopped = False
        self._reader: Reader | None = None
        self._hanging: list[Reader] = []
        self._still = Stillness()
        self._frozen = False
        self._size_wh: tuple[int, int] | None = None
        self._delivered = self._index = 0
        self._attempts = 0  # since the last frame
        self._lost_ns = time.monotonic_ns()  # when the last frame was missed; of a new source, when it was made
        self._notes: dict[str, None] = {}
        if not self._policy.wait:
            try:
                self._first_connection()
            except BaseException:
                self.close()
                raise

    @property
    def signal(self) -> Signal:
        """State right now."""
        return self.signal_log.signal

    @property
    def reconnects(self) -> int:
        """Returns of the signal in the last hour."""
        return self.signal_log.reconnects

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the frames, and what they were not."""
        feed = self._reader.feed if self._reader is not None else None
        return (*self._notes, *getattr(feed, "notes", ()))

    def __iter__(self) -> Iterator[Frame]:
        """Deliver frames until `stop`.

        Raises
        ------
        SignalLost
            If the policy gives up.
        SourceNotFound
            If the first connection delivers no frame, and the policy does not wait for it.
        """
        try:
            while not self._stopped:
                if self._reader is None and not self._reconnect():
                    return
                assert self._reader is not None  # `_reconnect` made it
                yield from self._deliver(self._reader)
        finally:
            self._hang_up()
            self.signal_log.change(Signal.ENDED, self.signal_log.event.cause)

    def stop(self) -> None:
        """Ask the iteration to end; wakes it from every wait."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Close the device; a driver that hangs closes it when it answers."""
        self.stop()
        reader = self._reader
        self._hang_up()
        if reader is not None:
            reader.join(_CLOSE_S)

    def _first_connection(self) -> None:
        """Connect, or raise why that is not possible."""
        started = time.monotonic()
        while True:
            error = self._open()
            if error is None or self._stopped:
                return
            cause = _cause_of(error)
            left_s = self._policy.connect_s - (time.monotonic() - started)
            wait_s = self._wait_s()
            if wait_s > left_s or cause in _LASTING or not _may_pass(error):
                raise error
            self.signal_log.change(Signal.CONNECTING, cause, _words(error), attempt=self._attempts)
            if self._pause(wait_s):
                return

    def _reconnect(self) -> bool:
        """Open the source, with waits, until it works; False if the source was stopped.

        Raises
        ------
        SignalLost
            If the policy gives up.
        """
        log = self.signal_log
        opening, failed = Signal.RECONNECTING, Signal.NO_SIGNAL
        if not self._delivered:
            opening = failed = Signal.CONNECTING
        while not self._pause(self._wait_s()):
            self._hanging = [reader for reader in self._hanging if reader.alive]
            if len(self._hanging) < _HANGING:
                log.change(opening, log.event.cause, attempt=self._attempts + 1)
                error = self._open()
                if error is None:
                    return not self._stopped
                if not isinstance(error, SourceError):
                    raise error
                log.change(failed, _cause_of(error), _words(error), attempt=self._attempts)
            self._give_up_in_time()
        return False

    def _open(self) -> BaseException | None:
        """Make one attempt to connect; returns why it failed."""
        self._attempts += 1
        reader = self._reader = Reader(self._connect, self._changed, self.info.address)
        limit_s = self._policy.open_s
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or reader.ended or reader.opened_ns, limit_s)
            opened, error = reader.feed, reader.error
        if opened is not None and (error is None or reader.waiting):
            fps = opened.fps
            self.info = SourceInfo(
                address=self.info.address,
                live=True,
                fps=fps if fps is not None and 0 < fps <= _MAX_FPS else None,
                media=opened.media,
            )
            return None
        self._hang_up()
        if self._stopped:
            return None
        if error is None:
            error = SourceNotFound(
                f"{self.info.address} cannot be opened: {Failure.TIMEOUT.value}",
                expected=f"a connection within {limit_s:g} s", todo="Is the camera on, and in this network?",
                kind=Failure.TIMEOUT.name,
            )  # fmt: skip
        return error

    def _deliver(self, reader: Reader) -> Iterator[Frame]:
        """Deliver the frames of one connection, until they stop."""
        settled = self._delivered == 0  # the first connection has nothing to be late against
        while not self._stopped:
            found = self._next(reader)
            if found is None:
                return
            taken, skipped = found
            self.dropped += skipped
            self._index += skipped + 1
            if self._is_frozen(taken, reader):
                if self._reader is None:  # it is to be opened again
                    return
                continue
            if not settled:
                settled = _is_fresh(taken, reader)
                if not settled:
                    self._notes["frames that had waited somewhere were dropped after a reconnect"] = None
                    continue
            self._note_frame(taken)
            wall_ns = time.time_ns() - (time.monotonic_ns() - taken.captured_ns)
            yield Frame(
                taken.image, self._index - 1, taken.captured_ns, self.info.address, taken.captured_ns,
                independent=False, wall_ns=wall_ns,
            )  # fmt: skip

    def _next(self, reader: Reader) -> tuple[Taken, int] | None:
        """Wait for the next frame; None when the signal was lost, which is noted, or the source was stopped."""
        policy = self._policy
        while not self._stopped:
            found = reader.take()
            if found is not None:
                return found
            since_ns, limit_s = (
                (reader.last_ns, policy.silence_s) if reader.last_ns else (reader.opened_ns, policy.first_frame_s)
            )
            left_s = limit_s - (time.monotonic_ns() - since_ns) / 1e9
            if reader.ended or left_s <= 0:
                break
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or reader.ended or reader.waiting, left_s)
        if self._stopped:
            return None
        error = reader.error
        if error is not None and not isinstance(error, (SourceError, OSError)):
            raise error
        if reader.ended:
            cause = Failure.LOST if error is None else _cause_of(error)
            self._lose(cause, _words(error) if error is not None else "the stream ended")
        else:
            self._lose(Failure.STALLED, f"no frame for {limit_s:g} s")
        return None

    def _lose(self, cause: Failure, detail: str) -> None:
        """Note a loss, and hang up."""
        if self.signal is Signal.LIVE:
            self._lost_ns = time.monotonic_ns()
        if not self._delivered and not self._policy.wait and cause is not Failure.FROZEN:
            raise SourceNotFound(
                f"{self.info.address} was opened, and delivered no frame: {cause.value}", found=detail,
                todo="See the camera in another program", kind=cause.name,
            )  # fmt: skip
        lost = Signal.NO_SIGNAL if self._delivered else Signal.CONNECTING
        self.signal_log.change(lost, cause, detail, attempt=self._attempts)
        self._hang_up()
        self._give_up_in_time()

    def _is_frozen(self, taken: Taken, reader: Reader) -> bool:
        """Whether a frame is one of a frozen camera, which is then opened again now and then."""
        limit = self._policy.frozen_frames
        if limit is None:
            limit = getattr(reader.feed, "frozen_frames", 0)
        count = self._still.count(taken)
        if not limit or count == 1:
            self._frozen = False
            return False
        if not self._frozen and count < limit:
            return False
        if not self._frozen:
            self._frozen = True
            self._notes["the image stood still, byte for byte: is the camera frozen?"] = None
            self._lose(Failure.FROZEN, f"{count} frames are equal byte for byte")
            return True
        self.signal_log.change(Signal.NO_SIGNAL, Failure.FROZEN, "the same image again", attempt=self._attempts)
        wait_s = _FROZEN_WAITS_S[min(self._attempts, len(_FROZEN_WAITS_S)) - 1]
        if time.monotonic_ns() - reader.opened_ns > wait_s * 1e9:
            self._hang_up()
            self._give_up_in_time()
        return True

    def _note_frame(self, taken: Taken) -> None:
        """Note that a frame is delivered, and whether its size is another."""
        self._delivered += 1
        self._attempts = 0
        size_wh, before = taken.size_wh, self._size_wh
        self._size_wh = size_wh
        if before is not None and size_wh != before:
            detail = "the size changed from {}x{} to {}x{}".format(*before, *size_wh)
            self.signal_log.change(Signal.LIVE, detail=detail)
        elif self.signal is not Signal.LIVE:
            self.signal_log.change(Signal.LIVE)

    def _wait_s(self) -> float:
        """Time to wait before the next attempt."""
        if not self._attempts and not self._delivered:
            return 0.0
        waits = self._policy.backoff_s
        lost_s = (time.monotonic_ns() - self._lost_ns) / 1e9
        if self.signal_log.event.cause is Failure.AUTH and lost_s > _REFUSED_FOR_S:
            return max(_REFUSED_WAIT_S, waits[-1])
        return waits[min(self._attempts, len(waits) - 1)]

    def _pause(self, seconds: float) -> bool:
        """Wait, and return whether the source was stopped."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: self._stopped, seconds))

    def _give_up_in_time(self) -> None:
        """Raise `SignalLost` when the policy has waited long enough."""
        limit_s = self._policy.give_up_after_s
        waited_s = (time.monotonic_ns() - self._lost_ns) / 1e9
        if limit_s is None or waited_s < limit_s:
            return
        event = self.signal_log.event
        cause = event.cause or Failure.LOST
        raise SignalLost(
            f"{self.info.address} stopped delivering and did not come back within {limit_s:g} s",
            found=f"{self._delivered} frames, then {self._attempts} failed attempts to open it again; the last: "
            + (event.detail or cause.value),
            todo="See the cable, the power and the network, then start again",
            kind=cause.name,
        )

    def _hang_up(self) -> None:
        """Leave the current connection to its own thread, which closes it."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.abandon()
            self._hanging.append(reader)


def _may_pass(error: BaseException) -> bool:
    """Whether another attempt may succeed; an error without a kind is one of the local machine."""
    return isinstance(error, SourceError) and bool(error.kind)


def _cause_of(error: BaseException) -> Failure:
    kind = getattr(error, "kind", "")
    return Failure[kind] if kind in Failure.__members__ else Failure.LOST


def _words(error: BaseException) -> str:
    """Describe an error in one line; errors of sources hold no credentials."""
    return error.problem if isinstance(error, SourceError) else type(error).__name__


def _is_fresh(taken: Taken, reader: Reader) -> bool:
    """Whether a frame after a reconnect was captured just now."""
    now_ns = time.monotonic_ns()
    young = now_ns - taken.captured_ns < _STALE_S * 1e9
    return young or now_ns - reader.opened_ns > _STALE_FOR_S * 1e9
