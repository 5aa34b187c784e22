"""Pose: find people in the whole image now and then, and look at each of them closely.

Owns the pose bundle's contract with its one graph, `pose`, and the people of one stream. The same network does both:
shown the whole image or a part of it, its `people` say where somebody is; shown a square around one, its
`keypoints` say how they stand and its `presence` whether somebody is there at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ...engines.session import Session
from ...errors import BundleError, UsageError
from ...frame import Frame
from ...image import cut_square
from ...motion.flow import Flow
from ...motion.warp import warp_points
from ...temporal.dense import SteadyOptions
from ..task import Feeds, Outputs, Placement
from .people import People, Person
from .smoothing import PeopleSteadier
from .tracker import MARGIN, Memory, Square, Track, bounding_box, same_person, square_around, torso_look, views

ROLE = "pose"
_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_TELLING = 8  # joints that speak for a person: the face and the shoulders alone are as many
_QUICK = ("left_wrist", "right_wrist", "left_ankle", "right_ankle")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseSettings:
    """The figures that a pose bundle carries in `settings`; each may be overridden for a stream.

    Parameters
    ----------
    find_score : a place in the image that is looked at closely
    birth_presence : score of a person at a close look that starts to follow them
    keep_presence : averaged score of a person below which they are lost
    joint_score : joints below it are not drawn and do not count for the box
    find_every : runs of the network between two looks for somebody new while somebody is followed
    max_people : followed at the same time; the cost grows with each
    """

    find_score: float = 0.35
    birth_presence: float = 0.72
    keep_presence: float = 0.35
    joint_score: float = 0.3
    find_every: int = 8
    max_people: int = 6

    def __post_init__(self) -> None:
        shares = (self.find_score, self.birth_presence, self.keep_presence, self.joint_score)
        if not (all(0 <= share <= 1 for share in shares) and self.find_every >= 1 and self.max_people >= 1):
            raise BundleError(
                "The settings of a pose bundle are out of range",
                expected="scores 0..1, find_every and max_people of 1 or more",
                found=self,
            )

    @classmethod
    def of_manifest(cls, manifest: Manifest, **overrides: Any) -> PoseSettings:
        """Read the manifest's settings and replace those that are given (and not None)."""
        given = dict(manifest.settings) | {name: value for name, value in overrides.items() if value is not None}
        kinds = {field.name: field.type for field in fields(cls)}
        wrong = [
            name for name, value in given.items()
            if name not in kinds or isinstance(value, bool) or not isinstance(value, int | float)
            or (kinds[name] == "int" and value != int(value))
        ]  # fmt: skip
        if wrong:
            raise BundleError(
                "The settings of a pose bundle are not valid",
                expected="numbers named " + ", ".join(kinds),
                found=wrong,
            )
        return cls(**{name: int(value) if kinds[name] == "int" else value for name, value in given.items()})


