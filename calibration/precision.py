"""A cheaper precision for a bundle: made, judged by the task, and added to the manifest.

Owns the loop around conversion (`half`, `int8`), search (`calibration.sensitivity`) and judgement
(`calibration.quality`). Needs onnx and ONNX Runtime; never PyTorch, so that a bundle can be calibrated where it runs.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ..export.folder import replace_folder
from ..runtime.bundle.bundle import MANIFEST_FILE, Bundle
from ..runtime.bundle.manifest import GraphFile, Manifest
from ..runtime.engines.probe import probe
from ..runtime.engines.registry import load_session, open_sessions
from ..runtime.errors import CalibrationError
from ..runtime.frame import Frame
from ..runtime.tasks.registry import build_task
from .activation_ranges import refuse_not_finite, scan
from .diversity import Selection
from .half import half_candidates, to_half
from .int8 import collect_ranges, quantizable, to_int8
from .prepare import prepared
from .quality import QualityMetric, quality_metric_of
from .recipe import QuantRecipe, recipes_as_json
from .recording import Arrays, recorded_feeds, results_of
from .sensitivity import fewest_kept, worst_first

_LEAST = 4  # frames
_JUDGED = 2  # every other frame that says something judges and does not calibrate: one lost person must count
_PROBES = 2  # frames on which the nodes are ranked
Report = Callable[[str], None]


def _silent(line: str) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One precision of a bundle, and how good it is.

    Parameters
    ----------
    precision : ``fp16`` or ``int8``
    contents : role -> bytes of its ONNX file
    measure, value, limit : the task's measure on frames that calibrated nothing, and what it had to reach
    frames : on which `value` is the mean
    kept : ``role/node`` of what stayed in fp32 so that the task holds
    devices : on which it was measured; `value` is the worst one's
    recipes : role -> how it was made; int8 only
    """

    precision: str
    contents: dict[str, bytes]
    measure: str
    value: float
    limit: float
    frames: int
    kept: tuple[str, ...]
    devices: tuple[str, ...]
    recipes: dict[str, QuantRecipe]


def judging_devices() -> tuple[str, ...]:
    """Engines of this machine that a precision must hold on: one file is for all of them."""
    return tuple(device for device in ("cpu", "openvino") if device == "cpu" or probe(device).works)


