"""Is the exported network the trained one? Pixels in, result out, both ways, on the same real frames.

Owns the comparison and its report. The trained side is a `Reference` that its task's models room provides; the
exported side is the runtime's own task, with sessions that record what passes through them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from ..calibration.recording import RecordingSession
from ..models.checkpoint import Checkpoint
from ..models.colorize.reference import ColorizeReference
from ..models.pose.reference import PoseReference
from ..models.stylize.reference import StylizeReference
from ..runtime.bundle import Bundle
from ..runtime.errors import ParityError, UsageError
from ..runtime.frame import Frame
from ..runtime.people import People
from ..runtime.session import open_session
from ..runtime.task import Picture, Task
from ..runtime.tasks import build_task

Stages = dict[str, NDArray[Any]]


class Reference(Protocol):
    """A trained network with the training side's own pre- and postprocessing.

    `tolerances` names every stage that must be there, in the order in which a frame passes them.
    """

    tolerances: Mapping[str, float]

    def stages(self, pixels: NDArray[np.uint8]) -> Stages:
        """Run one picture, (H, W, 3) BGR, and give every stage."""


REFERENCES = {"colorize": ColorizeReference, "pose": PoseReference, "stylize": StylizeReference}


@dataclass(slots=True)
class StageParity:
    """Differences of one stage over all frames.

    Parameters
    ----------
    name : graph and tensor, or the name of the result
    tolerance : largest absolute difference that passes
    samples : frames compared
    max_abs, mean_abs, p99_abs : over all values of all frames (p99: the worst frame's)
    cosine : the worst frame's cosine similarity
    problems : reasons other than size: missing, another shape or type, not finite
    """

    name: str
    tolerance: float
    samples: int = 0
    max_abs: float = 0.0
    mean_abs: float = 0.0
    p99_abs: float = 0.0
    cosine: float = 1.0
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether the stage was compared at all, and every value lies within the tolerance."""
        return self.samples > 0 and not self.problems and self.max_abs <= self.tolerance

    @property
    def tolerance_needed(self) -> float | None:
        """Smallest tolerance that passes, or None where none would."""
        return None if self.problems or not self.samples else self.max_abs

    def add(self, expected: NDArray[Any] | None, found: NDArray[Any] | None) -> None:
        """Take in one frame."""
        problem = _problem(expected, found)
        if problem:
            if problem not in self.problems:
                self.problems.append(problem)
            return
        assert expected is not None and found is not None
        left, right = expected.astype(np.float64).ravel(), found.astype(np.float64).ravel()
        difference = np.abs(left - right)
        norms = np.linalg.norm(left) * np.linalg.norm(right)
        cosine = float(left @ right / norms) if norms > 0 else float(np.array_equal(left, right))
        self.max_abs = max(self.max_abs, float(difference.max()))
        self.p99_abs = max(self.p99_abs, float(np.percentile(difference, 99)))
        self.mean_abs = (self.mean_abs * self.samples + float(difference.mean())) / (self.samples + 1)
        self.cosine = min(self.cosine, cosine)
        self.samples += 1


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Outcome of a comparison; passes only if every stage does, on at least one frame."""

    bundle: str
    checkpoint: str
    device: str
    precision: str
    frames: int
    stages: tuple[StageParity, ...]

    @property
    def passed(self) -> bool:
        """Whether all of it passed; a comparison of nothing has failed."""
        return self.frames > 0 and bool(self.stages) and all(stage.passed for stage in self.stages)

    @property
    def first_diverging(self) -> str | None:
        """Name of the first stage, in the order of a frame's path, that failed."""
        return next((stage.name for stage in self.stages if not stage.passed), None)

    def to_json(self) -> str:
        """Write everything as indented JSON."""
        extra = [{"passed": s.passed, "tolerance_needed": s.tolerance_needed} for s in self.stages]
        stages = [asdict(stage) | more for stage, more in zip(self.stages, extra, strict=True)]
        facts = {name: getattr(self, name) for name in ("bundle", "checkpoint", "device", "precision", "frames")}
        verdict = {"passed": self.passed, "first_diverging": self.first_diverging}
        return json.dumps(facts | verdict | {"stages": stages}, indent=2) + "\n"

    def table(self) -> Table:
        """Draw the report for a terminal."""
        title = (
            f"Parity of {self.bundle} ({self.device}, {self.precision}) with {self.checkpoint}: {self.frames} frames"
        )
        table = Table(title=title)
        for heading in ("stage", "max abs", "mean abs", "p99 abs", "cosine", "tolerance", "needed", ""):
            table.add_column(heading, justify="left" if heading in ("stage", "") else "right")
        for s in self.stages:
            needed = "none" if s.tolerance_needed is None else f"{s.tolerance_needed:.3g}"
            verdict = "[green]passed[/]" if s.passed else "[red]failed[/] " + ("; ".join(s.problems) or "too far")
            figures = (f"{s.max_abs:.3g}", f"{s.mean_abs:.3g}", f"{s.p99_abs:.3g}", f"{s.cosine:.7f}")
            table.add_row(s.name, *figures, f"{s.tolerance:.3g}", needed, verdict)
        return table

    def check(self) -> None:
        """Raise if the report has not passed.

        Raises
        ------
        ParityError
            Naming the first stage that differs.
        """
        if self.frames == 0:
            raise ParityError("Nothing was compared", expected="at least one frame", found="an empty input")
        if not self.passed:
            raise ParityError(
                "The exported network is not the trained one",
                expected="every stage within its tolerance",
                found=f"first difference at stage {self.first_diverging!r}",
                todo="Compare the preprocessing in the manifest with the training's, and export again",
            )


def compare(
    bundle: Bundle, checkpoint: Checkpoint, frames: Iterable[Frame], *,
    device: str = "cpu", precision: str = "fp32", checkpoint_name: str = "checkpoint",
) -> ParityReport:  # fmt: skip
    """Run every frame through the trained network and through the bundle, and compare stage by stage.

    Raises
    ------
    UsageError
        If bundle and checkpoint are of different tasks, or the task has no reference.
    """
    task_name = bundle.manifest.task
    if checkpoint.task != task_name or task_name not in REFERENCES:
        raise UsageError(
            "Bundle and checkpoint cannot be compared",
            expected=f"a checkpoint of task {task_name!r}, one of {', '.join(REFERENCES)}",
            found=checkpoint.task,
        )
    reference: Reference = REFERENCES[task_name](checkpoint, dict(bundle.manifest.settings))
    roles = bundle.manifest.graphs
    sessions = {
        role: RecordingSession(open_session(bundle, role, device=device, precision=precision)) for role in roles
    }
    task = build_task(bundle.manifest, sessions)
    stages = {name: StageParity(name, tolerance) for name, tolerance in reference.tolerances.items()}
    count = 0
    try:
        for frame in frames:
            count += 1
            expected, found = reference.stages(frame.pixels), _exported_stages(task, sessions, frame)
            for name, stage in stages.items():
                stage.add(expected.get(name), found.get(name))
    finally:
        task.close()
    in_use = next(iter(sessions.values())).device
    return ParityReport(bundle.manifest.name, checkpoint_name, in_use, precision, count, tuple(stages.values()))


def _exported_stages(task: Task, sessions: Mapping[str, RecordingSession], frame: Frame) -> Stages:
    """Run one frame, free of memory of earlier ones, through the runtime's task, and collect what passed."""
    task.reset()
    for session in sessions.values():
        session.forget()
    feeds, placement = task.preprocess(frame)
    result = task.postprocess(task.infer(feeds), placement)
    stages = {f"{role}.{name}": value for role, session in sessions.items() for name, value in session.seen.items()}
    if isinstance(result, Picture):
        stages["picture"] = result.pixels
    elif isinstance(result, People):
        stages["people"] = result.as_array()
    return stages


def _problem(expected: NDArray[Any] | None, found: NDArray[Any] | None) -> str:
    """Say what keeps two stages from being compared, or nothing."""
    if expected is None or found is None:
        return "missing in the trained network" if expected is None else "missing in the bundle"
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return f"{found.dtype} {list(found.shape)} instead of {expected.dtype} {list(expected.shape)}"
    if expected.size == 0:
        return "empty"
    return "" if np.isfinite(expected).all() and np.isfinite(found).all() else "not finite"
