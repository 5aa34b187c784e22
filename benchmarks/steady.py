"""Every steady mode on every clip: speed, flicker and fidelity, against the network on every frame, in one run.

Usage::

    python benchmarks/steady.py ../shared/data/videos                 # the shipped colorizer, all clips
    python benchmarks/steady.py ../shared/data/videos --clips "webcam_*" --clips "davis_*" --json steady.json
    python benchmarks/steady.py ../shared/data/videos --paper-size    # speed alone, the paper's width

Speed is that of whole streams into ``null://``, decoding included; the modes take turns. ``in memory`` repeats it
with the frames decoded beforehand, as a camera without compression gives them, to and fro until they are enough: most
clips last a quarter of a second at these speeds, and starting and ending would count for more than running.
"""

from __future__ import annotations

import fnmatch
import json
import statistics
import tempfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from steadyframe.runtime.bench.quality import Quality, measure_quality
from steadyframe.runtime.bench.subject import Subject
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.info import Signal, SourceInfo
from steadyframe.runtime.temporal.options import MODES, SteadyOptions


class InMemory:
    """A source of frames that were decoded before, played to and fro."""

    signal = Signal.LIVE

    def __init__(self, frames: list[Frame], played: int) -> None:
        self.info = SourceInfo(address="memory")
        self._frames = islice(cycle([*frames, *frames[-2:0:-1]]), played)

    def __iter__(self) -> Iterator[Frame]:
        for index, frame in enumerate(self._frames):
            yield Frame(frame.pixels, index=index)

    def stop(self) -> None:
        """End; nothing is waited for."""

    def close(self) -> None:
        """Nothing to free."""


def speeds(subject: Subject, frames: list[Frame], rounds: int, played: int) -> dict[str, dict[str, list[float]]]:
    """Frames a second of every mode and round, from the file and from memory; a first round warms up."""
    found: dict[str, dict[str, list[float]]] = {m: {"file": [], "memory": [], "share": []} for m in subject.modes}
    for number in range(rounds + 1):
        for mode, own in found.items():
            for way in ("file", "memory"):
                source = None if way == "file" else InMemory(frames, played)
                limit = subject.limit if way == "file" else played
                stats = subject.stream(mode, limit=limit, source=source).run()
                if number:
                    own[way].append(stats.fps)
            own["share"] = [stats.keyframes / stats.frames]
    return found


def paper_size_bundle(folder: Path) -> Bundle:
    """Export the paper's colorizer with random weights: what it says does not matter for its speed."""
    import torch
    from steadyframe.export.bundle import BundleFacts, export_bundle
    from steadyframe.models.checkpoint import Checkpoint
    from steadyframe.models.colorize.net import Colorizer, ColorizerOptions

    torch.manual_seed(0)
    net = Colorizer(ColorizerOptions(width=1.0))
    config = {"net": {"width": 1.0}}
    checkpoint = Checkpoint(task="colorize", config=config, weights=net.state_dict())
    return export_bundle(checkpoint, folder, BundleFacts(name="paper-size", version="0"))


def measure(bundle: Bundle, clip: Path, *, quality: bool, every: str, **given: Any) -> dict[str, Any]:
    modes = {mode: SteadyOptions.of(mode, every=every if mode == "keyframe" else None) for mode in MODES}
    with Subject(bundle, str(clip), modes, limit=given["limit"]) as subject:
        frames = subject.frames()
        rates = speeds(subject, frames, given["rounds"], given["played"])
        qualities = measure_quality(subject, frames) if quality else None
    row: dict[str, Any] = {"clip": clip.stem, "frames": len(frames), "size": list(frames[0].size_wh), "modes": {}}
    for mode, own in rates.items():
        entry: dict[str, Any] = {
            "fps": {way: {"median": statistics.median(own[way]), "all": own[way]} for way in ("file", "memory")},
            "keyframe_share": own["share"][0],
        }
        if qualities is not None:
            entry |= qualities[mode].as_json()
            entry["of_off"] = of_off(qualities[mode], qualities["off"])
        row["modes"][mode] = entry
    return row


def of_off(one: Quality, off: Quality) -> dict[str, float]:
    return {"mean": one.flicker / off.flicker, "p95": one.flicker_p95 / off.flicker_p95}


def times(row: dict[str, Any], mode: str, way: str) -> float:
    modes = row["modes"]
    return float(modes[mode]["fps"][way]["median"] / modes["off"]["fps"][way]["median"])


def cells(row: dict[str, Any], *, quality: bool) -> list[str]:
    modes, key, blend = row["modes"], row["modes"]["keyframe"], row["modes"]["blend"]
    shown = [
        row["clip"],
        f"{modes['off']['fps']['file']['median']:.0f}",
        f"{times(row, 'blend', 'file'):.2f}",
        f"{times(row, 'keyframe', 'file'):.2f}",
        f"{times(row, 'keyframe', 'memory'):.2f}",
        f"{key['keyframe_share']:.0%}",
    ]
    if quality:
        shown += [f"{mode['of_off']['mean']:.2f} / {mode['of_off']['p95']:.2f}" for mode in (blend, key)]
        shown += [f"{mode['fidelity']['psnr_db']:.1f}" for mode in (blend, key)]
        shown += [f"{key['fidelity']['delta_e_2000']:.2f}"]
    return shown


def group_mean(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Mean of every figure over a group of clips, in the form of a row."""

    def mean(values: list[Any]) -> Any:
        first = values[0]
        if isinstance(first, dict):
            return {key: mean([value[key] for value in values]) for key in first}
        if isinstance(first, int | float):
            return statistics.fmean(values)
        return None if first is None else []

    return {"clip": name, "frames": sum(row["frames"] for row in rows), "modes": mean([row["modes"] for row in rows])}


@click.command()
@click.argument("videos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--bundle", default="colorize", show_default=True)
@click.option("--clips", multiple=True, default=("*",), help="Patterns of names; each is a group of the table.")
@click.option("--limit", default=120, show_default=True, help="Frames of a clip that count.")
@click.option("--played", default=400, show_default=True, help="Frames from memory.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--every", default="auto", show_default=True, help="Keyframes of the mode keyframe.")
@click.option("--quality/--no-quality", default=True, show_default=True)
@click.option("--paper-size", is_flag=True, help="The paper's width with random weights; no quality.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(videos: Path, bundle: str, clips: tuple[str, ...], json_file: Path | None, **given: Any) -> None:
    """Measure a bundle on all clips of a folder."""
    quality = given["quality"] and not given["paper_size"]
    groups = {pattern: sorted(p for p in videos.iterdir() if fnmatch.fnmatch(p.stem, pattern)) for pattern in clips}
    headings = ["clip", "off fps", "blend x", "keyframe x", "in memory x", "keyframes"]
    if quality:
        headings += ["flicker blend", "flicker keyframe", "dB blend", "dB keyframe", "Delta-E keyframe"]
    table = Table(*headings, title="flicker: mean / 95th percentile, of off")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        loaded = paper_size_bundle(Path(folder) / "paper") if given["paper_size"] else Bundle.load(bundle)
        for pattern, paths in groups.items():
            own = []
            for path in paths:
                if path.suffix.lower() not in (".mp4", ".mkv", ".avi", ".mov"):
                    continue
                own.append(measure(loaded, path, **{**given, "quality": quality}))
                table.add_row(*cells(own[-1], quality=quality))
                click.echo(" ".join(cells(own[-1], quality=quality)), err=True)
            if own:
                table.add_section()
                table.add_row(*cells(group_mean(own, f"mean of {pattern}"), quality=quality), style="bold")
                table.add_section()
            rows += own
    Console(width=150).print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
