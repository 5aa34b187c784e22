"""Get an engine for a graph: from the cache, or built now.

Owns the order of things (look, say why not, build, keep) and the line about it on stderr.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ...bundle.manifest import Graph
from ...errors import DeviceError
from ..cuda import Gpu
from ..shape_range import shape_ranges_of, shapes_text
from .cache import EngineCache, EngineKey
from .plan import build_plan, load_library, plan_version

_LINE_EVERY_S = 0.2
_PORTABLE = "8.0 and later"
# Expected time of a first build on this machine; later, the build times of the engines in the cache are used.
_FIRST_ESTIMATE = {"tensorrt": "one to thirty minutes", "tensorrt-rtx": "a few seconds"}
# What takes longer does not work, but hangs; a large network takes half an hour on the smallest board.
_LONGEST_S = {"tensorrt": 4 * 3600.0, "tensorrt-rtx": 1800.0}


@dataclass(frozen=True, slots=True)
class Target:
    """What engines are built for.

    Parameters
    ----------
    library : ``tensorrt`` or ``tensorrt-rtx``
    version : of the library
    compute_capability, driver : of the GPU; engines of TensorRT-RTX are portable, and depend on neither
    """

    library: str
    version: str
    compute_capability: str
    driver: str


@dataclass(frozen=True, slots=True)
class Built:
    """An engine, and where it comes from.

    Parameters
    ----------
    plan : what the library loads
    path : its file; None if it could not be kept
    reason : why it was built; empty if it came from the cache
    seconds : building took
    """

    plan: bytes
    path: Path | None
    reason: str = ""
    seconds: float = 0.0


def target_of(library: str, gpu: Gpu | None) -> Target:
    """Say what a library's engines are built for on this machine.

    Raises
    ------
    BackendNotInstalled
        If the library is not there.

    References
    ----------
    TensorRT-RTX compiles ahead of time for compute capability 8.0 and all later ones by default, and once
    more for the GPU at hand when the engine is loaded: its engines can be built on a machine without a GPU.
    """
    version = str(load_library(library).__version__)
    if library == "tensorrt-rtx":
        return Target(library, version, _PORTABLE, "any")
    here = gpu or Gpu("none", "none", "none")
    return Target(library, version, here.compute_capability, here.driver)


class EngineBuilder:
    """Finds and builds the engines of one target.

    Parameters
    ----------
    target : what for
    cache : where engines are kept
    quiet : say nothing on stderr
    """

    def __init__(self, target: Target, cache: EngineCache | None = None, *, quiet: bool = False) -> None:
        self.target = target
        self.cache = cache or EngineCache()
        self._quiet = quiet

    def key(self, content: bytes, graph: Graph) -> EngineKey:
        """Make the key of a graph's engine."""
        target, shapes = self.target, shapes_text(shape_ranges_of(graph))
        digest = hashlib.sha256(content).hexdigest()
        capability = target.compute_capability
        return EngineKey(digest, shapes, target.library, target.version, capability, target.driver)

    def obtain(self, content: bytes, graph: Graph, *, name: str, rebuild: str = "", must_keep: bool = False) -> Built:
        """Take an engine from the cache, or build it and keep it.

        Parameters
        ----------
        content : ONNX file, hash already checked
        graph : its entry in the manifest
        name : for messages and in the name of the file
        rebuild : why to build although there is one; empty to use what is there
        must_keep : an engine that cannot be written is an error, not only a message

        Raises
        ------
        BundleError
            If the graph cannot be built, or has axes of unknown length.
        DeviceError
            If the cache is not private, or the library builds only on a GPU that is not here.
        """
        key = self.key(content, graph)
        # Only for readers of the folder and the messages: the precision is in the graph, and so in its hash.
        name += "".join(f"/{precision}" for precision, file in graph.files.items() if file.sha256 == key.graph)
        found = self.cache.find(key, name)
        reason = rebuild or found.reason
        if not reason and found.plan is not None:
            reason = refusal(found.plan, self.target.version)
            if not reason:
                return Built(found.plan, self.cache.folder / key.file_name(name))
        started = time.monotonic()
        what = f"building the {key.library} engine of {name}"
        with _Line(self._quiet, what, reason, self._estimate(content)) as line:
            plan = build_plan(
                content, shape_ranges_of(graph), library=key.library, name=name, progress=line.progress,
                timeout_s=_LONGEST_S[key.library],
            )  # fmt: skip
            wrong = refusal(plan, self.target.version)
            if wrong:
                raise DeviceError(f"{key.library} built an engine of {name} that it would not load: {wrong}")
            seconds = time.monotonic() - started
            path, trouble = self._keep(key, name, plan, seconds, len(content), must_keep)
            line.end(f"built in {seconds:.1f} s, {len(plan) / 1e6:.1f} MB, {trouble or f'kept as {path}'}")
        return Built(plan, path, reason, seconds)

    def _keep(
        self, key: EngineKey, name: str, plan: bytes, seconds: float, graph_bytes: int, must: bool
    ) -> tuple[Path | None, str]:
        """Write an engine; where that fails, it can still be used this once."""
        try:
            return self.cache.keep(key, name, plan, built_s=seconds, graph_bytes=graph_bytes), ""
        except DeviceError as error:
            if must:
                raise
            return None, f"not kept: {error}"

    def _estimate(self, content: bytes) -> str:
        """How long building will take, from how long it took before on this machine."""
        rates = [
            header.built_s / header.graph_bytes
            for header in self.cache.headers()
            if header.graph_bytes
            and (header.key.library, header.key.compute_capability)
            == (self.target.library, self.target.compute_capability)
        ]
        if not rates:
            return f"this takes {_FIRST_ESTIMATE[self.target.library]}"
        return f"about {max(statistics.median(rates) * len(content), 1):.0f} s"


def refusal(plan: bytes, version: str) -> str:
    """Say why a plan is not for this version of its library, by its header alone; empty if it is."""
    found = plan_version(plan)
    if not found:
        return "it has no header of a plan"
    # Early releases have three numbers; the plan has always four.
    wanted = [int(part) for part in version.split(".")[:4] if part.isdigit()]
    have = [int(part) for part in found.split(".")]
    if [number % 256 for number in wanted] != have[: len(wanted)]:
        return f"it was built by version {found}, and this is {version}"
    return ""


class _Line:
    """One line on stderr about a build; on a terminal it is updated during the build."""

    def __init__(self, quiet: bool, what: str, reason: str, estimate: str) -> None:
        self._quiet, self._what = quiet, what
        self._started = self._drawn = time.monotonic()
        self._live = not quiet and sys.stderr.isatty()
        self._say(f"{what}: {reason}; {estimate}")

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")

    def progress(self, fraction: float) -> None:
        """Draw the fraction, a few times a second."""
        now = time.monotonic()
        if self._live and now - self._drawn > _LINE_EVERY_S:
            self._drawn = now
            sys.stderr.write(f"\r\x1b[K  {fraction:4.0%}, {now - self._started:.0f} s")
            sys.stderr.flush()

    def end(self, text: str) -> None:
        """Say how it ended."""
        if self._live:
            sys.stderr.write("\r\x1b[K")
        self._say(text)

    def _say(self, text: str) -> None:
        if not self._quiet:
            sys.stderr.write(f"steadyframe: {text}\n")
            sys.stderr.flush()
