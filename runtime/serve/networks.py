"""The networks that a server can switch between, each loaded once and shared by every room.

Owns `Choice` and `Networks`. Knows nothing of HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..bundle.bundle import Bundle, shipped_bundles
from ..engines.registry import open_sessions
from ..engines.session import Session
from ..errors import UsageError
from ..opening import choose_precision, steady_options
from ..processor import Processor
from ..tasks.registry import build_task
from ..temporal.options import MODES

# A policy answers a world that is played; a camera does not react.
_NOT_SERVED = frozenset(("policy",))
STEADY_MODES = ("auto", *MODES)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a room runs.

    Parameters
    ----------
    bundle : name, as in `Networks.names`
    steady : ``auto``, ``off``, ``blend`` or ``keyframe``
    settings : options of the task; they hold for the bundle that the server was started with
    """

    bundle: str
    steady: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Loaded:
    bundle: Bundle
    precision: str
    sessions: Mapping[str, Session]


class Networks:
    """Bundles by name; the sessions of one are opened at its first use, and stay open.

    Parameters
    ----------
    first : name or path of the bundle that the server was started with
    device, precision : as of `open_task`

    Raises
    ------
    BundleError
        If there is no such bundle.
    UsageError
        If it is one that cannot be served.
    """

    def __init__(self, first: str, *, device: str = "auto", precision: str = "auto") -> None:
        self._device, self._precision = device, precision
        self._bundles = {name: Bundle.load(name) for name in shipped_bundles()}
        own = Bundle.load(first)
        if own.manifest.task in _NOT_SERVED:
            raise UsageError(
                f"A bundle of task {own.manifest.task} cannot be served", expected="one whose input is a camera",
                todo=f"steadyframe run {first} plays it",
            )  # fmt: skip
        self.first = own.manifest.name
        self._bundles[self.first] = own
        self._loaded: dict[str, _Loaded] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> dict[str, str]:
        """Name -> task of every bundle that can be chosen, the first one first."""
        tasks = {name: bundle.manifest.task for name, bundle in sorted(self._bundles.items())}
        served = {name: task for name, task in tasks.items() if task not in _NOT_SERVED}
        return {self.first: served[self.first], **served}

    def check(self, choice: Choice) -> None:
        """Refuse what cannot be chosen, before anything is loaded.

        Raises
        ------
        UsageError
            If there is no such bundle or steady mode.
        """
        if choice.bundle not in self.names:
            raise UsageError(f"There is no bundle {choice.bundle!r}", available=self.names)
        if choice.steady not in STEADY_MODES:
            raise UsageError(f"There is no steady mode {choice.steady!r}", available=STEADY_MODES)

    def processor(self, choice: Choice) -> Processor:
        """Make a processor for one live stream; the sessions behind it are shared.

        Raises
        ------
        BundleError, DeviceError, UsageError
            If the choice cannot be opened.
        """
        self.check(choice)
        loaded = self._load(choice.bundle)
        task = build_task(loaded.bundle.manifest, loaded.sessions, choice.settings)
        try:
            return Processor.owning(task, task.make_stage(steady_options(choice.steady, task), live=True), live=True)
        except BaseException:
            task.close()
            raise

    def precision_of(self, name: str) -> str:
        """Precision of a bundle that is loaded; empty before."""
        loaded = self._loaded.get(name)
        return loaded.precision if loaded is not None else ""

    def _load(self, name: str) -> _Loaded:
        with self._lock:
            if name not in self._loaded:
                bundle = self._bundles[name]
                precision = choose_precision(bundle, self._wanted(bundle), device=self._device)
                sessions = open_sessions(bundle, device=self._device, precision=precision)
                self._loaded[name] = _Loaded(bundle, precision, sessions)
            return self._loaded[name]

    def _wanted(self, bundle: Bundle) -> str:
        """Precision to load; a bundle that does not have the one asked for chooses its own, but not the first."""
        if bundle.manifest.name == self.first or self._precision in bundle.precisions():
            return self._precision
        return "auto"

    def close(self) -> None:
        """Close every session."""
        with self._lock:
            for loaded in self._loaded.values():
                for session in loaded.sessions.values():
                    session.close()
            self._loaded.clear()
