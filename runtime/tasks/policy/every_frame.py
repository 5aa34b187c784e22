"""What all policies share that look at frames: their networks fit their scene, and they decide on every frame.

Owns `EveryFramePolicy`, the base of the tasks of this folder.
"""

from __future__ import annotations

from ...bundle.manifest import Manifest
from ...errors import BundleError, UsageError
from ...temporal.options import SteadyOptions
from ...temporal.stage import EveryFrame, Stage
from ..sessions import TaskSessions
from .policy import Policy
from .scene import Scene, Track


class EveryFramePolicy:
    """The networks of one stream, its scene and what was seen of it.

    Parameters
    ----------
    manifest : of a bundle of task `policy` with a scene
    sessions : of its two graphs
    epsilon, seed : as of `Policy`

    Raises
    ------
    BundleError
        If the networks do not fit the scene.
    """

    name = "policy"
    propagated = None

    def __init__(self, manifest: Manifest, sessions: TaskSessions, *, epsilon: float = 0.0, seed: int = 0) -> None:
        self._scene = Scene.from_settings(manifest.settings.get("scene", {}))
        self._sessions = sessions
        self._policy = Policy(manifest, sessions, epsilon=epsilon, seed=seed)
        if (self._policy.num_goals, self._policy.num_actions) != (len(self._scene.goals), len(self._scene.actions)):
            raise BundleError(f"Scene and networks of bundle {manifest.name!r} do not fit")
        self._track = Track(self._scene)
        self._goal, self._age = -1, 0

    @property
    def device(self) -> str:
        """The device in use."""
        return self._sessions.device

    def make_stage(self, options: SteadyOptions, *, live: bool = False) -> Stage:
        """Make the stage of one stream: a policy decides on every frame.

        Raises
        ------
        UsageError
            If another mode than `off` is asked for.
        """
        del live
        if options.mode != "off":
            raise UsageError("Actions cannot be steadied", found=options.mode, todo="Run it with --steady off")
        return EveryFrame()

    def close(self) -> None:
        """Close the sessions that the task owns; does nothing the second time."""
        self._sessions.close()
