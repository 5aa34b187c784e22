"""What a parity report found, kept in the bundle's manifest.

Owns `record`. The shipped bundles carry it, so that all can read what was compared, and how close it is.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from ...models.checkpoint import code_commit
from ...runtime.bundle.bundle import MANIFEST_FILE, Bundle
from ...runtime.errors import UsageError
from .report import ParityReport


def record(bundle: Bundle, reports: Sequence[ParityReport], source: str) -> Bundle:
    """Write reports into a bundle's manifest, in place of earlier ones, and give the bundle as it is now.

    Parameters
    ----------
    bundle : that was compared
    reports : one a device and precision, all of them passed
    source : what the frames were of

    Raises
    ------
    ParityError
        If a report has not passed: a bundle carries no record of a failure.
    UsageError
        If the manifest cannot be written.
    """
    for report in reports:
        report.check()
    runs = {f"{report.device}/{report.precision}": _facts(report) for report in reports}
    parity = {"compared_at_commit": code_commit(), "source": source, "runs": runs}
    manifest = dataclasses.replace(bundle.manifest, parity=parity)
    path = bundle.folder / MANIFEST_FILE
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(manifest.to_json(), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"The record cannot be written into {path} ({error.strerror})") from error
    return Bundle.load(bundle.folder)


def _facts(report: ParityReport) -> dict[str, Any]:
    """Keep what tells how close it was: largest differences and tolerances, and the task's measure."""
    stages = {
        stage.name: {"max_abs": float(f"{stage.max_abs:.3g}"), "tolerance": stage.tolerance}
        for stage in report.stages
        if stage.samples and stage.tolerance is not None
    }
    facts: dict[str, Any] = {"frames": report.frames, "stages": stages}
    if report.task is not None and report.task.mean is not None:
        facts["measure"] = {"name": report.task.measure, "mean": float(f"{report.task.mean:.4g}")}
    return facts
