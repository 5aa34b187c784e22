"""The temporal stage of people: joints carried by the flow, and corrected without a jerk.

Owns `PeopleSteadier`. A joint's place is the way that the images took it plus a correction; only the correction is
filtered (One-Euro, on the real time step), so that a moving joint does not lag while a resting one does not jitter.
What the images fail to carry comes late, for it waits for the network: so hands and feet are carried with care.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import ShapeMismatch, UsageError
from ...frame import Frame
from ...motion.flow import Flow, FlowEstimator, positions, sample
from ...temporal.dense import SteadyOptions
from ...temporal.keyframes import KeyframeRule
from ...temporal.one_euro import OneEuro, OneEuroOptions
from ...temporal.scene_change import MotionAnalysis
from ...temporal.stage import Fresh, Motion
from ..task import Outputs
from .point_tracking import Images, carry

_EVERY = 3  # frames between two looks of the network where the choice is ours
_CUT_LEVEL = 22.0  # mean difference of two frames along the flow, in grey levels, that counts as another scene
_SURE = 0.3  # score of a joint that says where a person is
_MAX_ASKED = 4
# Of the correction, in sizes of the person. Where the network looks at every frame its noise is three times as dense.
_FILTERS = {
    "blend": OneEuroOptions(min_cutoff_hz=0.3, beta=6.0, derivative_cutoff_hz=1.0),
    "keyframe": OneEuroOptions(min_cutoff_hz=0.5, beta=12.0, derivative_cutoff_hz=2.0),
}
_FADES = {"blend": 2, "keyframe": 3}  # frames over which a correction comes in
_FASTEST = 1.2  # sizes of the person a second; a longer correction is one of the network's jumps, and takes longer
_FAR = 0.4  # sizes of the person; a joint that the network sees so far away twice in a row goes there at once
_LOST = 0.12  # sizes of the person by which most joints are off when the images have carried them elsewhere
_FLOW_BLUR = 5  # pixels of the flow's image; joints are points, their surroundings move with them


@dataclass(slots=True)
class _Carried:
    """One person between two looks of the network.

    Parameters
    ----------
    way : (J, 2) float32, where the images have taken each joint since the person was first seen, in pixels
    residual : (J, 2), what the network has corrected, as shown; the joint is at way + residual
    target : (J, 2), what `residual` moves to
    unit : pixels that the filter counts as 1: the size of the person when they were first seen
    size : of the person, in pixels
    far, free : (J,) whether the network's last result was far away, and whether it was so twice in a row
    """

    way: NDArray[np.float32]
    residual: NDArray[np.float32]
    target: NDArray[np.float32]
    scores: NDArray[np.float32]
    presence: float
    unit: float
    size: float
    filter: OneEuro
    far: NDArray[np.bool_]
    free: NDArray[np.bool_]
    left: int = 1

    def points(self) -> NDArray[np.float32]:
        """Give (J, 2) as shown."""
        return self.way + self.residual

    def correct(self, farthest: float) -> None:
        """Go on towards the target by one frame's part, at most by some pixels unless the joint is free."""
        known = ~np.isnan(self.residual)
        part = np.where(known, (self.target - self.residual) / max(1, self.left), 0)
        length = np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-6)
        part *= np.where(self.free[:, None], 1, np.minimum(1, farthest / length))
        self.residual = np.where(known, self.residual + part, self.target).astype(np.float32)
        self.left = max(1, self.left - 1)


@dataclass(slots=True)
class _Asked:
    """A frame that the network looks at: where everybody was shown to be, and the images since."""

    index: int
    at_ns: int
    ways: dict[int, NDArray[np.float32]]
    since: list[Images] = field(default_factory=list)


