"""The subject of a measurement: a bundle loaded once, and a new stream of it for each run.

Owns `Subject`. Sessions are heavy and shared; a processor belongs to one stream, and is made anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from ..bundle.bundle import Bundle
from ..engines.registry import open_sessions
from ..engines.session import Session
from ..errors import SourceError, UsageError
from ..frame import Frame
from ..io.info import Source
from ..io.sources import open_source
from ..opening import choose_precision, shared_cores
from ..processor import Processor
from ..stream.stream import Stream
from ..tasks.registry import build_task
from ..temporal.options import SteadyOptions


class Subject:
    """A bundle on a device, and a video that can be read again and again.

    Parameters
    ----------
    bundle : loaded
    address : of a source that is not live
    modes : steady mode -> its options; `off` is what the others are compared with
    device, precision : as for `open_task`
    limit : frames of the video that count

    Raises
    ------
    UsageError
        If the source is live, or its images are unrelated: neither can be compared frame by frame.
    BundleError, DeviceError, SourceError
        If one of them cannot be opened.
    """

    def __init__(
        self,
        bundle: Bundle,
        address: str,
        modes: Mapping[str, SteadyOptions],
        *,
        device: str = "auto",
        precision: str = "auto",
        limit: int = 300,
    ) -> None:
        self.bundle = bundle
        self.address = address
        self.modes = dict(modes)
        self.limit = limit
        self.precision = choose_precision(bundle, precision, device=device)
        first = self.source()
        self.fps = first.info.fps or 30.0
        first.close()
        self._device = device
        self._sessions: dict[int, dict[str, Session]] = {}  # by the threads of a run
        self.device = ", ".join(sorted({session.device for session in self._sessions_of(0).values()}))

    def source(self) -> Source:
        """Open the video from its beginning.

        Raises
        ------
        UsageError
            If the source is live or its images are independent.
        """
        source = open_source(self.address, sequence=True)
        if source.info.live or source.info.independent:
            source.close()
            raise UsageError(
                "A bench reads its input several times",
                expected="a video file, a folder of frames, sample:// or test://",
                found=source.info.address,
                todo="Record it first: steadyframe run … recording.mp4",
            )
        return source

    def frames(self) -> list[Frame]:
        """Decode the frames that count, up to the first change of size.

        Raises
        ------
        SourceError
            If there are fewer than two.
        """
        source = self.source()
        try:
            frames: list[Frame] = []
            for frame in islice(source, self.limit):
                if frames and frame.pixels.shape != frames[0].pixels.shape:
                    break
                frames.append(frame)
        finally:
            source.close()
        if len(frames) < 2:
            raise SourceError(
                "Flicker is a change between frames", expected="2 frames or more of one size", found=len(frames)
            )
        return frames

    def processor(self, mode: str, *, live: bool = False, threads: int = 0) -> Processor:
        """Make the processor of one run, with a task of its own on shared sessions."""
        task = build_task(self.bundle.manifest, self._sessions_of(threads))
        return Processor(task, task.make_stage(self.modes[mode], live=live), live=live)

    def stream(self, mode: str, *, limit: int | None = None, source: object = None) -> Stream:
        """Make a stream of the source, or of another, into nowhere, on the cores as `open_stream` divides them."""
        at_once, threads = shared_cores(self.bundle, self._device, self.modes[mode])
        processor = self.processor(mode, threads=threads)
        opened = self.source() if source is None else source
        return Stream(opened, processor, ["null://"], limit=limit, at_once=at_once)

    def _sessions_of(self, threads: int) -> dict[str, Session]:
        if threads not in self._sessions:
            self._sessions[threads] = open_sessions(
                self.bundle, device=self._device, precision=self.precision, threads=threads
            )
        return self._sessions[threads]

    def facts(self) -> dict[str, Any]:
        """Describe what was measured, for a report."""
        manifest = self.bundle.manifest
        return {
            "bundle": manifest.name,
            "version": manifest.version,
            "task": manifest.task,
            "device": self.device,
            "precision": self.precision,
            "source": self.address,
        }

    def close(self) -> None:
        """Close the sessions."""
        for sessions in self._sessions.values():
            for session in sessions.values():
                session.close()

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
