"""The colorizer at the paper's size (42 M weights), 224 x 224: float32 against int8 in ONNX Runtime on the CPU.

The weights are random, because they do not change the time. The int8 graphs are made as `steadyframe calibrate` makes
them, with no node kept in float; their ranges come from photos where a folder is given. All graphs take turns, round
by round, on the same feeds; the ratio is that of the medians, its spread that of the rounds. Usage::

    python benchmarks/int8_speed.py ../shared/data/photos/val
"""

from __future__ import annotations

import dataclasses
import platform
import time
from pathlib import Path

import click
import numpy as np
import onnxruntime as ort
import torch
from steadyframe.calibration.frames import spread_frames
from steadyframe.calibration.int8 import Feeds, collect_ranges, to_int8
from steadyframe.export.graphs import task_graphs
from steadyframe.export.to_onnx import export_onnx
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.colorize.net import Colorizer, ColorizerOptions
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.bundle.manifest import Graph
from steadyframe.runtime.engines.registry import load_session
from steadyframe.runtime.engines.session import Session
from steadyframe.runtime.image import resize
from steadyframe.runtime.io.sources import open_source

SIDE = 224
LEAST_RATIO = 2.5


def checkpoint(width: float) -> Checkpoint:
    """Make a colorizer with random weights, and batch norms that have seen something."""
    torch.manual_seed(0)
    options = ColorizerOptions(width=width, batch_norm=True)
    net = Colorizer(options)
    with torch.no_grad():
        net(torch.rand(2, 1, SIDE, SIDE))
    return Checkpoint(task="colorize", config={"net": dataclasses.asdict(options)}, weights=net.state_dict())


def images(photos: Path | None, count: int) -> list[np.ndarray]:
    """Photos of 224 x 224, or noise: the time does not depend on what they show."""
    if photos is None:
        return list(np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8))
    source = open_source(str(photos))
    try:
        return [resize(frame.pixels, (SIDE, SIDE), "area") for frame in spread_frames(source, count)]
    finally:
        source.close()


def make_sessions(width: float, shown: list[np.ndarray], threads: int) -> tuple[dict[str, dict[str, Session]], dict]:
    """Export, quantize and load both graphs; role -> precision -> session, and the feeds of each role."""
    described = Bundle.load("colorize").manifest.graphs
    sessions: dict[str, dict[str, Session]] = {}
    feeds: dict[str, list[Feeds]] = {"global": [{"frame": image[None]} for image in shown]}
    for role, source in task_graphs(checkpoint(width)).graphs.items():
        model = export_onnx(source)
        if role == "color":
            told = [sessions["global"]["fp32"].run(one)["global_features"] for one in feeds["global"]]
            pairs = zip(feeds["global"], told, strict=True)
            feeds[role] = [{**one, "global_features": vector} for one, vector in pairs]
        graphs = {"fp32": model, "int8": to_int8(model, collect_ranges(model, feeds[role], "percentile"))}
        spec = _of_any_width(described[role])
        sessions[role] = {
            name: load_session(graph.SerializeToString(), spec, device="cpu", threads=threads)
            for name, graph in graphs.items()
        }
    return sessions, {role: given[0] for role, given in feeds.items()}


def _of_any_width(graph: Graph) -> Graph:
    """Describe a graph of the shipped colorizer without the number of its global features."""

    def widened(specs):
        return tuple(
            dataclasses.replace(spec, axes=(1, "features")) if spec.name == "global_features" else spec
            for spec in specs
        )

    return dataclasses.replace(graph, inputs=widened(graph.inputs), outputs=widened(graph.outputs))


def in_turn(sessions: dict[str, dict[str, Session]], feeds: dict, rounds: int, warm_up: int) -> dict:
    """Milliseconds of every run: (role, precision) -> one a round."""
    spent = {(role, name): [] for role, both in sessions.items() for name in both}
    for turn in range(warm_up + rounds):
        for (role, name), times in spent.items():
            started = time.perf_counter_ns()
            sessions[role][name].run(feeds[role])
            if turn >= warm_up:
                times.append((time.perf_counter_ns() - started) / 1e6)
    return {key: np.array(times) for key, times in spent.items()}


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True), required=False)
@click.option("--width", default=1.0, show_default=True, help="1 is the paper's size.")
@click.option("--rounds", default=40, show_default=True)
@click.option("--warm-up", default=5, show_default=True)
@click.option("--threads", default=0, show_default=True, help="Of one run; 0 takes every core.")
def main(photos: Path | None, width: float, rounds: int, warm_up: int, threads: int) -> None:
    """Print medians, quartiles and ratios, as Markdown."""
    sessions, feeds = make_sessions(width, images(photos, 8), threads)
    spent = in_turn(sessions, feeds, rounds, warm_up)
    for name in ("fp32", "int8"):
        spent["both", name] = spent["global", name] + spent["color", name]
    print(
        f"width {width:g}, {SIDE} x {SIDE}, batch 1, threads {threads or 'all'}; {platform.machine()}, "
        f"ONNX Runtime {ort.__version__}; {rounds} rounds in turns after {warm_up}, "
        f"ranges from {'noise' if photos is None else 'photos'}"
    )
    print("\n| graph | fp32 ms (quartiles) | int8 ms (quartiles) | ratio (of the rounds) |\n|---|---|---|---|")
    for role in ("global", "color", "both"):
        plain, small = spent[role, "fp32"], spent[role, "int8"]
        cells = [_cell(times, 1) for times in (plain, small)]
        ratio = float(np.median(plain) / np.median(small))
        low, high = np.percentile(plain / small, (25, 75))
        print(f"| {role} | {cells[0]} | {cells[1]} | {ratio:.2f} ({low:.2f}..{high:.2f}) |")
    verdict = "above" if ratio >= LEAST_RATIO else "BELOW"
    print(f"\nboth graphs: {ratio:.2f} times as fast, {verdict} the {LEAST_RATIO} asked for")


def _cell(times: np.ndarray, digits: int) -> str:
    """Median and quartiles."""
    low, middle, high = np.percentile(times, (25, 50, 75))
    return f"{middle:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"


if __name__ == "__main__":
    main()
