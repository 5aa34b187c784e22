"""Which precision runs here: measured once a device, remembered, explained.

Owns `--precision auto`: what may be chosen at all (a precision that was judged by the task), the measurement, and
the memory of it in the user's cache folder. What the memory says is only ever a name of a precision and figures; a
damaged one is measured again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..bundle.manifest import PRECISIONS
from ..cache import cache_folder
from ..errors import BundleError, DeviceError, ShapeMismatch, SinkError
from ..files import write_whole
from .registry import open_session, processors, resolve_device
from .session import Session, Tensors

SCHEMA = 1
FASTER = 0.9  # a cheaper precision must take less than this share of the time of a more exact one
_ENGINES = ("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx")
_WARM_UP, _LEAST_RUNS, _MOST_RUNS, _LONGEST_S = 3, 5, 30, 3.0
_MAX_BYTES = 1 << 16

Progress = Callable[[str], None]
Workload = Callable[[Mapping[str, Session]], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A precision for a device, and why it is this one.

    Parameters
    ----------
    precision : chosen
    device : in use when it was measured
    reasons : precision -> one line, for every one that the bundle has
    median_ms : precision -> median time of the network on one frame; empty where there was nothing to choose from
    quartiles_ms : precision -> (25 %, 75 %) of the same runs
    runs : of each precision, in turn
    measured_on : date, as ``2026-01-31``
    """

    precision: str
    device: str
    reasons: Mapping[str, str]
    median_ms: Mapping[str, float] = field(default_factory=dict)
    quartiles_ms: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    runs: int = 0
    measured_on: str = ""


def auto_precision(
    bundle: Bundle, device: str = "auto", *, workload: Workload, progress: Progress | None = None, again: bool = False
) -> Choice:
    """Choose a precision for a device: remembered, or measured now.

    Parameters
    ----------
    bundle : with one or more precisions
    device : requested
    workload : runs the bundle's task on some frames with given sessions, and returns how many frames
    progress : called with one line when measuring begins, because it takes seconds
    again : measure even if it is remembered

    Raises
    ------
    BundleError
        If the bundle has no precision that all its graphs have, or a graph is damaged.
    DeviceError
        If the device is not available.
    """
    device = resolve_device(device)
    have = sorted(bundle.precisions(), key=PRECISIONS.index)
    if not have:
        raise BundleError(f"Bundle {bundle.manifest.name!r} has no precision that every graph has")
    unmeasured = [name for name in have[1:] if name not in bundle.manifest.parity]
    reasons = dict.fromkeys(unmeasured, "no quality measurement is stored for this precision")
    candidates = [name for name in have if name not in reasons]
    if len(candidates) == 1:
        reasons[have[0]] = "the only one" if len(have) == 1 else "the only one that may be chosen"
        return Choice(precision=have[0], device=device, reasons=reasons)
    remembered = None if again else recall(bundle, device)
    if remembered is not None:
        return remembered
    if progress is not None:
        progress(f"measuring once which precision is fastest here: {', '.join(candidates)}")
    choice = _measure(bundle, device, candidates, reasons, workload)
    _remember(_path(bundle, device), choice)
    return choice


def recall(bundle: Bundle, device: str = "auto") -> Choice | None:
    """Read what was measured earlier for the same graphs, libraries and processor, if anything was."""
    path = _path(bundle, resolve_device(device))
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        return _choice_of(json.loads(path.read_text(encoding="utf-8")), bundle)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None  # absent or damaged: both are put right by measuring


def decide(median_ms: Mapping[str, float]) -> tuple[str, dict[str, str]]:
    """Choose by times: a cheaper precision only where it is clearly faster than the more exact ones.

    Parameters
    ----------
    median_ms : precision -> milliseconds, most exact first

    Returns
    -------
    the precision, and a reason for each

    Examples
    --------
    >>> decide({"fp32": 10.0, "fp16": 12.0, "int8": 4.0})[0]
    'int8'
    >>> decide({"fp32": 10.0, "int8": 9.5})[1]["int8"]
    'not clearly faster than fp32: 1.05 times as fast'
    """
    names = list(median_ms)
    chosen = names[0]
    reasons = {}
    for name in names[1:]:
        if median_ms[name] < FASTER * median_ms[chosen]:
            reasons[chosen] = f"{name} is faster"
            chosen = name
        else:
            reasons[name] = (
                f"not clearly faster than {chosen}: {median_ms[chosen] / median_ms[name]:.2f} times as fast"
            )
    reasons[chosen] = f"chosen, {median_ms[names[0]] / median_ms[chosen]:.2f} times as fast as {names[0]}"
    return chosen, reasons


