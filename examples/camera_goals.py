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
    off, frames = [], 0
    with sf.open_stream(bundle, clip, [out]) as stream:
        for result in stream:
            view, frames = result.output, frames + 1
            if view.subject_xy is not None:
                left, _, right, _ = view.box
                off.append(abs((view.subject_xy[0] - left) / (right - left) - 0.5))
    share = 100 * len(off) / max(1, frames)
    print(f"{frames} frames, a person in view in {share:.0f} % of them", end="")
    print(f", {100 * np.mean(off):.0f} % of the view's width off its center on average" if off else "")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    follow(
        sys.argv[1],
        sys.argv[2],
        sys.argv[3] if len(sys.argv) > 3 else trained_bundle(Path("runs/hdqn/camera/bundle")),
    )
