"""The temporal stage of people: joints carried by the flow, and corrected without a jerk.

Owns `PeopleSteadier`. A joint's place is the way that the flow took it plus a correction; only the correction is
filtered (One-Euro, on the real time step), so that a moving joint does not lag while a resting one does not tremble.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeMismatch, UsageError
from ..frame import Frame
from ..streaming.temporal import Fresh, Motion
from ..task import Outputs
from .flow import Flow, FlowEstimator
from .keyframes import KeyframeRule
from .one_euro import OneEuro, OneEuroOptions
from .sight import Sight, sight_of
from .steadier import SteadyOptions
from .warp import warp_points

_CUT_LEVEL = 22.0  # mean difference of two frames, in grey levels, that counts as another scene
_MAX_ASKED = 4
_FLOW_BLUR = 5  # pixels of the flow's picture; joints are points, their surroundings move with them


@dataclass(slots=True)
class _Carried:
    """One person between two looks of the network.

    Parameters
    ----------
    way : (J, 2) float32, where the flow has taken each joint since the person was first seen, in pixels
    residual : (J, 2), what the network has corrected, as shown; the joint is at way + residual
    target : (J, 2), what `residual` moves to
    unit : pixels that the filter counts as 1: the size of the person
    """

    way: NDArray[np.float32]
    residual: NDArray[np.float32]
    target: NDArray[np.float32]
    scores: NDArray[np.float32]
    presence: float
    unit: float
    filter: OneEuro
    left: int = 1

    def points(self) -> NDArray[np.float32]:
        """Give (J, 2) as shown."""
        return self.way + self.residual


@dataclass(slots=True)
class _Asked:
    """A frame that the network looks at: where everybody was shown to be, and the flows since."""

    index: int
    at_ns: int
    ways: dict[int, NDArray[np.float32]]
    flows: list[Flow] = field(default_factory=list)


class PeopleSteadier:
    """Steadies the joints of everybody in one stream.

    Parameters
    ----------
    options : mode and figures; the mode must not be `off`
    one_euro : of the correction; its unit is the size of the person, so that near and far people are alike

    References
    ----------
    Casiez, Roussel, Vogel 2012 for the filter; filtering in coordinates that move with the flow is ours.
    """

    def __init__(self, options: SteadyOptions | None = None, *, one_euro: OneEuroOptions | None = None) -> None:
        self.options = options or SteadyOptions()
        if self.options.mode == "off":
            raise UsageError("There is nothing to steady with", expected="blend or keyframe", found="off")
        blend = self.options.mode == "blend"
        keyframes = replace(self.options.keyframes, every=1) if blend else self.options.keyframes
        self._light = keyframes.every is not None
        self._fade = self.options.fade_frames or (1 if blend else 4)
        self._one_euro = one_euro or OneEuroOptions(min_cutoff_hz=0.7, beta=6.0, derivative_cutoff_hz=2.0)
        self._estimator = FlowEstimator(self.options.flow)
        self._rule = KeyframeRule(keyframes)
        self._since: list[Flow] = []
        self._flows: tuple[Flow, ...] = ()
        self._people: dict[int, _Carried] = {}
        self._asked: list[_Asked] = []

    @property
    def flows(self) -> Sequence[Flow]:
        """Forward flows from the network's last frame to the one observed last; read by the observing thread."""
        return self._flows

    def observe(self, frame: Frame, *, may_run: bool = True) -> Motion:
        """Measure the motion into a frame, and decide whether the network runs on it."""
        sight, flow = self._see(frame)
        if sight.cut or flow is None:
            self._since = []
        else:
            self._since = [*self._since, flow]
        keyframe = self._rule.decide(sight, may_run=may_run)
        self._flows = tuple(self._since)
        if keyframe:
            self._since = []
        return Motion(frame, keyframe, flow if not sight.cut else None)

    def _see(self, frame: Frame) -> tuple[Sight, Flow | None]:
        """Flow into a frame, and whether it is another scene; the masks only where the rule asks for them."""
        previous, current = self._estimator.push(frame.pixels)
        if previous is None:
            return Sight(), None
        if self._light:
            cut = float(cv2.absdiff(previous, current).mean()) > _CUT_LEVEL
            return Sight(cut=cut), _smooth(self._estimator.forward(previous, current))
        pair = self._estimator.between(previous, current)
        assert pair is not None  # there is a previous picture
        return sight_of(pair, self.options.sight), _smooth(pair.forward)

    def steady(self, motion: Motion, fresh: Fresh | None) -> Outputs:
        """Carry everybody to the frame of `motion`, and take in what the network saw on this or an earlier frame."""
        frame, flow = motion.frame, motion.fields
        self._step(flow, frame.size_wh)
        if motion.keyframe:
            ways = {who: person.way.copy() for who, person in self._people.items()}
            self._asked = [*self._asked, _Asked(frame.index, frame.media_ns, ways)][-_MAX_ASKED:]
        if fresh is not None:
            self._take(fresh, frame.size_wh)
        for person in self._people.values():
            known = ~np.isnan(person.residual)
            part = np.where(known, (person.target - person.residual) / max(1, person.left), 0)
            person.residual = np.where(known, person.residual + part, person.target).astype(np.float32)
            person.left = max(1, person.left - 1)
        return self._outputs(fresh)

    def reset(self) -> None:
        """Forget everything."""
        self._estimator.reset()
        self._rule.reset()
        self._since, self._flows = [], ()
        self._people, self._asked = {}, []

    def _step(self, flow: Flow | None, frame_wh: tuple[int, int]) -> None:
        """Go on by one frame; after a cut nobody is where they were."""
        if flow is None:
            self._people, self._asked = {}, []
            return
        for asked in self._asked:
            asked.flows.append(flow)
        for person in self._people.values():
            at = person.points()
            person.way = person.way + (warp_points(at, flow, frame_wh) - at)

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
            if person is None or who not in asked.ways:
                for flow in asked.flows:
                    at = warp_points(at, flow, frame_wh)
                self._people[who] = self._new(at, scores, float(presence), asked.at_ns)
                continue
            residual = (at - asked.ways[who]) / person.unit
            person.target = person.filter(residual, asked.at_ns) * np.float32(person.unit)
            person.left = self._fade
            person.scores = person.scores + np.float32(0.5) * (scores - person.scores)
            person.presence = float(presence)

    def _new(self, at: NDArray[np.float32], scores: NDArray[np.float32], presence: float, at_ns: int) -> _Carried:
        """Begin to carry somebody."""
        unit = max(16.0, float((at.max(0) - at.min(0)).max()))
        nothing = np.zeros_like(at)
        one_euro = OneEuro(self._one_euro)
        one_euro(nothing, at_ns)
        return _Carried(at.copy(), nothing, nothing.copy(), scores, presence, unit, one_euro)

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
