"""One file a task; each is imported only when a bundle asks for it.

Owns the choice of a task by the name in a bundle's manifest, and of a precision by what the bundle has.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..bundle.bundle import Bundle
from ..bundle.manifest import Manifest
from ..engines.session import Session, open_session
from ..errors import BundleError
from .task import Task

# name in the manifest -> (module in this folder, its opener: (manifest, sessions, options) -> Task)
TASKS = {
    "colorize": ("colorize", "open_colorize"),
    "pose": ("pose", "open_pose"),
    "stylize": ("stylize", "open_stylize"),
    "own": ("custom", "open_custom"),
}


def open_task(
    bundle: Bundle | str | Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    options: Mapping[str, Any] | None = None,
    threads: int = 0,
) -> Task:
    """Load a bundle's graphs on a device, as the task that the manifest names.

    Parameters
    ----------
    bundle : loaded, or the name of a shipped one, or the path of its folder
    device : ``auto``, ``cpu``, …
    precision : ``auto``, ``fp32``, ``fp16`` or ``int8``
    options : the task's own, such as ``{"reference": path}`` of colorize
    threads : of one run of the network, on a processor; 0 takes every core

    Raises
    ------
    BundleError
        If the bundle is damaged, or of a task that this version does not know.
    DeviceError
        If the device asked for cannot be had.
    UsageError
        If the task has no such option.

    Examples
    --------
    >>> open_task("colorize").name
    'colorize'
    """
    loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    chosen = choose_precision(loaded, precision, device=device)
    roles = loaded.manifest.graphs
    sessions = {role: open_session(loaded, role, device=device, precision=chosen, threads=threads) for role in roles}
    return build_task(loaded.manifest, sessions, options)


def build_task(manifest: Manifest, sessions: Mapping[str, Session], options: Mapping[str, Any] | None = None) -> Task:
    """Make the task that a manifest names, on sessions that are already open.

    Raises
    ------
    BundleError
        If the task is one that this version does not know.
    UsageError
        If the task has no such option.
    """
    if manifest.task not in TASKS:
        raise BundleError(
            f"Bundle {manifest.name!r} is of a task that this version does not know",
            found=manifest.task,
            available=TASKS,
            todo="Update steadyframe",
        )
    module_name, opener = TASKS[manifest.task]
    module = importlib.import_module(f"{__package__}.{module_name}")
    task: Task = getattr(module, opener)(manifest, sessions, dict(options or {}))
    return task


def choose_precision(
    bundle: Bundle, wanted: str, *, device: str = "auto", tell: Callable[[str], None] | None = None
) -> str:
    """Precision to load: the one asked for, or with ``auto`` the one that `precision.auto_precision` chooses.

    Parameters
    ----------
    bundle : loaded
    wanted : ``auto``, ``fp32``, ``fp16`` or ``int8``
    device : on which ``auto`` measures, once
    tell : told when it does

    Raises
    ------
    BundleError
        If the bundle does not have it.
    DeviceError
        If something must be measured on a device that cannot be had.
    """
    if wanted == "auto":
        from ..engines.autotune import auto_precision

        return auto_precision(bundle, device, tell=tell).precision
    have = bundle.precisions()
    if wanted not in have:
        raise BundleError(
            f"Bundle {bundle.manifest.name!r} has no precision {wanted!r}",
            available=have,
            todo="Make it with `steadyframe calibrate`",
        )
    return wanted
