"""Print how far a camera has to turn to keep the nearest person in the middle: the error of a pan/tilt head.

Usage: python examples/follow_person.py [INPUT]        camera 0, a clip, an address; Ctrl-C ends it
"""

import sys

import steadyframe as sf

VIEW_DEG = (62.0, 48.0)  # horizontal and vertical field of view of a usual webcam
AIM_AT = ("left_shoulder", "right_shoulder", "nose")

source = sys.argv[1] if len(sys.argv) > 1 else "0"
with sf.open_stream("pose", source) as stream:
    joints = [stream.task.skeleton.joints.index(name) for name in AIM_AT]
    for result in stream:
        people = result.output.people  # the nearest first
        if not people:
            print(f"{result.frame.index:6d}  nobody", flush=True)
            continue
        seen = [joint for joint in people[0].keypoints[joints] if joint[2] > 0.3]
        if not seen:
            continue
        x, y = (sum(joint[axis] for joint in seen) / len(seen) for axis in (0, 1))
        width, height = result.frame.size_wh
        pan_deg, tilt_deg = (x / width - 0.5) * VIEW_DEG[0], (0.5 - y / height) * VIEW_DEG[1]
        print(
            f"{result.frame.index:6d}  person {people[0].id}  pan {pan_deg:+6.1f}  tilt {tilt_deg:+6.1f} deg",
            flush=True,
        )
