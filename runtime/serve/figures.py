"""Live figures of one room: rate, age, flicker, keyframes; and the machine's temperature.

Owns `Figures`, `Flicker` and `temperature_c`. The figures on the page and in the metrics come from here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..tasks.pose.people import People
from ..tasks.task import Result

_WINDOW_S = 2.0  # over which rate and spread are taken
_SHORT_S = 0.2  # two results in a burst say nothing about the rate
_LEAST, _OLDEST_S = 3, 10.0  # of a slow source, the last results, unless they are older than this
_LOOK_WH = (96, 54)  # where flicker is measured
_STILL = 3  # grey levels by which a place of the camera's image may change and still counts as still
_LEAST_STILL = 0.05  # share of the image that must stand still for a figure
_THERMAL = Path("/sys/class/thermal")


class Flicker:
    """Change of the result where the camera's image stands still, as a mean of grey levels 0..255.

    A live measure that needs no optical flow: places where the input changed by more than 3 levels are left out.
    For people it is the median second difference of their joints, in pixels.

    References
    ----------
    Ours. `steadyframe bench` measures the warping error of the literature, on files.
    """

    def __init__(self) -> None:
        self._input: NDArray[np.int16] | None = None
        self._output: NDArray[np.int16] | None = None
        self._joints: dict[int, deque[NDArray[np.float32]]] = {}

    def of(self, result: Result[Any]) -> float | None:
        """Measure the change from the result before; None where nothing can be said."""
        if isinstance(result.output, People):
            return self._of_people(result.output)
        shown, seen = _small(result.draw()), _small(result.frame.luma)
        before, self._output = self._output, shown
        seen_before, self._input = self._input, seen
        if before is None or seen_before is None or before.shape != shown.shape:
            return None
        still = np.abs(seen - seen_before) <= _STILL
        if still.mean() < _LEAST_STILL:
            return None
        return float(np.abs(shown - before)[still].mean())

    def _of_people(self, people: People) -> float | None:
        found = []
        joints = {person.id: person.keypoints for person in people.people}
        self._joints = {name: self._joints.get(name, deque(maxlen=3)) for name in joints}
        for name, points in joints.items():
            path = self._joints[name]
            path.append(points)
            if len(path) == 3:
                sure = np.min([each[:, 2] for each in path], axis=0) >= people.least_score
                second = path[0][:, :2] - 2 * path[1][:, :2] + path[2][:, :2]
                found += np.linalg.norm(second[sure], axis=1).tolist()
        return float(np.median(found)) if found else None


def _small(image: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Reduce an image for the comparison."""
    step = max(1, min(image.shape[1] // (2 * _LOOK_WH[0]), image.shape[0] // (2 * _LOOK_WH[1])))
    small = cv2.resize(image[::step, ::step], _LOOK_WH, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.int16)


class Figures:
    """What happened in the last two seconds; may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, float, bool, float | None, float]] = deque(maxlen=512)
        self._flicker = Flicker()
        self.frames = self.keyframes = 0

    def record(self, result: Result[Any]) -> None:
        """Count one result; called by the room's own thread only."""
        flicker = self._flicker.of(result)
        spent = sum(
            result.timings_ms.get(part, 0.0) for part in ("flow", "preprocess", "infer", "steady", "postprocess")
        )
        with self._lock:
            self.frames += 1
            self.keyframes += result.keyframe
            self._recent.append((time.monotonic(), result.age_ms, result.keyframe, flicker, spent))

    def restart(self) -> None:
        """Forget what another network did."""
        with self._lock:
            self._recent.clear()
            self._flicker = Flicker()

    def as_json(self, *, silent: bool = False) -> dict[str, Any]:
        """Rate in frames a second, ages in ms, flicker, share of keyframes, ms of work a frame; null if unknown.

        Where the source is `silent`, nothing is known.
        """
        now = time.monotonic()
        with self._lock:
            all_of_them = list(self._recent)
        recent = [each for each in all_of_them if each[0] >= now - _WINDOW_S]
        if len(recent) < _LEAST:
            recent = [each for each in all_of_them[-_LEAST:] if each[0] >= now - _OLDEST_S]
        if silent or not recent:
            return dict.fromkeys(("fps", "age_p50", "age_p95", "flicker", "keyframes", "work_ms"))
        ages = sorted(age for _, age, _, _, _ in recent)
        span_s = recent[-1][0] - recent[0][0]
        return {
            "fps": round((len(recent) - 1) / span_s, 1) if span_s > _SHORT_S else None,
            "age_p50": round(ages[(len(ages) - 1) // 2], 1),
            "age_p95": round(ages[min(len(ages) - 1, round(0.95 * len(ages)))], 1),
            "flicker": _mean(flicker for _, _, _, flicker, _ in recent),
            "keyframes": round(sum(key for _, _, key, _, _ in recent) / len(recent), 3),
            "work_ms": _mean(spent for *_, spent in recent),
        }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 2) if known else None


def temperature_c(folder: Path = _THERMAL) -> float | None:
    """Read the temperature of the hottest thermal zone in degrees Celsius; None where the system tells none."""
    found = []
    for path in sorted(folder.glob("thermal_zone*/temp")):
        try:
            value = int(path.read_text()) / 1000
        except (OSError, ValueError):
            continue  # a zone that is switched off cannot be read
        if 0 < value < 150:
            found.append(value)
    return max(found, default=None)
