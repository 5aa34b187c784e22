"""Public fakes for users' own tests: a live source with scripted losses, and sessions that are made up or slow.

Owns `ScriptedSource` and its steps, `FakeSession`, `SlowSession` and `open_task`. What supervises the source is what
supervises a real camera.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .bundle.bundle import Bundle
from .bundle.manifest import TensorSpec
from .engines.registry import open_sessions
from .engines.session import Session, Tensors, WrappedSession, check_feeds
from .errors import SourceError, SourceNotFound
from .frame import Frame
from .io.failures import Failure
from .io.info import Media
from .io.live.feed import Taken
from .io.live.policy import LivePolicy
from .io.live.source import LiveSource
from .io.sources.pattern import TestPattern
from .tasks.registry import build_task
from .tasks.task import Task

# Waits that keep tests short; a real camera has those of `LivePolicy`.
QUICK = LivePolicy(silence_s=0.2, first_frame_s=1.0, open_s=1.0, connect_s=0.5, backoff_s=(0.02,), frozen_frames=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that a scripted source does; made by `frames`, `frozen`, `silence`, `lost` and `absent`."""

    count: int = 0
    seconds: float = 0.0
    size_wh: tuple[int, int] = (160, 120)
    still: bool = False
    ends: bool = False
    cause: Failure | None = None


def frames(count: int, *, size_wh: tuple[int, int] = (160, 120)) -> Step:
    """Deliver so many frames of a moving test pattern."""
    return Step(count=count, size_wh=size_wh)


def frozen(count: int, *, size_wh: tuple[int, int] = (160, 120)) -> Step:
    """Deliver so many frames that are equal byte for byte."""
    return Step(count=count, size_wh=size_wh, still=True)


def silence(seconds: float) -> Step:
    """Deliver nothing for so long, while the connection stays."""
    return Step(seconds=seconds)


def lost() -> Step:
    """End the connection; the step after it is made by the next connection."""
    return Step(ends=True)


def absent(attempts: int = 1, cause: Failure = Failure.REFUSED) -> Step:
    """Let so many attempts to connect fail; stands at the beginning, or behind `lost`."""
    return Step(count=attempts, cause=cause)


class ScriptedSource(LiveSource):
    """A live source that does what a script says, supervised like a real camera.

    Parameters
    ----------
    script : steps, in order; when they are over, the iteration ends
    fps : frames a second
    policy : how long it is waited for; short times by default

    Examples
    --------
    >>> source = ScriptedSource([frames(5), lost(), absent(2), frames(5)], fps=200)
    >>> seen = []
    >>> for frame in source:
    ...     seen.append(frame.index)
    ...     if len(seen) == 8:
    ...         source.stop()
    >>> source.reconnects
    1
    """

    __test__ = False  # for pytest

    def __init__(self, script: Sequence[Step], *, fps: float = 100.0, policy: LivePolicy | None = None) -> None:
        self._script = _Script(script, fps)
        super().__init__("scripted", self._script.connect, policy=policy or QUICK)

    def __iter__(self) -> Iterator[Frame]:
        """Deliver the frames of the script."""
        try:
            yield from super().__iter__()
        except ScriptEnded:
            return


class _Script:
    """The steps that are left."""

    def __init__(self, steps: Sequence[Step], fps: float) -> None:
        self.steps = list(steps)
        self.fps = fps
        self.index = 0
        self.delivered = 0  # frames of the current step
        self.refused = 0

    def connect(self) -> _ScriptedFeed:
        """Open the next connection, or fail as the script says."""
        if not self.steps:
            raise ScriptEnded
        step = self.steps[0]
        if step.cause is not None:
            self.refused += 1
            if self.refused >= step.count:
                self.steps.pop(0)
                self.refused = 0
            raise SourceNotFound(f"scripted: {step.cause.value}", kind=step.cause.name)
        return _ScriptedFeed(self)


