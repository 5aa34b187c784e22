"""How long a live source is waited for.

Owns `LivePolicy`. Standard library and the error tree only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePolicy:
    """When a live source counts as lost, and for how long it is opened again. All times are wall-clock seconds.

    Parameters
    ----------
    silence_s : without a frame for so long, the signal is lost, whatever the driver says
    first_frame_s : from the connection to its first frame: a stream that is joined between two keyframes has to wait
        for the next one
    open_s : for one attempt to connect
    connect_s : for all attempts of the first connection; what no further attempt can change (a wrong password, no
        such path) ends it at once
    wait : make the first connection in the stream, not when the source is opened, and try it without an end
    give_up_after_s : after a loss, the time until `SignalLost` is raised; None tries without an end
    frozen_frames : so many byte-identical frames are a frozen camera; 0 never; None is what the kind of source says
    backoff_s : waits between attempts; the last one is repeated

    Raises
    ------
    UsageError
        If a time is not above zero.
    """

    silence_s: float = 2.0
    first_frame_s: float = 10.0
    open_s: float = 8.0
    connect_s: float = 3.0
    wait: bool = False
    give_up_after_s: float | None = None
    frozen_frames: int | None = None
    backoff_s: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.5)

    def __post_init__(self) -> None:
        for name in ("silence_s", "first_frame_s", "open_s"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is a time", expected="seconds above 0", found=getattr(self, name))
        if self.connect_s < 0 or math.isnan(self.connect_s):
            raise UsageError("connect_s is a time", expected="seconds, 0 or more", found=self.connect_s)
        if self.give_up_after_s is not None and not self.give_up_after_s > 0:
            found = self.give_up_after_s
            raise UsageError("give_up_after_s is a time", expected="seconds above 0, or None", found=found)
        if self.frozen_frames is not None and self.frozen_frames < 0:
            raise UsageError("frozen_frames counts frames", expected="0 or more", found=self.frozen_frames)
        if not self.backoff_s or min(self.backoff_s) < 0:
            raise UsageError("backoff_s holds times", expected="one or more, 0 or more", found=self.backoff_s)