class Pose:
    """Finds and follows the people of one stream.

    Parameters
    ----------
    manifest : of a pose bundle
    sessions : role -> session, shared with other streams if need be
    settings : overrides of the bundle's settings
    overlay : whether images show the skeletons

    References
    ----------
    Tompson et al. 2014 is the network. Looking twice with one network, and following, are ours.
    """

    name = "pose"
    carried = "keypoints"

    def __init__(
        self,
        manifest: Manifest,
        sessions: Mapping[str, Session],
        *,
        settings: PoseSettings | None = None,
        overlay: bool = True,
    ) -> None:
        graph = manifest.graphs.get(ROLE)
        size_hw = None if graph is None or graph.preprocess is None else graph.preprocess.size_hw
        if manifest.skeleton is None or size_hw is None or size_hw[0] != size_hw[1]:
            raise BundleError(
                f"Bundle {manifest.name!r} is not complete",
                expected=f"a skeleton, and a graph {ROLE!r} whose preprocess is a square",
                found=f"graphs {sorted(manifest.graphs)}, size {size_hw}",
                todo="Export it again with `steadyframe export`",
            )
        self.skeleton = manifest.skeleton
        self.settings = settings or PoseSettings.of_manifest(manifest)
        self._size = size_hw[0]
        self._session = sessions[ROLE]
        self._overlay = overlay
        self._steadier: PeopleSteadier | None = None
        joints = {name: index for index, name in enumerate(self.skeleton.joints)}
        self._torso = tuple(joints[name] for name in _TORSO if name in joints)
        self._quick = tuple(joints[name] for name in _QUICK if name in joints)
        self.reset()

    @property
    def device(self) -> str:
        """The device in use."""
        return self._session.device

    def steadier(self, options: SteadyOptions) -> PeopleSteadier:
        """Make the steadier of this stream, whose flow also tells where to look."""
        self._steadier = PeopleSteadier(options, quick=self._quick)
        return self._steadier

    def reset(self) -> None:
        """Forget everybody; ids start anew."""
        self._tracks: list[Track] = []
        self._memory = Memory()
        self._run = 0
        self._next_id = 1
        self._looked_at = 0
        self._looks = 0
        self._refused: list[tuple[Square, int]] = []

    def preprocess(self, frame: Frame) -> tuple[Feeds, Placement]:
        """Hand the frame on; what is cut out of it depends on where people were, which only `infer` knows.

        Returns
        -------
        feeds with `frame` (H, W, 3) uint8, `alone` () bool, whether no later frame shows this scene, and, with a
        steadier, `flows` (N, h, w, 2) float32, the forward flows since the network's last frame
        """
        feeds: Feeds = {"frame": frame.pixels, "alone": np.array(frame.alone)}
        flows = None if self._steadier is None else self._steadier.flows
        if flows:
            feeds["flows"] = np.stack([flow.vectors for flow in flows])
        return feeds, Placement(frame)

    def infer(self, feeds: Feeds) -> Outputs:
        """Look at everybody who is followed and, when it is time, for somebody new.

        Returns
        -------
        keypoints (N, J, 3) float32, x and y in pixels of the frame; ids (N,) int64; scores (N,) float32
        """
        pixels: NDArray[np.uint8] = feeds["frame"]
        self._run += 1
        self._move(feeds, (pixels.shape[1], pixels.shape[0]))
        for track in self._tracks:
            keypoints, presence = self._look(pixels, track.square)
            track.follow(keypoints, presence, self._run, self.settings.joint_score)
        self._part()
        due = self._run - self._looked_at >= self.settings.find_every
        if not self._tracks or due or self._run == 1:
            self._looked_at = self._run
            for view in self._views((pixels.shape[1], pixels.shape[0]), alone=bool(feeds["alone"])):
                self._find(pixels, view)
        for track in self._tracks:
            if (self._run - track.born) % 8 == 0:
                track.remember_look(torso_look(pixels, track.keypoints, self._torso))
        people, joints = self._tracks, len(self.skeleton.joints)
        return {
            "keypoints": np.array([track.keypoints for track in people], np.float32).reshape(-1, joints, 3),
            "ids": np.array([track.id for track in people], np.int64),
            "scores": np.array([track.presence for track in people], np.float32),
        }

    def postprocess(self, outputs: Outputs, placement: Placement) -> People:
        """Name the numbers."""
        least = self.settings.joint_score
        people = [
            Person(int(who), float(score), bounding_box(keypoints, least), keypoints)
            for who, score, keypoints in zip(outputs["ids"], outputs["scores"], outputs["keypoints"], strict=True)
        ]
        people.sort(key=lambda person: -max(person.bbox[2:]))
        return People(tuple(people), self.skeleton, placement.frame, least, self._overlay)

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def _move(self, feeds: Feeds, frame_wh: tuple[int, int]) -> None:
        """Let the squares go where the flow went since the last run."""
        for track in self._tracks:
            points = track.keypoints[:, :2]
            for vectors in feeds.get("flows", ()):
                points = warp_points(points, Flow(vectors, forward=True), frame_wh)
            track.moved(points, self.settings.joint_score)

    def _look(self, pixels: NDArray[np.uint8], square: Square) -> tuple[NDArray[np.float32], float]:
        """Look at a square: joints (J, 3) in pixels of the frame, and the chance that a person is there."""
        corner, side = square.cut(MARGIN)
        outputs = self._session.run({"frame": cut_square(pixels, corner, side, self._size)[None]})
        keypoints = outputs["keypoints"][0].copy()
        keypoints[:, :2] = (keypoints[:, :2] + 0.5) * (side / self._size) - 0.5 + np.array(corner, np.float32)
        # `presence` alone is too easily pleased: a coat or a dog has one, but hardly eight joints.
        telling = float(np.sort(keypoints[:, 2])[-_TELLING:].mean())
        return keypoints, float(outputs["presence"][0]) * telling

    def _part(self) -> None:
        """Let go of those who are gone, and of those who lie on somebody else."""
        kept: list[Track] = []
        for track in sorted(self._tracks, key=lambda track: (-(track.presence > 0.5), track.born)):
            gone = track.presence < self.settings.keep_presence
            if gone or any(same_person(track, other, self.settings.joint_score) for other in kept):
                self._memory.put(track)
            else:
                kept.append(track)
        self._tracks = kept

    def _views(self, frame_wh: tuple[int, int], *, alone: bool) -> list[Square]:
        """Where to look for somebody now: the whole image and a part in turns; all over, if no turn will follow."""
        whole, *parts = views(frame_wh, self._size)
        if (self._run == 1 and alone) or not parts:
            return [whole, *parts]
        self._looks += 1
        return [whole if self._looks % 2 else parts[self._looks // 2 % len(parts)]]

    def _find(self, pixels: NDArray[np.uint8], view: Square) -> None:
        """Look at a part of the image, and closely at everybody there who is not yet followed."""
        self._refused = [(place, run) for place, run in self._refused if self._run - run < self.settings.find_every]
        for square in self._places(pixels, view):
            if len(self._tracks) >= self.settings.max_people:
                return
            known = [track.square for track in self._tracks] + [place for place, _ in self._refused]
            if any(square.near(other) for other in known):
                continue
            track = self._meet(pixels, square)
            if track is None:
                self._refused.append((square, self._run))
                continue
            track.remember_look(torso_look(pixels, track.keypoints, self._torso))
            former = self._memory.take(track.look, self._run)
            track.id = self._next_id if former is None else former
            self._next_id += former is None
            self._tracks.append(track)

    def _meet(self, pixels: NDArray[np.uint8], square: Square) -> Track | None:
        """Look closely at a square, twice, as the first is only about right; None if nobody new is there."""
        least = self.settings.joint_score
        keypoints, presence = self._look(pixels, square)
        around = square_around(keypoints, least)
        if around is None or presence < self.settings.keep_presence:
            return None
        keypoints, presence = self._look(pixels, around)
        around = square_around(keypoints, least)
        if around is None or presence < self.settings.birth_presence:
            return None
        track = Track(0, keypoints, around, presence, self._run, self._run)
        return None if any(same_person(track, other, least) for other in self._tracks) else track

    def _places(self, pixels: NDArray[np.uint8], view: Square) -> list[Square]:
        """Squares in a part of the image where somebody may be, the surest first."""
        corner, side = view.cut(1.0)
        found = self._session.run({"frame": cut_square(pixels, corner, side, self._size)[None]})["people"][0]
        scale = side / self._size
        return [
            Square((x + 0.5) * scale - 0.5 + corner[0], (y + 0.5) * scale - 0.5 + corner[1], extent * scale)
            for x, y, extent, score in found.tolist()
            if score >= self.settings.find_score
        ]


def open_pose(manifest: Manifest, sessions: Mapping[str, Session], options: Mapping[str, Any]) -> Pose:
    """Open the task from plain options, as a command line has them.

    Parameters
    ----------
    manifest, sessions : of the bundle
    options : `overlay`, True or False; and any field of `PoseSettings`, None for the bundle's

    Raises
    ------
    UsageError
        If there is no such option.
    """
    known = ("overlay", *PoseSettings.__dataclass_fields__)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError("Task pose has no such option", found=", ".join(unknown), available=known)
    overrides = {name: value for name, value in options.items() if name != "overlay"}
    settings = PoseSettings.of_manifest(manifest, **overrides)
    return Pose(manifest, sessions, settings=settings, overlay=bool(options.get("overlay", True)))
