"""`steadyframe run`: a bundle on a source, into sinks."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..bundle.signature import load_signed
from ..engines.registry import device_choices
from ..errors import UsageError
from ..files import prove_writable
from ..io.encode import HARDWARE
from ..io.info import Source
from ..io.live.policy import LivePolicy
from ..io.sinks import open_sink, refuse_doubles
from ..io.sinks.sink import Sink
from ..io.sinks.video_options import VideoOptions
from ..io.sources import open_source
from ..io.sources.camera import cameras
from ..opening import choose_precision, open_stream
from ..stream.stream import Stream
from ..tasks.registry import task_descriptor
from ..temporal.lookahead import LONGEST
from ..temporal.options import MODES, SteadyOptions
from .live_lines import LiveLines
from .report import StreamProgress, console, stats_table
from .signature_option import signature_option

_EPILOG = """\b
INPUT   0, /dev/video0, csi://0, rtsp://…, http://…, clip.mp4, folder/,
        'img_*.jpg', -, a FIFO, 'gst://PIPELINE', clip.mcap,
        ros2://TOPIC, zenoh://TOPIC, sample://, test://
        (default: camera 0, else sample://)
OUTPUT  display://, out.mp4, folder/, 'out_%05d.png', out.jsonl, -, null://,
        out.mcap, ros2://NAME, zenoh://NAME, foxglove://
        (default: display://)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of the command line."""

    bundle: str
    addresses: tuple[str, ...]
    input_address: str | None
    output_addresses: tuple[str, ...]
    device: str
    precision: str
    limit: int | None
    max_age_ms: float | None
    wait: bool
    give_up_after_s: float | None
    frozen_frames: int | None
    steady: str
    every: str | None
    flow: str | None
    settings: tuple[str, ...]
    reference: str | None
    strength: float | None
    keep_colors: bool
    overlay: bool
    sequence: bool
    headless: bool
    stats_file: Path | None
    quality: int | None
    encoder: str
    key: Path | None

    def source(self) -> str:
        """Address of the source."""
        if self.input_address is not None:
            return self.input_address
        if self.addresses:
            return self.addresses[0]
        if cameras():
            return "0"
        click.echo("No camera found: showing sample:// instead.", err=True)
        return "sample://"

    def sinks(self) -> tuple[str, ...]:
        """Addresses of the sinks."""
        positional = self.addresses if self.input_address is not None else self.addresses[1:]
        named = (*positional, *self.output_addresses)
        if self.headless:
            return tuple(address for address in named if not address.startswith("display://")) or ("null://",)
        return named or ("display://",)

    def task_options(self) -> dict[str, Any]:
        """Options that belong to the task."""
        named = {
            "reference": self.reference,
            "strength": self.strength,
            "keep_colors": self.keep_colors or None,
            "overlay": None if self.overlay else False,
        }
        return {name: value for name, value in named.items() if value is not None} | read_settings(self.settings)


def read_settings(texts: Sequence[str]) -> dict[str, str]:
    """Read ``NAME=VALUE`` of `--set`.

    Raises
    ------
    UsageError
        If one of them has no name or no value.

    Examples
    --------
    >>> read_settings(["saturation=1.2"])
    {'saturation': '1.2'}
    """
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise UsageError("An option of the task is a name and a value", expected="--set NAME=VALUE", found=text)
        settings[name.strip().replace("-", "_")] = value.strip()
    return settings


@click.command(epilog=_EPILOG)
@click.argument("bundle")
@click.argument("addresses", nargs=-1, metavar="[INPUT] [OUTPUT]...")
@click.option("-i", "--input", "input_address", metavar="INPUT", help="The input, by name instead of by place.")
@click.option(
    "-o", "--output", "output_addresses", metavar="OUTPUT", multiple=True, help="An output; may be repeated."
)
@click.option(
    "--device", default="auto", show_default=True, metavar="|".join(device_choices()), help="Where the network runs."
)
@click.option("--precision", default="auto", show_default=True, type=click.Choice(["auto", "fp32", "fp16", "int8"]))
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after N results.")
@click.option(
    "--max-age",
    "max_age_ms",
    type=click.FloatRange(min=1.0),
    metavar="MS",
    help="Live: work less to stay below, and drop what is older.",
)
@click.option("--wait", is_flag=True, help="Live: wait for a source that is not there yet.")
@click.option(
    "--give-up-after",
    "give_up_after_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Live: end so many seconds after a loss. [default: never]",
)
@click.option(
    "--frozen-after",
    "frozen_frames",
    type=click.IntRange(min=0),
    metavar="N",
    help="Live: so many equal frames are a frozen camera; 0 is never. [default: by its kind]",
)
@click.option(
    "--steady",
    default="auto",
    show_default=True,
    type=click.Choice(("auto", *MODES)),
    help="Steadying from frame to frame; auto is what the task names for streams, and off for independent images.",
)
@click.option("--every", metavar="N|auto", help="keyframe: run the network on every n-th frame, or when needed.")
@click.option("--flow", metavar="PRESET[:SIZE]", help="ultrafast, light, fast or medium; SIZE: shorter side.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any option of the task; may be repeated."
)
@click.option("--reference", metavar="IMAGE", help="colorize: take the mood of the colors from this image.")
@click.option("--strength", type=click.FloatRange(0, 1), metavar="0..1", help="stylize: share of the painting.")
@click.option("--keep-colors", is_flag=True, help="stylize: keep the frame's own colors.")
@click.option("--overlay/--no-overlay", default=True, show_default=True, help="pose: draw the skeletons.")
@click.option("--sequence", is_flag=True, help="The images of a folder are frames of one video.")
@click.option("--headless", is_flag=True, help="Open no window.")
@click.option(
    "--stats", "stats_file", type=click.Path(path_type=Path), metavar="FILE.json", help="Write the figures."
)
@click.option(
    "--quality", type=click.IntRange(0, 51), metavar="0..51", help="Of videos: 0 is lossless. [default: 20]"
)
@click.option(
    "--encoder", default="x264", show_default=True, type=click.Choice(list(HARDWARE)), help="Of H.264 videos."
)
@signature_option
def run(**given: Any) -> None:
    """Run BUNDLE on INPUT and write the results to every OUTPUT.

    BUNDLE is the name of a shipped bundle, or the path of one.
    """
    options = RunOptions(**given)
    with contextlib.ExitStack() as stack:
        stream, facts = _open(options, stack)
        try:
            with StreamProgress(stream, options.limit) as progress, LiveLines(stream, progress.console.print):
                stream.run()
        finally:
            _summarise(stream, facts, options.stats_file)


def _open(options: RunOptions, stack: contextlib.ExitStack) -> tuple[Stream, dict[str, Any]]:
    """Open everything, the cheapest first, so that a mistake is reported before the wait."""
    bundle = load_signed(options.bundle, options.key)
    if options.stats_file is not None:
        prove_writable(options.stats_file)
    sinks = options.sinks()
    refuse_doubles(sinks)
    video = VideoOptions(quality=options.quality, encoder=options.encoder)
    policy = LivePolicy(
        wait=options.wait, give_up_after_s=options.give_up_after_s, frozen_frames=options.frozen_frames
    )
    source = open_source(options.source(), sequence=options.sequence, policy=policy)
    stack.callback(source.close)
    steady = _steady(options, bundle.manifest.task, independent=source.info.independent)
    precision = choose_precision(
        bundle, options.precision, device=options.device, progress=lambda line: click.echo(line, err=True)
    )
    opened = _open_sinks(sinks, source, bundle.manifest.task, video)
    stream = open_stream(
        bundle, source, opened, device=options.device, precision=precision, options=options.task_options(),
        steady=steady, limit=options.limit, max_age_ms=options.max_age_ms,
    )  # fmt: skip
    stack.callback(stream.close)
    if steady.mode == "keyframe" and not source.info.live and not stream.processor.stage.lookahead and options.every:
        click.echo(f"steady keyframe without look-ahead: it holds at most {LONGEST} frames in memory", err=True)
    facts = {
        "bundle": bundle.manifest.name,
        "version": bundle.manifest.version,
        "task": stream.task.name,
        "device": stream.task.device,
        "precision": precision,
        "steady": steady.mode,
        "source": source.info.address,
    }
    return stream, facts


def _open_sinks(addresses: Sequence[str], source: Source, task: str, video: VideoOptions) -> list[Sink]:
    """Open every output; if one fails, the others are discarded."""
    opened: list[Sink] = []
    try:
        for address in addresses:
            opened.append(open_sink(address, source.info, task=task, video=video))
    except BaseException:
        for sink in opened:
            sink.discard()
        raise
    return opened


def _say_notes(stream: Stream) -> None:
    """Print what was done to the frames and what could not be kept, one line each."""
    for part in (stream.source, *stream.sinks):
        for note in dict.fromkeys(getattr(part, "notes", ())):
            click.echo(f"note: {note}", err=True)


def _steady(options: RunOptions, task: str, *, independent: bool) -> SteadyOptions:
    """Choose how the stream is steadied; ``auto`` is what the task's descriptor names."""
    mode = options.steady
    if mode == "auto":
        mode = "off" if independent else task_descriptor(task).steady
        if options.every is not None and mode == "blend":
            mode = "keyframe"  # who asks for keyframes gets them
    return SteadyOptions.of(mode, every=options.every, flow=None if mode == "off" else options.flow)


def _summarise(stream: Stream, facts: dict[str, Any], stats_file: Path | None) -> None:
    """Print the table and write the figures, also after an error or Ctrl-C."""
    if stream.stats.frames == 0:
        if stream.signal_log is not None:
            click.echo(f"no result; {stream.stats.signal} {stream.stats.cause}".rstrip(), err=True)
        return
    title = "{bundle} on {device}, {precision}, steady {steady}: {source}".format(**facts)
    console().print(stats_table(stream.stats, title))
    _say_notes(stream)
    if stats_file is not None:
        stream.stats.write(stats_file, **facts)
