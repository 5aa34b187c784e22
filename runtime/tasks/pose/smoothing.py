"""The temporal stage of people: joints propagated by the flow, and corrected without a jerk.

Owns `PeopleStage`. A joint's place is where the motion in the images took it, plus a correction. Only the correction
is filtered (One-Euro, on the real time step), so a moving joint does not lag while a resting one does not jitter.
What the motion misses comes late, since it waits for the network: so hands and feet are tracked as single points.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import ShapeMismatch, UsageError
from ...frame import Frame
from ...motion.flow import Flow, FlowEstimator, FlowOptions, positions, reduced_luma, sample
from ...temporal.keyframes import KeyframeOptions, KeyframeRule
from ...temporal.one_euro import OneEuro, OneEuroOptions
from ...temporal.options import SteadyOptions
from ...temporal.scene_change import MotionAnalysis
from ...temporal.stage import Fresh, Motion, Outputs
from .point_tracking import FramePair, propagate_points

_EVERY = 3  # frames between two looks of the network where the choice is ours
_CUT_LEVEL = 22.0  # mean difference of two frames along the flow, in grey levels, that counts as another scene
_SURE = 0.3  # score of a joint that says where a person is
_MAX_SUBMITTED = 4
# Of the correction, in sizes of the person. Where the network looks at every frame its noise is three times as dense.
_FILTERS = {
    "blend": OneEuroOptions(min_cutoff_hz=0.3, beta=6.0, derivative_cutoff_hz=1.0),
    "keyframe": OneEuroOptions(min_cutoff_hz=0.5, beta=12.0, derivative_cutoff_hz=2.0),
}
_FADES = {"blend": 2, "keyframe": 3}  # frames over which a correction comes in
_FASTEST = 1.2  # sizes of the person a second; a longer correction is one of the network's jumps, and takes longer
_FAR = 0.4  # sizes of the person; a joint that the network sees so far away twice in a row goes there at once
_LOST = 0.12  # sizes of the person by which most joints are off when the images have carried them elsewhere
_FLOW_SIDE = 120  # rows that the flow is measured on; with 180, joints jitter more, at three times the cost
_FLOW_BLUR = 5  # pixels of the flow's image; joints are points, their surroundings move with them


@dataclass(slots=True)
class _Followed:
    """One person between two looks of the network.

    Parameters
    ----------
    moved : (J, 2) float32, where the images have taken each joint since the person was first seen, in pixels
    residual : (J, 2), what the network has corrected, as shown; the joint is at moved + residual
    target : (J, 2), what `residual` moves to
    unit : pixels that the filter counts as 1: the size of the person when they were first seen
    size : of the person, in pixels
    far, free : (J,) whether the network's last result was far away, and whether it was so twice in a row
    """

    moved: NDArray[np.float32]
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
        return self.moved + self.residual

    def correct(self, farthest: float) -> None:
        """Go on towards the target by one frame's part, at most by some pixels unless the joint is free."""
        known = ~np.isnan(self.residual)
        part = np.where(known, (self.target - self.residual) / max(1, self.left), 0)
        length = np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-6)
        part *= np.where(self.free[:, None], 1, np.minimum(1, farthest / length))
        self.residual = np.where(known, self.residual + part, self.target).astype(np.float32)
        self.left = max(1, self.left - 1)


@dataclass(slots=True)
class _Submitted:
    """A frame that the network looks at: where everybody was shown to be, and the images since."""

    index: int
    at_ns: int
    moved_at: dict[int, NDArray[np.float32]]
    since: list[FramePair] = field(default_factory=list)


