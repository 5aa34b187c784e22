"""`steadyframe export` and `steadyframe parity`.

Owns the reading of options and the writing of reports; the work is done in `bundle` and `parity`, which are imported
when a command runs: PyTorch takes seconds, and `steadyframe --help` should not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ..runtime.errors import UsageError

_log = Console(stderr=True)
NOT_STATED = "not stated"  # licence of weights whose owner said nothing
_PLAIN_WIDTH = 120  # of a table that goes to a file or a pipe


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the bundle.")
@click.option(
    "--repository",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write a model repository for NVIDIA Triton and OpenVINO Model Server; CHECKPOINT may be a bundle.",
)
@click.option("--model-version", type=click.IntRange(min=1), default=1, show_default=True, help="Of --repository.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Of --repository.",
)
@click.option(
    "--frame", default="1280x720", show_default=True, metavar="WxH", help="Of --repository: size of the frames."
)
@click.option("--name", help="Name in the manifest; the folder's name if not given.")
@click.option("--version", default="1", show_default=True)
@click.option(
    "--licence", help="Licence of the weights; asked for on a terminal.  [default: that of CHECKPOINT's bundle]"
)
@click.option("--card", type=click.Path(path_type=Path, exists=True), help="Markdown text that becomes card.md.")
@click.option("--set", "settings", multiple=True, metavar="NAME=NUMBER", help="Override a setting of the task.")
@click.option(
    "--layout", type=click.Choice(["nchw", "nhwc"]), help=".onnx: axes of its input, if they do not say it."
)
@click.option(
    "--color", type=click.Choice(["rgb", "bgr"]), default="rgb", show_default=True, help=".onnx: its order."
)
@click.option("--mean", default="0,0,0", show_default=True, help=".onnx: it sees (pixels / 255 - mean) / std.")
@click.option("--std", default="1,1,1", show_default=True, help=".onnx: as --mean, a figure a channel.")
@click.option("--image", default="", metavar="OUTPUT", help=".onnx: the output that is an image.")
@click.option("--image-range", default=1.0, show_default=True, help=".onnx: value of white in that output.")
@click.option("--short-side", default=256, show_default=True, help=".onnx of any size: side of the frame it sees.")
def export(
    checkpoint: Path, output: Path | None, repository: Path | None, name: str | None, settings: tuple[str, ...],
    **more: Any,
) -> None:  # fmt: skip
    """Export CHECKPOINT, or somebody else's .onnx file, as a bundle: ONNX graphs, manifest, hashes.

    With --repository, write the graphs of a bundle, by its name or folder, for a model server.
    """
    if output is None and repository is None:
        raise UsageError("There is nowhere to write", expected="-o FOLDER, or --repository DIR, or both")
    served = {option: more.pop(option) for option in ("model_version", "precision", "frame")}
    source: Path = checkpoint
    if output is not None:
        _export_bundle(checkpoint, output, name, settings, **more)
        source = output
    if repository is not None:
        from ..runtime.bundle.bundle import Bundle
        from .repository import RepositoryOptions, write_repository

        options = RepositoryOptions(
            precision=served["precision"], version=served["model_version"], frame_wh=_size(served["frame"])
        )
        for path in write_repository(Bundle.load(source), repository, options):
            click.echo(path)


def _size(text: str) -> tuple[int, int]:
    """Read `1280x720`."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageError("--frame is a size in pixels", expected="1280x720", found=text)
    return int(width), int(height)


def _export_bundle(
    checkpoint: Path, output: Path, name: str | None, settings: tuple[str, ...],
    *, version: str, licence: str | None, card: Path | None, **foreign: Any,
) -> None:  # fmt: skip
    """Write a bundle, and print its files."""
    from ..models.checkpoint import Checkpoint
    from .bundle import BundleFacts, export_bundle

    facts = BundleFacts(
        name=name or output.resolve().name,
        version=version,
        licence=licence or _licence_of(checkpoint),
        settings=_parse_settings(settings),
        card=None if card is None else card.read_text(encoding="utf-8"),
    )
    with _log.status("exporting"):
        if checkpoint.suffix.lower() == ".onnx":
            from .foreign import export_foreign

            bundle = export_foreign(checkpoint, _foreign_network(**foreign), output, facts)
        else:
            bundle = export_bundle(Checkpoint.load(checkpoint), output, facts)
    for path in sorted(bundle.folder.iterdir()):
        click.echo(f"{output / path.name}  {path.stat().st_size:,} bytes")


def _licence_of(checkpoint: Path) -> str:
    """Find the licence of weights: that of a bundle they come from, or what the user says."""
    from ..runtime.bundle.bundle import MANIFEST_FILE, Bundle, shipped_bundles

    if str(checkpoint) in shipped_bundles() or (checkpoint / MANIFEST_FILE).is_file():
        return Bundle.load(checkpoint).manifest.licence
    if sys.stdin.isatty():
        answer: str = click.prompt(
            "Licence of these weights, such as MIT or proprietary", default=NOT_STATED, err=True
        )
        return answer
    _log.print("the bundle says that no licence is stated; --licence NAME states one", highlight=False)
    return NOT_STATED


