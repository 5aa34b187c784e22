"""Is the exported network the trained one? Pixels in, result out, both ways, on the same real frames.

Owns the comparison. The trained side is a `Reference`: the one that its task's models room provides, or
`ModuleReference` for any module. The exported side is the runtime's own task, with sessions that record what passes
through them, once for every device and precision.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...calibration.frames import takes_of
from ...calibration.quality import QualityMetric, quality_metric_of
from ...calibration.recording import RecordingSession, processor_of
from ...models.checkpoint import Checkpoint
from ...runtime.bundle.bundle import Bundle
from ...runtime.engines.registry import open_session
from ...runtime.errors import UsageError
from ...runtime.frame import Frame
from ...runtime.processor import Processor
from ...runtime.tasks.custom import NamedArrays
from ...runtime.tasks.registry import build_task, task_descriptor
from .causes import likely_cause
from .diverging import first_diverging_node
from .report import ParityReport, StageParity, TaskParity

Stages = dict[str, NDArray[Any]]
Selected = Mapping[str, tuple[str, Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]]]


class Reference(Protocol):
    """A trained network with the training side's own pre- and postprocessing.

    `tolerances` names every stage that must be there, in the order in which a frame passes them; None leaves a stage
    to the task's measure. `exact` names those that depend on the frame alone and must be the same in every precision.
    `result` is the last image's. `reset` forgets the images before; where nothing is remembered, it does nothing.

    A reference may have `selected`: stage -> the stage that it is a part of, and a function that takes the expected
    array and one of both, and gives that part. Frames where the part is empty are not compared.
    """

    tolerances: Mapping[str, float | None]
    exact: Sequence[str]
    result: Any

    def stages(self, pixels: NDArray[np.uint8]) -> Stages:
        """Run one image, (H, W, 3) BGR, and give every stage."""

    def reset(self) -> None:
        """Forget the images before: the next one is the first of its take."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where an exported network runs.

    Examples
    --------
    >>> Target("openvino-bf16", "fp32").judged_as
    'fp16'
    """

    device: str = "cpu"
    precision: str = "fp32"

    @property
    def judged_as(self) -> str:
        """Precision whose limits hold: arithmetic with 8 bits of mantissa is no fp32, whatever the file says."""
        return "fp16" if self.device.endswith("-bf16") and self.precision == "fp32" else self.precision


def reference_of(bundle: Bundle, checkpoint: Checkpoint) -> Reference:
    """Build the trained side of a bundle of ours.

    Raises
    ------
    UsageError
        If bundle and checkpoint are of different tasks, or the task has no reference.
    """
    task_name = bundle.manifest.task
    named = task_descriptor(task_name).reference
    if checkpoint.task != task_name or not named:
        raise UsageError(
            "Bundle and checkpoint cannot be compared",
            expected=f"a checkpoint of task {task_name!r}" if named else "a task whose descriptor names a reference",
            found=checkpoint.task,
        )
    module, _, attribute = named.partition(":")
    reference: Reference = getattr(importlib.import_module(module), attribute)(
        checkpoint, dict(bundle.manifest.settings)
    )
    return reference


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
    reference = reference_of(bundle, checkpoint)
    return compare_all(bundle, reference, frames, [Target(device, precision)], name=checkpoint_name)[0]


def compare_all(
    bundle: Bundle, reference: Reference, frames: Iterable[Frame], targets: Sequence[Target], *,
    name: str = "the trained network", tolerances: Mapping[str, float] | None = None,
    metric: QualityMetric | None = None,
) -> list[ParityReport]:  # fmt: skip
    """Compare a bundle on every device and precision with one run of the trained network.

    Parameters
    ----------
    bundle : exported
    reference : trained
    frames : real ones. Where an output is fed back, frames that follow each other are run as one take, and a frame
        that stands alone is run twice
    targets : where the bundle runs
    name : of the trained side, for the report
    tolerances : stage -> tolerance that replaces the reference's; also where a precision has none
    metric : measure that replaces the task's

    Returns
    -------
    one report a target, in their order

    Raises
    ------
    UsageError
        If a tolerance is given for a stage that there is not.
    BundleError, DeviceError
        If a precision or a device is not available.
    """
    given = dict(tolerances or {})
    metric = metric or quality_metric_of(bundle.manifest.task)
    unknown = sorted(set(given) - set(reference.tolerances))
    if unknown:
        raise UsageError("There is no such stage", found=", ".join(unknown), available=reference.tolerances)
    count = 0
    with contextlib.ExitStack() as stack:
        lanes = [_Lane.open(bundle, reference, target, (given, metric), stack) for target in targets]
        for take in takes_of(frames) if bundle.manifest.state else ([frame] for frame in frames):
            for one in (reference, *lanes):
                one.reset()
            for frame in take:
                count += 1
                expected = reference.stages(frame.pixels)
                for lane in lanes:
                    lane.add(expected, reference.result, frame)
        return [lane.report(bundle, name, count, reference) for lane in lanes]


@dataclass(slots=True)
class _Lane:
    """One target's task, and what has been seen of it."""

    target: Target
    processor: Processor
    remembers: bool
    sessions: Mapping[str, RecordingSession]
    stages: dict[str, StageParity]
    selected: Selected
    metric: QualityMetric | None
    judged: TaskParity | None
    failing_feeds: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(
        cls, bundle: Bundle, reference: Reference, target: Target,
        wanted: tuple[Mapping[str, float], QualityMetric | None], stack: contextlib.ExitStack,
    ) -> _Lane:  # fmt: skip
        """Load the bundle on a target; `wanted` is the tolerances that were given, and the measure."""
        given, metric = wanted
        sessions = {}
        for role in bundle.manifest.graphs:
            opened = open_session(bundle, role, device=target.device, precision=target.precision)
            stack.callback(opened.close)
            sessions[role] = RecordingSession(opened)
        judged_as = target.judged_as
        selected: Selected = getattr(reference, "selected", {})
        stages = {
            stage: StageParity(
                stage,
                given.get(stage, value if judged_as == "fp32" or stage in reference.exact else None),
                optional=stage in selected,
            )
            for stage, value in reference.tolerances.items()
        }
        judged = None
        if metric is not None and judged_as not in metric.limit:
            raise UsageError(f"The measure {metric.measure!r} has no limit for {judged_as}", available=metric.limit)
        if metric is not None:
            judged = TaskParity(
                metric.measure, metric.limit[judged_as], metric.higher_is_better, judges=judged_as != "fp32"
            )
        processor = processor_of(bundle.manifest, build_task(bundle.manifest, sessions))
        stack.callback(processor.close)
        return cls(target, processor, bool(bundle.manifest.state), sessions, stages, selected, metric, judged)

    def reset(self) -> None:
        """Forget the frames before."""
        self.processor.reset()

    def add(self, expected: Stages, expected_result: Any, frame: Frame) -> None:
        """Take one frame through the runtime's task, and compare what passed."""
        for session in self.sessions.values():
            session.forget()
        # As the reference gets it: an image of its own, unless the network remembers the one before.
        (made,) = self.processor.process(replace(frame, image=frame.pixels, independent=not self.remembers))
        result = made.output
        found: Stages = {
            f"{role}.{name}": value for role, session in self.sessions.items() for name, value in session.seen.items()
        }
        found |= result_stages(result)
        for name, stage in self.stages.items():
            if name in self.selected:
                self._add_part(stage, expected, found)
            else:
                stage.add(expected.get(name), found.get(name))
        if self.metric is not None and self.judged is not None:
            value = self.metric.of(expected_result, result)
            if value is not None:
                self.judged.values.append(value)
        failed = not all(stage.passed for stage in self.stages.values())
        if not self.failing_feeds or (failed and not self.failing_feeds.get("failed")):
            runs = {role: session.runs[-1] for role, session in self.sessions.items() if session.runs}
            self.failing_feeds = {"failed": failed, "runs": runs, "pixels": frame.pixels, "found": found}

    def _add_part(self, stage: StageParity, expected: Stages, found: Stages) -> None:
        """Compare a part of a stage, where both have it in one shape; the whole stage tells where they do not."""
        whole, select = self.selected[stage.name]
        ours, theirs = expected.get(whole), found.get(whole)
        if ours is not None and theirs is not None and ours.shape == theirs.shape:
            part = select(ours, ours)
            if part.size:
                stage.add(part, select(ours, theirs))
                return
        stage.frames += 1

    def report(self, bundle: Bundle, name: str, frames: int, reference: Reference) -> ParityReport:
        """Sum up and, where it failed, look for the node."""
        in_use = ", ".join(sorted({session.device for session in self.sessions.values()}))
        stages = tuple(self.stages.values())
        report = ParityReport(bundle.manifest.name, name, in_use, self.target.precision, frames, stages, self.judged)
        if frames == 0 or report.passed:
            return report
        node = self._node(bundle, report.first_diverging or "")
        cause = self._cause(reference) if node is None else None
        return replace(report, node=node, cause=cause)

    def _cause(self, reference: Reference) -> str | None:
        """Try the usual mistakes, where a frame stands for itself and the trained side's tolerances hold."""
        if self.remembers or self.target.judged_as != "fp32" or not self.failing_feeds.get("failed"):
            return None
        tolerances = {
            name: stage.tolerance for name, stage in self.stages.items() if name not in self.selected
        }  # fmt: skip
        return likely_cause(reference, self.failing_feeds["pixels"], self.failing_feeds["found"], tolerances)

    def _node(self, bundle: Bundle, stage: str) -> str | None:
        """Find the first node that differs from the written fp32 graph, in the failing stage's graph or in any."""
        runs = self.failing_feeds.get("runs", {})
        role = stage.split(".", 1)[0]
        roles = [role] if role in runs else list(runs)
        for one in roles:
            found = first_diverging_node(
                bundle, one, runs[one], device=self.target.device, precision=self.target.precision
            )
            if found is not None:
                return str(found)
        return None


def result_stages(result: Any) -> Stages:
    """Turn a task's result into arrays that compare, `image` or `people`; values are the graph's own outputs."""
    if hasattr(result, "as_array"):
        return {"people": result.as_array()}
    return {} if isinstance(result, NamedArrays) else {"image": result.pixels}