class PeopleStage:
    """Steadies the joints of everybody in one stream.

    Parameters
    ----------
    options : mode and figures; the mode must not be `off`. Automatic keyframes are every third frame: the masks by
        which the thresholds would choose cost more than the network's runs that they spare
    extremities : rows of the joints at the ends of limbs, which are tracked as points of their own
    one_euro : of the correction; its unit is the size of the person, so that near and far people are alike. None
        takes the mode's own

    References
    ----------
    Casiez, Roussel, Vogel 2012 for the filter; filtering in coordinates that move with the images is ours.
    """

    lookahead = 0
    every_frame = False

    def __init__(
        self,
        options: SteadyOptions | None = None,
        *,
        extremities: tuple[int, ...] = (),
        one_euro: OneEuroOptions | None = None,
    ) -> None:
        self.options = options or SteadyOptions()
        mode = self.options.mode
        if mode == "off":
            raise UsageError("A stage steadies", expected="blend or keyframe", found="off")
        keyframes = self.options.keyframes or KeyframeOptions()
        every = 1 if mode == "blend" else keyframes.every or _EVERY
        self._extremities = extremities
        self._fade = self.options.fade_frames or _FADES[mode]
        self._one_euro = one_euro or _FILTERS[mode]
        flow = self.options.flow or FlowOptions(check_side=_FLOW_SIDE)
        # The points of limbs are sought in larger images than the flow of the rest is measured on.
        self._flow_side = flow.check_side or flow.short_side
        self._estimator = FlowEstimator(flow)
        self._rule = KeyframeRule(replace(keyframes, every=every))
        self._since: tuple[Flow, ...] = ()  # forward flows since the network's last frame
        self._people: dict[int, _Followed] = {}
        self._submitted: list[_Submitted] = []
        self._shown_ns = 0

    def stretch(self, factor: int) -> None:
        """Run the network so many times less often; 1 is as usual. May be called from any thread."""
        self._rule.stretch = factor

    def observe(self, frame: Frame, *, may_run: bool = True, restart: bool = False) -> Motion:
        """Measure the motion into a frame, and decide whether the network runs on it.

        Returns
        -------
        Motion
            `flows` are the forward flows from the network's last frame to this one.
        """
        if restart:
            self._estimator.reset()
            self._rule.reset()
        pair = self._measure(frame)
        self._since = () if pair is None else (*self._since, pair.flow)
        keyframe = self._rule.decide(MotionAnalysis(cut=pair is None), may_run=may_run)
        motion = Motion(frame, keyframe, restart, flows=self._since, fields=pair)
        if keyframe:
            self._since = ()
        return motion

    def _measure(self, frame: Frame) -> FramePair | None:
        """Measure the motion into a frame; None if it is another scene."""
        previous, current = self._estimator.push(frame.luma)
        if previous is None:
            return None
        small = (reduced_luma(image, self._flow_side) for image in (previous, current))
        height, width = current.shape
        flow = _smooth(self._estimator.forward(*small).scaled((width, height)))
        return None if _another_scene(previous, current, flow) else FramePair.of(previous, current, flow)

    def update(self, motion: Motion, fresh: Fresh | None) -> list[Outputs]:
        """Propagate everybody to the frame of `motion`, and take in what the network saw on it or an earlier one."""
        frame: Frame = motion.frame
        self._step(motion.fields, frame.size_wh)
        if motion.keyframe:
            moved_at = {who: person.moved.copy() for who, person in self._people.items()}
            self._submitted = [*self._submitted, _Submitted(frame.index, frame.time_ns, moved_at)][-_MAX_SUBMITTED:]
        if fresh is not None:
            self._take(fresh, frame.size_wh)
        step_s = max(0.01, (frame.time_ns - self._shown_ns) * 1e-9)
        self._shown_ns = frame.time_ns
        for person in self._people.values():
            person.correct(_FASTEST * person.size * step_s)
        return [self._outputs(fresh)]

    def flush(self) -> list[Outputs]:
        """Return nothing: no frame is held back."""
        return []

    def _step(self, pair: FramePair | None, frame_wh: tuple[int, int]) -> None:
        """Advance by one frame; after a cut, all positions are unknown."""
        if pair is None:
            self._people, self._submitted = {}, []
            return
        for submitted in self._submitted:
            submitted.since.append(pair)
        for person in self._people.values():
            at = person.points()
            moved = propagate_points(at, pair, frame_wh, size=person.size, small=self._extremities)
            person.moved = person.moved + (moved - at)

    def _take(self, fresh: Fresh, frame_wh: tuple[int, int]) -> None:
        """Correct everybody by what the network saw, wherever they have gone since."""
        places = [i for i, submitted in enumerate(self._submitted) if submitted.index == fresh.frame.index]
        if not places:
            return  # it saw a scene that is over
        submitted = self._submitted[places[0]]
        del self._submitted[: places[0] + 1]
        outputs = fresh.outputs
        ids = [int(who) for who in outputs["ids"]]
        self._people = {who: person for who, person in self._people.items() if who in ids}
        for who, keypoints, presence in zip(ids, outputs["keypoints"], outputs["scores"], strict=True):
            if keypoints.ndim != 2 or keypoints.shape[1] != 3:
                raise ShapeMismatch("Joints are x, y and score", expected="(J, 3)", found=keypoints.shape)
            at, scores = np.asarray(keypoints[:, :2], np.float32), np.asarray(keypoints[:, 2], np.float32)
            person = self._people.get(who)
            if (
                person is None
                or who not in submitted.moved_at
                or not self._correct(person, at, scores, submitted, who)
            ):
                size = _size(at)
                for pair in submitted.since:
                    at = propagate_points(at, pair, frame_wh, size=size, small=self._extremities)
                person = self._people[who] = self._new(at, scores, submitted.at_ns)
            person.presence = float(presence)

    def _correct(
        self, person: _Followed, at: NDArray[np.float32], scores: NDArray[np.float32], submitted: _Submitted, who: int
    ) -> bool:
        """Set a new target by what the network saw; False if the images have lost the person altogether."""
        residual = at - submitted.moved_at[who]
        known = np.where(np.isnan(person.target), residual, person.target)
        off = np.linalg.norm(residual - person.residual, axis=1) / np.float32(person.size)  # from what is shown
        sure = scores >= _SURE
        if sure.any() and float(np.median(off[sure])) > _LOST:
            return False
        person.free, person.far = person.far & (off > _FAR), off > _FAR
        # A joint follows the network by as much as the network is sure of it.
        share = np.where(person.free, 1, scores)[:, None].astype(np.float32)
        residual = (known + share * (residual - known)) / np.float32(person.unit)
        person.target = person.filter(residual, submitted.at_ns) * np.float32(person.unit)
        person.left = self._fade
        person.scores = person.scores + np.float32(0.5) * (scores - person.scores)
        person.size += 0.3 * (_size(at) - person.size)
        return True

    def _new(self, at: NDArray[np.float32], scores: NDArray[np.float32], at_ns: int) -> _Followed:
        """Begin to propagate a person."""
        nothing, never = np.zeros_like(at), np.zeros(len(at), np.bool_)
        one_euro = OneEuro(self._one_euro)
        one_euro(nothing, at_ns)
        size = _size(at)
        return _Followed(at.copy(), nothing, nothing.copy(), scores, 0.0, size, size, one_euro, never, never.copy())

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
    warped = sample(current, positions(flow))
    return float(cv2.absdiff(previous, warped).mean()) > _CUT_LEVEL
