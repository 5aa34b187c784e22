"""A policy that moves a virtual camera: the view is a crop of the frame and follows a person.

Owns the task of bundles whose observation is `subject`, its result `View`, and the crop. Another task finds the
person in the view alone, as in a real camera; the policy's meta-controller chooses where in the image the person
belongs, its controller moves the view. Everything that is remembered lies in `infer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ...errors import BundleError, UsageError
from ...frame import Frame
from ...temporal.stage import Motion, Outputs
from ..pose.people import People
from ..sessions import TaskSessions
from ..task import Feeds, Placement, Result
from .every_frame import EveryFramePolicy
from .scene import Scene

_GREEN, _RED = (80, 220, 80), (60, 60, 240)
_NOTHING = np.zeros(0, np.float32)  # a camera's scene has no objects that can be taken
_SURE = 0.2  # least score of a joint that the view follows
_STANDS = 2.0  # units of the scene within which the remembered places of a subject lie that does not walk
_EASE = 0.2  # share of its way that the view shown goes in a frame; the steps of a policy would be seen otherwise


class SubjectProcessor(Protocol):
    """What finds people: `steadyframe.open_processor("pose")`, or anything alike."""

    def process(self, frame: Frame) -> Sequence[Result[Any]]:
        """Give the results of a frame."""

    def reset(self) -> None:
        """Forget the past."""

    def close(self) -> None:
        """Release what is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraOptions:
    """Options of the task, validated.

    Parameters
    ----------
    zoom : sides of the frame over the sides of the view
    patience : frames without a person after which the view goes back to the middle
    horizon : decisions after which an unreached goal is given up
    overlay : whether goal and person are drawn into the image
    joints : the view follows the mean of these joints
    """

    zoom: float = 1.6
    patience: int = 10
    horizon: int = 20
    overlay: bool = True
    joints: tuple[str, ...] = ("left_shoulder", "right_shoulder")

    def __post_init__(self) -> None:
        if not 1 <= self.zoom <= 8:
            raise UsageError("zoom is out of range", expected="1 to 8", found=self.zoom)
        if self.patience < 0 or self.horizon < 1:
            found = f"patience {self.patience}, horizon {self.horizon}"
            raise UsageError("An option of the camera is out of range", expected="patience 0, horizon 1", found=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the camera sees, and where it turns next.

    Parameters
    ----------
    action_name : how the view moves after this frame
    goal_name : where in the image the subject belongs; empty while nobody is seen
    subject_xy : the subject, in pixels of the frame; None while nobody is seen
    reached : name of the goal that the last action reached, or None
    box : left, top, right, bottom of the view, in pixels of the frame; fractions of pixels count
    goal_box : likewise of the place that the subject is brought to; None while nobody is seen
    frame : that it is a part of
    overlay : whether `pixels` shows goal and subject
    """

    action_name: str
    goal_name: str
    subject_xy: tuple[float, float] | None
    reached: str | None
    box: tuple[float, float, float, float]
    goal_box: tuple[float, float, float, float] | None
    frame: Frame
    overlay: bool = True

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The view, as large as the frame, (H, W, 3) uint8 BGR."""
        width, height = self.frame.size_wh
        left, top, right, _ = self.box
        zoom = width / (right - left)
        # the middle of the first pixel lies at 0.5 of its side
        matrix = np.array(((zoom, 0, (0.5 - left) * zoom - 0.5), (0, zoom, (0.5 - top) * zoom - 0.5)))
        shown = cv2.warpAffine(
            self.frame.pixels, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        if self.overlay:
            self._draw(shown, np.array((left, top)), zoom)
        return np.asarray(shown, np.uint8)

    def _draw(self, shown: Any, corner: NDArray[np.float64], zoom: float) -> None:
        thick = max(1, shown.shape[0] // 240)
        if self.goal_box is not None:
            left, top, right, bottom = ((np.array(self.goal_box) - np.tile(corner, 2)) * zoom).astype(int).tolist()
            cv2.rectangle(shown, (left, top), (right, bottom), _GREEN, thick, cv2.LINE_AA)
        if self.subject_xy is not None:
            x, y = (int(value) for value in (np.array(self.subject_xy) - corner) * zoom)
            cv2.circle(shown, (x, y), 4 * thick, _RED, thick, cv2.LINE_AA)

    def as_json(self) -> dict[str, Any]:
        """Give the fields of a JSON line."""
        return {
            "goal": self.goal_name or None,
            "action": self.action_name,
            "reached": self.reached,
            "subject": None if self.subject_xy is None else [round(value, 1) for value in self.subject_xy],
            "view": [round(value, 1) for value in self.box],
        }


class CameraTask(EveryFramePolicy):
    """Moves the view on every frame.

    Parameters
    ----------
    manifest : of a bundle of task `policy` whose observation is `subject`
    sessions : of its two graphs
    options : validated
    processor : finds people in the view; the task closes it

    Raises
    ------
    BundleError
        If the bundle has no moves, or its networks do not fit its scene.
    """

    def __init__(
        self, manifest: Manifest, sessions: TaskSessions, options: CameraOptions, processor: SubjectProcessor
    ) -> None:
        super().__init__(manifest, sessions)
        self._moves = _moves(manifest, self._scene)
        self._options, self._processor = options, processor
        self._alone = 0  # frames since somebody was seen
        self._aim: NDArray[np.float64] | None = None  # corner of the view that the policy moves, pixels
        self._shown = np.zeros(2)  # the same, eased

    def preprocess(self, frame: Frame, motion: Motion | None = None) -> tuple[Feeds, Placement]:
        """Hand the frame on: where the view is, is known only once the frame before is done."""
        return {"frame": frame, "restart": motion is None or motion.restart}, Placement(frame)

    def infer(self, feeds: Feeds) -> Outputs:
        """Find the subject in the view, choose goal and action, and move the view."""
        frame: Frame = feeds["frame"]
        if feeds["restart"] or self._aim is None:
            self._restart(frame)
        assert self._aim is not None
        frame_wh = np.array(frame.size_wh, np.float64)
        view_wh = frame_wh / self._options.zoom
        corner, unit = np.floor(self._aim), view_wh / np.array(self._scene.size_hw[::-1])
        place = self._find(frame, corner, view_wh)
        reached, goal, action = -1, -1, self._scene.actions.index("stay")
        if place is None:
            moved = self._wait((frame_wh - view_wh) / 2, unit)
        else:
            reached = self._choose_goal(self._reachable(place / unit, frame_wh - view_wh))
            vector = self._track.vector
            assert vector is not None
            goal, action = self._goal, self._choose_action(vector, frame_wh - view_wh)
            moved = self._aim + self._moves[action] * unit
        shown, before = self._shown.copy(), self._aim
        self._aim = np.clip(moved, 0, frame_wh - view_wh)
        self._track.shift(*(float(units) for units in (before - self._aim) / unit))
        self._shown = self._shown + _EASE * (self._aim - self._shown)
        return {
            "action": np.array(action), "goal": np.array(goal), "reached": np.array(reached), "corner": corner,
            "shown": shown, "subject_xy": np.full(2, np.nan) if place is None else corner + place,
        }  # fmt: skip

    def postprocess(self, outputs: Outputs, placement: Placement) -> View:
        """Name goal and action, and lay the view into the frame."""
        scene, goal, reached = self._scene, int(outputs["goal"]), int(outputs["reached"])
        view_wh = np.array(placement.frame.size_wh, np.float64) / self._options.zoom
        unit, shown, xy = view_wh / np.array(scene.size_hw[::-1]), outputs["shown"], outputs["subject_xy"]
        left, top = (float(value) for value in shown)
        around = None
        if goal >= 0:
            box = np.array(scene.goals[goal].box).reshape(2, 2) * unit + outputs["corner"]
            around = tuple(float(value) for value in box.ravel())
        return View(
            action_name=scene.actions[int(outputs["action"])],
            goal_name=scene.goals[goal].name if goal >= 0 else "",
            subject_xy=None if np.isnan(xy[0]) else (float(xy[0]), float(xy[1])),
            reached=scene.goals[reached].name if reached >= 0 else None,
            box=(left, top, left + float(view_wh[0]), top + float(view_wh[1])),
            goal_box=around,  # type: ignore[arg-type]
            frame=placement.frame,
            overlay=self._options.overlay,
        )

    def close(self) -> None:
        """Close the sessions that the task owns, and the processor; does nothing the second time."""
        super().close()
        self._processor.close()

    def _restart(self, frame: Frame) -> None:
        """Begin in the middle of the frame, and forget everybody."""
        wh = np.array(frame.size_wh, np.float64)
        self._aim = (wh - wh / self._options.zoom) / 2
        self._shown = self._aim.copy()
        self._processor.reset()
        self._track.reset()
        self._goal, self._age, self._alone = -1, 0, 0

    def _find(self, frame: Frame, corner: NDArray[np.float64], view_wh: NDArray[np.float64]) -> Any:
        """Find the subject in the view: pixels from the corner, (2,), or None."""
        (left, top), (width, height) = corner.astype(int), view_wh.astype(int)
        seen = Frame(
            np.ascontiguousarray(frame.pixels[top : top + height, left : left + width]), frame.index,
            time_ns=frame.time_ns,
        )  # fmt: skip
        results = self._processor.process(seen)
        people = results[0].output if results else None
        if not isinstance(people, People) or not people.people:
            return None
        names = people.skeleton.joints
        joints = people.people[0].keypoints[[names.index(name) for name in self._options.joints]]
        return None if joints[:, 2].min() < _SURE else joints[:, :2].mean(0).astype(np.float64)

    def _reachable(self, place: NDArray[np.float64], limit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Say a subject, (2,) units, is in the middle of an axis on which the rim of the frame stops the view.

        The world that the policy was trained in has no rim: it would pull against it, and do nothing else.
        """
        assert self._aim is not None
        middle = np.array(self._scene.size_hw[::-1]) / 2
        stopped = ((self._aim <= 0) & (place < middle)) | ((self._aim >= limit) & (place > middle))
        return np.where(stopped, middle, place)

    def _choose_action(self, vector: NDArray[np.float32], limit: NDArray[np.float64]) -> int:
        """Choose the view's next move: none in a place that is reached, and none against the rim of the frame.

        The values leave both open: whatever stays within a goal pays alike, and the trained world has no rim.
        """
        assert self._aim is not None
        if self._scene.reached(vector, vector)[self._goal]:
            return self._scene.actions.index("stay")
        values = self._policy.action_values(vector[None], np.array([self._goal]))[0]
        stopped = (self._moves < 0) & (self._aim <= 0) | (self._moves > 0) & (self._aim >= limit)
        return self._policy.choose_action(vector, self._goal, np.where(stopped.any(1), np.float32(-np.inf), values))

    def _choose_goal(self, place: NDArray[np.float64]) -> int:
        """Add the place, (2,) units of the scene; judge the goal, choose one. Gives what was reached or -1."""
        before, self._alone = self._track.vector, 0
        vector = self._track.add((float(place[0]), float(place[1])), -1.0, _NOTHING)
        hit = before is not None and self._goal >= 0 and bool(self._scene.reached(before, vector)[self._goal])
        reached = self._goal if hit else -1
        if hit and self._track.extent < _STANDS:
            self._age = 0  # who stands keeps his place in the view: the next goal would pan to and fro
        elif hit or self._goal < 0 or self._age >= self._options.horizon:
            self._goal, self._age = self._policy.choose_goal(vector), 0
        self._age += 1
        return reached

    def _wait(self, middle: NDArray[np.float64], unit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Stay where it is while nobody is seen, then go back to the middle; gives the corner of the view."""
        assert self._aim is not None
        self._track.reset()
        self._goal, self._alone = -1, self._alone + 1
        if self._alone <= self._options.patience:
            return self._aim
        step = np.abs(self._moves).max() * unit
        return self._aim + np.clip(middle - self._aim, -step, step)


def _moves(manifest: Manifest, scene: Scene) -> NDArray[np.float64]:
    """Read how each action moves the view, (A, 2), in units of the scene.

    Raises
    ------
    BundleError
        If an action has no move, or none stands still.
    """
    given = manifest.settings.get("moves", {})
    try:
        moves = np.array([given[name] for name in scene.actions], np.float64).reshape(len(scene.actions), 2)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"Bundle {manifest.name!r} does not say how its actions move the view", expected="moves: name -> [x, y]",
            found=repr(given), todo="Export it again with `steadyframe export`",
        ) from error  # fmt: skip
    if "stay" not in scene.actions:
        raise BundleError(f"Bundle {manifest.name!r} cannot stand still", expected="an action 'stay'")
    return moves
