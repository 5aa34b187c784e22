"""The time of every frame of a file, in nanoseconds from its beginning, always growing.

Owns `Timeline`. Standard library only.
"""

from __future__ import annotations

from fractions import Fraction

_SECOND = 1_000_000_000
_JUMP_NS = 10 * _SECOND


def ns_of(stamp: int, time_base: Fraction) -> int:
    """Nanoseconds of a stamp in units of `time_base` seconds, rounded as `round` does; fractions are slow.

    Examples
    --------
    >>> ns_of(1001, Fraction(1, 30000)), round(1001 * Fraction(1, 30000) * 10**9)
    (33366667, 33366667)
    """
    whole, rest = divmod(stamp * time_base.numerator * _SECOND, time_base.denominator)
    twice = 2 * rest - time_base.denominator
    return whole + (twice > 0 or (twice == 0 and whole % 2 == 1))


class Timeline:
    """Turns presentation time stamps into times that grow from frame to frame.

    Stamps that are missing are filled in from the rate. Recordings that were glued together begin anew in the
    middle; their second part goes on where the first one ended.

    Parameters
    ----------
    origin_ns : time stamp at which the file begins; sound that begins earlier than the video makes it begin earlier
    frame_ns : nominal time from frame to frame
    gaps : a long gap is a pause of the video; otherwise, as in transport streams, it is a fault of the clock

    Examples
    --------
    >>> times = Timeline(0, 40_000_000)
    >>> [times.place(stamp, Fraction(1, 1000)) // 1_000_000 for stamp in (0, 40, None, 5000, 0)]
    [0, 40, 80, 5000, 5040]
    """

    def __init__(self, origin_ns: int, frame_ns: int, *, gaps: bool = True) -> None:
        self._shift_ns = -origin_ns
        self._frame_ns = max(1, frame_ns)
        self._gaps = gaps
        self._last_ns: int | None = None

    def place(self, stamp: int | None, time_base: Fraction) -> int:
        """Time of the next frame in nanoseconds, from its stamp in units of `time_base` seconds."""
        last = self._last_ns
        if stamp is None:
            at = 0 if last is None else last + self._frame_ns
        else:
            at = ns_of(stamp, time_base) + self._shift_ns
        if last is not None and stamp is not None:
            ahead = at - last
            if ahead <= -2 * self._frame_ns or (not self._gaps and ahead > _JUMP_NS):
                self._shift_ns += last + self._frame_ns - at
                at = last + self._frame_ns
            elif ahead <= 0:  # stamps that are coarser than the rate
                at = last + max(1, self._frame_ns // 4)
        self._last_ns = at
        return at
