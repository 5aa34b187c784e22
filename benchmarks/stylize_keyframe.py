r"""What `keyframe` and `blend` keep of each style's own images, where things move: likeness, sharpness, flicker.

Measures of `steadyframe bench`, relative to the network on every frame (`off`). *Painted* is the share of the image
that the network runs on in a frame, whole frames included. Clips that the shipped styles were trained on are marked.
`--live` steadies as a live source is steadied, and `--unchecked` leaves out the check that what is propagated looks
like the frame. Usage::

    python benchmarks/stylize_keyframe.py ../shared/data/videos/webcam_{bird,eat}.mkv \
        ../shared/data/videos/davis_{scooter-black,blackswan}.mp4 --bundle stylize-scream --bundle stylize-wave
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from steadyframe.models.stylize.train import HOLD_OUT
from steadyframe.runtime.bench.quality import measure_quality
from steadyframe.runtime.bench.subject import Subject
from steadyframe.runtime.bundle.bundle import Bundle, shipped_bundles
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.temporal.options import SteadyOptions
from steadyframe.runtime.temporal.stage import Motion

MODES = ("off", "blend", "keyframe")


class Watched(Subject):
    """A subject that notes how much of each frame the network runs on."""

    as_live = False

    def processor(self, mode: str, *, live: bool = False) -> Processor:
        """Make a processor whose stage is listened to."""
        made = super().processor(mode, live=live or self.as_live)
        observe, painted = made.stage.observe, []
        self.painted: dict[str, list[float]] = getattr(self, "painted", {}) | {mode: painted}

        def listen(*frames: Any, **options: Any) -> Motion:
            motion = observe(*frames, **options)
            cost = motion.repaint.cost if motion.repaint is not None else 0.0
            painted.append(1.0 if motion.keyframe else cost)
            return motion

        made.stage.observe = listen  # type: ignore[method-assign]
        return made


@click.command()
@click.argument("clips", nargs=-1, type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--bundle", "bundles", multiple=True, help="May be repeated.  [default: every shipped style]")
@click.option("--skip", default=5, show_default=True, help="Frames to leave out at the beginning.")
@click.option("--frames", default=30, show_default=True)
@click.option("--live", is_flag=True, help="Steady as of a live source.")
@click.option("--unchecked", is_flag=True, help="Show what is propagated, whatever it looks like.")
def main(
    clips: tuple[Path, ...], bundles: tuple[str, ...], skip: int, frames: int, live: bool, unchecked: bool
) -> None:
    """Measure shipped styles, or BUNDLES, on CLIPS."""
    click.echo("| style | clip | seen in training | mode | likeness where things move | its 5th percentile "
               "| sharpness | flicker | painted |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for name in bundles or [name for name in shipped_bundles() if name.startswith("stylize-")]:
        bundle = Bundle.load(name)
        for clip in clips:
            modes = {mode: SteadyOptions.of(mode) for mode in MODES}
            if unchecked:
                modes = {mode: replace(options, repaint=None) for mode, options in modes.items()}
            with Watched(bundle, str(clip), modes, limit=skip + frames) as subject:
                subject.as_live = live
                found = measure_quality(subject, subject.frames()[skip:])
                assert found is not None
                for mode in MODES[1:]:
                    one = found[mode]
                    cells = (one.likeness.mean, one.likeness.p5, one.likeness.mean_sharpness,
                             one.flicker / found["off"].flicker, float(np.mean(subject.painted[mode])))  # fmt: skip
                    seen = "no" if clip.stem in HOLD_OUT else "yes"
                    figures = " | ".join(f"{cell:.2f}" for cell in cells)
                    click.echo(f"| {Path(name).name} | {clip.stem} | {seen} | `{mode}` | {figures} |")


if __name__ == "__main__":
    main()