def _measure(
    bundle: Bundle, device: str, candidates: list[str], reasons: Mapping[str, str], workload: Workload
) -> Choice:
    """Run every candidate on the same feeds, in turn, so that what else the machine does meets all alike."""
    said = dict(reasons)
    sessions: dict[str, dict[str, Session]] = {}
    with contextlib.ExitStack() as stack:
        for name in candidates:
            try:
                sessions[name] = _open(bundle, device, name, stack)
                if name == candidates[0]:
                    loads = _loads(workload, sessions[name])
                for load in loads:
                    for _ in range(_WARM_UP):
                        sessions[name][load.role].run(load.feeds)
            except (BundleError, DeviceError, ShapeMismatch) as error:
                if name == candidates[0]:
                    raise
                sessions.pop(name, None)
                said[name] = f"does not run here: {str(error)[:200]}"
        in_use = sorted({session.device for session in sessions[candidates[0]].values()})
        spent = _times(sessions, loads)
    quartiles = {name: np.percentile(times, (25, 50, 75)) for name, times in spent.items()}
    medians = {name: round(float(three[1]), 4) for name, three in quartiles.items()}
    chosen, why = decide(medians)
    return Choice(
        precision=chosen, device=", ".join(in_use), reasons=said | why, median_ms=medians,
        quartiles_ms={name: (round(float(q[0]), 4), round(float(q[2]), 4)) for name, q in quartiles.items()},
        runs=len(spent[chosen]), measured_on=time.strftime("%Y-%m-%d"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Load:
    """What one graph is fed with, and how often a frame needs it."""

    role: str
    feeds: Tensors
    runs_per_frame: float


class _Counting:
    """A session that keeps its first feeds and counts its runs."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.device, self.inputs, self.outputs = session.device, session.inputs, session.outputs
        self.first: Tensors | None = None
        self.runs = 0

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run and count."""
        self.runs += 1
        self.first = self.first or dict(feeds)
        return self._session.run(feeds)

    def close(self) -> None:
        """Leave the session open; it is another's."""


def _loads(workload: Workload, sessions: Mapping[str, Session]) -> list[_Load]:
    """Watch a task at work on a few frames.

    One precision is watched and all are timed on what it did, because one that sees more people has more to do.
    """
    watched = {role: _Counting(session) for role, session in sessions.items()}
    frames = workload(watched)
    return [_Load(role, one.first, one.runs / frames) for role, one in watched.items() if one.first is not None]


def _times(sessions: Mapping[str, Mapping[str, Session]], loads: list[_Load]) -> dict[str, list[float]]:
    """Milliseconds a frame, of every round."""
    spent: dict[str, list[float]] = {name: [] for name in sessions}
    begin = time.perf_counter()
    for turn in range(_MOST_RUNS):
        for name, roles in sessions.items():
            total = 0.0
            for load in loads:
                before = time.perf_counter()
                roles[load.role].run(load.feeds)
                total += (time.perf_counter() - before) * load.runs_per_frame
            spent[name].append(total * 1000)
        if turn + 1 >= _LEAST_RUNS and time.perf_counter() - begin > _LONGEST_S:
            break
    return spent


def _open(bundle: Bundle, device: str, precision: str, stack: contextlib.ExitStack) -> dict[str, Session]:
    """Open every graph in one precision."""
    sessions = {}
    for role in bundle.manifest.graphs:
        sessions[role] = open_session(bundle, role, device=device, precision=precision)
        stack.callback(sessions[role].close)
    return sessions


def _path(bundle: Bundle, device: str) -> Path:
    """File of the memory for these graphs on this machine."""
    graphs = bundle.manifest.graphs
    hashes = {role: {name: file.sha256 for name, file in graph.files.items()} for role, graph in graphs.items()}
    judged = sorted(set(PRECISIONS) & set(bundle.manifest.parity))
    facts = json.dumps([SCHEMA, hashes, judged, device, machine()], sort_keys=True)
    return (
        cache_folder("precision") / f"{bundle.manifest.name}-{hashlib.sha256(facts.encode()).hexdigest()[:24]}.json"
    )


def machine() -> dict[str, Any]:
    """Name what a time depends on: processor, cores that may be used, GPU and its driver, versions of the engines."""
    versions = {}
    for name in _ENGINES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    gpu = [_text(Path("/proc/driver/nvidia/version"))]
    gpu += [_text(path) for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))]
    return {"processor": _processor(), "cores": processors(), "gpu": gpu, "versions": versions}


def _processor() -> str:
    """Model of the processor; `platform.processor` is empty on most Linux systems."""
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _text(path: Path) -> str:
    """Content of a file of the system, or nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _remember(path: Path, choice: Choice) -> None:
    """Write a choice; where the cache cannot be written, the next run measures again, and nothing else is lost."""
    with contextlib.suppress(OSError, SinkError):
        for folder in (*reversed(path.parent.parents), path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        write_whole(path, json.dumps({"schema": SCHEMA, **asdict(choice)}, indent=1).encode() + b"\n")


def _choice_of(data: dict[str, Any], bundle: Bundle) -> Choice:
    """Build a choice from JSON; what does not fit raises ValueError, TypeError or KeyError."""
    medians = {str(name): float(value) for name, value in data["median_ms"].items()}
    choice = Choice(
        precision=data["precision"],
        device=str(data["device"]),
        reasons={str(name): str(reason) for name, reason in data["reasons"].items()},
        median_ms=medians,
        quartiles_ms={str(name): (float(low), float(high)) for name, (low, high) in data["quartiles_ms"].items()},
        runs=int(data["runs"]),
        measured_on=str(data["measured_on"]),
    )
    known = choice.precision in medians and set(medians) == set(choice.quartiles_ms)
    known = known and set(choice.reasons) == set(bundle.precisions())
    if data["schema"] != SCHEMA or not known or not all(0 < value < np.inf for value in medians.values()):
        raise ValueError("not a choice of precision")
    return choice
