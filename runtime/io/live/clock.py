"""When a frame of a network stream was captured, on our own monotonic clock.

Owns `CaptureClock` and `Settling`. Standard library only.
"""

from __future__ import annotations

_SECOND = 1_000_000_000
_WINDOW_NS = 10 * _SECOND  # the smallest delay of this time and the one before it counts: clocks drift apart
_JUMP_NS = 10 * _SECOND  # time stamps that are so far off began anew
# A sender's wall clock is believed if its smallest delay lies in this range: the clocks of both machines agree.
_EARLY_NS, _LATE_NS = -2_000_000, 500_000_000
_PATIENCE_NS = _SECOND
_WAITED_SHARE = 0.2  # of a frame's time


class _SmallestDelay:
    """The smallest difference of two clocks in the last ten to twenty seconds."""

    def __init__(self) -> None:
        self._before: int | None = None
        self._current: int | None = None
        self._since_ns = 0

    def add(self, delay_ns: int, now_ns: int) -> int:
        """Add a difference, and return the smallest."""
        if self._current is None or now_ns - self._since_ns > _WINDOW_NS:
            self._before, self._current, self._since_ns = self._current, delay_ns, now_ns
        self._current = min(self._current, delay_ns)
        return self._current if self._before is None else min(self._current, self._before)


class CaptureClock:
    """Maps the time stamps of a sender to the monotonic clock of this machine.

    The frame that was the fastest on its way tells how the two clocks differ; every other frame's age is what it took
    longer. So a backlog shows as age, but the constant part of the way, the sender's encoder included, does not. A
    sender that sends its wall clock beside the stamps (RTCP), and whose clock agrees with ours, makes that part known
    as well; then its clock is used.

    Examples
    --------
    >>> clock = CaptureClock()
    >>> [clock.captured(stamp, arrived) for stamp, arrived in ((0, 100), (40, 140), (80, 500), (120, 501))]
    [100, 140, 180, 220]
    """

    def __init__(self) -> None:
        self._arrival = _SmallestDelay()
        self._sender = _SmallestDelay()
        self._last: int | None = None
        self.of_sender = False

    def captured(
        self, stamp_ns: int | None, arrived_ns: int, *, sender_ns: int | None = None, wall_ns: int | None = None
    ) -> int:
        """Compute the time of capture on the monotonic clock, in ns.

        Parameters
        ----------
        stamp_ns : of the frame, on a clock of the sender's whose zero is unknown; None if it has none
        arrived_ns : when its last byte was here, on the monotonic clock
        sender_ns : capture by the sender's wall clock; None where it does not say
        wall_ns : our wall clock when the frame arrived; needed with `sender_ns`
        """
        captured_ns = arrived_ns
        if stamp_ns is not None:
            delay_ns = arrived_ns - stamp_ns
            if self._last is not None and abs(delay_ns - self._last) > _JUMP_NS:
                self._arrival = _SmallestDelay()
            self._last = delay_ns
            captured_ns = stamp_ns + self._arrival.add(delay_ns, arrived_ns)
        self.of_sender = False
        if sender_ns is not None and wall_ns is not None:
            delay_ns = wall_ns - sender_ns
            if _EARLY_NS <= self._sender.add(delay_ns, arrived_ns) < _LATE_NS:
                self.of_sender = True
                captured_ns = arrived_ns - max(0, delay_ns)
        return min(captured_ns, arrived_ns)


class Settling:
    """Tells when the backlog of a new connection has been read.

    A server may begin with frames that it had kept. They arrive without a pause; the first frame that had to be
    waited for is a current one.

    Examples
    --------
    >>> settling = Settling()
    >>> [settling.is_current(*frame) for frame in ((0, 0, 0), (40, 1, 1), (80, 2, 1), (120, 42, 40), (160, 43, 1))]
    [False, False, False, True, True]
    """

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._stamp_ns: int | None = None
        self._done = False

    def is_current(self, stamp_ns: int | None, arrived_ns: int, waited_ns: int) -> bool:
        """Whether a frame is no part of the backlog.

        Parameters
        ----------
        stamp_ns : of the sender; None if there is none
        arrived_ns : when it came, on the monotonic clock
        waited_ns : for how long it was waited for
        """
        if self._done:
            return True
        before, self._stamp_ns = self._stamp_ns, stamp_ns
        if self._first_ns is None:
            self._first_ns = arrived_ns
            return False
        paced = before is None or stamp_ns is None or waited_ns >= _WAITED_SHARE * (stamp_ns - before)
        self._done = paced or arrived_ns - self._first_ns > _PATIENCE_NS
        return self._done
