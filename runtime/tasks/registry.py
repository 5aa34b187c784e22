"""Kinds of task, found by entry point.

Owns `task_descriptor` and `build_task`. Each kind is one file or folder that exports a `TaskDescriptor`, and one line
``name = "module:descriptor"`` in the entry points ``steadyframe.tasks`` of an installed package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..bundle.manifest import Manifest
from ..descriptors import find_descriptor, names_of
from ..engines.session import Session
from ..errors import BundleError, UsageError
from .sessions import TaskSessions
from .task import Task, TaskDescriptor

GROUP = "steadyframe.tasks"


def task_descriptor(name: str) -> TaskDescriptor:
    """Find the descriptor of a kind of task.

    Raises
    ------
    BundleError
        If no installed package has it.
    """
    found: TaskDescriptor | None = find_descriptor(GROUP, name)
    if found is None:
        raise BundleError(
            f"There is no task {name!r}", available=names_of(GROUP),
            todo="Update steadyframe, or install the package that has it",
        )  # fmt: skip
    return found


def build_task(
    manifest: Manifest,
    sessions: Mapping[str, Session],
    options: Mapping[str, Any] | None = None,
    *,
    owned: bool = False,
) -> Task:
    """Make the task that a manifest names, on sessions that are already open.

    Parameters
    ----------
    manifest : of the bundle
    sessions : role -> session
    options : of the task; None leaves one at the bundle's own
    owned : whether the task closes the sessions; they may be shared otherwise

    Raises
    ------
    BundleError
        If the task is one that is not installed, or the bundle is not complete.
    UsageError
        If the task has no such option, or its value is out of range.
    """
    descriptor = task_descriptor(manifest.task)
    given = {name: value for name, value in (options or {}).items() if value is not None}
    unknown = sorted(set(given) - set(descriptor.options))
    if unknown:
        raise UsageError(
            f"Task {descriptor.name} has no such option",
            found=", ".join(unknown),
            available=tuple(descriptor.options) or ("none",),
        )
    return descriptor.open(manifest, TaskSessions(sessions, owned=owned, name=descriptor.name), given)