class Judge:
    """Measures a set of graphs by the task, against the bundle's own fp32, on frames kept for that.

    Parameters
    ----------
    bundle : with fp32 graphs
    frames : that did not calibrate; where an output is fed back, each is run twice, or with its neighbours
    devices : on which the graphs run; the worst counts
    metric : measure that replaces the task's
    """

    def __init__(
        self, bundle: Bundle, frames: Sequence[Frame], devices: Sequence[str] = ("cpu",), *,
        metric: QualityMetric | None = None,
    ) -> None:  # fmt: skip
        self._manifest, self._frames, self._devices = bundle.manifest, frames, devices
        self.metric: QualityMetric = metric or quality_metric_of(bundle.manifest.task)
        roles = bundle.manifest.graphs
        self._expected = self._results({role: bundle.graph_bytes(role, "fp32") for role in roles}, "cpu")

    def values(self, contents: dict[str, bytes], device: str) -> list[float]:
        """Measure every frame that says something.

        Raises
        ------
        CalibrationError
            If no frame does.
        """
        pairs = zip(self._expected, self._results(contents, device), strict=True)
        values = [value for left, right in pairs if (value := self.metric.of(left, right)) is not None]
        if not values:
            raise CalibrationError(
                "The frames show nothing that the task could be judged by",
                expected=f"frames for {self.metric.measure}",
            )
        return values

    def value(self, contents: dict[str, bytes]) -> tuple[float, int, str]:
        """Mean of the measure on the worst device, the number of frames that said something, and that device.

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

    def _results(self, contents: dict[str, bytes], device: str) -> list[Any]:
        graphs = self._manifest.graphs
        sessions = {
            role: load_session(content, graphs[role], device=device, name=role) for role, content in contents.items()
        }
        task = build_task(self._manifest, sessions, owned=True)
        try:
            return list(results_of(self._manifest, task, self._frames))
        finally:
            task.close()


def make_precision(
    bundle: Bundle, selection: Selection, precision: str, *, method: str = "percentile",
    metric: QualityMetric | None = None, report: Report = _silent,
) -> Outcome:  # fmt: skip
    """Make one precision of every graph of a bundle, as much of it as the task allows.

    Parameters
    ----------
    bundle : with fp32 graphs
    selection : real frames; every other of those that say something judges, the rest calibrates
    precision : ``fp16`` or ``int8``
    method : of the ranges of int8: ``minmax``, ``percentile`` or ``entropy``
    metric : measure that replaces the task's
    report : told what is being done, one line at a time

    Raises
    ------
    CalibrationError
        If there are fewer than 4 frames, the fp32 graphs themselves give NaN, or the task holds with no node changed
        only.
    """
    if len(selection.frames) < _LEAST:
        raise CalibrationError(
            "Too few different frames", expected=f"at least {_LEAST}", found=len(selection.frames),
            todo="Film something that changes, or name more images",
        )  # fmt: skip
    devices = judging_devices()
    judged = _telling(bundle, selection.frames, metric or quality_metric_of(bundle.manifest.task))[::_JUDGED]
    judge = Judge(bundle, judged, devices, metric=metric)
    seen = [frame for frame in selection.frames if all(frame is not other for other in judged)]
    report(f"{precision}: ranges of {len(seen)} frames")
    makers = {role: _Maker(bundle, role, precision, seen, method) for role in bundle.manifest.graphs}
    nodes = [f"{role}/{node}" for role, maker in makers.items() for node in maker.candidates]
    measured: dict[int, tuple[float, int, str]] = {}

    def contents(kept: Sequence[str]) -> dict[str, bytes]:
        return {role: maker.make(_of_role(kept, role)) for role, maker in makers.items()}

    def holds(kept: Sequence[str]) -> bool:
        if len(kept) not in measured:  # `kept` grows along one order, so that its length says which it is
            candidate = contents(kept)
            value, count, worst = judge.value(candidate)
            # A NaN may end as a black but finite image.
            measured[len(kept)] = (value if _finite(makers, candidate, devices) else float("nan"), count, worst)
            report(f"{precision}: {len(kept)} of {len(nodes)} in fp32: {measured[len(kept)][0]:.3g}")
        return judge.metric.holds(measured[len(kept)][0], precision, with_reserve=True)

    kept: list[str] = []
    if not holds(kept):
        worst = measured[0][2]
        report(f"{precision}: ranking {len(nodes)} nodes on {worst}")
        kept = fewest_kept(worst_first(nodes, lambda node: _damage(makers, node, worst)), holds)
    if nodes and len(kept) == len(nodes):
        raise CalibrationError(
            f"{precision} is not good enough on any node",
            expected=f"{judge.metric.measure} of {judge.metric.limit[precision]}",
            found=f"{measured[0][0]:.3g} with every node changed",
        )
    final = contents(kept)
    value, frames, _ = measured[len(kept)]
    return Outcome(
        precision=precision, contents=final, measure=judge.metric.measure, value=value,
        limit=judge.metric.limit[precision], frames=frames, kept=tuple(kept), devices=devices,
        recipes=_recipes(bundle, makers, kept, selection, method) if precision == "int8" else {},
    )  # fmt: skip


def add_to_bundle(bundle: Bundle, folder: Path, outcomes: Sequence[Outcome]) -> Bundle:
    """Write a bundle with more precisions; everything else that it holds stays.

    Parameters
    ----------
    bundle : to add to
    folder : where the result goes; may be the bundle's own
    outcomes : one a precision; one that is already there is replaced

    Raises
    ------
    BundleError
        If it cannot be written; then what was there stays.
    """
    files = {path.name: path.read_bytes() for path in bundle.folder.iterdir() if path.is_file()}
    graphs = dict(bundle.manifest.graphs)
    parity = dict(bundle.manifest.parity)
    for outcome in outcomes:
        for role, content in outcome.contents.items():
            name = f"{role}.{outcome.precision}.onnx"
            files[name] = content
            entry = GraphFile(name, hashlib.sha256(content).hexdigest())
            graphs[role] = dataclasses.replace(graphs[role], files={**graphs[role].files, outcome.precision: entry})
        parity[outcome.precision] = {
            "measure": outcome.measure, "mean": round(outcome.value, 4), "limit": outcome.limit,
            "frames": outcome.frames, "devices": list(outcome.devices), "kept_fp32": list(outcome.kept),
        }  # fmt: skip
        if outcome.recipes:
            files["recipe.json"] = recipes_as_json(outcome.recipes)
    manifest: Manifest = dataclasses.replace(bundle.manifest, graphs=graphs, parity=parity)
    files[MANIFEST_FILE] = manifest.to_json().encode()
    Manifest.from_json(json.dumps(json.loads(files[MANIFEST_FILE])))  # what is written must be readable
    replace_folder(folder, files)
    return Bundle.load(folder)


class _Maker:
    """One graph, its ranges on real frames, and its conversion with any nodes kept."""

    def __init__(self, bundle: Bundle, role: str, precision: str, frames: Sequence[Frame], method: str) -> None:
        self.plain = bundle.graph_bytes(role, "fp32")
        self.spec = bundle.manifest.graphs[role]
        self._half = precision == "fp16"
        self._model = prepared(onnx.load_from_string(self.plain))
        self.candidates = half_candidates(self._model) if self._half else quantizable(self._model)
        feeds = (one for fed in recorded_feeds(bundle, frames) for one in fed[role])
        self.probes: list[Arrays] = []
        feeds = self._remembered(feeds)
        if self._half:
            self._seen = scan(self._model, feeds)
            refuse_not_finite(self._seen, f"The fp32 graph {role!r}")
        else:
            self.ranges = collect_ranges(self._model, feeds, method) if self.candidates else {}

    def make(self, kept: Sequence[str]) -> bytes:
        """Convert with these nodes kept; where none is left, the fp32 file itself."""
        if self._half:
            return bytes(to_half(self._model, self._seen, keep=kept)[0].SerializeToString())
        if len(kept) == len(self.candidates):
            return self.plain
        return bytes(to_int8(self._model, self.ranges, keep=kept).SerializeToString())

    @functools.cached_property
    def expected(self) -> list[Arrays]:
        """What fp32 gives on the probes."""
        return self.outputs(self.plain)

    def outputs(self, content: bytes, device: str = "cpu") -> list[Arrays]:
        """Run a version of the graph on the probes."""
        session = load_session(content, self.spec, device=device)
        try:
            return [session.run(feeds) for feeds in self.probes]
        finally:
            session.close()

    def _remembered(self, feeds: Iterator[Arrays]) -> Iterator[Arrays]:
        """Pass feeds on, and keep the first few for ranking."""
        for one in feeds:
            if len(self.probes) < _PROBES:
                self.probes.append(one)
            yield one


def _telling(bundle: Bundle, frames: Sequence[Frame], metric: QualityMetric) -> list[Frame]:
    """Frames on which fp32 gives something that the task is judged by: of pose, those with people."""
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
            "The frames show nothing that the task could be judged by", expected=f"frames for {metric.measure}",
            todo="Name a clip or images of what the network is for",
        )  # fmt: skip
    return found


def _damage(makers: dict[str, _Maker], node: str, device: str = "cpu") -> float:
    """Relative error of a graph's outputs when this node alone is changed."""
    role, name = node.split("/", 1)
    maker = makers[role]
    content = maker.make([other for other in maker.candidates if other != name])
    errors = []
    for right, found in zip(maker.expected, maker.outputs(content, device), strict=True):
        for tensor, value in right.items():
            reference = value.astype(np.float64)
            size = float(np.sqrt(np.square(reference).mean())) or 1.0
            errors.append(float(np.sqrt(np.square(found[tensor] - reference).mean())) / size)
    return float(np.max(errors))  # NaN stays NaN


def _finite(makers: dict[str, _Maker], contents: dict[str, bytes], devices: Sequence[str]) -> bool:
    """Whether every output on the probes is a number."""
    runs = [run for role, maker in makers.items() for d in devices for run in maker.outputs(contents[role], d)]
    return all(bool(np.isfinite(value).all()) for run in runs for value in run.values())


def _of_role(kept: Sequence[str], role: str) -> list[str]:
    """Names of the nodes of one graph."""
    return [node.split("/", 1)[1] for node in kept if node.split("/", 1)[0] == role]


def _recipes(
    bundle: Bundle, makers: dict[str, _Maker], kept: Sequence[str], selection: Selection, method: str
) -> dict[str, QuantRecipe]:
    """How every graph was made; a graph in which nothing can be quantized has no recipe."""
    return {
        role: QuantRecipe(
            model_sha256=bundle.manifest.graphs[role].files["fp32"].sha256, method=method,
            frames=selection.hashes, ranges=maker.ranges, kept_fp32=tuple(_of_role(kept, role)),
        )
        for role, maker in makers.items() if maker.candidates
    }  # fmt: skip
