"""A virtual pan/tilt camera that follows a person: a goal policy trained in simulation, run on a real clip.

The camera's view is a crop of the clip. Pose finds the person in the view alone, as a real camera would; the policy's
meta-controller chooses where in the image the person belongs (room in front of a walker), its controller moves the
view. Without a bundle the policy is trained first, in a simulated world (about a minute), and exported.

Usage: python examples/camera_goals.py CLIP OUT.mp4 [BUNDLE]
"""

import sys
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.registry import open_sessions
from steadyframe.runtime.tasks.policy.policy import Policy
from steadyframe.runtime.tasks.policy.scene import Scene, Track

import steadyframe as sf

VIEW = 0.6  # share of the clip's width and height that the camera sees
STEP = 3.0  # units of the scene that an action moves the view, as in training
PATIENCE = 10  # frames without a person after which the view goes back to the middle
MOVES = {"stay": (0, 0), "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


def trained_bundle(folder: Path) -> Path:
    """Train the policy and export it, if that was not done yet."""
    if not (folder / "manifest.json").is_file():
        from steadyframe.export.bundle import BundleFacts, export_bundle
        from steadyframe.models.checkpoint import Checkpoint
        from steadyframe.models.hdqn.camera import Args, train

        print("training", train(Args(out=str(folder.parent))), flush=True)
        export_bundle(Checkpoint.load(folder.parent / "camera.pt"), folder, BundleFacts(name="policy-camera"))
    return folder


class Camera:
    """The view: a crop that moves over the clip's frames; places are in units of the scene."""

    def __init__(self, scene: Scene, size_wh: tuple[int, int]) -> None:
        self.scene, self.frame_wh = scene, np.array(size_wh, float)
        self.view_wh = np.round(self.frame_wh * VIEW / 2) * 2  # video codecs want even sides
        self.corner = (self.frame_wh - self.view_wh) / 2
        self.pixels_a_unit = self.view_wh / np.array(scene.size_hw[::-1])

    def look(self, pixels: np.ndarray) -> np.ndarray:
        """Cut the view out."""
        (left, top), (width, height) = self.corner.astype(int), self.view_wh.astype(int)
        return np.ascontiguousarray(pixels[top : top + height, left : left + width])

    def move(self, units: np.ndarray) -> None:
        """Move the view, as far as the clip goes."""
        self.corner = np.clip(self.corner + units * self.pixels_a_unit, 0, self.frame_wh - self.view_wh)

    def draw(self, view: np.ndarray, goal: int | None, place: np.ndarray | None) -> np.ndarray:
        """Draw where the person belongs, and where it is."""
        drawn = view.copy()
        if goal is not None:
            box = np.array(self.scene.goals[goal].box).reshape(2, 2) * self.pixels_a_unit
            cv2.rectangle(drawn, *(tuple(int(x) for x in point) for point in box), (80, 220, 80), 2)
        if place is not None:
            cv2.circle(drawn, tuple(int(x) for x in place * self.pixels_a_unit), 6, (60, 60, 240), 2, cv2.LINE_AA)
        return drawn


def subject(people: sf.People, camera: Camera) -> np.ndarray | None:
    """Give the middle of the nearest person's shoulders in units of the scene."""
    if not people.people:
        return None
    joints = [people.skeleton.joints.index(f"{side}_shoulder") for side in ("left", "right")]
    shoulders = people.people[0].keypoints[joints]
    return None if shoulders[:, 2].min() < 0.2 else shoulders[:, :2].mean(0) / camera.pixels_a_unit


def follow(clip: str, out: str, folder: Path) -> None:
    """Run the policy on a clip and write what the camera saw."""
    bundle = Bundle.load(folder)
    scene = Scene.from_settings(bundle.manifest.settings["scene"])
    policy = Policy(bundle.manifest, open_sessions(bundle, device="cpu"))
    track, camera, goal, age, alone, off = Track(scene), None, -1, 0, 0, []
    none = np.zeros(0, np.float32)
    source = sf.open_source(clip)
    sink = sf.open_sink(out, source.info)
    with sf.open_processor("pose") as pose, closing(source), closing(sink):
        for frame in source:
            camera = camera or Camera(scene, frame.size_wh)
            view = camera.look(frame.pixels)
            result = pose.process(sf.Frame(view, frame.index, time_ns=frame.time_ns))[0]
            place = subject(result.output, camera)
            if place is None:
                goal, alone = -1, alone + 1
                track.reset()
                if alone > PATIENCE:
                    camera.move(np.clip((camera.frame_wh - camera.view_wh) / 2 - camera.corner, -STEP, STEP))
            else:
                before, vector, alone = track.vector, track.add(tuple(place), -1.0, none), 0
                reached = before is not None and goal >= 0 and scene.reached(before, vector)[goal]
                if goal < 0 or reached or age >= 20:
                    goal, age = policy.choose_goal(vector), 0
                age += 1
                camera.move(np.array(MOVES[scene.actions[policy.choose_action(vector, goal)]]) * STEP)
                off.append(abs(place[0] / scene.size_hw[1] - 0.5))
            sink.write(sf.Result(frame, sf.Image(camera.draw(view, goal if goal >= 0 else None, place))))
    policy.close()
    print(
        f"{len(off)} frames with a person in view, {100 * np.mean(off):.0f} % of its width off the center on average"
    )


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    follow(
        sys.argv[1],
        sys.argv[2],
        trained_bundle(Path(sys.argv[3] if len(sys.argv) > 3 else "runs/hdqn/camera/bundle")),
    )
