"""A cheaper precision for a bundle: made, measured with the quality metric, and added to the manifest.

Owns the search for the nodes that must stay in fp32, over conversions (`conversion`), their order (`sensitivity`) and
the judgement (`judging`). Needs onnx and ONNX Runtime; never PyTorch, so that a bundle can be calibrated where it
runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.bundle.bundle import MANIFEST_FILE, Bundle
from ..runtime.bundle.folder import replace_folder
from ..runtime.bundle.manifest import GraphFile, Manifest
from ..runtime.errors import CalibrationError
from .conversion import GraphConversion, all_finite
from .diversity import Selection
from .judging import Judge, judgeable_frames, judging_devices
from .quality import QualityMetric, quality_metric_of
from .recipe import QuantRecipe, recipes_as_json
from .sensitivity import fewest_kept, worst_first

_LEAST = 4  # frames
_JUDGED = 2  # every other frame that says something judges and does not calibrate: one lost person must count
Progress = Callable[[str], None]


def _silent(line: str) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One precision of a bundle, and how good it is.

    Parameters
    ----------
    precision : ``fp16`` or ``int8``
    contents : role -> bytes of its ONNX file
    measure, value, limit : the quality metric on frames that were not used for calibration, and its limit
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


def make_precision(
    bundle: Bundle, selection: Selection, precision: str, *, method: str = "percentile",
    metric: QualityMetric | None = None, progress: Progress = _silent,
) -> Outcome:  # fmt: skip
    """Make one precision of every graph of a bundle, as much of it as the task allows.

    Parameters
    ----------
    bundle : with fp32 graphs
    selection : real frames; every other one with a value measures the quality, the rest calibrates
    precision : ``fp16`` or ``int8``
    method : of the ranges of int8: ``minmax``, ``percentile`` or ``entropy``
    metric : quality metric that replaces the task's
    progress : called with what is being done, one line at a time

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
    metric = metric or quality_metric_of(bundle.manifest.task)
    devices = judging_devices()
    judged = judgeable_frames(bundle, selection.frames, metric)[::_JUDGED]
    judge = Judge(bundle, judged, devices, metric=metric)
    seen = [frame for frame in selection.frames if all(frame is not other for other in judged)]
    progress(f"{precision}: ranges of {len(seen)} frames")
    conversions = {role: GraphConversion(bundle, role, precision, seen, method) for role in bundle.manifest.graphs}
    search = _Search(conversions, judge, precision, devices, progress)
    kept = search.fewest()
    found = search.measure(kept)
    recipes = _recipes(bundle, conversions, kept, selection, method) if precision == "int8" else {}
    return Outcome(
        precision=precision, contents=search.contents(kept), measure=metric.measure, value=found.value,
        limit=metric.limit[precision], frames=found.frames, kept=tuple(kept), devices=devices, recipes=recipes,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Found:
    """Mean of the metric on the worst device, over how many frames, and which device that is."""

    value: float
    frames: int
    device: str


class _Search:
    """Finds how few nodes must stay in fp32 for the task to hold, and remembers what it has measured."""

    def __init__(
        self, conversions: Mapping[str, GraphConversion], judge: Judge, precision: str, devices: Sequence[str],
        progress: Progress,
    ) -> None:  # fmt: skip
        self._conversions, self._judge, self._progress = conversions, judge, progress
        self._precision, self._devices = precision, devices
        self._nodes = [f"{role}/{node}" for role, one in conversions.items() for node in one.candidates]
        self._measured: dict[int, _Found] = {}

    def fewest(self) -> list[str]:
        """Name what must stay, as ``role/node``.

        Raises
        ------
        CalibrationError
            If that is every node.
        """
        if self._holds([]):
            return []
        plain = self._measured[0]
        self._progress(f"{self._precision}: ranking {len(self._nodes)} nodes on {plain.device}")
        ranked = worst_first(self._nodes, lambda node: _damage(self._conversions, node, plain.device))
        kept = fewest_kept(ranked, self._holds)
        if self._nodes and len(kept) == len(self._nodes):
            metric = self._judge.metric
            raise CalibrationError(
                f"{self._precision} is not good enough on any node",
                expected=f"{metric.measure} of {metric.limit[self._precision]}",
                found=f"{plain.value:.3g} with every node changed",
            )
        return kept

    def contents(self, kept: Sequence[str]) -> dict[str, bytes]:
        """Convert every graph with these nodes kept."""
        return {role: one.make(_of_role(kept, role)) for role, one in self._conversions.items()}

    def measure(self, kept: Sequence[str]) -> _Found:
        """Convert and judge, once; NaN where an output of a graph is not finite."""
        if len(kept) not in self._measured:  # `kept` grows along one order, so that its length says which it is
            contents = self.contents(kept)
            value, frames, device = self._judge.value(contents)
            if not all_finite(self._conversions, contents, self._devices):
                value = float("nan")
            self._measured[len(kept)] = _Found(value, frames, device)
            self._progress(f"{self._precision}: {len(kept)} of {len(self._nodes)} in fp32: {value:.3g}")
        return self._measured[len(kept)]

    def _holds(self, kept: Sequence[str]) -> bool:
        """Whether the task holds, with room to spare for other frames."""
        return self._judge.metric.holds(self.measure(kept).value, self._precision, with_reserve=True)


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


def _damage(conversions: Mapping[str, GraphConversion], node: str, device: str) -> float:
    """Relative error of a graph's outputs when this one node, ``role/node``, is changed."""
    role, name = node.split("/", 1)
    return conversions[role].damage(name, device)


def _of_role(kept: Sequence[str], role: str) -> list[str]:
    """Names of the nodes of one graph."""
    return [node.split("/", 1)[1] for node in kept if node.split("/", 1)[0] == role]


def _recipes(
    bundle: Bundle, conversions: Mapping[str, GraphConversion], kept: Sequence[str], selection: Selection, method: str
) -> dict[str, QuantRecipe]:
    """How every graph was made; a graph in which nothing can be quantized has no recipe."""
    return {
        role: QuantRecipe(
            model_sha256=bundle.manifest.graphs[role].files["fp32"].sha256, method=method,
            frames=selection.hashes, ranges=one.ranges, kept_fp32=tuple(_of_role(kept, role)),
        )
        for role, one in conversions.items() if one.candidates
    }  # fmt: skip
