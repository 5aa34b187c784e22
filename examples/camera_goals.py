"""A virtual pan/tilt camera that follows a person: a goal policy trained in simulation, run on a real clip.

The camera's view is a crop of the clip. Pose finds the person in the view alone, as a real camera would; the policy's
meta-controller chooses where in the image the person belongs (room in front of a walker), its controller moves the
view. Without a bundle the policy is trained first, in a simulated world (some minutes), and exported; so was the
shipped bundle `policy-camera`.

Usage: python examples/camera_goals.py CLIP OUT.mp4 [BUNDLE]
"""

import sys
from pathlib import Path

import numpy as np

import steadyframe as sf


def trained_bundle(folder: Path) -> Path:
    """Train the policy and export it, if that was not done yet."""
    if not (folder / "manifest.json").is_file():
        from steadyframe.export.bundle import BundleFacts, export_bundle
        from steadyframe.models.checkpoint import Checkpoint
        from steadyframe.models.hdqn.camera import Args, train

        print("training", train(Args(out=str(folder.parent))), flush=True)
        export_bundle(Checkpoint.load(folder.parent / "camera.pt"), folder, BundleFacts(name="policy-camera"))
    return folder


def follow(clip: str, out: str, bundle: str | Path) -> None:
    """Run the policy on a clip, write what the camera saw, and print how well it kept the person in view."""
    off, places, moved, times = [], [], [], []
    with sf.open_stream(bundle, clip, [out]) as stream:
        for result in stream:
            view = result.output
            left, _, right, _ = view.box
            if view.subject_xy is not None:
                off.append(abs((view.subject_xy[0] - left) / (right - left) - 0.5))
            places.append(np.array(view.subject_xy or (np.nan, np.nan)) / (right - left))
            moved.append(view.action_name != "stay")
            times.append(result.frame.time_ns / 1e9)
    share = 100 * len(off) / max(1, len(places))
    print(f"{len(places)} frames, a person in view in {share:.0f} % of them", end="")
    print(f", {100 * np.mean(off):.0f} % of the view's width off its center on average" if off else "", end="")
    stands = standing(np.array(places), np.array(times))
    seconds = stands.sum() * np.median(np.diff(times))
    print(
        f"; while somebody stands ({seconds:.0f} s), {np.array(moved)[stands].sum() / seconds:.1f} moves a second"
        if seconds
        else ""
    )


def standing(places: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Tell the frames in whose second the subject keeps to 5 % of the view's width: (N, 2) -> (N,) bool."""
    found = np.zeros(len(places), bool)
    for i, now in enumerate(times):
        around = places[np.abs(times - now) <= 0.5]
        found[i] = bool((np.ptp(around, axis=0) < 0.05).all())  # False where the subject is out of view (NaN)
    return found


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    follow(
        sys.argv[1],
        sys.argv[2],
        sys.argv[3] if len(sys.argv) > 3 else trained_bundle(Path("runs/hdqn/camera/bundle")),
    )
