"""The course of a job: plan, work, join, clip after clip, on whatever workers there are.

Owns `run_job`. Keeps nothing that the job's folder does not hold, so that it may be killed and started again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..errors import SteadyframeError
from . import work
from .clip import IndexMismatch
from .job import Clip, Job, JobFolder
from .planning import Plan
from .segments import Segment

_WAIT_S = 0.5


class Workers(Protocol):
    """What a driver needs of a cluster."""

    workers: int

    def submit(self, label: object, function: Callable[..., Any], *given: Any) -> None:
        """Have a worker call a function."""

    def next(self, timeout_s: float) -> tuple[object, Any] | None:
        """Wait for the next answer."""

    def drop(self, unwanted: Callable[[object], bool]) -> None:
        """Forget calls."""


@dataclass(slots=True)
class Outcome:
    """What became of a job.

    Parameters
    ----------
    done : clips that are complete, those of earlier runs included
    failed : clip -> why
    frames : that were worked on in this run
    notes : clip -> what was done to its frames
    """

    done: list[Clip] = field(default_factory=list)
    failed: dict[Clip, str] = field(default_factory=dict)
    frames: int = 0
    notes: dict[Clip, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: clips that are complete or have failed, and frames of this run.

    The number of all frames is an estimate until every clip is planned: the others are taken to be as long.
    """

    clips: int
    of_clips: int
    frames: int
    of_frames: int


@dataclass(slots=True)
class _State:
    """A clip that is worked on."""

    clip: Clip
    whole: bool = False


class _Driver:
    """One run of a job."""

    def __init__(self, job: Job, folder: JobFolder, workers: Workers, report: Callable[[Progress], None]) -> None:
        self.job, self.folder, self.workers, self.report = job, folder, workers, report
        self.outcome = Outcome()
        self.states: dict[str, _State] = {}
        self.total = self.planned = self.known = self.frames = 0

    def run(self, clips: Sequence[Clip]) -> Outcome:
        """Work on all clips; a few at a time, so that few segments lie on the disk at once."""
        self.total = len(clips)
        self.outcome.done = [clip for clip in clips if self.folder.is_done(clip)]
        waiting = [clip for clip in clips if clip not in self.outcome.done]
        wanted = len(waiting)
        while waiting or self.states:
            while waiting and len(self.states) < 2 * self.workers.workers:
                self._begin(waiting.pop(0))
            answer = self.workers.next(_WAIT_S)
            if answer is not None:
                self._take(*answer)
            done = len(self.outcome.done) + len(self.outcome.failed)
            of_frames = round(self.known * wanted / max(1, self.planned))
            self.report(Progress(done, self.total, self.frames, max(self.frames, of_frames)))
        return self.outcome

    def _begin(self, clip: Clip) -> None:
        self.folder.begin(clip)
        self.states[clip.key] = _State(clip)
        folder = str(self.folder.segments(clip))
        self.workers.submit((clip.key, "plan", 0), work.plan, self.job, clip, folder)

    def _take(self, label: Any, answer: Any) -> None:
        """Go on with a clip after an answer of a worker."""
        key, kind, _ = label
        state = self.states.get(key)
        if state is None:
            return  # of a clip that has failed meanwhile
        if isinstance(answer, IndexMismatch) and not state.whole:
            self._read_whole(state)
        elif isinstance(answer, Exception):
            self._fail(state, answer)
        elif kind == "plan":
            self._cut(state, answer)
        elif kind == "work":
            self._worked(state, answer)
        else:
            self._joined(state, answer)

    def _cut(self, state: _State, plan: Plan) -> None:
        """Have every segment worked on."""
        self.known += plan.count
        self.planned += 1
        for start in plan.starts:
            self._submit(state, start)

    def _folder(self, state: _State) -> Path:
        """Folder of a clip's segments; another one once it is read whole: a worker may still write into the first."""
        folder = self.folder.segments(state.clip)
        return folder / "whole" if state.whole else folder

    def _submit(self, state: _State, start: int) -> None:
        folder = str(self._folder(state))
        self.workers.submit((state.clip.key, "work", start), work.work, self.job, state.clip, folder, start)

    def _worked(self, state: _State, segment: Segment) -> None:
        """Count a segment; join when no frame of the clip is missing."""
        self.frames += segment.end - segment.start
        folder = self._folder(state)
        try:
            whole = work.chain(folder)
        except IndexMismatch as error:
            if state.whole:
                self._fail(state, error)
            else:
                self._read_whole(state)
            return
        if whole is None:
            return
        state_key = state.clip.key
        # Segments that begin at cuts which were not confirmed are of no use.
        self.workers.drop(lambda label: isinstance(label, tuple) and label[:2] == (state_key, "work"))
        self.outcome.notes[state.clip] = sorted({note for one in whole for note in one.notes})
        self.workers.submit((state_key, "join", 0), work.join, self.job, state.clip, str(folder))

    def _read_whole(self, state: _State) -> None:
        """Begin a clip anew, in one segment from its first frame, as it cannot be entered in the middle."""
        key = state.clip.key
        self.workers.drop(lambda label: isinstance(label, tuple) and label[0] == key)
        state.whole = True
        work.write_plan(self._folder(state), Plan())
        self._submit(state, 0)

    def _joined(self, state: _State, frames: int) -> None:
        self.folder.finish(state.clip, frames)
        self.outcome.done.append(state.clip)
        self.outcome.frames += frames
        del self.states[state.clip.key]

    def _fail(self, state: _State, error: Exception) -> None:
        """Report a clip that cannot be finished, and go on with the others."""
        key = state.clip.key
        self.workers.drop(lambda label: isinstance(label, tuple) and label[0] == key)
        reason = str(error) if isinstance(error, SteadyframeError) else f"{type(error).__name__}: {error}"
        self.folder.fail(state.clip, reason)
        self.outcome.failed[state.clip] = reason
        del self.states[key]


def run_job(
    job: Job,
    clips: Sequence[Clip],
    folder: JobFolder,
    workers: Workers,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Run a job to its end, or go on with one that was stopped.

    Parameters
    ----------
    job : what is done to every clip
    clips : all of them; those that are complete are left as they are
    folder : of the results
    workers : that do it
    report : called now and then with the progress

    Returns
    -------
    Outcome
        A clip that fails does not stop the others.
    """
    return _Driver(job, folder, workers, report).run(clips)
