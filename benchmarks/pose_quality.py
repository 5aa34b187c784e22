"""How good the joints are: the ablation on LSP's people with its curves, and the webcam clips that no training saw.

Crops are the ground truth's boxes x 1.25, one pass, no flip. `webcam` runs the shipped bundle as a user does, on
whole frames, against pseudo-labels; `reliability` compares the scores that it gives with the share of right joints.
`small` pastes people into photos of rooms, smaller and smaller, and counts who is found. Usage::

    python benchmarks/pose_quality.py lsp ../shared/data NAME=CHECKPOINT.pt [NAME=CHECKPOINT.pt ...] --plot curves.png
    python benchmarks/pose_quality.py webcam ../shared/data --bundle pose
    python benchmarks/pose_quality.py reliability ../shared/data runs/pose/edge2/spatial.pt
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.pose.calibrate import expected_calibration_error, fit_calibration, scores_of
from steadyframe.models.pose.evaluate import evaluate
from steadyframe.models.pose.metrics import RADII, errors_in_torsos, oks_average_precision, pck
from steadyframe.models.pose.net import build
from steadyframe.models.pose.people import load_people
from steadyframe.models.pose.skeleton import SKELETONS

import steadyframe as sf

HELD_OUT = ("webcam_hungry", "webcam_want", "webcam_eat", "webcam_bird")
ARMS = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "elbow", "wrist"))


@click.group()
def main() -> None:
    """Measure the pose networks."""


@main.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.argument("named", nargs=-1, required=True, metavar="NAME=CHECKPOINT...")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("runs/pose/cache"), show_default=True)
@click.option("--plot", type=click.Path(path_type=Path), help="Image of the detection-rate curves.")
def lsp(data: Path, named: tuple[str, ...], cache: Path, plot: Path | None) -> None:
    """PCK at 0.2 torsos and the curve, on all of DATA/pose/lspet/val.json."""
    skeleton = SKELETONS["union-19"]
    people = load_people([data / "pose/lspet/val.json"], skeleton, root=data, size=320, cache=cache)
    rng, curves = np.random.default_rng(0), {}
    print(f"{'':18s} limbs (95 % interval)   shoulder elbow wrist  hip   knee  ankle   calibration error")
    for item in named:
        name, path = item.split("=", 1)
        checkpoint = Checkpoint.load(path, task="pose")
        net = build(checkpoint.config)
        net.load_state_dict(checkpoint.weights)
        seen = evaluate(net.eval(), people, skeleton, size=checkpoint.config["size"], device="cpu")
        shares, curves[name] = seen.pck(), seen.curve()
        draws = (rng.integers(0, len(people), len(people)) for _ in range(300))
        low, high = np.percentile([pck(seen.errors[d], skeleton.joints)["limbs"] for d in draws], [2.5, 97.5])
        parts = " ".join(f"{np.mean([shares[f'{s}_{p}'] for s in ('left', 'right')]):.3f}"
                         for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))  # fmt: skip
        known = np.isfinite(seen.errors)
        scores = scores_of(seen.peaks[known], checkpoint.config.get("calibration", (1.0, 0.0)))
        gap = expected_calibration_error(scores, seen.errors[known] <= 0.2)
        print(f"{name:18s} {shares['limbs']:.3f} ({low:.3f} .. {high:.3f})    {parts}   {gap:.3f}")
    if plot is not None:
        _plot(curves, plot)


def _plot(curves: dict[str, np.ndarray], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, curve in curves.items():
        axes.plot(RADII, 100 * curve, label=name)
    axes.set(xlabel="radius in torso heights", ylabel="detection rate, % (12 limb joints)", ylim=(0, 100))
    axes.axvline(0.2, color="grey", linewidth=0.6)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)


@main.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--bundle", default="pose", show_default=True)
def webcam(data: Path, bundle: str) -> None:
    """Shoulders, elbows and wrists within 0.2 torsos of the confident pseudo-labels, and OKS, per held-out clip."""
    labels = json.loads((data / "pose/pseudo/videos.json").read_text())
    loaded = sf.Bundle.load(bundle)
    names = loaded.manifest.skeleton.joints
    coco = labels["categories"][0]["keypoints"]
    place = [names.index(name) for name in coco]
    images = {image["id"]: image for image in labels["images"]}
    totals = []
    for clip in HELD_OUT:
        kept = [a for a in labels["annotations"] if clip in images[a["image_id"]]["file_name"]]
        wanted = {images[a["image_id"]]["frame"]: a for a in kept}
        found, joints, known, sure, detections = [], [], [], [], []
        for result in sf.open_stream(loaded, data / f"videos/{clip}.mkv", ["null://"], steady="off"):
            label = wanted.get(result.frame.index)
            if label is None:
                continue
            people = result.output.people
            mine = people[0].keypoints[place] if people else np.full((17, 3), -1e4)
            truth = np.array(label["keypoints"], float).reshape(-1, 3)
            found.append(mine[:, :2])
            joints.append(truth[:, :2])
            known.append(truth[:, 2] > 0)
            sure.append(np.array(label["scores"]) >= 0.8)
            if people:
                flat = np.column_stack((mine[:, :2], np.ones(17))).ravel().tolist()
                detections.append(
                    {"image_id": label["image_id"], "category_id": 1, "keypoints": flat, "score": people[0].score}
                )
        errors = errors_in_torsos(np.array(found), np.array(joints), np.array(known, float), coco)
        arms = errors[:, [coco.index(name) for name in ARMS]]
        arms[~np.array(sure)[:, [coco.index(name) for name in ARMS]]] = np.nan
        hits = np.where(np.isfinite(arms), arms <= 0.2, np.nan)
        totals.append(hits)
        ids = {a["image_id"] for a in kept}
        truth_set = labels | {"annotations": kept, "images": [i for i in labels["images"] if i["id"] in ids]}
        oks = oks_average_precision(truth_set, detections) if detections else 0.0
        parts = "  ".join(f"{name} {share:.3f}" for name, share in zip(ARMS, np.nanmean(hits, 0), strict=True))
        print(f"{clip:16s} {len(kept):4d} frames   {parts}   OKS AP {oks:.3f}")
    pooled = np.concatenate(totals)
    print(f"{'all':16s} {len(pooled):4d} frames   {np.nanmean(pooled):.3f} of all six within 0.2 torsos")


@main.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True))
@click.option("--cache", type=click.Path(path_type=Path), default=Path("runs/pose/cache"), show_default=True)
def reliability(data: Path, checkpoint: Path, cache: Path) -> None:
    """Scores against the share of joints within 0.2 torsos, on people that the scores were not fitted to.

    A checkpoint's scores are fitted to its validation people, so here they are fitted anew to one half of them (two
    of the four clips) and judged on the other, twice.
    """
    skeleton, loaded = SKELETONS["union-19"], Checkpoint.load(checkpoint, task="pose")
    net = build(loaded.config)
    net.load_state_dict(loaded.weights)
    sports = load_people([data / "pose/lspet/val.json"], skeleton, root=data, size=320, cache=cache)
    videos = load_people([data / "pose/pseudo/videos.json"], skeleton, root=data, size=320, cache=cache)
    clips = videos.only(videos.in_groups(HELD_OUT))
    sets = {
        "LSP's people (sports)": (sports, np.arange(len(sports)) % 2 == 1),
        "held-out webcam clips": (clips, clips.in_groups(HELD_OUT[:2])),
    }
    seen = {
        name: evaluate(net.eval(), people, skeleton, size=loaded.config["size"], device="cpu")
        for name, (people, _) in sets.items()
    }
    scores = {name: np.full(one.errors.shape, np.nan) for name, one in seen.items()}
    for turn in (False, True):
        fit_on = {name: half != turn for name, (_, half) in sets.items()}
        fitted = fit_calibration(
            [
                replace(one, peaks=one.peaks[fit_on[name]], errors=one.errors[fit_on[name]])
                for name, one in seen.items()
            ],
            [people.absent[fit_on[name]] for name, (people, _) in sets.items()],
        )
        for name, one in seen.items():
            scores[name][~fit_on[name]] = scores_of(one.peaks[~fit_on[name]], fitted)
    for name, one in seen.items():
        known = np.isfinite(one.errors)
        mine, right = scores[name][known], one.errors[known] <= 0.2
        gap = expected_calibration_error(mine, right)
        print(f"{name}: {known.sum()} joints, calibration error {gap:.3f}\n   score      joints  right")
        for low in np.arange(0, 1, 0.1):
            there = (mine >= low) & (mine < low + 0.1)
            if there.any():
                print(f"   {low:.1f} .. {low + 0.1:.1f} {there.sum():6d}  {right[there].mean():.2f}")


@main.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--bundle", default="pose", show_default=True)
@click.option("--limit", default=200, show_default=True)
def rooms(data: Path, bundle: str, limit: int) -> None:
    """Count the people who are found in photos of empty rooms, and in photos with one labelled person."""
    processor = sf.open_processor(bundle, steady="off")

    def count(path: Path) -> int:
        (result,) = processor.process(sf.Frame(sf.read_image(path), independent=True))
        return len(result.output)

    empty = sorted((data / "photos/val").glob("houses*")) + sorted((data / "photos/val").glob("huts*"))
    phantoms = [path.name for path in empty if count(path)]
    print(
        f"photos without people (val: houses, huts): {len(phantoms)} of {len(empty)} with a phantom  {phantoms[:5]}"
    )
    labels = json.loads((data / "pose/pseudo/photos.json").read_text())
    names = [i["file_name"] for i in labels["images"] if "photos/val" in i["file_name"]][:limit]
    seen = sum(count(data / name) > 0 for name in names)
    print(f"photos with a person (val): somebody found in {seen} of {len(names)}")
    processor.close()


ROOM_WH = (640, 480)
HEIGHTS = (300, 200, 140, 100, 70, 50, 35)


@main.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--bundle", default="pose", show_default=True)
def small(data: Path, bundle: str) -> None:
    """Share of people found by their height in pixels: by the whole image alone, and with its tiles."""
    import cv2
    from steadyframe.runtime.tasks.pose.tracker import Roi, roi_around, tiles

    task = sf.open_task(bundle)
    labels = json.loads((data / "pose/pseudo/photos.json").read_text())
    files = {image["id"]: image["file_name"] for image in labels["images"]}
    people = [
        (files[a["image_id"]], a["bbox"]) for a in labels["annotations"] if "photos/val" in files[a["image_id"]]
    ]
    rooms = [cv2.resize(cv2.imread(str(path)), ROOM_WH) for name in ("houses", "huts")
             for path in sorted((data / "photos/val").glob(f"{name}*"))]  # fmt: skip
    rng, least = np.random.default_rng(0), task.settings

    def found(room: np.ndarray, sought: list[Roi], true: Roi) -> bool:
        tracks = (task._meet(room, place) for tile in sought for place in task._places(room, tile)[0])
        return any(track is not None and track.roi.near(true) for track in tracks)

    print(f"{'height':>6s} {'people':>6s}   whole  + tiles   a close look at the true place")
    for height in HEIGHTS:
        hits = []
        for number, (name, (x, y, w, h)) in enumerate(people):
            photo, room = cv2.imread(str(data / name)), rooms[number % len(rooms)].copy()
            margin, scale = 0.12 * max(w, h), height / max(w, h)
            left, top = int(max(0, x - margin)), int(max(0, y - margin))
            patch = photo[top : int(y + h + margin), left : int(x + w + margin)]
            size_wh = (max(2, round(patch.shape[1] * scale)), max(2, round(patch.shape[0] * scale)))
            if size_wh[0] >= ROOM_WH[0] or size_wh[1] >= ROOM_WH[1]:
                continue
            at = (int(rng.integers(0, ROOM_WH[0] - size_wh[0])), int(rng.integers(0, ROOM_WH[1] - size_wh[1])))
            pasted = cv2.resize(patch, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            room[at[1] : at[1] + size_wh[1], at[0] : at[0] + size_wh[0]] = pasted
            true = Roi(at[0] + (x + w / 2 - left) * scale, at[1] + (y + h / 2 - top) * scale, height)
            whole, *others = tiles(ROOM_WH, task._size)
            keypoints, score = task._look(room, true)
            close = score >= least.birth_presence and roi_around(keypoints, least.joint_score) is not None
            by_whole = found(room, [whole], true)
            hits.append((by_whole, by_whole or found(room, others, true), close))
        shares = np.mean(hits, axis=0)
        print(f"{height:6d} {len(hits):6d}   {shares[0]:.2f}   {shares[1]:.2f}      {shares[2]:.2f}")
    task.close()


if __name__ == "__main__":
    main()
