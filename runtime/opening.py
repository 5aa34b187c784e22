"""Open a task, a processor or a stream in one call, from a bundle and what the user wants.

Owns the order in which things are opened, the cheapest first, and who closes them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from .bundle.bundle import Bundle
from .engines.autotune import Choice, auto_precision
from .engines.registry import is_remote, open_sessions, processors, runs_at_once
from .engines.session import Session
from .engines.shared import SharedSession
from .errors import BundleError
from .frame import Frame
from .io.info import Source
from .io.live.policy import LivePolicy
from .io.sources import open_source
from .processor import Processor
from .stream.group import StreamGroup
from .stream.stream import Stream
from .tasks.registry import build_task, task_descriptor
from .tasks.task import Task
from .temporal.options import SteadyOptions

if TYPE_CHECKING:
    from typing_extensions import TypedDict, Unpack

    class TaskOpening(TypedDict, total=False):
        """How a task is opened; see `open_task`."""

        device: str
        precision: str
        options: Mapping[str, Any] | None
        threads: int


_MOST_AT_ONCE = 8  # runs of the network; each holds the network's memory once more
_KEYFRAMES_AT_ONCE = 2  # no more are under way: about ten frames lie between two
_WATCHED = 10  # frames from which it is known how often each graph runs
_WATCHED_WH = (1280, 720)


def open_task(
    bundle: Bundle | str | Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    options: Mapping[str, Any] | None = None,
    threads: int = 0,
) -> Task:
    """Load a bundle's graphs on a device, as the task that the manifest names.

    Parameters
    ----------
    bundle : loaded, or the name of a shipped one, or the path of its folder
    device : ``auto``, ``cpu``, …
    precision : ``auto``, ``fp32``, ``fp16`` or ``int8``
    options : the task's own, such as ``{"saturation": 1.2}`` of colorize
    threads : of one run of the network, on a processor; 0 takes every core

    Returns
    -------
    Task
        It owns its sessions: `close` closes them.

    Raises
    ------
    BundleError
        If the bundle is damaged, or of a task that is not installed.
    DeviceError
        If the requested device is not available.
    UsageError
        If the task has no such option.

    Examples
    --------
    >>> open_task("colorize").name
    'colorize'
    """
    loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    chosen = choose_precision(loaded, precision, device=device)
    given = dict(options or {})
    read = task_descriptor(loaded.manifest.task).reads(loaded.manifest)
    if read and "processor" not in given:
        given["processor"] = open_processor(read, steady="off", device=device, threads=threads)
    try:
        sessions = open_sessions(loaded, device=device, precision=chosen, threads=threads)
        try:
            return build_task(loaded.manifest, sessions, given, owned=True)
        except BaseException:
            for session in sessions.values():
                session.close()
            raise
    except BaseException:
        if "processor" in given:
            given["processor"].close()
        raise


def open_processor(
    bundle: Bundle | str | Path,
    *,
    steady: str | SteadyOptions = "auto",
    live: bool = True,
    **opening: Unpack[TaskOpening],
) -> Processor:
    """Open the synchronous step of a bundle, for a control loop or a batch job.

    Parameters
    ----------
    bundle : as of `open_task`
    steady : ``auto``, ``off``, ``blend``, ``keyframe``, or options
    live : True gives the result of a frame at once; False lets the temporal stage look ahead, so results come later
        and `flush` gives the last ones
    opening : as of `open_task`

    Returns
    -------
    Processor
        It owns its task: `close` closes all.

    Raises
    ------
    BundleError, DeviceError, UsageError
        As of `open_task`.

    Examples
    --------
    >>> with open_processor("colorize") as processor:
    ...     processor.process(Frame(np.zeros((120, 160, 3), np.uint8)))[0].output.pixels.shape
    (120, 160, 3)
    """
    task = open_task(bundle, **opening)
    try:
        stage = task.make_stage(steady_options(steady, task), live=live)
        return Processor.owning(task, stage, live=live)
    except BaseException:
        task.close()
        raise


def open_stream(
    bundle: Bundle | str | Path,
    source: object = "0",
    sinks: Sequence[object] = (),
    *,
    steady: str | SteadyOptions = "auto",
    limit: int | None = None,
    max_age_ms: float | None = None,
    policy: LivePolicy | None = None,
    **opening: Unpack[TaskOpening],
) -> Stream:
    """Open a source, a bundle and sinks as one stream, which owns and closes them all.

    Parameters
    ----------
    bundle : as of `open_task`
    source : a camera's number, an address, a path, an array, or an open source
    sinks : addresses or paths of outputs, or open sinks
    steady : ``auto`` (what the task names for streams; ``off`` for independent images), ``off``, ``blend``,
        ``keyframe``, or options
    limit : end after so many results
    max_age_ms : live sources only: the load is lowered to keep the age below it, and a frame or a result that is
        older is thrown away and counted as late
    policy : of a live source: how long it is waited for
    opening : as of `open_task`

    Raises
    ------
    BundleError, DeviceError, SourceError, SinkError, UsageError
        If one of them cannot be opened; then everything is closed again.

    Examples
    --------
    >>> with open_stream("colorize", "test://?size=160x120&frames=3") as stream:
    ...     print([result.output.pixels.shape for result in stream])
    [(120, 160, 3), (120, 160, 3), (120, 160, 3)]
    """
    loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    opened = open_source(source, policy=policy)
    at_once = 1
    try:
        if not opened.info.live and not opening.get("threads"):
            at_once, opening["threads"] = shared_cores(loaded, opening.get("device", "auto"), steady)
        processor = _processor_of(open_task(loaded, **opening), opened, steady)
    except BaseException:
        opened.close()
        for sink in sinks:
            discard = getattr(sink, "discard", None)  # those that are open already
            if discard is not None:
                discard()
        raise
    return Stream(opened, processor, sinks, limit=limit, max_age_ms=max_age_ms, at_once=at_once)


def shared_cores(bundle: Bundle, device: str, steady: str | SteadyOptions) -> tuple[int, int]:
    """Divide the cores between the frames of a file: runs of the network at once, and threads of each.

    One thread a run wastes no time on waiting for others, so several runs of one thread get further than one of many.

    Returns
    -------
    runs and threads; 1 and 0, which is every core, where a run needs the one before
    """
    descriptor = task_descriptor(bundle.manifest.task)
    if not descriptor.concurrent:
        return 1, 0
    mode = steady.mode if isinstance(steady, SteadyOptions) else steady
    keyframes = (descriptor.steady if mode == "auto" else mode) == "keyframe"
    runs = runs_at_once(device, _KEYFRAMES_AT_ONCE if keyframes else _MOST_AT_ONCE)
    return runs, 0 if runs == 1 else max(1, processors() // runs)


def open_streams(
    bundle: Bundle | str | Path,
    sources: Sequence[object],
    *,
    steady: str | SteadyOptions = "auto",
    max_age_ms: float | None = None,
    policy: LivePolicy | None = None,
    **opening: Unpack[TaskOpening],
) -> StreamGroup:
    """Open several sources on one set of sessions: the network is in memory once.

    It runs for one source at a time; frames that wait for it go together where its graphs take a batch.

    Parameters
    ----------
    bundle : as of `open_task`
    sources : addresses, or open sources
    steady, max_age_ms : as of `open_stream`
    policy : of live sources. By default a source that is not there yet is waited for, so that it holds up no other
    opening : as of `open_task`

    Returns
    -------
    StreamGroup
        Iterate over it for pairs of a source's place and a result; it closes all.

    Raises
    ------
    BundleError, DeviceError, SourceError, UsageError
        If one of them cannot be opened; then everything is closed again.

    Examples
    --------
    >>> with open_streams("colorize", ["test://?size=64x48&frames=2", "test://?size=32x24&frames=1"]) as group:
    ...     sorted((place, result.frame.size_wh) for place, result in group)
    [(0, (64, 48)), (0, (64, 48)), (1, (32, 24))]
    """
    loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    device, options = opening.get("device", "auto"), opening.get("options")
    chosen = choose_precision(loaded, opening.get("precision", "auto"), device=device)
    owned = open_sessions(loaded, device=device, precision=chosen, threads=opening.get("threads", 0))
    lock = threading.Lock()
    shared = {role: SharedSession(session, lock) for role, session in owned.items()}
    waits = LivePolicy(wait=True) if policy is None else policy

    def close_shared() -> None:
        for session in owned.values():
            session.close()

    def open_one(place: int, sink: object) -> Stream:
        source = open_source(sources[place], policy=waits)
        try:
            task = build_task(loaded.manifest, shared, options)
            processor = _processor_of(task, source, steady)
        except BaseException:
            source.close()
            raise
        return Stream(source, processor, [sink], max_age_ms=max_age_ms if source.info.live else None)

    return StreamGroup(open_one, len(sources), close_shared=close_shared)


def _processor_of(task: Task, source: Source, steady: str | SteadyOptions) -> Processor:
    """Make the processor of a source, which owns the task; the task is closed if that fails."""
    live = source.info.live
    try:
        chosen = steady_options(steady, task, independent=source.info.independent)
        return Processor.owning(task, task.make_stage(chosen, live=live), live=live)
    except BaseException:
        task.close()
        raise


def steady_options(steady: str | SteadyOptions, task: Task, *, independent: bool = False) -> SteadyOptions:
    """Choose how a stream of a task is steadied.

    Parameters
    ----------
    steady : a mode, ``auto``, or options, which are kept
    task : its descriptor says what ``auto`` means
    independent : the frames are images of their own, which have nothing to be steadied by

    Raises
    ------
    UsageError
        If there is no such mode.
    """
    if isinstance(steady, SteadyOptions):
        return steady
    if steady != "auto":
        return SteadyOptions(mode=steady)
    if independent or task.propagated is None:
        return SteadyOptions(mode="off")
    return SteadyOptions(mode=task_descriptor(task.name).steady)


def choose_precision(
    bundle: Bundle, wanted: str, *, device: str = "auto", progress: Callable[[str], None] | None = None
) -> str:
    """Choose the precision to load: the requested one, or with ``auto`` the one that is fastest here.

    Parameters
    ----------
    bundle : loaded
    wanted : ``auto``, ``fp32``, ``fp16`` or ``int8``
    device : on which ``auto`` measures, once
    progress : called with a line when it does

    Raises
    ------
    BundleError
        If the bundle does not have it.
    DeviceError
        If something must be measured on a device that is not available.
    """
    if wanted == "auto" and is_remote(device):
        return bundle.precisions()[0]  # the server has one graph; this one says what goes in and comes out
    if wanted == "auto":
        return tune_precision(bundle, device, progress=progress).precision
    have = bundle.precisions()
    if wanted not in have:
        raise BundleError(
            f"Bundle {bundle.manifest.name!r} has no precision {wanted!r}",
            available=have,
            todo="Make it with `steadyframe calibrate`",
        )
    return wanted


def tune_precision(
    bundle: Bundle, device: str = "auto", *, progress: Callable[[str], None] | None = None, again: bool = False
) -> Choice:
    """Choose a precision for a device: remembered, or measured now on the bundle's own task.

    Parameters
    ----------
    bundle : with one or more precisions
    device : requested
    progress : called with a line when measuring begins, because it takes seconds
    again : measure even if it is remembered

    Raises
    ------
    BundleError, DeviceError
        As of `auto_precision`.
    """

    def workload(sessions: Mapping[str, Session]) -> int:
        # A soft random landscape: what it shows does not matter for the time, as long as it is no constant.
        coarse = np.random.default_rng(0).integers(0, 256, (9, 16, 3), dtype=np.uint8)
        pixels = np.asarray(cv2.resize(coarse, _WATCHED_WH, interpolation=cv2.INTER_CUBIC), np.uint8)
        with Processor(build_task(bundle.manifest, sessions)) as processor:
            for index in range(_WATCHED):
                processor.process(Frame(pixels, index=index))
        return _WATCHED

    return auto_precision(bundle, device, workload=workload, progress=progress, again=again)