class ScriptEnded(Exception):
    """The script of a `ScriptedSource` is over."""


class _ScriptedFeed:
    """One connection of a script."""

    media: Media | None = None
    frozen_frames = 0

    def __init__(self, script: _Script) -> None:
        self._script = script
        self._cancelled = threading.Event()
        self.fps: float | None = script.fps

    def __iter__(self) -> Iterator[Taken]:
        script = self._script
        while script.steps and not self._cancelled.is_set():
            step = script.steps[0]
            if step.cause is not None:
                return
            if step.ends:
                script.steps.pop(0)
                raise SourceError("scripted: connection lost", kind=Failure.LOST.name)
            self._cancelled.wait(step.seconds)
            pattern = TestPattern("test://?size={}x{}&frames=0".format(*step.size_wh))
            while script.delivered < step.count:  # what a connection leaves of a step, the next one goes on with
                if self._cancelled.wait(1 / script.fps):
                    return
                script.delivered += 1
                script.index += not step.still
                yield Taken(pattern.draw(script.index), time.monotonic_ns())
            script.steps.pop(0)
            script.delivered = 0

    def cancel(self) -> None:
        """Wake the thread that waits."""
        self._cancelled.set()

    def close(self) -> None:
        """Nothing is held open."""


class FakeSession:
    """A session that a function stands in for.

    Parameters
    ----------
    function : feeds -> named arrays
    inputs, outputs : of the graph that it stands for; `run` checks the feeds by them
    slow_s : time that each run takes

    Examples
    --------
    >>> import numpy as np
    >>> session = FakeSession(lambda feeds: {"y": feeds["x"] + 1}, (TensorSpec("x", "float32", (1,)),), ())
    >>> session.run({"x": np.zeros(1, np.float32)})["y"], session.runs
    (array([1.], dtype=float32), 1)
    """

    device = "fake"

    def __init__(
        self,
        function: Callable[[Tensors], Mapping[str, NDArray[Any]]],
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        *,
        slow_s: float = 0.0,
    ) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.runs = 0
        self._function = function
        self._slow_s = slow_s

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Call the function on feeds that fit `inputs`, such as (1, h, w, 3)."""
        check_feeds(feeds, self.inputs)
        time.sleep(self._slow_s)
        self.runs += 1
        return dict(self._function(feeds))

    def close(self) -> None:
        """Nothing is held open."""


class SlowSession(WrappedSession):
    """A real session that takes several times as long, as on a slower machine.

    Parameters
    ----------
    session : what it runs, and closes
    times : factor on the time of a run
    """

    def __init__(self, session: Session, times: float) -> None:
        super().__init__(session)
        self._times = times

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run, and then wait; arrays as of the session, such as (1, h, w, 3)."""
        started = time.perf_counter()
        found = self._session.run(feeds)
        time.sleep((self._times - 1) * (time.perf_counter() - started))
        return found


def open_task(
    bundle: str | Path,
    wrap: Callable[[str, Session], Session],
    *,
    device: str = "auto",
    precision: str = "fp32",
    options: Mapping[str, Any] | None = None,
) -> Task:
    """Open a task on sessions that a test has wrapped or replaced.

    Parameters
    ----------
    bundle : name of a shipped one, or a path
    wrap : role and session -> the session to use
    device, precision, options : as of `steadyframe.open_task`

    Returns
    -------
    Task
        It closes its sessions.

    Raises
    ------
    BundleError, DeviceError, UsageError
        As of `steadyframe.open_task`.

    Examples
    --------
    >>> task = open_task("colorize", lambda role, session: SlowSession(session, 2.0))
    >>> task.name
    'colorize'
    >>> task.close()
    """
    loaded = Bundle.load(bundle)
    sessions = open_sessions(loaded, device=device, precision=precision)
    return build_task(loaded.manifest, {r: wrap(r, s) for r, s in sessions.items()}, options, owned=True)