class PeopleSteadier:
    """Steadies the joints of everybody in one stream.

    Parameters
    ----------
    options : mode and figures; the mode must not be `off`. Automatic keyframes are every third frame: the masks by
        which the thresholds would choose cost more than the network's runs that they spare
    quick : rows of the joints at the ends of limbs, which are carried by themselves
    one_euro : of the correction; its unit is the size of the person, so that near and far people are alike. None
        takes the mode's own

    References
    ----------
    Casiez, Roussel, Vogel 2012 for the filter; filtering in coordinates that move with the images is ours.
    """

    def __init__(
        self,
        options: SteadyOptions | None = None,
        *,
        quick: tuple[int, ...] = (),
        one_euro: OneEuroOptions | None = None,
    ) -> None:
        self.options = options or SteadyOptions()
        mode = self.options.mode
        if mode == "off":
            raise UsageError("There is nothing to steady with", expected="blend or keyframe", found="off")
        every = 1 if mode == "blend" else self.options.keyframes.every or _EVERY
        self._quick = quick
        self._fade = self.options.fade_frames or _FADES[mode]
        self._one_euro = one_euro or _FILTERS[mode]
        self._estimator = FlowEstimator(self.options.flow)
        self._rule = KeyframeRule(replace(self.options.keyframes, every=every))
        self._since: list[Flow] = []
        self._flows: tuple[Flow, ...] = ()
        self._people: dict[int, _Carried] = {}
        self._asked: list[_Asked] = []
        self._shown_ns = 0

    @property
    def flows(self) -> Sequence[Flow]:
        """Forward flows from the network's last frame to the one observed last; read by the observing thread."""
        return self._flows

    def observe(self, frame: Frame, *, may_run: bool = True) -> Motion:
        """Measure the motion into a frame, and decide whether the network runs on it."""
        images = self._see(frame)
        self._since = [] if images is None else [*self._since, images.flow]
        keyframe = self._rule.decide(MotionAnalysis(cut=images is None), may_run=may_run)
        self._flows = tuple(self._since)
        if keyframe:
            self._since = []
        return Motion(frame, keyframe, images)

    def _see(self, frame: Frame) -> Images | None:
        """Measure the motion into a frame; None if it is another scene."""
        previous, current = self._estimator.push(frame.pixels)
        if previous is None:
            return None
        flow = _smooth(self._estimator.forward(previous, current))
        return None if _another_scene(previous, current, flow) else Images.of(previous, current, flow)

    def steady(self, motion: Motion, fresh: Fresh | None) -> Outputs:
        """Carry everybody to the frame of `motion`, and take in what the network saw on this or an earlier frame."""
        frame: Frame = motion.frame
        self._step(motion.fields, frame.size_wh)
        if motion.keyframe:
            ways = {who: person.way.copy() for who, person in self._people.items()}
            self._asked = [*self._asked, _Asked(frame.index, frame.time_ns, ways)][-_MAX_ASKED:]
        if fresh is not None:
            self._take(fresh, frame.size_wh)
        step_s = max(0.01, (frame.time_ns - self._shown_ns) * 1e-9)
        self._shown_ns = frame.time_ns
        for person in self._people.values():
            person.correct(_FASTEST * person.size * step_s)
        return self._outputs(fresh)

    def reset(self) -> None:
        """Forget everything."""
        self._estimator.reset()
        self._rule.reset()
        self._since, self._flows = [], ()
        self._people, self._asked = {}, []
        self._shown_ns = 0

    def _step(self, images: Images | None, frame_wh: tuple[int, int]) -> None:
        """Go on by one frame; after a cut nobody is where they were."""
        if images is None:
            self._people, self._asked = {}, []
            return
        for asked in self._asked:
            asked.since.append(images)
        for person in self._people.values():
            at = person.points()
            moved = carry(at, images, frame_wh, size=person.size, small=self._quick)
            person.way = person.way + (moved - at)

    def _take(self, fresh: Fresh, frame_wh: tuple[int, int]) -> None:
        """Correct everybody by what the network saw, wherever they have gone since."""
        places = [i for i, asked in enumerate(self._asked) if asked.index == fresh.frame.index]
        if not places:
            return  # it saw a scene that is over
        asked = self._asked[places[0]]
        del self._asked[: places[0] + 1]
        outputs = fresh.outputs
        ids = [int(who) for who in outputs["ids"]]
        self._people = {who: person for who, person in self._people.items() if who in ids}
        for who, keypoints, presence in zip(ids, outputs["keypoints"], outputs["scores"], strict=True):
            if keypoints.ndim != 2 or keypoints.shape[1] != 3:
                raise ShapeMismatch("Joints are x, y and score", expected="(J, 3)", found=keypoints.shape)
            at, scores = np.asarray(keypoints[:, :2], np.float32), np.asarray(keypoints[:, 2], np.float32)
            person = self._people.get(who)
            if person is None or who not in asked.ways or not self._correct(person, at, scores, asked, who):
                size = _size(at)
                for images in asked.since:
                    at = carry(at, images, frame_wh, size=size, small=self._quick)
                person = self._people[who] = self._new(at, scores, asked.at_ns)
            person.presence = float(presence)

    def _correct(
        self, person: _Carried, at: NDArray[np.float32], scores: NDArray[np.float32], asked: _Asked, who: int
    ) -> bool:
        """Set a new target by what the network saw; False if the images have lost the person altogether."""
        residual = at - asked.ways[who]
        known = np.where(np.isnan(person.target), residual, person.target)
        off = np.linalg.norm(residual - person.residual, axis=1) / np.float32(person.size)  # from what is shown
        sure = scores >= _SURE
        if sure.any() and float(np.median(off[sure])) > _LOST:
            return False
        person.free, person.far = person.far & (off > _FAR), off > _FAR
        # A joint follows the network by as much as the network is sure of it.
        share = np.where(person.free, 1, scores)[:, None].astype(np.float32)
        residual = (known + share * (residual - known)) / np.float32(person.unit)
        person.target = person.filter(residual, asked.at_ns) * np.float32(person.unit)
        person.left = self._fade
        person.scores = person.scores + np.float32(0.5) * (scores - person.scores)
        person.size += 0.3 * (_size(at) - person.size)
        return True

    def _new(self, at: NDArray[np.float32], scores: NDArray[np.float32], at_ns: int) -> _Carried:
        """Begin to carry somebody."""
        nothing, never = np.zeros_like(at), np.zeros(len(at), np.bool_)
        one_euro = OneEuro(self._one_euro)
        one_euro(nothing, at_ns)
        size = _size(at)
        return _Carried(at.copy(), nothing, nothing.copy(), scores, 0.0, size, size, one_euro, never, never.copy())

    def _outputs(self, fresh: Fresh | None) -> Outputs:
        """Give everybody as the task does."""
        people = list(self._people.items())
        if not people:
            joints = 0 if fresh is None else fresh.outputs["keypoints"].shape[1]
            return {
                "keypoints": np.zeros((0, joints, 3), np.float32),
                "ids": np.zeros(0, np.int64),
                "scores": np.zeros(0, np.float32),
            }
        stacked = [np.column_stack((person.points(), person.scores)) for _, person in people]
        return {
            "keypoints": np.stack(stacked).astype(np.float32),
            "ids": np.array([who for who, _ in people], np.int64),
            "scores": np.array([person.presence for _, person in people], np.float32),
        }


def _smooth(flow: Flow) -> Flow:
    """Average a flow over small neighbourhoods."""
    return Flow(np.asarray(cv2.blur(flow.vectors, (_FLOW_BLUR, _FLOW_BLUR)), np.float32), flow.forward)


def _size(at: NDArray[np.float32]) -> float:
    """Size of a person in pixels: the longer side of the box around all joints."""
    return max(16.0, float((at.max(0) - at.min(0)).max()))


def _another_scene(previous: NDArray[np.uint8], current: NDArray[np.uint8], flow: Flow) -> bool:
    """Whether an image has nothing to do with the one before, wherever the flow seeks it."""
    if float(cv2.absdiff(previous, current).mean()) <= _CUT_LEVEL:
        return False  # nearly always; a quick pan of the camera goes on
    carried = sample(current, positions(flow))
    return float(cv2.absdiff(previous, carried).mean()) > _CUT_LEVEL
