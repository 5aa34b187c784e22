"""How a policy's bundle becomes a task: by what its networks observe.

Owns the descriptor of task `policy`, its options, and which of them a kind of observation takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...bundle.manifest import Manifest
from ...errors import UsageError
from ..sessions import TaskSessions
from ..task import Task, TaskDescriptor
from .camera import CameraOptions, CameraTask
from .task import PolicyOptions, PolicyTask

SUBJECT = "subject"  # observation: the place of a subject in the view of a camera
_NUMBERS: dict[str, type] = {
    "epsilon": float, "seed": int, "horizon": int, "episodes": int, "zoom": float, "patience": int, "overlay": int,
}  # fmt: skip
_OF_CAMERA = ("zoom", "patience", "horizon", "overlay", "processor")
_OF_GAME = ("epsilon", "seed", "horizon", "episodes", "critic")


def open_policy(manifest: Manifest, sessions: TaskSessions, options: Mapping[str, Any]) -> Task:
    """Open the task.

    Raises
    ------
    UsageError
        If an option is not a number of its kind, or not of this policy.
    """
    camera = manifest.settings.get("observation") == SUBJECT
    allowed = _OF_CAMERA if camera else _OF_GAME
    given: dict[str, Any] = {}
    for name, value in options.items():
        if name not in allowed:
            raise UsageError(f"The policy of {manifest.name} has no such option", found=name, available=allowed)
        given[name] = _number(name, value) if name in _NUMBERS else value
    if not camera:
        critic = given.pop("critic", None)
        given.setdefault("epsilon", float(manifest.settings.get("epsilon", 0.0)))
        return PolicyTask(manifest, sessions, PolicyOptions(**given), critic=critic)
    processor = given.pop("processor", None)
    if processor is None:
        raise UsageError(
            f"The policy of {manifest.name} follows what another task finds", expected="option processor",
            todo=f"Open it with steadyframe.open_task, which opens {subject_bundle(manifest)!r} for it",
        )  # fmt: skip
    joints = manifest.settings.get("joints")
    if joints is not None:
        given["joints"] = tuple(joints)
    given["overlay"] = bool(given.get("overlay", True))
    return CameraTask(manifest, sessions, CameraOptions(**given), processor)


def subject_bundle(manifest: Manifest) -> str:
    """Name the bundle that finds the subject of a camera's policy; empty for a policy that needs none."""
    return str(manifest.settings.get("finder", "pose")) if manifest.settings.get("observation") == SUBJECT else ""


def _number(name: str, value: Any) -> Any:
    kind = _NUMBERS[name]
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise UsageError(f"Option {name!r} is a number", expected=kind.__name__, found=value) from None


descriptor = TaskDescriptor(
    name="policy",
    open=open_policy,
    reads=subject_bundle,
    options={
        "epsilon": "share of random choices, 0 to 1; the bundle's own by default",
        "seed": "of the random choices",
        "horizon": "decisions after which an unreached goal is given up",
        "episodes": "games that a played world shall last; 0 leaves it to the world",
        "zoom": "of a camera: sides of the frame over the sides of the view",
        "patience": "of a camera: frames without a person after which the view goes back to the middle",
        "overlay": "of a camera: 0 leaves goal and subject out of the image",
        "critic": "from Python: (before, after) -> (G,) bool, which goals were reached",
        "processor": "from Python: finds the subject of a camera; open_task opens one",
    },
)
