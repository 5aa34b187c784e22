"""What came of a comparison: stages, the task's own measure, the verdict, and its forms.

Owns the rules of passing (what is missing, not finite or not compared has failed) and the writing as a table, JSON,
Markdown and JUnit. Imports no network and no engine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from ...runtime.errors import ParityError

SCHEMA = 2
_TODO = "Compare the preprocessing in the manifest with the training's, and export again"
_COLUMNS = ("stage", "max abs", "mean abs", "p99 abs", "cosine", "tolerance", "needed", "")


@dataclass(slots=True)
class StageParity:
    """Differences of one stage over all frames.

    Parameters
    ----------
    name : graph and tensor, or the name of the result
    tolerance : largest absolute difference that passes; None where the stage is shown and the task's measure judges
    samples : frames compared
    max_abs, mean_abs, p99_abs : over all values of all frames (p99: the worst frame's)
    cosine : the worst frame's cosine similarity
    problems : reasons other than size: missing, another shape or type, not finite
    notes : what keeps a stage without tolerance from being compared, and is no failure: another number of people
    frames : taken in, compared or not
    failed_at : the first of them, counted from 0, after which the stage had not passed
    optional : frames may have nothing of it, such as joints that are sure
    """

    name: str
    tolerance: float | None
    samples: int = 0
    max_abs: float = 0.0
    mean_abs: float = 0.0
    p99_abs: float = 0.0
    cosine: float = 1.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    frames: int = 0
    failed_at: int | None = None
    optional: bool = False

    @property
    def passed(self) -> bool:
        """Whether the stage was compared and every value is within the tolerance."""
        if self.tolerance is None:
            return not self.problems and bool(self.samples or self.notes)
        if self.optional and not self.samples:
            return not self.problems
        return self.samples > 0 and not self.problems and self.max_abs <= self.tolerance

    @property
    def tolerance_needed(self) -> float | None:
        """Smallest tolerance that passes, or None where none would."""
        return None if self.problems or not self.samples else self.max_abs

    @property
    def verdict(self) -> str:
        """One or two words, and the reasons."""
        if self.passed:
            word = "passed" if self.samples else "nothing to compare"
            return "; ".join([word if self.tolerance is not None else "shown", *self.notes])
        return "; ".join(["failed", *(self.problems or ["too far" if self.samples else "never compared"])])

    def add(self, expected: NDArray[Any] | None, found: NDArray[Any] | None) -> None:
        """Add the arrays of one frame, any shape; None stands for an output that is missing."""
        self._compare(expected, found)
        if self.failed_at is None and not self.passed:
            self.failed_at = self.frames
        self.frames += 1

    def _compare(self, expected: NDArray[Any] | None, found: NDArray[Any] | None) -> None:
        """Compare one frame."""
        problem = _problem(expected, found)
        if problem:
            sizes = expected is not None and found is not None and expected.shape != found.shape
            reasons = self.notes if self.tolerance is None and sizes else self.problems
            if problem not in reasons:
                reasons.append(problem)
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


@dataclass(slots=True)
class TaskParity:
    """The task's own measure, PyTorch's result against the bundle's.

    Parameters
    ----------
    measure : name and unit
    limit : what the mean must reach
    higher_is_better : direction
    judges : it alone decides (fp16, int8); then no frame with a value is a failure
    values : of the frames that have one
    """

    measure: str
    limit: float
    higher_is_better: bool
    judges: bool
    values: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        """Mean over frames, or None without any."""
        return float(np.mean(self.values)) if self.values else None

    @property
    def worst(self) -> float | None:
        """The worst frame's value."""
        if not self.values:
            return None
        return min(self.values) if self.higher_is_better else max(self.values)

    @property
    def passed(self) -> bool:
        """Whether the mean holds; NaN never does."""
        if self.mean is None:
            return not self.judges
        return self.mean >= self.limit if self.higher_is_better else self.mean <= self.limit

    def facts(self) -> dict[str, Any]:
        """Give the figures for JSON."""
        return {
            "measure": self.measure, "mean": self.mean, "worst": self.worst, "limit": self.limit,
            "frames": len(self.values), "passed": self.passed,
        }  # fmt: skip

    def line(self) -> str:
        """Say it in one line."""
        if self.mean is None:
            return (
                f"{self.measure}: no frame shows anything to judge by ({'failed' if self.judges else 'not needed'})"
            )
        sign = ">=" if self.higher_is_better else "<="
        return (
            f"{self.measure}: mean {self.mean:.4g}, worst {self.worst:.4g} of {len(self.values)} frames, "
            f"must be {sign} {self.limit:g}: {'passed' if self.passed else 'failed'}"
        )


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Outcome of a comparison; passes only if every stage does, on at least one frame."""

    bundle: str
    checkpoint: str
    device: str
    precision: str
    frames: int
    stages: tuple[StageParity, ...]
    task: TaskParity | None = None
    node: str | None = None
    cause: str | None = None

    @property
    def passed(self) -> bool:
        """Whether all of it passed; a comparison of nothing has failed."""
        judged = self.task is None or self.task.passed
        return self.frames > 0 and bool(self.stages) and judged and all(stage.passed for stage in self.stages)

    @property
    def first_diverging(self) -> str | None:
        """Name of the stage that failed on the earliest frame; of several, the first on a frame's path."""
        failed = [stage for stage in self.stages if not stage.passed]
        if failed:
            return min(failed, key=lambda stage: stage.failed_at or 0).name  # of equals, min gives the first
        return self.task.measure if self.task is not None and not self.task.passed else None

    @property
    def title(self) -> str:
        """What was compared with what."""
        return (
            f"Parity of {self.bundle} ({self.device}, {self.precision}) with {self.checkpoint}: {self.frames} frames"
        )

    def facts(self) -> dict[str, Any]:
        """Everything, in what JSON knows."""
        extra = [{"passed": s.passed, "tolerance_needed": s.tolerance_needed} for s in self.stages]
        stages = [asdict(stage) | more for stage, more in zip(self.stages, extra, strict=True)]
        facts = {name: getattr(self, name) for name in ("bundle", "checkpoint", "device", "precision", "frames")}
        verdict = {"passed": self.passed, "first_diverging": self.first_diverging, "first_diverging_node": self.node,
                   "likely_cause": self.cause}  # fmt: skip
        return facts | verdict | {"task": None if self.task is None else self.task.facts(), "stages": stages}

    def to_json(self) -> str:
        """Write everything as indented JSON."""
        return json.dumps({"schema": SCHEMA, **self.facts()}, indent=2) + "\n"

    def table(self) -> Table:
        """Draw the report for a terminal."""
        table = Table(title=self.title, caption="\n".join(self._lines()) or None, caption_justify="left")
        for heading in _COLUMNS:
            table.add_column(heading, justify="left" if heading in ("stage", "") else "right")
        for stage in self.stages:
            color = "green" if stage.passed else "red"
            table.add_row(*_cells(stage), f"[{color}]{stage.verdict}[/]")
        return table

    def to_markdown(self) -> str:
        """Write the report as a Markdown section."""
        rows = [[*_cells(stage), stage.verdict] for stage in self.stages]
        lines = [f"## {self.title}: {'passed' if self.passed else 'FAILED'}", ""]
        lines += ["| " + " | ".join(row) + " |" for row in (_COLUMNS, ["---"] * len(_COLUMNS), *rows)]
        return "\n".join([*lines, "", *(f"{line}  " for line in self._lines())]).rstrip() + "\n"

    def check(self) -> None:
        """Raise if the report has not passed.

        Raises
        ------
        ParityError
            If a stage differs; it names the first one and, if found, the node.
        """
        if self.frames == 0:
            raise ParityError("Nothing was compared", expected="at least one frame", found="an empty input")
        if not self.passed:
            where = f" and node {self.node}" if self.node else ""
            todo = f"The likely cause: {self.cause}" if self.cause else _TODO
            raise ParityError(
                f"The exported network ({self.device}, {self.precision}) is not the trained one",
                expected="every stage within its tolerance",
                found=f"first difference at stage {self.first_diverging!r}{where}",
                todo=todo,
            )

    def _lines(self) -> list[str]:
        """Give what stands below the table."""
        lines = [] if self.task is None else [self.task.line()]
        if not self.passed:
            lines.append(f"first diverging stage: {self.first_diverging}")
        if self.cause:
            lines.append(f"likely cause: {self.cause}")
        return [*lines, f"first diverging node: {self.node}"] if self.node else lines


def reports_as_json(reports: Sequence[ParityReport]) -> str:
    """Write several reports as one JSON document."""
    passed = bool(reports) and all(report.passed for report in reports)
    runs = [report.facts() for report in reports]
    return json.dumps({"schema": SCHEMA, "passed": passed, "runs": runs}, indent=2) + "\n"


def reports_as_markdown(reports: Sequence[ParityReport]) -> str:
    """Write several reports as one Markdown page."""
    rows = [
        f"| {r.device} | {r.precision} | {'passed' if r.passed else 'FAILED'} | {r.first_diverging or ''} |"
        for r in reports
    ]
    head = ["# Parity", "", "| device | precision | | first diverging |", "| --- | --- | --- | --- |", *rows, ""]
    return "\n".join(head) + "\n" + "\n".join(report.to_markdown() for report in reports)


def reports_as_junit(reports: Sequence[ParityReport]) -> str:
    """Write several reports as JUnit XML: a suite each, a case a stage, and one for the task's measure."""
    root = ElementTree.Element("testsuites", name="parity")
    for report in reports:
        suite = ElementTree.SubElement(root, "testsuite", name=f"{report.bundle}.{report.device}.{report.precision}")
        cases = [(stage.name, stage.passed, stage.verdict) for stage in report.stages]
        if report.task is not None:
            cases.append((report.task.measure, report.task.passed, report.task.line()))
        if report.frames == 0:
            cases.append(("frames", False, "nothing was compared"))
        for name, passed, text in cases:
            case = ElementTree.SubElement(suite, "testcase", classname=suite.get("name", ""), name=name)
            if not passed:
                ElementTree.SubElement(case, "failure", message=text).text = report.node or text
        failures = sum(not passed for _, passed, _ in cases)
        suite.attrib.update(tests=str(len(cases)), failures=str(failures))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _cells(stage: StageParity) -> tuple[str, ...]:
    """Figures of a stage as text."""
    needed = "none" if stage.tolerance_needed is None else f"{stage.tolerance_needed:.3g}"
    tolerance = "-" if stage.tolerance is None else f"{stage.tolerance:.3g}"
    figures = (f"{stage.max_abs:.3g}", f"{stage.mean_abs:.3g}", f"{stage.p99_abs:.3g}", f"{stage.cosine:.7f}")
    return (stage.name, *figures, tolerance, needed)


def _problem(expected: NDArray[Any] | None, found: NDArray[Any] | None) -> str:
    """Say what keeps two stages from being compared, or nothing."""
    if expected is None or found is None:
        return "missing in the trained network" if expected is None else "missing in the bundle"
    if not (np.isfinite(expected).all() and np.isfinite(found).all()):
        return "not finite"
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return f"{found.dtype} {list(found.shape)} instead of {expected.dtype} {list(expected.shape)}"
    return "empty" if expected.size == 0 else ""
