"""Whether the task still holds: graphs are run by the runtime on frames, and measured against fp32.

Owns `Judge`, the devices that it asks, and the choice of the frames that say something at all. Needs ONNX Runtime;
never PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..runtime.bundle.bundle import Bundle
from ..runtime.engines.probe import probe
from ..runtime.engines.registry import load_session, open_sessions
from ..runtime.engines.session import Session
from ..runtime.errors import CalibrationError
from ..runtime.frame import Frame
from ..runtime.tasks.registry import build_task
from .quality import QualityMetric, quality_metric_of
from .recording import results_of


def judging_devices() -> tuple[str, ...]:
    """Engines of this machine that a precision must hold on: one file is for all of them."""
    return tuple(device for device in ("cpu", "openvino") if device == "cpu" or probe(device).works)


def judgeable_frames(bundle: Bundle, frames: Sequence[Frame], metric: QualityMetric) -> list[Frame]:
    """Select the frames on which the quality metric has a value: for pose, those with people.

    Raises
    ------
    CalibrationError
        If there is none.
    """
    task = build_task(bundle.manifest, open_sessions(bundle, device="cpu"), owned=True)
    try:
        found = [
            frame for frame in frames
            if any(metric.of(one, one) is not None for one in results_of(bundle.manifest, task, [frame]))
        ]  # fmt: skip
    finally:
        task.close()
    if not found:
        raise CalibrationError(
            "The quality metric has a value on none of the frames", expected=f"frames for {metric.measure}",
            todo="Name a clip or images of what the network is for",
        )  # fmt: skip
    return found


class Judge:
    """Measures a set of graphs by the task, against the bundle's own fp32, on frames kept for that.

    Parameters
    ----------
    bundle : with fp32 graphs
    frames : that did not calibrate; where an output is fed back, each is run twice, or with its neighbours
    devices : on which the graphs run; the worst counts
    metric : quality metric that replaces the task's
    """

    def __init__(
        self, bundle: Bundle, frames: Sequence[Frame], devices: Sequence[str] = ("cpu",), *,
        metric: QualityMetric | None = None,
    ) -> None:  # fmt: skip
        self._manifest, self._frames, self._devices = bundle.manifest, frames, devices
        self.metric: QualityMetric = metric or quality_metric_of(bundle.manifest.task)
        roles = bundle.manifest.graphs
        self._expected = self._results({role: bundle.graph_bytes(role, "fp32") for role in roles}, "cpu")

    def values(self, contents: Mapping[str, bytes], device: str) -> list[float]:
        """Measure every frame on which the metric has a value.

        Raises
        ------
        CalibrationError
            If no frame does.
        """
        pairs = zip(self._expected, self._results(contents, device), strict=True)
        values = [value for left, right in pairs if (value := self.metric.of(left, right)) is not None]
        if not values:
            raise CalibrationError(
                "The quality metric has a value on none of the frames",
                expected=f"frames for {self.metric.measure}",
            )
        return values

    def value(self, contents: Mapping[str, bytes]) -> tuple[float, int, str]:
        """Compute the mean of the metric on the worst device, the number of frames, and that device.

        Raises
        ------
        CalibrationError
            If no frame did.
        """
        found = {device: self.values(contents, device) for device in self._devices}
        means = {device: float(np.mean(values)) for device, values in found.items()}
        sign = 1 if self.metric.higher_is_better else -1
        worst = min(means, key=lambda device: sign * means[device] if means[device] == means[device] else -np.inf)
        return means[worst], len(found[worst]), worst

    def _results(self, contents: Mapping[str, bytes], device: str) -> list[Any]:
        """Run all frames through the task with these graphs."""
        sessions: dict[str, Session] = {}
        try:
            for role, content in contents.items():
                graph = self._manifest.graphs[role]
                sessions[role] = load_session(content, graph, device=device, name=role)
            task = build_task(self._manifest, sessions)
            return list(results_of(self._manifest, task, self._frames))
        finally:
            for session in sessions.values():
                session.close()
