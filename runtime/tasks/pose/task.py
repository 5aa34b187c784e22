"""Pose: find people in the whole image now and then, and look at each of them closely.

Owns the pose bundle's contract with its one graph, `pose`, and the people of one stream. The same network does both:
shown the whole image or a part of it, its `people` say where somebody is; shown a crop around one, its
`keypoints` say how they stand and its `presence` whether somebody is there at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Manifest
from ...errors import BundleError
from ...frame import Frame
from ...image import crop_roi
from ...motion.flow import Flow
from ...motion.warp import warp_points
from ...planes import Planes, size_wh_of
from ...temporal.options import PropagatedOutput, SteadyOptions
from ...temporal.stage import EveryFrame, Motion, Outputs, Stage
from ..sessions import TaskSessions
from ..settings import settings_of
from ..task import Feeds, Placement, TaskDescriptor
from .people import People, Person
from .settings import PoseSettings
from .smoothing import PeopleStage
from .tracker import (
    MARGIN,
    Gallery,
    Roi,
    Track,
    bounding_box,
    roi_around,
    same_person,
    tiles,
    torso_histogram,
)

ROLE = "pose"
_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_TELLING = 8  # joints that speak for a person: the face and the shoulders alone are as many
_EXTREMITIES = ("left_wrist", "right_wrist", "left_ankle", "right_ankle")


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
    propagated = PropagatedOutput(name="keypoints")

    def __init__(
        self,
        manifest: Manifest,
        sessions: TaskSessions,
        *,
        settings: PoseSettings | None = None,
        overlay: bool = True,
    ) -> None:
        graph = manifest.graphs.get(ROLE)
        size_hw = None if graph is None or graph.preprocess is None else graph.preprocess.size_hw
        if manifest.skeleton is None or size_hw is None or size_hw[0] != size_hw[1]:
            raise BundleError(
                f"Bundle {manifest.name!r} is not complete",
                expected=f"a skeleton, and a graph {ROLE!r} whose input is square",
                found=f"graphs {sorted(manifest.graphs)}, size {size_hw}",
                todo="Export it again with `steadyframe export`",
            )
        self.skeleton = manifest.skeleton
        self.settings = settings or settings_of(PoseSettings, manifest)
        self._size = size_hw[0]
        assert graph is not None
        self._batched = isinstance(graph.inputs[0].axes[0], str)
        self._sessions = sessions
        self._overlay = overlay
        joints = {name: index for index, name in enumerate(self.skeleton.joints)}
        self._torso = tuple(joints[name] for name in _TORSO if name in joints)
        self._extremities = tuple(joints[name] for name in _EXTREMITIES if name in joints)
        self._forget()

    @property
    def device(self) -> str:
        """The device in use."""
        return self._sessions.device

    def make_stage(self, options: SteadyOptions, *, live: bool = False) -> Stage:
        """Make the temporal stage of one stream, whose flow also moves the ROIs."""
        del live  # joints are followed by what is known of the past alone
        return EveryFrame() if options.mode == "off" else PeopleStage(options, extremities=self._extremities)

    def _forget(self) -> None:
        """Forget everybody; ids start anew."""
        self._tracks: list[Track] = []
        self._gallery = Gallery()
        self._run = 0
        self._next_id = 1
        self._looked_at = 0
        self._looks = 0
        self._refused: list[tuple[Roi, int]] = []

    def preprocess(self, frame: Frame, motion: Motion | None = None) -> tuple[Feeds, Placement]:
        """Hand the frame on; what is cut out of it depends on where people were, which only `infer` knows.

        Parameters
        ----------
        frame : the next one
        motion : holds the flows since the network's last frame; without one, or at a restart, all tracks end

        Returns
        -------
        feeds with `frame`, (H, W, 3) uint8 or planes;
        `independent` () bool, whether no later frame shows this scene; `restart`
        () bool; and `flows` (N, h, w, 2) float32, the forward flows since the network's last frame, if there are any
        """
        feeds: Feeds = {
            "frame": frame.image,
            "independent": np.array(frame.independent),
            "restart": np.array(motion is None or motion.restart),
        }
        if motion is not None and motion.flows:
            feeds["flows"] = np.stack([flow.vectors for flow in motion.flows])
        return feeds, Placement(frame)

    def infer(self, feeds: Feeds) -> Outputs:
        """Look at everybody who is followed and, when it is time, for somebody new.

        Returns
        -------
        keypoints (N, J, 3) float32, x and y in pixels of the frame; ids (N,) int64; scores (N,) float32
        """
        pixels: NDArray[np.uint8] | Planes = feeds["frame"]
        if feeds["restart"]:
            self._forget()
        self._run += 1
        self._move(feeds, size_wh_of(pixels))
        found = self._look(pixels, [track.roi for track in self._tracks])
        for track, (keypoints, presence) in zip(self._tracks, found, strict=True):
            track.follow(keypoints, presence, self._run, self.settings.joint_score)
        self._part()
        due = self._run - self._looked_at >= self.settings.find_every
        if not self._tracks or due or self._run == 1:
            self._looked_at = self._run
            for tile in self._tiles(size_wh_of(pixels), independent=bool(feeds["independent"])):
                self._find(pixels, tile)
        for track in self._tracks:
            if (self._run - track.born) % 8 == 0:
                track.remember_appearance(torso_histogram(pixels, track.keypoints, self._torso))
        people, joints = self._tracks, len(self.skeleton.joints)
        return {
            "keypoints": np.array([track.keypoints for track in people], np.float32).reshape(-1, joints, 3),
            "ids": np.array([track.id for track in people], np.int64),
            "scores": np.array([track.presence for track in people], np.float32),
        }

    def postprocess(self, outputs: Outputs, placement: Placement) -> People:
        """Turn the network's arrays into `People` in pixels of the frame."""
        least = self.settings.joint_score
        people = [
            Person(int(who), float(score), bounding_box(keypoints, least), keypoints)
            for who, score, keypoints in zip(outputs["ids"], outputs["scores"], outputs["keypoints"], strict=True)
        ]
        people.sort(key=lambda person: -max(person.bbox[2:]))
        return People(tuple(people), self.skeleton, placement.frame, least, self._overlay)

    def close(self) -> None:
        """Close the session if the task owns it."""
        self._sessions.close()

    def _move(self, feeds: Feeds, frame_wh: tuple[int, int]) -> None:
        """Move the ROIs as the flow went since the last run."""
        for track in self._tracks:
            points = track.keypoints[:, :2]
            for vectors in feeds.get("flows", ()):
                points = warp_points(points, Flow(vectors, forward=True), frame_wh)
            track.moved(points, self.settings.joint_score)

    def _look(
        self, pixels: NDArray[np.uint8] | Planes, rois: Sequence[Roi]
    ) -> list[tuple[NDArray[np.float32], float]]:  # fmt: skip
        """Look at crops in one run: joints (J, 3) in pixels of the frame, and the chance that a person is there."""
        if not rois:
            return []
        places = [roi.cut(MARGIN) for roi in rois]
        crops = np.stack([crop_roi(pixels, corner, side, self._size) for corner, side in places])
        mirror = bool(self.settings.mirror)
        outputs = self._run_on(np.concatenate((crops, crops[:, :, ::-1])) if mirror else crops)
        found = []
        for i, (corner, side) in enumerate(places):
            keypoints, score = self._in_frame(outputs, i, corner, side)
            if mirror:
                turned = outputs["keypoints"][len(rois) + i]
                turned[:] = turned[list(self.skeleton.mirror)]
                turned[:, 0] = self._size - 1 - turned[:, 0]
                second, other = self._in_frame(outputs, len(rois) + i, corner, side)
                keypoints, score = averaged(keypoints, second, 0.1 * side), (score + other) / 2
            found.append((keypoints, score))
        return found

    def _run_on(self, crops: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Run the network on crops, (N, S, S, 3), at once where it takes a batch."""
        crops = np.ascontiguousarray(crops)
        if self._batched or len(crops) == 1:
            return self._sessions.run(ROLE, {"frame": crops})
        runs = [self._sessions.run(ROLE, {"frame": crops[i : i + 1]}) for i in range(len(crops))]
        return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}

    def _in_frame(
        self, outputs: Mapping[str, NDArray[Any]], number: int, corner: tuple[int, int], side: int
    ) -> tuple[NDArray[np.float32], float]:
        """Convert the network's outputs on one of its crops to pixels of the frame, and compute a person's score."""
        keypoints = outputs["keypoints"][number].copy()
        keypoints[:, :2] = (keypoints[:, :2] + 0.5) * (side / self._size) - 0.5 + np.array(corner, np.float32)
        # `presence` alone gives false positives: a coat or a dog has one, but hardly eight joints.
        telling = float(np.sort(keypoints[:, 2])[-_TELLING:].mean())
        return keypoints, float(outputs["presence"][number]) * telling

    def _part(self) -> None:
        """Drop the tracks that are lost, and those on the same joints as another."""
        kept: list[Track] = []
        for track in sorted(self._tracks, key=lambda track: (-(track.presence > 0.5), track.born)):
            gone = track.presence < self.settings.keep_presence
            if gone or any(same_person(track, other, self.settings.joint_score) for other in kept):
                self._gallery.put(track)
            else:
                kept.append(track)
        self._tracks = kept

    def _tiles(self, frame_wh: tuple[int, int], *, independent: bool) -> list[Roi]:
        """Where to look for somebody now: the whole image and a part in turns; all over, if no turn will follow."""
        whole, *parts = tiles(frame_wh, self._size)
        if (self._run == 1 and independent) or not parts:
            return [whole, *parts]
        self._looks += 1
        return [whole if self._looks % 2 else parts[self._looks // 2 % len(parts)]]

    def _find(self, pixels: NDArray[np.uint8] | Planes, tile: Roi) -> None:
        """Look at a part of the image, and closely at everybody there who is not yet followed."""
        self._refused = [(place, run) for place, run in self._refused if self._run - run < self.settings.find_every]
        places, keypoints, score = self._places(pixels, tile)
        places = [roi for roi in places if not self._is_known(roi)]
        while places and (room := self.settings.max_people - len(self._tracks)) > 0:
            self._meet_all(pixels, places[:room])
            places = places[room:]
        if not self._tracks and tile.side >= max(size_wh_of(pixels)) and score >= self.settings.birth_presence:
            # Who fills the image may have no place in it that looks like a person from afar.
            self._meet_in_whole(pixels, keypoints, score)

    def _meet_all(self, pixels: NDArray[np.uint8] | Planes, places: Sequence[Roi]) -> None:
        """Look at places, all in one run, and follow whoever is there."""
        for roi, (joints, presence) in zip(places, self._look(pixels, places), strict=True):
            if self._is_known(roi):  # by now: somebody was met in this very search
                continue
            track = self._meet(pixels, joints, presence)
            if track is None:
                self._refused.append((roi, self._run))
                continue
            self._welcome(pixels, track)

    def _is_known(self, roi: Roi) -> bool:
        """Whether somebody is followed there, or nobody was found there lately."""
        known = [track.roi for track in self._tracks] + [place for place, _ in self._refused]
        return any(roi.near(other) for other in known)

    def _welcome(self, pixels: NDArray[np.uint8] | Planes, track: Track) -> None:
        """Follow somebody from now on, by their former id if they were here before."""
        track.remember_appearance(torso_histogram(pixels, track.keypoints, self._torso))
        former = self._gallery.take(track.appearance, self._run)
        track.id = self._next_id if former is None else former
        self._next_id += former is None
        self._tracks.append(track)

    def _meet_in_whole(
        self, pixels: NDArray[np.uint8] | Planes, keypoints: NDArray[np.float32], score: float
    ) -> None:
        """Follow the person that the look at the whole image shows, or a closer look at them if that is surer."""
        least = self.settings.joint_score
        around = roi_around(keypoints, least)
        if around is None:
            return
        ((closer, surer),) = self._look(pixels, [around])
        again = roi_around(closer, least)
        if surer > score and again is not None:
            keypoints, score, around = closer, surer, again
        self._welcome(pixels, Track(0, keypoints, around, score, self._run, self._run))

    def _meet(
        self, pixels: NDArray[np.uint8] | Planes, keypoints: NDArray[np.float32], presence: float
    ) -> Track | None:  # fmt: skip
        """Look again where a first look found joints, (J, 3), since its ROI was approximate; None for nobody new."""
        least = self.settings.joint_score
        around = roi_around(keypoints, least)
        if around is None or presence < self.settings.keep_presence:
            return None
        ((keypoints, presence),) = self._look(pixels, [around])
        around = roi_around(keypoints, least)
        if around is None or presence < self.settings.birth_presence:
            return None
        track = Track(0, keypoints, around, presence, self._run, self._run)
        return None if any(same_person(track, other, least) for other in self._tracks) else track

    def _places(self, pixels: NDArray[np.uint8] | Planes, tile: Roi) -> tuple[list[Roi], NDArray[np.float32], float]:
        """Candidates in a tile, the highest score first; and the tile itself as an ROI (`_look`)."""
        corner, side = tile.cut(1.0)
        outputs = self._sessions.run(ROLE, {"frame": crop_roi(pixels, corner, side, self._size)[None]})
        scale = side / self._size
        places = [
            Roi((x + 0.5) * scale - 0.5 + corner[0], (y + 0.5) * scale - 0.5 + corner[1], extent * scale)
            for x, y, extent, score in outputs["people"][0].tolist()
            if score >= self.settings.find_score
        ]
        return places, *self._in_frame(outputs, 0, corner, side)


def averaged(first: NDArray[np.float32], second: NDArray[np.float32], reach: float) -> NDArray[np.float32]:
    """Average two looks at joints, (J, 3): by score within `reach` pixels, else the surer one; scores by the mean."""
    weight = first[:, 2:] / np.maximum(first[:, 2:] + second[:, 2:], 1e-6)
    near = np.linalg.norm(first[:, :2] - second[:, :2], axis=1, keepdims=True) < reach
    weight = np.where(near, weight, weight >= 0.5)
    at = weight * first[:, :2] + (1 - weight) * second[:, :2]
    return np.concatenate((at, (first[:, 2:] + second[:, 2:]) / 2), 1).astype(np.float32)


def open_pose(manifest: Manifest, sessions: TaskSessions, options: Mapping[str, Any]) -> Pose:
    """Open the task from plain options, as a command line has them.

    Parameters
    ----------
    manifest, sessions : of the bundle
    options : `overlay`, True or False; and any field of `PoseSettings`

    Raises
    ------
    UsageError
        If a value is out of range.
    """
    overrides = {name: value for name, value in options.items() if name != "overlay"}
    overlay = str(options.get("overlay", True)).lower() not in ("false", "0", "no", "off")
    return Pose(manifest, sessions, settings=settings_of(PoseSettings, manifest, overrides), overlay=overlay)


descriptor = TaskDescriptor(
    name="pose",
    open=open_pose,
    options={
        "find_score": "score of a candidate from which the network runs on its crop, 0 to 1",
        "birth_presence": "score of a person in a crop from which they are tracked, 0 to 1",
        "keep_presence": "averaged score of a person below which they are lost, 0 to 1",
        "joint_score": "joints below it are not drawn and do not count for the box, 0 to 1",
        "find_every": "runs of the network between two searches for new people",
        "max_people": "people that are tracked at the same time",
        "mirror": "1 looks at every crop a second time, mirrored, at twice the cost; 0 does not",
        "overlay": "draw the skeletons, true or false",
    },
    steady="keyframe",
    reference="steadyframe.models.pose.reference:PoseReference",
    quality_metric="steadyframe.calibration.quality:JOINTS_LOST",
)
