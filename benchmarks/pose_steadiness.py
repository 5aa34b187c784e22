"""How much joints tremble, and how far they lag: every steady mode, and MediaPipe Pose full in video mode.

Trembling is the second difference of shoulders, elbows and wrists, in thousandths of the shoulder width; a median
alone could be gamed, so mean and 90th percentile stand beside it. The lag is the shift in time, in frames, that
matches a mode's paths best to those of the unsteadied network (`off`). Usage::

    python benchmarks/pose_steadiness.py ../shared/data/videos/webcam_{hungry,want}.mkv --rivals-python mp/bin/python
"""

from __future__ import annotations

import click
import numpy as np
from numpy.typing import NDArray
from pose_speed import Rival
from steadyframe.runtime.bundle import Bundle
from steadyframe.runtime.steady import SteadyOptions, open_steadier
from steadyframe.runtime.streaming import Stream
from steadyframe.runtime.tasks import open_task

JOINTS = ("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist")
COCO_PLACES = (5, 6, 7, 8, 9, 10)
SHIFTS = np.arange(-3, 3.01, 0.05)


def paths(bundle: Bundle, clip: str, mode: str) -> NDArray[np.float64]:
    """Places of `JOINTS` of the nearest person, (frames, 6, 3); NaN where nobody is."""
    task = open_task(bundle)
    places = [bundle.manifest.skeleton.joints.index(name) for name in JOINTS]
    steadier = open_steadier(task, SteadyOptions.of(mode))
    found = []
    for result in Stream(clip, task, ["null://"], steadier=steadier):
        people = result.result.people
        found.append(people[0].keypoints[places] if people else np.full((6, 3), np.nan))
    task.close()
    return np.array(found, np.float64)


def trembling(path: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Second differences of sure joints, in thousandths of the shoulder width."""
    at, sure = path[..., :2].copy(), path[..., 2] >= least
    at[~sure] = np.nan
    width = np.nanmedian(np.linalg.norm(at[:, 0] - at[:, 1], axis=-1))
    second = np.linalg.norm(np.diff(at, 2, axis=0), axis=-1) / width * 1000
    return second[np.isfinite(second)]


def lag(path: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Frames by which a path is late against a reference, where joints move."""
    count = min(len(path), len(reference))
    time = np.arange(count, dtype=np.float64)
    costs = np.zeros(len(SHIFTS))
    for joint in range(path.shape[1]):
        for axis in range(2):
            a, b = path[:count, joint, axis], reference[:count, joint, axis]
            good = np.isfinite(a) & np.isfinite(b)
            if good.sum() < 30:
                continue
            inside = time[good][5:-5]
            for place, shift in enumerate(SHIFTS):
                earlier = np.interp(inside - shift, time[good], b[good])
                costs[place] += np.square(np.interp(inside, time[good], a[good]) - earlier).sum()
    return float(SHIFTS[int(np.argmin(costs))])


@click.command()
@click.argument("clips", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--bundle", default="pose", show_default=True)
@click.option("--rivals-python", type=click.Path(exists=True), help="A Python with mediapipe==0.10.21.")
def main(clips: tuple[str, ...], bundle: str, rivals_python: str | None) -> None:
    """Measure on CLIPS."""
    loaded = Bundle.load(bundle)
    rival = None if rivals_python is None else Rival(rivals_python)
    pooled: dict[str, list[NDArray[np.float64]]] = {}
    lags: dict[str, list[float]] = {}
    for clip in clips:
        raw = paths(loaded, clip, "off")
        pooled.setdefault("steadyframe off", []).append(trembling(raw, 0.3))
        for mode in ("blend", "keyframe"):
            path = paths(loaded, clip, mode)
            pooled.setdefault(f"steadyframe {mode}", []).append(trembling(path, 0.3))
            lags.setdefault(f"steadyframe {mode}", []).append(lag(path, raw))
        if rival is not None:
            joints = rival.play(clip, 100_000)["joints"]
            nobody = [(np.nan,) * 3] * 17
            theirs = np.array([nobody if j is None else j for j in joints], np.float64)[:, COCO_PLACES]
            pooled.setdefault("mediapipe full", []).append(trembling(theirs, 0.5))
            lags.setdefault("mediapipe full", []).append(lag(theirs, raw))
    if rival is not None:
        rival.close()
    heading = "second difference, 1/1000 shoulder width"
    print(f"{heading:40s} {'median':>8s} {'mean':>8s} {'p90':>8s} {'samples':>8s}   lag against off, frames")
    for name, parts in pooled.items():
        all_of = np.concatenate(parts)
        if not len(all_of):
            print(f"{name:40s} nobody was found")
            continue
        late = " ".join(f"{value:+.2f}" for value in lags.get(name, []))
        figures = (np.median(all_of), all_of.mean(), np.percentile(all_of, 90))
        print(f"{name:40s} " + " ".join(f"{v:8.2f}" for v in figures) + f" {len(all_of):8d}   {late}")


if __name__ == "__main__":
    main()
