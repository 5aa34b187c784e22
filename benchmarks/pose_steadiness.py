r"""How much joints jitter, and how far they lag: every steady mode, and MediaPipe Pose full in video mode.

Jitter is the second difference of shoulders, elbows and wrists, in thousandths of the shoulder width; a median
alone could be gamed, so mean and 90th percentile stand beside it. The lag is the shift in time, in frames, that
matches a mode's paths best to those of the unsteadied network (`off`), over what moves; frames around a jump of that
network by more than half a shoulder width are left out (`runtime/bench/jitter.py`). Usage::

    python benchmarks/pose_steadiness.py ../shared/data/videos/webcam_{hungry,want,eat,bird}.mkv \
        --rivals-python mp/bin/python
"""

from __future__ import annotations

import click
import numpy as np
from numpy.typing import NDArray
from pose_speed import Rival
from steadyframe.runtime.bench.jitter import LagCosts, lag_costs, second_differences

import steadyframe as sf

JOINTS = ("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist")
COCO_PLACES = (5, 6, 7, 8, 9, 10)
LEAST, LEAST_RIVAL = 0.3, 0.5  # scores of joints that count


def paths(bundle: sf.Bundle, clip: str, mode: str) -> NDArray[np.float64]:
    """Places of `JOINTS` of the nearest person, (frames, 6, 3); NaN where nobody is."""
    places = [bundle.manifest.skeleton.joints.index(name) for name in JOINTS]
    found = []
    for result in sf.open_stream(bundle, clip, ["null://"], steady=mode):
        people = result.output.people
        found.append(people[0].keypoints[places] if people else np.full((6, 3), np.nan))
    return np.array(found, np.float64)


def sure(path: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Places of a path, (T, 6, 2), NaN where it is not sure."""
    return np.where(path[..., 2:] >= least, path[..., :2], np.nan)


def shoulders(path: NDArray[np.float64]) -> float:
    """Median width of the shoulders in pixels."""
    return float(np.nanmedian(np.linalg.norm(path[:, 0] - path[:, 1], axis=-1)))


@click.command()
@click.argument("clips", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--bundle", default="pose", show_default=True)
@click.option("--rivals-python", type=click.Path(exists=True), help="A Python with mediapipe==0.10.21.")
def main(clips: tuple[str, ...], bundle: str, rivals_python: str | None) -> None:
    """Measure on CLIPS."""
    loaded = sf.Bundle.load(bundle)
    rival = None if rivals_python is None else Rival(rivals_python)
    pooled: dict[str, list[NDArray[np.float64]]] = {}
    lags: dict[str, list[LagCosts]] = {}

    def note(name: str, path: NDArray[np.float64], raw: NDArray[np.float64]) -> None:
        pooled.setdefault(name, []).append(second_differences(path, shoulders(path)))
        count = min(len(path), len(raw))
        lags.setdefault(name, []).append(lag_costs(path[:count], raw[:count], shoulders(raw)))

    for clip in clips:
        raw = sure(paths(loaded, clip, "off"), LEAST)
        note("steadyframe off", raw, raw)
        for mode in ("blend", "keyframe"):
            note(f"steadyframe {mode}", sure(paths(loaded, clip, mode), LEAST), raw)
        if rival is not None:
            joints = rival.play(clip, 100_000)["joints"]
            nobody = [(np.nan,) * 3] * 17
            theirs = np.array([nobody if j is None else j for j in joints], np.float64)[:, COCO_PLACES]
            note("mediapipe full", sure(theirs, LEAST_RIVAL), raw)
    if rival is not None:
        rival.close()
    heading = "second difference, 1/1000 shoulder width"
    print(f"{heading:40s} {'median':>8s} {'mean':>8s} {'p90':>8s} {'samples':>8s}   lag, frames: all (by clip)")
    for name, parts in pooled.items():
        all_of = np.concatenate(parts)
        if not len(all_of):
            print(f"{name:40s} nobody was found")
            continue
        late = sum(lags[name][1:], lags[name][0])
        by_clip = " ".join(f"{one.lag:+.2f}" for one in lags[name])
        figures = (np.median(all_of), all_of.mean(), np.percentile(all_of, 90))
        print(f"{name:40s} " + " ".join(f"{v:8.2f}" for v in figures) + f" {len(all_of):8d}   "
              f"{late.lag:+.2f} ({by_clip})")  # fmt: skip
    first = lags["steadyframe off"]
    moved = " ".join(f"{one.motion:.1f}" for one in first)
    print(f"motion compared, shoulder widths by clip: {moved};  of the known frames of joints "
          f"{sum(one.used for one in first)} of {sum(one.known for one in first)} compared")  # fmt: skip


if __name__ == "__main__":
    main()
