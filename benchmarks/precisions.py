"""Every shipped bundle in float32, float16 and int8: made from real frames, judged by the task on others.

What is shipped is float32; the others are made here as `steadyframe calibrate` makes them. The judging frames are of
other clips and photos than the calibrating ones, and the reference is the float32 graph in ONNX Runtime. Pose is also
measured against people's own marks: PCK at 0.2 torsos on crops of LSP-extended. With TensorRT-RTX installed, every
graph is built into an engine, which needs no GPU. Usage::

    python benchmarks/precisions.py ../shared/data
    python benchmarks/precisions.py ../shared/data --bundle my_bundle --keep precisions/
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from steadyframe.calibration.diversity import diverse_frames
from steadyframe.calibration.frames import frames_for
from steadyframe.calibration.judging import Judge, judging_devices
from steadyframe.calibration.precision import Outcome, add_to_bundle, make_precision
from steadyframe.runtime.bundle.bundle import Bundle, shipped_bundles
from steadyframe.runtime.engines.registry import open_session
from steadyframe.runtime.engines.shape_range import shape_ranges_of
from steadyframe.runtime.engines.tensorrt.plan import build_plan
from steadyframe.runtime.errors import SteadyframeError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.sources import open_source

# task -> addresses in the data folder: what calibrates, what judges
SOURCES = {
    "colorize": (
        ("photos/train/osie*", "photos/train/imagenet*", "videos/webcam_brother.mkv"),
        ("photos/val", "videos/webcam_hungry.mkv", "videos/davis_blackswan.mp4"),
    ),
    "pose": (
        ("photos/train/ccp*", "photos/train/humanseg*", "videos/webcam_brother.mkv", "videos/webcam_milk.mkv"),
        (
            "photos/val/ccp*",
            "photos/val/humanseg*",
            *(f"videos/webcam_{who}.mkv" for who in ("hungry", "want", "bird")),
        ),
    ),
    "stylize": (
        ("photos/train/huts*", "videos/webcam_brother.mkv", "videos/davis_dog.mp4"),
        ("videos/webcam_bird.mkv", "videos/davis_blackswan.mp4", "photos/val/osie*"),
    ),
}
TITLES = (
    *("bundle", "precision", "device", "measure", "mean", "worst frame", "limit", "frames", "nodes kept", "MB"),
    *("engine", ""),
)
MOST = 300  # frames looked at of every source
ROW = (
    "| {bundle} | {precision} | {device} | {measure} | {mean:.3g} | {worst:.3g} | {limit:g} | {frames} | {kept} "
    "| {megabytes:.1f} | {engine} | {said} |"
)


def frames_of(data: Path, addresses: tuple[str, ...]) -> Iterator[Frame]:
    """Read one source after the other."""
    for address in addresses:
        source = open_source(str(data / address))
        yield from islice(source, MOST)
        source.close()


def engine_seconds(bundle: Bundle, precision: str) -> str:
    """Build every graph with TensorRT-RTX; how long it took, or why there is none."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        return "not installed"
    started = time.monotonic()
    for role, graph in bundle.manifest.graphs.items():
        try:
            build_plan(bundle.graph_bytes(role, precision), shape_ranges_of(graph), library="tensorrt-rtx", name=role)
        except SteadyframeError as error:
            return f"REFUSED: {error}"
    return f"{time.monotonic() - started:.1f} s"


def rows_of(bundle: Bundle, made: list[Outcome], judging: list[Frame]) -> Iterator[dict[str, Any]]:
    """One row a precision and device."""
    judge = Judge(bundle, judging)
    kept = {one.precision: len(one.kept) for one in made}
    for precision in bundle.precisions():
        contents = {role: bundle.graph_bytes(role, precision) for role in bundle.manifest.graphs}
        engine = engine_seconds(bundle, precision)
        for device in judging_devices():
            values = judge.values(contents, device)
            worst = min(values) if judge.metric.higher_is_better else max(values)
            mean = float(np.mean(values))
            yield {
                "bundle": bundle.manifest.name, "precision": precision, "device": device, "engine": engine,
                "measure": judge.metric.measure, "mean": mean, "worst": worst, "limit": judge.metric.limit[precision],
                "frames": len(values), "kept": kept.get(precision, 0),
                "megabytes": sum(map(len, contents.values())) / 1e6, "holds": judge.metric.holds(mean, precision),
            }  # fmt: skip


def pck_rows(bundle: Bundle, data: Path, cache: Path, people: int) -> Iterator[str]:
    """PCK of the limb joints on crops of labelled people, one line a precision and device."""
    from steadyframe.models.pose.evaluate import session_pck
    from steadyframe.models.pose.people import load_people
    from steadyframe.models.pose.skeleton import SKELETONS

    skeleton, baseline = SKELETONS["union-19"], float("nan")
    labelled = load_people([data / "pose/lspet/val.json"], skeleton, root=data, size=320, cache=cache)
    for precision in bundle.precisions():
        for device in judging_devices():
            session = open_session(bundle, "pose", device=device, precision=precision)
            share = session_pck(session, labelled, skeleton, count=people)
            baseline = share if (precision, device) == ("fp32", "cpu") else baseline
            yield f"- {precision} on {device}: PCK {share:.2f} %, loss {baseline - share:+.2f} points"


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--bundle", "names", multiple=True, help="Name or folder; may be repeated. All that are shipped if not given."
)
@click.option("--frames", default=48, show_default=True, help="That calibrate; half of them judge the search.")
@click.option("--judged", default=16, show_default=True, help="Of every judging source.")
@click.option("--people", default=500, show_default=True, help="Labelled ones, for the PCK of pose.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("runs/pose/cache"), show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="Write the bundles with all precisions here.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    data: Path,
    names: tuple[str, ...],
    frames: int,
    judged: int,
    keep: Path | None,
    json_path: Path | None,
    **more: Any,
) -> None:
    """Print the table, in Markdown; exit code 1 if a precision does not hold."""
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    print(f"| {' | '.join(TITLES)} |\n{'|---' * len(TITLES)}|")
    with tempfile.TemporaryDirectory() as scratch:
        for name in names or shipped_bundles():
            bundle = Bundle.load(name)
            calibrating, judging = SOURCES[bundle.manifest.task]
            selection = diverse_frames(frames_of(data, calibrating), frames)
            made = [
                make_precision(bundle, selection, precision, progress=lambda line: click.echo(line, err=True))
                for precision in ("fp16", "int8")
            ]
            whole = add_to_bundle(bundle, (keep or Path(scratch)) / bundle.manifest.name, made)
            shown = [frame for one in judging for frame in frames_for(bundle.manifest, str(data / one), judged)]
            for row in rows_of(whole, made, shown):
                rows.append(row)
                print(ROW.format(**row, said="" if row["holds"] else "FAILS"), flush=True)
            lines += pck_rows(whole, data, more["cache"], more["people"]) if bundle.manifest.task == "pose" else []
    print("\n".join(["", *lines]) if lines else "")
    if json_path is not None:
        json_path.write_text(json.dumps(rows, indent=1) + "\n")
    raise SystemExit(0 if all(row["holds"] and "REFUSED" not in row["engine"] for row in rows) else 1)


if __name__ == "__main__":
    main()
