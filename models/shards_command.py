"""`steadyframe shards`: photos, or labelled people, into WebDataset shards."""

from __future__ import annotations

from pathlib import Path

import click

from .pose.shards import convert_people
from .shards import SKIPPED, convert


@click.command("shards")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Of the shards.")
@click.option(
    "--people", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="COCO-keypoints file: write its people, cut with context, for `train pose`. Images are looked for beside it "
    "and below FOLDERS.",
)  # fmt: skip
@click.option("--per-shard", type=click.IntRange(min=1), default=1000, show_default=True, help="Samples in a shard.")
@click.option("--seed", default=0, show_default=True, help="Of the order.")
def command(folders: tuple[Path, ...], out: Path, people: tuple[Path, ...], per_shard: int, seed: int) -> None:
    """Write the photos below FOLDERS, or labelled people, into WebDataset shards, which `steadyframe train` reads."""
    if people:
        samples, count, skipped = convert_people(people, out, roots=folders, per_shard=per_shard, seed=seed)
        written = f"{samples} people in {count} shards"
    else:
        found, skipped = convert(folders, out, per_shard=per_shard, seed=seed)
        written = f"{found.samples} photos in {len(found.shards)} shards, {len(found.classes)} classes"
    reasons = f", see {out / SKIPPED}" if skipped else ""
    click.echo(f"{written}; {skipped} skipped{reasons}", err=True)
    click.echo(out)
