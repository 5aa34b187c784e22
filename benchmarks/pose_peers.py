r"""The shipped pose network beside MediaPipe Pose full on the same unseen people, by one protocol, in one run.

True boxes: PCK at 0.2 torsos over the twelve limb joints, in crops of the true boxes x 1.25, one pass, no flip, on
LSP-extended's validation people (marked by humans) and on new everyday people (marked by a teacher network).
MediaPipe gets the same crops at 256 pixels as independent images and finds the person in them itself; where it finds
nobody, every joint is wrong. Whole photos: the split and the measures of `pose_whole.py`; MediaPipe finds one person
at most, and the mean visibility of the joints is the score. Intervals are a bootstrap over people. Usage::

    python benchmarks/pose_peers.py ../shared/data --rivals-python mp/bin/python
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from pose_speed import Rival
from pose_whole import report, truth
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.pose.augment import Cropper
from steadyframe.models.pose.evaluate import evaluate
from steadyframe.models.pose.metrics import errors_in_torsos, pck
from steadyframe.models.pose.net import build
from steadyframe.models.pose.people import People, load_people
from steadyframe.models.pose.skeleton import SKELETONS

import steadyframe as sf

SETS = {"sports (LSP-extended)": "pose/lspet/val.json", "new everyday people": "pose/teacher/people_val.json"}
SKELETON = SKELETONS["union-19"]
COCO = SKELETONS["COCO-17"].joints
RIVALS_SIDE = 256  # pixels: what its landmark network takes
NOWHERE = -1e4  # pixels: of a joint that was not found
DRAWS = 300


def ours(people: People) -> NDArray[np.float64]:
    """Errors of the shipped network in torsos, (N, J)."""
    checkpoint = Checkpoint.load("pose", task="pose")
    net = build(checkpoint.config)
    net.load_state_dict(checkpoint.weights)
    return evaluate(net.eval(), people, SKELETON, size=checkpoint.config["size"], device="cpu").errors


def rivals(people: People, rival: Rival) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Errors of MediaPipe in torsos, (N, J), and whom it found, (N,)."""
    cropper = Cropper(people, SKELETON, np.random.default_rng(0))
    samples = [cropper.plain(index, RIVALS_SIDE) for index in range(len(people))]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index:05d}.png" for index in range(len(samples))]
        for path, sample in zip(paths, samples, strict=True):
            cv2.imwrite(str(path), sample.image)
        joints = rival.look(paths)
    found = np.full((len(samples), len(SKELETON.joints), 2), NOWHERE)
    place = [SKELETON.joints.index(name) for name in COCO]
    for row, marks in zip(found, joints, strict=True):
        if marks is not None:
            row[place] = np.array(marks)[:, :2]
    errors = errors_in_torsos(found, np.stack([s.joints for s in samples]), people.known, SKELETON.joints)
    return errors, np.array([marks is not None for marks in joints])


def row(name: str, errors: NDArray[np.float64], note: str = "") -> str:
    """Points of PCK with their interval."""
    rng = np.random.default_rng(0)
    draws = (rng.integers(0, len(errors), len(errors)) for _ in range(DRAWS))
    values = [100 * pck(errors[draw], SKELETON.joints)["limbs"] for draw in draws]
    low, high = np.percentile(values, [2.5, 97.5])
    return f"  {name:16s} {100 * pck(errors, SKELETON.joints)['limbs']:5.1f} ({low:.1f} .. {high:.1f}) {note}"


def whole_photos(data: Path, rival: Rival | None) -> None:
    """Print the figures of whole photos."""
    labels = truth(data)
    loaded = sf.Bundle.load("pose")
    place = [loaded.manifest.skeleton.joints.index(name) for name in labels["categories"][0]["keypoints"]]
    processor = sf.open_processor(loaded, steady="off")
    detections = []
    for image in labels["images"]:
        pixels = cv2.imread(str(data / image["file_name"]))
        (result,) = processor.process(sf.Frame(pixels, independent=True))
        for person in result.output.people:
            detections.append(_detection(image["id"], person.keypoints[place, :2], person.score))
    report(labels, detections, f"  {'ours':16s} ")
    if rival is None:
        return
    joints = rival.look([data / image["file_name"] for image in labels["images"]])
    found = [
        _detection(image["id"], np.array(marks)[:, :2], float(np.array(marks)[:, 2].mean()))
        for image, marks in zip(labels["images"], joints, strict=True)
        if marks is not None
    ]
    report(labels, found, f"  {'MediaPipe full':16s} ")


def _detection(image: int, at: NDArray[Any], score: float) -> dict[str, Any]:
    flat = np.column_stack((at, np.ones(17))).ravel().tolist()
    return {"image_id": image, "category_id": 1, "keypoints": flat, "score": score}


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--rivals-python", type=click.Path(exists=True), help="A Python with mediapipe==0.10.21.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("runs/pose/cache"), show_default=True)
def main(data: Path, rivals_python: str | None, cache: Path) -> None:
    """Compare on DATA."""
    rival = None if rivals_python is None else Rival(rivals_python)
    for title, labels in SETS.items():
        people = load_people([data / labels], SKELETON, root=data, size=320, cache=cache)
        print(f"{title}: {len(people)} people, PCK@0.2 in points")
        print(row("ours", ours(people)), flush=True)
        if rival is not None:
            errors, there = rivals(people, rival)
            print(row("MediaPipe full", errors, f"finds {there.mean():.2f} of them"), flush=True)
            print(row("- whom it finds", errors[there]), flush=True)
    print("whole photos")
    whole_photos(data, rival)
    if rival is not None:
        rival.close()


if __name__ == "__main__":
    main()
