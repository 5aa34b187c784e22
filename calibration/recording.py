"""What the graphs of a bundle are fed with, when the runtime itself feeds them.

Owns the session that remembers, and the run of a task on frames: preprocessing and memory are the runtime's own, and
cannot differ from what the network will see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle.bundle import Bundle
from ..runtime.bundle.manifest import Manifest, TensorSpec
from ..runtime.engines.registry import open_sessions
from ..runtime.engines.session import Session, Tensors
from ..runtime.frame import Frame
from ..runtime.processor import Processor
from ..runtime.tasks.registry import build_task
from ..runtime.tasks.task import Task
from ..runtime.temporal.options import SteadyOptions
from .frames import takes_of

Arrays = dict[str, NDArray[Any]]


class RecordingSession:
    """A session that keeps what went in and came out.

    Parameters
    ----------
    session : does the work

    Attributes
    ----------
    seen : inputs and outputs of the last run
    runs : inputs of every run since `forget`
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.device: str = session.device
        self.inputs: tuple[TensorSpec, ...] = session.inputs
        self.outputs: tuple[TensorSpec, ...] = session.outputs
        self.seen: Arrays = {}
        self.runs: list[Arrays] = []

    def run(self, feeds: Tensors) -> Arrays:
        """Run and remember."""
        found = self._session.run(feeds)
        self.seen = {**feeds, **found}
        self.runs.append(dict(feeds))
        return found

    def forget(self) -> None:
        """Forget all runs."""
        self.seen, self.runs = {}, []

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def processor_of(manifest: Manifest, task: Task) -> Processor:
    """Make a processor that runs the network on every frame; a network with state gets its last output, warped."""
    return Processor(task, task.make_stage(SteadyOptions(mode="blend")) if manifest.state else None)


def results_of(manifest: Manifest, task: Task, frames: Iterable[Frame]) -> Iterator[Any]:
    """Run frames through a task, each for itself; where an output is fed back, take by take (`takes_of`)."""
    with processor_of(manifest, task) as processor:
        for take in takes_of(frames) if manifest.state else ([frame] for frame in frames):
            processor.reset()
            for frame in take:
                for result in processor.process(frame):
                    yield result.output


def recorded_feeds(bundle: Bundle, frames: Iterable[Frame]) -> Iterator[dict[str, list[Arrays]]]:
    """Run every frame through the bundle's task in fp32 and give what each graph was fed with.

    Every frame is the first of its stream; a graph whose output is fed back is also fed as on a second frame, with
    its own output and a mask of 1. One frame's feeds are in memory at a time.

    Yields
    ------
    role -> the feeds of that graph's runs on this frame; a graph may run several times, or not at all
    """
    opened = open_sessions(bundle, device="cpu", precision="fp32")
    sessions = {role: RecordingSession(session) for role, session in opened.items()}
    task = build_task(bundle.manifest, sessions, owned=True)
    with Processor.owning(task) as processor:
        for frame in frames:
            processor.reset()
            processor.process(frame)
            fed = {}
            for role, session in sessions.items():
                again = _fed_back(session, bundle.manifest.state)
                fed[role] = session.runs + ([again] if again else [])
                session.forget()
            yield fed


def _fed_back(session: RecordingSession, state: Any) -> Arrays | None:
    """Make the feeds of a second run: outputs are fed back, and the mask is 1 everywhere."""
    here = {spec.name for spec in session.outputs}
    returned = {target: session.seen[name] for name, target in state.items() if name in here and session.seen}
    if not returned or not session.runs:
        return None
    feeds = {**session.runs[-1], **returned}
    if "mask" in feeds:
        feeds["mask"] = np.full_like(feeds["mask"], 255)
    return feeds
