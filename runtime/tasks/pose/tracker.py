"""Following people: ROIs around them, who is who, and who has come back.

Owns `Track` and the geometry of ROIs. Knows nothing of networks and flows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ...planes import Planes, cropped_bgr, size_wh_of

MARGIN = 1.25  # side of a crop over the side of the box around the joints, as in training
_SMALLEST = 24.0  # pixels; a smaller box is noise
_STRONG_CHANGE = 1.4  # a box that changes by more follows at once, a smaller change is smoothed
_NOBODY = 0.15  # presence that leaves no doubt
_BINS = [12, 6]  # hue and saturation
_PART = 0.62  # side of a part of the image over its shorter side
_APART = 0.62  # of that side from one part to the next, so that whoever is small lies whole in one of them
_MOST_PARTS = 6  # in a row


@dataclass(frozen=True, slots=True)
class Roi:
    """A square ROI in a frame: center and side in pixels."""

    x: float
    y: float
    side: float

    def cut(self, margin: float) -> tuple[tuple[int, int], int]:
        """Give corner and side, in whole pixels, of the ROI enlarged by a margin."""
        side = max(8, round(self.side * margin))
        return (round(self.x + 0.5 - side / 2), round(self.y + 0.5 - side / 2)), side

    def near(self, other: Roi) -> bool:
        """Whether both ROIs may be the same person's."""
        distance = float(np.hypot(self.x - other.x, self.y - other.y))
        small, large = sorted((self.side, other.side))
        return distance < 0.35 * large and small > 0.4 * large


def roi_around(keypoints: NDArray[np.float32], least_score: float) -> Roi | None:
    """Roi around the joints, (J, 3), that are seen; None if there are fewer than three."""
    seen = keypoints[keypoints[:, 2] >= least_score, :2]
    if len(seen) < 3:
        return None
    low, high = seen.min(0), seen.max(0)
    middle, side = (low + high) / 2, float((high - low).max())
    return Roi(float(middle[0]), float(middle[1]), max(side, _SMALLEST))