def _foreign_network(
    layout: str | None, color: str, mean: str, std: str, image: str, image_range: float, short_side: int
) -> Any:
    """Describe an .onnx file from the options."""
    from .foreign import ForeignNetwork

    return ForeignNetwork(
        layout=layout or "", rgb=color == "rgb", mean=_three(mean), std=_three(std), image=image,
        image_range=image_range, short_side=short_side,
    )  # fmt: skip


def _three(text: str) -> tuple[float, float, float]:
    """Read `0.485,0.456,0.406`, or one figure for all channels."""
    try:
        figures = [float(word) for word in text.split(",")]
    except ValueError:
        figures = []
    if len(figures) == 1:
        figures *= 3
    if len(figures) != 3:
        raise UsageError("These are not the figures of three channels", expected="0.485,0.456,0.406", found=text)
    return figures[0], figures[1], figures[2]


@click.command()
@click.argument("bundle")
@click.argument("words", nargs=-1, required=True, metavar="[CHECKPOINT] INPUT")
@click.option("--frames", default=50, show_default=True, help="Frames to compare, spread over the input.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("cpu",),
    show_default=True,
    help="May be repeated; all: every one that works here.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    default=("all",),
    show_default=True,
    help="May be repeated; all: every one that the bundle has.",
)
@click.option(
    "--tolerance", "tolerances", multiple=True, metavar="STAGE=NUMBER", help="Another tolerance for a stage."
)
@click.option("--record", is_flag=True, help="Write the figures into the bundle's manifest if all of it passes.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the report here as JSON.")
@click.option("--markdown", "markdown_path", type=click.Path(path_type=Path), help="The same as Markdown.")
@click.option("--junit", "junit_path", type=click.Path(path_type=Path), help="The same as JUnit XML.")
def parity(
    bundle: str,
    words: tuple[str, ...],
    frames: int,
    devices: tuple[str, ...],
    precisions: tuple[str, ...],
    **rest: Any,
) -> None:
    """Compare BUNDLE with the CHECKPOINT it came from, on frames of INPUT. Exit code 6 where they differ.

    Without CHECKPOINT, the weights stored in the bundle are used.
    """
    from ..calibration.frames import frames_for
    from ..models.checkpoint import Checkpoint
    from ..runtime.bundle.bundle import Bundle
    from .parity.compare import Target, compare_all, reference_of
    from .parity.report import reports_as_json, reports_as_junit, reports_as_markdown

    if len(words) > 2:
        raise UsageError("Too many arguments", expected="BUNDLE [CHECKPOINT] INPUT", found=" ".join(words))
    checkpoint, input = (words[0], words[1]) if len(words) == 2 else (bundle, words[0])
    loaded, trained = Bundle.load(bundle), Checkpoint.load(checkpoint)
    targets = [
        Target(device, precision)
        for device in _devices(devices)
        for precision in (loaded.precisions() if "all" in precisions else dict.fromkeys(precisions))
    ]
    reference = reference_of(loaded, trained)
    tolerances = {name: float(number) for name, number in _parse_settings(rest["tolerances"], "tolerance").items()}
    chosen = frames_for(loaded.manifest, input, frames)
    with _log.status(f"comparing {len(chosen)} frames on {len(targets)} engines"):
        reports = compare_all(loaded, reference, chosen, targets, name=Path(checkpoint).name, tolerances=tolerances)
    for key, form in (("json", reports_as_json), ("markdown", reports_as_markdown), ("junit", reports_as_junit)):
        if rest[f"{key}_path"] is not None:
            _write(rest[f"{key}_path"], form(reports))
    console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    for report in reports:
        console.print(report.table())
    for report in reports:
        report.check()
    if rest["record"]:
        from .parity.record import record

        record(loaded, reports, Path(input).name)


def _devices(words: tuple[str, ...]) -> list[str]:
    """Resolve the requested devices; `all` is every one that works here, and the others are listed."""
    from ..runtime.engines.probe import probe

    if "all" not in words:
        return list(dict.fromkeys(words))
    from ..runtime.engines.registry import devices

    probes = [probe(device) for device in devices()]
    for one in probes:
        if not one.works:
            _log.print(f"not compared on {one.device}: {one.problem}", markup=False)
    return [one.device for one in probes if one.works]


def _parse_settings(words: tuple[str, ...], option: str = "set") -> dict[str, float | int]:
    """Read `NAME=NUMBER` words."""
    settings: dict[str, float | int] = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            settings[name] = int(number) if number.lstrip("-").isdigit() else float(number)
        except ValueError:
            raise UsageError(
                f"--{option} {word!r} cannot be read", expected="NAME=NUMBER, for example saturation=1.2"
            ) from None
    return settings


def _write(path: Path, text: str) -> None:
    """Write a report to a temporary name, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"The report {path} cannot be written ({error.strerror})") from error
