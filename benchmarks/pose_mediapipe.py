"""MediaPipe Pose full, in video mode or on independent images, as a child process of the pose benchmarks.

It needs an older numpy than this project, and so a Python of its own: `python -m venv mp; mp/bin/pip install
mediapipe==0.10.21`. For every line `CLIP LIMIT` on stdin it plays the clip, and writes one line of JSON: seconds in
all (decoding, color order and network), seconds in the network's call alone, and every frame's joints in pixels. For
a line `images [PATH, ...]` (JSON) it writes the joints of each image, null where it finds nobody.
"""

from __future__ import annotations

import json
import sys
import time

import cv2
import mediapipe

# COCO-17 in MediaPipe's numbering
COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)


def play(clip: str, limit: int) -> dict:
    pose = mediapipe.solutions.pose.Pose(static_image_mode=False, model_complexity=1)
    capture = cv2.VideoCapture(clip)
    warm = capture.read()[1]
    pose.process(cv2.cvtColor(warm, cv2.COLOR_BGR2RGB))  # loads the graphs
    pose.reset()
    capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
    joints, network, started = [], 0.0, time.perf_counter()
    while len(joints) < limit:
        there, pixels = capture.read()
        if not there:
            break
        image = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        begun = time.perf_counter()
        found = pose.process(image).pose_landmarks
        network += time.perf_counter() - begun
        joints.append(in_pixels(found, pixels))
    seconds = time.perf_counter() - started
    pose.close()
    return {"seconds": seconds, "network": network, "joints": joints}


def look(paths: list) -> list:
    pose = mediapipe.solutions.pose.Pose(static_image_mode=True, model_complexity=1)
    joints = []
    for path in paths:
        pixels = cv2.imread(path)
        joints.append(in_pixels(pose.process(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)).pose_landmarks, pixels))
    pose.close()
    return joints


def in_pixels(found: object, pixels: object) -> list | None:
    if found is None:
        return None
    height, width = pixels.shape[:2]
    marks = [found.landmark[i] for i in COCO]
    return [(m.x * width, m.y * height, m.visibility) for m in marks]


def main() -> None:
    for line in sys.stdin:
        if line.startswith("images "):
            print(json.dumps(look(json.loads(line.removeprefix("images ")))), flush=True)
            continue
        clip, limit = line.rsplit(maxsplit=1)
        print(json.dumps(play(clip, int(limit))), flush=True)


if __name__ == "__main__":
    main()