def bounding_box(keypoints: NDArray[np.float32], least_score: float) -> tuple[float, float, float, float]:
    """Compute x, y, width and height around the visible joints of (J, 3) keypoints, or around all if none is."""
    seen = keypoints[keypoints[:, 2] >= least_score, :2]
    points = seen if len(seen) else keypoints[:, :2]
    low, high = points.min(0), points.max(0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def tiles(frame_wh: tuple[int, int], least_side: int) -> list[Roi]:
    """Tiles in which people are searched: the whole image, then overlapping parts for small people.

    Parameters
    ----------
    frame_wh : width and height of the frame
    least_side : pixels, the network's own size; a smaller part would be enlarged without showing more

    Returns
    -------
    the whole image, and rows of overlapping parts, from the upper left

    Examples
    --------
    >>> len(tiles((640, 480), 192)), len(tiles((192, 108), 192))
    (7, 1)
    """
    width, height = frame_wh
    longer, shorter = max(frame_wh), min(frame_wh)
    whole = Roi((width - 1) / 2, (height - 1) / 2, longer)
    side = max(_PART * shorter, least_side)
    if longer <= least_side:
        return [whole]
    columns, rows = (_middles(length, side) for length in frame_wh)
    return [whole, *(Roi(x, y, side) for y in rows for x in columns)]


def _middles(length: int, side: float) -> list[float]:
    """Middles of overlapping parts that cover a length, in pixels."""
    if length <= side:
        return [(length - 1) / 2]
    count = min(_MOST_PARTS, 1 + int(np.ceil((length - side) / (_APART * side))))
    return [float(at) for at in np.linspace(side / 2, length - side / 2, count) - 0.5]


@dataclass(slots=True)
class Track:
    """One person who is followed.

    Parameters
    ----------
    id : never given again
    keypoints : (J, 3) float32, pixels of the frame of the last run
    roi : where to look for them next
    presence : chance that it is a person, averaged over the last runs
    appearance : histogram of hue and saturation of the torso, or None
    born, seen : number of the run when it was found, and when it was last seen
    """

    id: int
    keypoints: NDArray[np.float32]
    roi: Roi
    presence: float
    born: int
    seen: int
    appearance: NDArray[np.float32] | None = None

    def follow(self, keypoints: NDArray[np.float32], presence: float, run: int, least_score: float) -> None:
        """Take in the (J, 3) keypoints and the presence that the network found in the ROI."""
        self.keypoints, self.seen = keypoints, run
        share = 1.0 if presence < _NOBODY else 0.5  # an empty ROI needs no second look
        self.presence += share * (presence - self.presence)
        found = roi_around(keypoints, least_score)
        if found is None:
            return
        change = max(found.side / self.roi.side, self.roi.side / found.side)
        share = 1.0 if change > _STRONG_CHANGE else 0.4
        side = self.roi.side + share * (found.side - self.roi.side)
        self.roi = Roi(found.x, found.y, side)

    def moved(self, points: NDArray[np.float32], least_score: float) -> None:
        """Shift the ROI as its joints, (J, 2), went since the last run."""
        seen = self.keypoints[:, 2] >= least_score
        if not seen.any():
            return
        step = np.median(points[seen] - self.keypoints[seen, :2], axis=0)
        self.roi = Roi(self.roi.x + float(step[0]), self.roi.y + float(step[1]), self.roi.side)

    def remember_appearance(self, appearance: NDArray[np.float32] | None) -> None:
        """Average the histogram of the person's torso, (bins, bins), into the stored one; None changes nothing."""
        if appearance is not None:
            self.appearance = (
                appearance
                if self.appearance is None
                else self.appearance + np.float32(0.2) * (appearance - self.appearance)
            )


def same_person(one: Track, other: Track, least_score: float) -> bool:
    """Whether two tracks have the same joints."""
    both = (one.keypoints[:, 2] >= least_score) & (other.keypoints[:, 2] >= least_score)
    if both.sum() < 4:
        return False
    distance = np.linalg.norm(one.keypoints[both, :2] - other.keypoints[both, :2], axis=1)
    return float(np.median(distance)) < 0.1 * min(one.roi.side, other.roi.side)


def torso_histogram(
    pixels: NDArray[np.uint8] | Planes, keypoints: NDArray[np.float32], torso: tuple[int, ...]
) -> NDArray[np.float32] | None:
    """Compute the histogram of hue and saturation, (bins, bins) float32, of the region that the torso's joints span.

    `pixels` (H, W, 3) uint8 BGR, `keypoints` (J, 3). None if the torso cannot be seen.
    """
    corners = keypoints[list(torso)]
    corners = corners[corners[:, 2] >= 0.3]
    if len(corners) < 3:
        return None
    width, height = size_wh_of(pixels)
    low = np.clip(corners[:, :2].min(0), 0, (width, height)).astype(int)
    high = np.clip(corners[:, :2].max(0), 0, (width, height)).astype(int)
    region = cropped_bgr(pixels, (int(low[0]), int(low[1])), (int(high[0]), int(high[1])))
    if min(region.shape[:2]) < 4:
        return None
    small = cv2.resize(region, (24, 24), interpolation=cv2.INTER_AREA)
    histogram = cv2.calcHist([cv2.cvtColor(small, cv2.COLOR_BGR2HSV)], [0, 1], None, _BINS, [0, 180, 0, 256])
    return np.asarray(histogram / histogram.sum(), np.float32)


@dataclass(slots=True)
class Gallery:
    """The re-identification gallery: people who were lost, so that one who comes back keeps the id.

    Parameters
    ----------
    keep_runs : how long somebody is remembered
    most_different : Bhattacharyya distance of looks, 0 to 1, up to which it is the same person
    """

    keep_runs: int = 300
    most_different: float = 0.45
    lost: list[Track] = field(default_factory=list)

    def put(self, track: Track) -> None:
        """Remember somebody who is gone."""
        if track.appearance is not None:
            self.lost.append(track)

    def take(self, appearance: NDArray[np.float32] | None, run: int) -> int | None:
        """Return the id of the most similar histogram, (bins, bins), and forget that person; None for no match."""
        self.lost = [track for track in self.lost if run - track.seen <= self.keep_runs]
        if appearance is None or not self.lost:
            return None
        distances = [
            cv2.compareHist(appearance, t.appearance, cv2.HISTCMP_BHATTACHARYYA)
            for t in self.lost
            if t.appearance is not None
        ]
        best = int(np.argmin(distances))
        return self.lost.pop(best).id if distances[best] <= self.most_different else None
